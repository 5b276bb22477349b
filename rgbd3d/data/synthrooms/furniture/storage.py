"""Cabinets, wardrobes, dressers, night stands, bookcases and wall shelves."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import FRONT_DEPTH, Builder, Span, centred, four_legs, fronts
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_y
from rgbd3d.data.synthrooms.style import Style


def _carcass(piece: Furniture, z: Span, material: Material) -> None:
    piece.box(centred(piece.width), (-piece.depth / 2, piece.depth / 2 - FRONT_DEPTH), z, material)


def _board_on_top(piece: Furniture, material: Material) -> None:
    piece.box(centred(piece.width), centred(piece.depth), (piece.height - 0.025, piece.height), material)


def cabinet(rng: np.random.Generator, style: Style) -> Furniture:
    """A sideboard with doors, drawers or both."""
    width, depth, height = uniform(rng, 0.7, 1.6), uniform(rng, 0.36, 0.52), uniform(rng, 0.6, 1.1)
    piece = Furniture("cabinet", width, depth, height, top=height)
    body, fitting = style.surface(rng), style.metal(rng)
    foot = choose(rng, (0.02, uniform(rng, 0.08, 0.16)))
    _carcass(piece, (foot, height - 0.025), body)
    _board_on_top(piece, body)
    if foot > 0.05:
        four_legs(piece, foot, 0.04, body, inset=0.03)
    columns = max(2, round(width / 0.5))
    if chance(rng, 0.4):
        split = height - 0.025 - uniform(rng, 0.15, 0.25)
        fronts(rng, piece, columns, 1, (split, height - 0.03), body, fitting, "drawers")
        fronts(rng, piece, columns, 1, (foot + 0.01, split), body, fitting, "doors")
    else:
        fronts(rng, piece, columns, 1, (foot + 0.01, height - 0.03), body, fitting, "doors")
    return piece


def tv_stand(rng: np.random.Generator, style: Style) -> Furniture:
    """A low, wide cabinet, closed or with open compartments."""
    width, depth, height = uniform(rng, 1.0, 1.8), uniform(rng, 0.36, 0.48), uniform(rng, 0.4, 0.6)
    piece = Furniture("cabinet", width, depth, height, top=height)
    body = style.surface(rng)
    _board_on_top(piece, body)
    if chance(rng, 0.5):
        _carcass(piece, (0.03, height - 0.025), body)
        fronts(rng, piece, max(2, round(width / 0.6)), 1, (0.04, height - 0.03), body, style.metal(rng), "doors")
        return piece
    piece.box(centred(width), (-depth / 2, -depth / 2 + 0.015), (0, height), body)
    piece.box(centred(width), centred(depth), (0.03, 0.055), body)
    piece.box(centred(width), centred(depth - 0.02), (height * 0.5, height * 0.5 + 0.02), body)
    for x in (-width / 2 + 0.0125, 0.0, width / 2 - 0.0125):
        piece.box(centred(0.025, x), centred(depth), (0, height - 0.025), body)
    return piece


def wardrobe(rng: np.random.Generator, style: Style) -> Furniture:
    """A tall cabinet with two or three doors, sometimes over drawers or with a mirror door."""
    width, depth, height = uniform(rng, 0.8, 1.7), uniform(rng, 0.5, 0.62), uniform(rng, 1.75, 2.2)
    piece = Furniture("cabinet", width, depth, height)
    body, fitting = style.surface(rng), style.metal(rng)
    _carcass(piece, (0.0, height), body)
    columns = max(2, round(width / 0.5))
    low = 0.06
    if chance(rng, 0.35):
        fronts(rng, piece, columns, 1, (low, 0.4), body, fitting, "drawers")
        low = 0.4
    fronts(rng, piece, columns, 1, (low, height - 0.02), body, fitting, "doors")
    if chance(rng, 0.2):
        front = depth / 2 - FRONT_DEPTH + 0.02
        x = -width / 2 + width / columns / 2
        glass = Material("paint", (0.8, 0.82, 0.82), mirror=1.0)
        piece.box(
            centred(width / columns - 0.08, x), (front, front + 0.006), (low + 0.1, height - 0.12), glass, "mirror"
        )
    return piece


def dresser(rng: np.random.Generator, style: Style) -> Furniture:
    """A chest of drawers: wide and low or narrow and tall."""
    tall = chance(rng, 0.3)
    width = uniform(rng, 0.55, 0.8) if tall else uniform(rng, 0.8, 1.6)
    depth, height = uniform(rng, 0.42, 0.54), uniform(rng, 1.05, 1.35) if tall else uniform(rng, 0.72, 1.0)
    piece = Furniture("dresser", width, depth, height, top=height)
    body = style.surface(rng)
    foot = choose(rng, (0.02, uniform(rng, 0.06, 0.14)))
    if foot > 0.03:
        four_legs(piece, foot, 0.05, body, inset=0.01)
    _carcass(piece, (foot, height - 0.025), body)
    _board_on_top(piece, body)
    columns, rows = (1, int(rng.integers(4, 6))) if tall else (int(rng.integers(2, 4)), int(rng.integers(2, 5)))
    fronts(rng, piece, columns, rows, (foot + 0.02, height - 0.03), body, style.metal(rng), "drawers")
    return piece


def night_stand(rng: np.random.Generator, style: Style) -> Furniture:
    """A bedside table: drawers, a drawer over a shelf, a door, or a box on legs."""
    width, depth, height = uniform(rng, 0.38, 0.6), uniform(rng, 0.34, 0.48), uniform(rng, 0.45, 0.7)
    piece = Furniture("night_stand", width, depth, height, top=height)
    body, fitting = style.surface(rng), style.metal(rng)
    _board_on_top(piece, body)
    design = choose(rng, ("drawers", "shelf", "door", "legs"))
    if design == "shelf":
        split = height * uniform(rng, 0.55, 0.7)
        _carcass(piece, (split, height - 0.025), body)
        fronts(rng, piece, 1, 1, (split, height - 0.03), body, fitting, "drawers")
        four_legs(piece, split, 0.04, body)
        return piece.box(centred(width), centred(depth), (0.12, 0.14), body)
    foot = height * 0.45 if design == "legs" else uniform(rng, 0.0, 0.12)
    _carcass(piece, (foot, height - 0.025), body)
    if foot > 0.02:
        four_legs(piece, foot, 0.035, body, turned=chance(rng, 0.5))
    rows = 1 if design in ("legs", "door") else int(rng.integers(2, 4))
    fronts(rng, piece, 1, rows, (foot + 0.01, height - 0.03), body, fitting, "doors" if design == "door" else "drawers")
    return piece


def bookshelf(rng: np.random.Generator, style: Style) -> Furniture:
    """A bookcase, filled with books and odd things."""
    width, depth, height = uniform(rng, 0.6, 1.3), uniform(rng, 0.26, 0.36), uniform(rng, 0.9, 2.1)
    piece = Furniture("bookshelf", width, depth, height, top=height if height < 1.2 else None)
    body = style.surface(rng)
    count = max(2, round(height / uniform(rng, 0.3, 0.4)))
    for side in (-1, 1):
        piece.box(centred(0.025, side * (width / 2 - 0.0125)), centred(depth), (0, height), body.shifted(rng))
    if chance(rng, 0.8):
        piece.box(centred(width), (-depth / 2, -depth / 2 + 0.01), (0, height), body.tinted(0.9))
    pitch = (height - 0.025) / count
    for level in range(count + 1):
        z = level * pitch
        piece.box(centred(width), centred(depth), (z, z + 0.025), body.shifted(rng))
        if level < count:
            fill_shelf(rng, piece, style, centred(width - 0.06), z + 0.025, pitch - 0.04)
    return piece


def wall_shelves(rng: np.random.Generator, style: Style) -> Furniture:
    """One to three boards on the wall with books and odd things."""
    boards = int(rng.integers(1, 4))
    width, depth, pitch = uniform(rng, 0.6, 1.3), uniform(rng, 0.18, 0.28), uniform(rng, 0.3, 0.38)
    height = (boards - 1) * pitch + 0.3
    piece = Furniture("shelves", width, depth, height)
    body = style.surface(rng)
    for board in range(boards):
        z = board * pitch
        piece.box(centred(width), centred(depth), (z, z + 0.025), body.shifted(rng))
        fill_shelf(rng, piece, style, centred(width - 0.06), z + 0.025, 0.26)
    return piece


def metal_rack(rng: np.random.Generator, style: Style) -> Furniture:
    """Open storage shelves on four posts, loaded with boxes."""
    width, depth, height = uniform(rng, 0.7, 1.2), uniform(rng, 0.34, 0.46), uniform(rng, 1.4, 1.9)
    piece = Furniture("shelves", width, depth, height)
    frame = style.steel(rng) if chance(rng, 0.6) else style.wood(rng)
    four_legs(piece, height, 0.03, frame)
    levels = int(rng.integers(3, 6))
    pitch = (height - 0.05) / (levels - 1)
    for level in range(levels):
        z = level * pitch
        piece.box(centred(width), centred(depth), (z + 0.02, z + 0.04), frame)
        if level < levels - 1 and chance(rng, 0.7):
            _storage_boxes(rng, piece, style, z + 0.04, pitch - 0.06, instance=level * 10 + 1)
    return piece


def _storage_boxes(
    rng: np.random.Generator, piece: Furniture, style: Style, z: float, room: float, instance: int
) -> None:
    x = -piece.width / 2 + 0.05
    while x < piece.width / 2 - 0.25:
        width = min(uniform(rng, 0.2, 0.4), piece.width / 2 - 0.05 - x)
        tall = room * uniform(rng, 0.4, 0.9)
        skin = Material("cardboard", (0.36, 0.22, 0.11), 1.0).shifted(rng) if chance(rng, 0.5) else style.paint(rng)
        piece.box((x, x + width), centred(piece.depth * 0.85), (z, z + tall), skin, "box", instance)
        x, instance = x + width + uniform(rng, 0.02, 0.15), instance + 1


def fill_shelf(rng: np.random.Generator, piece: Furniture, style: Style, x: Span, z: float, room: float) -> None:
    """Books in runs of equal height, a leaning one now and then, gaps and ornaments; `room` metres of free height."""
    end = x[0] + (x[1] - x[0]) * uniform(rng, 0.35, 1.0) if chance(rng, 0.85) else x[0]
    left = x[0]
    front = piece.depth / 2 - uniform(rng, 0.01, 0.06)
    while left < end - 0.06:
        run = min(uniform(rng, 0.06, 0.3), end - left)
        tall = min(room, uniform(rng, 0.17, 0.31))
        spines = Material("books", (1.0, 1.0, 1.0), 1.6, 0.1).shifted(rng)
        y = (-piece.depth / 2 + 0.02, front - uniform(rng, 0.0, 0.04))
        piece.box((left, left + run), y, (z, z + tall), spines, "books")
        left += run + (uniform(rng, 0.05, 0.2) if chance(rng, 0.2) else 0.0)
    if end < x[1] - 0.2:
        _ornament(rng, piece, style, uniform(rng, end + 0.09, x[1] - 0.08), z, room)
    elif end < x[1] - 0.12:
        tall = min(room, 0.24)
        lean = rotation_y(-0.25)
        center = (end + 0.05, 0.0, z + tall / 2)
        cover = Material("books", (1.0, 1.0, 1.0), 0.4).shifted(rng)
        piece.add(Shape.BOX, center, (0.012, piece.depth * 0.35, tall * 0.47), cover, lean, "books")


def _ornament(rng: np.random.Generator, piece: Furniture, style: Style, x: float, z: float, room: float) -> None:
    skin = style.paint(rng, gloss=0.5)
    tall = min(room, uniform(rng, 0.1, 0.24))
    radius = min(0.07, piece.depth * 0.3)
    if chance(rng, 0.5):
        piece.ellipsoid((x, 0, z + tall / 2), (radius, radius, tall / 2), skin, label="otherprop", instance=1)
    else:
        piece.box(centred(radius * 2, x), centred(radius * 2), (z, z + tall), skin, "otherprop", 1)


BUILDERS: tuple[Builder, ...] = (
    cabinet,
    tv_stand,
    wardrobe,
    dresser,
    night_stand,
    bookshelf,
    wall_shelves,
    metal_rack,
)

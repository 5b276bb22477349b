"""Small things that stand on furniture or on the floor."""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.prints import ART
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x, rotation_y, rotation_z
from rgbd3d.data.synthrooms.style import Style


def cardboard_box(rng: np.random.Generator, style: Style) -> Furniture:
    """A closed, taped or open carton, sometimes a stack of two."""
    width, depth, height = uniform(rng, 0.22, 0.55), uniform(rng, 0.2, 0.45), uniform(rng, 0.14, 0.42)
    piece = Furniture("box", width, depth, height)
    shade = uniform(rng, 0.7, 1.2)
    board = Material("cardboard", (0.42 * shade, 0.27 * shade, 0.14 * shade), 1.0).shifted(rng)
    if chance(rng, 0.3):
        for side in (-1, 1):
            piece.box(centred(0.008, side * (width / 2 - 0.004)), centred(depth), (0, height), board)
            piece.box(centred(width), centred(0.008, side * (depth / 2 - 0.004)), (0, height), board)
        return piece.box(centred(width), centred(depth), (0, 0.02), board.tinted(0.7))
    piece.box(centred(width), centred(depth), (0, height), board)
    piece.box(centred(width), centred(0.05), (height - 0.002, height + 0.002), board.tinted(1.35))
    if chance(rng, 0.25):
        upper = Furniture("box", width * 0.8, depth * 0.8, height * 0.7)
        upper.box(centred(width * 0.8), centred(depth * 0.8), (0, height * 0.7), board.tinted(0.85).shifted(rng))
        piece.place(upper, 0, 0, height, uniform(rng, -0.15, 0.15))
    return piece


def storage_bin(rng: np.random.Generator, style: Style) -> Furniture:
    """A plastic, fabric or wicker container with a lid or rim."""
    width, depth, height = uniform(rng, 0.28, 0.5), uniform(rng, 0.24, 0.4), uniform(rng, 0.18, 0.36)
    piece = Furniture("box", width, depth, height)
    wicker = Material("wicker", (0.4, 0.25, 0.12), 1.4).shifted(rng)
    skin = choose(rng, (wicker, style.paint(rng), style.fabric(rng), style.white(rng)))
    piece.box(centred(width * 0.94), centred(depth * 0.94), (0, height - 0.03), skin)
    return piece.box(centred(width), centred(depth), (height - 0.035, height), skin.tinted(0.85))


def books_stack(rng: np.random.Generator, style: Style) -> Furniture:
    """One to six books lying on top of each other, not quite aligned."""
    piece = Furniture("books", 0.3, 0.26, 0.0)
    top = 0.0
    for _ in range(int(rng.integers(1, 7))):
        thick = uniform(rng, 0.012, 0.045)
        half = (uniform(rng, 0.08, 0.115), uniform(rng, 0.06, 0.085), thick / 2)
        turn = rotation_z(uniform(rng, -0.25, 0.25))
        center = (uniform(rng, -0.012, 0.012), uniform(rng, -0.012, 0.012), top + thick / 2)
        piece.add(Shape.BOX, center, half, style.paint(rng, style.colour(rng, 0.45), 0.25), turn)
        top += thick
    piece.height = top
    return piece


def books_row(rng: np.random.Generator, style: Style) -> Furniture:
    """Books standing side by side."""
    width, depth = uniform(rng, 0.15, 0.45), 0.2
    piece = Furniture("books", width, depth, 0.3)
    left = -width / 2
    while left < width / 2 - 0.02:
        run = min(uniform(rng, 0.04, 0.14), width / 2 - left)
        spines = Material("books", (1.0, 1.0, 1.0), 1.6, 0.1).shifted(rng)
        deep = uniform(rng, 0.14, depth)
        piece.box((left, left + run), (-depth / 2, -depth / 2 + deep), (0, uniform(rng, 0.18, 0.3)), spines)
        left += run
    return piece


def paper_sheets(rng: np.random.Generator, style: Style) -> Furniture:
    """One to three printed sheets, a magazine or an open book."""
    piece = Furniture("paper", 0.42, 0.44, 0.016)
    for sheet in range(int(rng.integers(1, 4))):
        page = Material(choose(rng, ("document", "document", "poster")), (0.9, 0.9, 0.88), fit=True)
        center = (uniform(rng, -0.03, 0.03), uniform(rng, -0.03, 0.03), 0.002 + 0.004 * sheet)
        piece.add(Shape.BOX, center, (0.105, 0.148, 0.002), page, rotation_z(uniform(rng, -0.5, 0.5)))
    return piece


def cup(rng: np.random.Generator, style: Style) -> Furniture:
    """A mug or a glass."""
    radius, height = uniform(rng, 0.032, 0.045), uniform(rng, 0.08, 0.14)
    piece = Furniture("otherprop", 2 * radius + 0.05, 2 * radius, height)
    skin = style.white(rng, 0.7) if chance(rng, 0.5) else style.paint(rng, gloss=0.6)
    piece.cylinder(0, 0, (0, height), radius, skin)
    piece.cylinder(0, 0, (height - 0.002, height), radius * 0.86, skin.tinted(0.3))
    return piece.box((radius - 0.005, radius + 0.025), centred(0.012), (height * 0.25, height * 0.75), skin)


def bottle(rng: np.random.Generator, style: Style) -> Furniture:
    """A bottle, spray can or soap dispenser."""
    radius, height = uniform(rng, 0.03, 0.045), uniform(rng, 0.16, 0.32)
    piece = Furniture("otherprop", 2 * radius, 2 * radius, height)
    skin = choose(
        rng, (style.paint(rng, gloss=0.6), style.white(rng, 0.6), Material("paint", (0.05, 0.1, 0.05), gloss=0.9))
    )
    piece.cylinder(0, 0, (0, height * 0.65), radius, skin)
    piece.ellipsoid((0, 0, height * 0.65), (radius, radius, height * 0.12), skin)
    return piece.cylinder(0, 0, (height * 0.65, height), radius * 0.35, skin.tinted(0.7))


def bowl(rng: np.random.Generator, style: Style) -> Furniture:
    """A bowl, often with fruit."""
    radius = uniform(rng, 0.1, 0.16)
    piece = Furniture("otherprop", 2 * radius, 2 * radius, 0.15)
    skin = style.ceramic(rng) if chance(rng, 0.5) else style.wood(rng)
    piece.cylinder(0, 0, (0, 0.02), radius * 0.5, skin).cylinder(0, 0, (0.02, 0.05), radius * 0.8, skin)
    piece.cylinder(0, 0, (0.05, 0.08), radius, skin)
    if chance(rng, 0.6):
        fruit = choose(rng, ((0.55, 0.1, 0.04), (0.65, 0.32, 0.04), (0.4, 0.45, 0.08), (0.6, 0.5, 0.1)))
        for index in range(5):
            angle = index * 2 * math.pi / 5
            reach = 0.0 if index == 4 else radius * 0.5
            center = (reach * math.cos(angle), reach * math.sin(angle), 0.09 + 0.02 * (index == 4))
            piece.ellipsoid(center, (0.038, 0.038, 0.036), style.paint(rng, fruit, 0.3))
    return piece


def vase(rng: np.random.Generator, style: Style) -> Furniture:
    """A vase or jar, sometimes with flowers."""
    radius, body = uniform(rng, 0.05, 0.09), uniform(rng, 0.15, 0.32)
    flowers = chance(rng, 0.4)
    piece = Furniture(
        "otherprop", 0.3 if flowers else 2 * radius, 0.3 if flowers else 2 * radius, body + 0.22 * flowers
    )
    skin = style.paint(rng, gloss=0.7) if chance(rng, 0.6) else style.ceramic(rng)
    if chance(rng, 0.6):
        piece.ellipsoid((0, 0, body * 0.42), (radius, radius, body * 0.42), skin)
        piece.cylinder(0, 0, (body * 0.6, body), radius * 0.45, skin)
    else:
        piece.cylinder(0, 0, (0, body), radius * 0.7, skin)
    if flowers:
        _bouquet(rng, piece, style, body)
    return piece


def _bouquet(rng: np.random.Generator, piece: Furniture, style: Style, low: float) -> None:
    green = Material("leaf", (0.12, 0.2, 0.07), 2.0)
    bloom = style.paint(rng, style.colour(rng, accent=0.9))
    for _ in range(7):
        x, y, z = uniform(rng, -0.1, 0.1), uniform(rng, -0.1, 0.1), low + uniform(rng, 0.04, 0.17)
        size = uniform(rng, 0.025, 0.045)
        piece.ellipsoid((x, y, z), (size, size, size * 0.8), bloom if chance(rng, 0.6) else green)
        piece.cylinder(x * 0.5, y * 0.5, (low - 0.02, z), 0.004, green)


def potted_plant(rng: np.random.Generator, style: Style, size: float | None = None) -> Furniture:
    """A pot plant with broad leaves, blades or a bush; `size` is the height in metres."""
    height = size or uniform(rng, 0.2, 0.42)
    spread = height * uniform(rng, 0.5, 0.75)
    piece = Furniture("otherprop", spread, spread, height)
    pot = choose(rng, (Material("plaster", (0.38, 0.17, 0.1)), style.ceramic(rng), style.paint(rng)))
    rim = height * uniform(rng, 0.22, 0.32)
    radius = min(spread * 0.32, rim * 0.75)
    piece.cylinder(0, 0, (0, rim), radius, pot).cylinder(0, 0, (rim - 0.012, rim + 0.004), radius * 1.08, pot)
    shade = uniform(rng, 0.7, 1.3)
    green = Material("leaf", (0.13 * shade, 0.22 * shade, 0.08 * shade), 1.5).shifted(rng)
    grow = choose(rng, (_broad_leaves, _blades, _bush))
    grow(rng, piece, green, rim, spread / 2)
    return piece


def large_plant(rng: np.random.Generator, style: Style) -> Furniture:
    """A plant standing on the floor."""
    return potted_plant(rng, style, uniform(rng, 0.7, 1.6))


def _broad_leaves(rng: np.random.Generator, piece: Furniture, green: Material, low: float, spread: float) -> None:
    stem = Material("wood_fine", (0.16, 0.1, 0.05))
    crown = piece.height - low
    piece.cylinder(0, 0, (low, low + crown * 0.6), max(0.006, spread * 0.05), stem)
    for _ in range(13):
        turn = rotation_z(uniform(rng, 0, 2 * math.pi)) @ rotation_y(-uniform(rng, 0.0, 0.7))
        length = spread * 0.47
        base = np.array([0.0, 0.0, low + crown * uniform(rng, 0.2, 0.55)])
        center = base + turn @ np.array([length * 1.05, 0.0, 0.0])
        piece.ellipsoid(center, (length, length * 0.42, max(0.004, length * 0.04)), green, turn)


def _blades(rng: np.random.Generator, piece: Furniture, green: Material, low: float, spread: float) -> None:
    crown = piece.height - low
    for _ in range(12):
        lean = uniform(rng, 0.0, 0.85) * math.atan2(spread, crown)
        turn = rotation_z(uniform(rng, 0, 2 * math.pi)) @ rotation_y(lean)
        half = crown * uniform(rng, 0.3, 0.49)
        center = np.array([0.0, 0.0, low]) + turn @ np.array([0.0, 0.0, half])
        piece.ellipsoid(center, (max(0.004, spread * 0.025), spread * 0.1, half), green, turn)


def _bush(rng: np.random.Generator, piece: Furniture, green: Material, low: float, spread: float) -> None:
    crown = piece.height - low
    core = (spread * 0.5, spread * 0.5, crown * 0.36)
    piece.ellipsoid((0, 0, low + crown * 0.42), core, green.tinted(0.6))
    for _ in range(18):
        angle, reach = uniform(rng, 0, 2 * math.pi), spread * 0.62 * float(rng.random()) ** 0.3
        center = (reach * math.cos(angle), reach * math.sin(angle), low + crown * uniform(rng, 0.15, 0.75))
        half = np.array([0.3, 0.22, 0.12]) * spread * uniform(rng, 0.7, 1.0)
        turn = rotation_z(angle) @ rotation_x(uniform(rng, -0.6, 0.6))
        piece.ellipsoid(center, half, green.tinted(uniform(rng, 0.75, 1.25)), turn)


def photo_frame(rng: np.random.Generator, style: Style) -> Furniture:
    """A small framed photograph that stands on furniture, leaning back."""
    width, height = uniform(rng, 0.12, 0.22), uniform(rng, 0.14, 0.26)
    piece = Furniture("picture", width, 0.12, height)
    lean = rotation_x(0.2)
    center = np.array([0.0, 0.0, height / 2])
    half_height = height / 2 - 0.005
    piece.add(Shape.BOX, center, (width / 2, 0.006, half_height), style.surface(rng), lean)
    photo = Material(choose(rng, ART), (0.95, 0.95, 0.95), fit=True)
    front = center + lean @ np.array([0.0, 0.005, 0.0])
    return piece.add(Shape.BOX, front, (width / 2 - 0.015, 0.004, half_height - 0.015), photo, lean)


def waste_bin(rng: np.random.Generator, style: Style) -> Furniture:
    """A waste basket; NYU40 files it under other furniture."""
    radius, height = uniform(rng, 0.12, 0.17), uniform(rng, 0.26, 0.42)
    piece = Furniture("otherfurniture", 2 * radius, 2 * radius, height)
    skin = choose(rng, (style.metal(rng), style.black(rng), style.white(rng), style.paint(rng)))
    piece.cylinder(0, 0, (0, height), radius, skin)
    return piece.cylinder(0, 0, (height - 0.002, height), radius * 0.92, skin.tinted(0.25))


def toy(rng: np.random.Generator, style: Style) -> Furniture:
    """A ball, a teddy bear or a heap of blocks."""
    design = choose(rng, ("ball", "bear", "blocks"))
    if design == "ball":
        radius = uniform(rng, 0.07, 0.13)
        skin = style.paint(rng, style.colour(rng, accent=0.8), 0.3)
        return Furniture("otherprop", 2 * radius, 2 * radius, 2 * radius).ellipsoid((0, 0, radius), (radius,) * 3, skin)
    if design == "bear":
        fur = style.fabric(rng, patterned=0.0)
        piece = Furniture("otherprop", 0.26, 0.26, 0.38)
        piece.ellipsoid((0, 0, 0.12), (0.09, 0.08, 0.12), fur).ellipsoid((0, 0.01, 0.28), (0.075, 0.07, 0.07), fur)
        for side in (-1, 1):
            piece.ellipsoid((side * 0.055, 0, 0.345), (0.028, 0.015, 0.028), fur)
            piece.ellipsoid((side * 0.09, 0.02, 0.15), (0.035, 0.04, 0.065), fur)
            piece.ellipsoid((side * 0.06, 0.08, 0.035), (0.035, 0.05, 0.035), fur)
        return piece
    piece = Furniture("otherprop", 0.4, 0.4, 0.14)
    for _ in range(6):
        size = uniform(rng, 0.025, 0.045)
        center = (uniform(rng, -0.12, 0.12), uniform(rng, -0.12, 0.12), size)
        skin = style.paint(rng, style.colour(rng, accent=0.8), 0.3)
        piece.add(Shape.BOX, center, (size,) * 3, skin, rotation_z(uniform(rng, 0, 1.5)))
    return piece


BUILDERS: tuple[Builder, ...] = (
    cardboard_box,
    storage_bin,
    books_stack,
    books_row,
    paper_sheets,
    cup,
    bottle,
    bowl,
    vase,
    potted_plant,
    large_plant,
    photo_frame,
    waste_bin,
    toy,
)

"""Tables and desks."""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import FRONT_DEPTH, Builder, Span, centred, four_legs, fronts
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_y
from rgbd3d.data.synthrooms.style import Style


def dining_table(rng: np.random.Generator, style: Style) -> Furniture:
    """A rectangular table for four to eight."""
    width, depth = uniform(rng, 1.2, 1.9), uniform(rng, 0.75, 0.98)
    height = uniform(rng, 0.72, 0.77)
    piece = Furniture("table", width, depth, height, top=height)
    board = style.surface(rng)
    legs = board if chance(rng, 0.7) else style.metal(rng)
    piece.box(centred(width), centred(depth), (height - uniform(rng, 0.025, 0.05), height), board)
    support = choose(rng, (_apron_and_legs, _trestles, _crossed_legs), (0.6, 0.25, 0.15))
    support(rng, piece, legs)
    if chance(rng, 0.15):
        _table_cloth(piece, style.fabric(rng, patterned=0.6))
    return piece


def _apron_and_legs(rng: np.random.Generator, piece: Furniture, legs: Material) -> None:
    four_legs(piece, piece.height - 0.04, uniform(rng, 0.045, 0.08), legs, inset=0.03, turned=chance(rng, 0.4))
    for end in (-1, 1):
        y = end * (piece.depth / 2 - 0.06)
        piece.box(centred(piece.width - 0.12), centred(0.02, y), (piece.height - 0.12, piece.height - 0.03), legs)
        x = end * (piece.width / 2 - 0.06)
        piece.box(centred(0.02, x), centred(piece.depth - 0.12), (piece.height - 0.12, piece.height - 0.03), legs)


def _trestles(rng: np.random.Generator, piece: Furniture, legs: Material) -> None:
    for side in (-1, 1):
        x = side * (piece.width / 2 - 0.2)
        piece.box(centred(0.06, x), centred(0.14), (0.05, piece.height - 0.04), legs)
        piece.box(centred(0.08, x), centred(piece.depth - 0.15), (0, 0.06), legs)
    piece.box(centred(piece.width - 0.4), centred(0.03), (0.3, 0.4), legs)


def _crossed_legs(rng: np.random.Generator, piece: Furniture, legs: Material) -> None:
    tall = piece.height - 0.05
    angle = math.atan2(0.5, tall)
    for end in (-1, 1):
        y = end * (piece.depth / 2 - 0.12)
        for lean in (-1, 1):
            half = (0.025, 0.025, tall / 2 / math.cos(angle) - 0.02)
            piece.add(Shape.BOX, (0, y, tall / 2), half, legs, rotation_y(lean * angle))


def _table_cloth(piece: Furniture, cloth: Material) -> None:
    """Covers the top and hangs down a hand's breadth within the footprint."""
    piece.box(centred(piece.width), centred(piece.depth), (piece.height - 0.002, piece.height + 0.003), cloth)
    for end in (-1, 1):
        y, x = end * (piece.depth / 2 - 0.002), end * (piece.width / 2 - 0.002)
        piece.box(centred(piece.width), centred(0.008, y), (piece.height - 0.2, piece.height), cloth)
        piece.box(centred(0.008, x), centred(piece.depth), (piece.height - 0.2, piece.height), cloth)


def round_table(rng: np.random.Generator, style: Style) -> Furniture:
    """A round table on one foot or four legs."""
    size, height = uniform(rng, 0.8, 1.25), uniform(rng, 0.72, 0.77)
    piece = Furniture("table", size, size, height, top=height)
    board = style.surface(rng)
    legs = board if chance(rng, 0.6) else style.metal(rng)
    piece.cylinder(0, 0, (height - 0.035, height), size / 2, board)
    if chance(rng, 0.6):
        piece.cylinder(0, 0, (0.03, height - 0.035), uniform(rng, 0.035, 0.07), legs)
        piece.cylinder(0, 0, (0, 0.03), size * 0.28, legs)
    else:
        four_legs(piece, height - 0.035, 0.05, legs, inset=size * 0.17, turned=True)
    return piece


def coffee_table(rng: np.random.Generator, style: Style) -> Furniture:
    """A low table: with a shelf, a solid block or an oval top."""
    width, depth, height = uniform(rng, 0.8, 1.25), uniform(rng, 0.5, 0.7), uniform(rng, 0.36, 0.48)
    piece = Furniture("table", width, depth, height, top=height)
    board = style.surface(rng)
    design = choose(rng, ("shelf", "block", "oval", "plain"))
    if design == "oval":
        piece.cylinder(0, 0, (height - 0.03, height), (width / 2, depth / 2), board)
        four_legs(piece, height - 0.03, 0.04, board, inset=0.13, turned=True)
        return piece
    piece.box(centred(width), centred(depth), (height - 0.04, height), board)
    if design == "block":
        return piece.box(centred(width - 0.08), centred(depth - 0.08), (0, height - 0.04), board.tinted(0.8))
    legs = board if chance(rng, 0.6) else style.metal(rng)
    four_legs(piece, height - 0.04, 0.05, legs, inset=0.02, turned=chance(rng, 0.3))
    if design == "shelf":
        piece.box(centred(width - 0.1), centred(depth - 0.1), (height * 0.28, height * 0.28 + 0.02), board)
    return piece


def side_table(rng: np.random.Generator, style: Style) -> Furniture:
    """A small table beside a seat."""
    size, height = uniform(rng, 0.38, 0.55), uniform(rng, 0.45, 0.62)
    piece = Furniture("table", size, size, height, top=height)
    board = style.surface(rng)
    legs = board if chance(rng, 0.6) else style.metal(rng)
    if chance(rng, 0.4):
        piece.cylinder(0, 0, (height - 0.025, height), size / 2, board)
        piece.cylinder(0, 0, (0.02, height - 0.025), 0.025, legs)
        return piece.cylinder(0, 0, (0, 0.02), size * 0.35, legs)
    piece.box(centred(size), centred(size), (height - 0.03, height), board)
    four_legs(piece, height - 0.03, 0.035, legs)
    return piece.box(centred(size - 0.04), centred(size - 0.04), (0.15, 0.17), board)


def desk(rng: np.random.Generator, style: Style) -> Furniture:
    """A writing desk: pedestals with drawers, a plain table, or a worktop on metal legs."""
    width, depth, height = uniform(rng, 1.05, 1.7), uniform(rng, 0.55, 0.8), uniform(rng, 0.71, 0.77)
    piece = Furniture("desk", width, depth, height, top=height)
    board = style.surface(rng)
    piece.box(centred(width), centred(depth), (height - 0.03, height), board)
    design = choose(rng, ("pedestal", "double", "table"), (0.5, 0.2, 0.3))
    if design == "table":
        four_legs(piece, height - 0.03, 0.05, board if chance(rng, 0.4) else style.metal(rng), inset=0.02)
        return piece
    right = (width / 2 - 0.42, width / 2 - 0.01)
    _pedestal(rng, piece, style, board, right)
    if design == "double":
        _pedestal(rng, piece, style, board, (-right[1], -right[0]))
    else:
        piece.box((-width / 2, -width / 2 + 0.03), centred(depth - 0.02), (0, height - 0.03), board)
    return piece.box(centred(width - 0.06), (-depth / 2 + 0.02, -depth / 2 + 0.04), (0.3, height - 0.03), board)


def _pedestal(rng: np.random.Generator, piece: Furniture, style: Style, board: Material, x: Span) -> None:
    top = piece.height - 0.03
    piece.box(x, (-piece.depth / 2 + 0.02, piece.depth / 2 - FRONT_DEPTH), (0.02, top), board.shifted(rng))
    rows = int(rng.integers(2, 5))
    fronts(rng, piece, 1, rows, (0.05, top), board, style.metal(rng), "drawers", x)


BUILDERS: tuple[Builder, ...] = (
    dining_table,
    round_table,
    coffee_table,
    side_table,
    desk,
)

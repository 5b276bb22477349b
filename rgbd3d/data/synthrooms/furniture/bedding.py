"""Beds and what lies on them."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred, four_legs
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x, rotation_z
from rgbd3d.data.synthrooms.style import Style

MATTRESS = 0.2
"""Thickness in metres."""


def pillow(rng: np.random.Generator, style: Style, width: float | None = None) -> Furniture:
    """A bed pillow lying flat."""
    width = width or uniform(rng, 0.45, 0.7)
    depth, height = width * uniform(rng, 0.58, 0.7), uniform(rng, 0.1, 0.16)
    cloth = style.linen(rng) if chance(rng, 0.6) else style.fabric(rng)
    return _padding(Furniture("pillow", width, depth, height), cloth)


def cushion(rng: np.random.Generator, style: Style) -> Furniture:
    """A square sofa cushion standing on its edge, leaning back."""
    size = uniform(rng, 0.36, 0.46)
    piece = Furniture("pillow", size, 0.3, size)
    cloth = style.fabric(rng, accent=0.55, patterned=0.4)
    lean = rotation_x(uniform(rng, 0.15, 0.3))
    center = (0, 0, size / 2)
    piece.ellipsoid(center, (size * 0.47, 0.06, size * 0.44), cloth, lean)
    return piece.add(Shape.BOX, center, (size * 0.4, 0.032, size * 0.38), cloth, lean)


def _padding(piece: Furniture, cloth: Material) -> Furniture:
    """Fills a flat piece with something soft: an ellipsoid rounds off a thin box."""
    middle = (0, 0, piece.height / 2)
    piece.ellipsoid(middle, (piece.width / 2, piece.depth / 2, piece.height / 2), cloth)
    return piece.add(Shape.BOX, middle, (piece.width * 0.44, piece.depth * 0.42, piece.height * 0.27), cloth)


def bed(rng: np.random.Generator, style: Style) -> Furniture:
    """A single or double bed: frame, head board, mattress, duvet, pillows."""
    width = choose(rng, (uniform(rng, 0.9, 1.1), uniform(rng, 1.35, 1.95)), (0.4, 0.6))
    depth, height = uniform(rng, 1.95, 2.2), uniform(rng, 0.75, 1.25)
    piece = Furniture("bed", width, depth, height)
    frame = style.surface(rng)
    base = uniform(rng, 0.24, 0.36)
    _head_board(rng, piece, frame, style)
    _frame(rng, piece, frame, base)
    _mattress(piece, style.linen(rng), base)
    _covers(rng, piece, style, base + MATTRESS)
    _pillows(rng, piece, style, base + MATTRESS, -depth / 2 + 0.08)
    return piece


def _frame(rng: np.random.Generator, piece: Furniture, frame: Material, base: float) -> None:
    """A box to the floor or rails on legs, sometimes with a foot board."""
    if chance(rng, 0.35):
        piece.box(centred(piece.width), centred(piece.depth), (0.02, base), frame)
    else:
        four_legs(piece, base, 0.07, frame, turned=chance(rng, 0.3))
        piece.box(centred(piece.width), centred(piece.depth), (base - 0.12, base), frame)
    if chance(rng, 0.25):
        front = piece.depth / 2
        piece.box(centred(piece.width), (front - 0.04, front), (0, base + uniform(rng, 0.2, 0.4)), frame)


def _head_board(rng: np.random.Generator, piece: Furniture, frame: Material, style: Style) -> None:
    back = (-piece.depth / 2, -piece.depth / 2 + 0.06)
    design = choose(rng, ("none", "panel", "slats", "upholstered"), (0.12, 0.4, 0.23, 0.25))
    if design == "panel":
        piece.box(centred(piece.width), back, (0, piece.height), frame)
    elif design == "upholstered":
        piece.box(centred(piece.width), back, (0.1, piece.height), style.fabric(rng))
    elif design == "slats":
        for side in (-1, 1):
            piece.box(centred(0.06, side * (piece.width / 2 - 0.03)), back, (0, piece.height), frame)
        piece.box(centred(piece.width), back, (piece.height - 0.1, piece.height - 0.02), frame)
        count = int(piece.width / 0.14)
        for index in range(count):
            x = (index - (count - 1) / 2) * piece.width / (count + 0.5)
            slat = (-piece.depth / 2 + 0.02, -piece.depth / 2 + 0.04)
            piece.box(centred(0.04, x), slat, (0.3, piece.height - 0.09), frame)


def _mattress(piece: Furniture, sheet: Material, base: float) -> None:
    length = (-piece.depth / 2 + 0.065, piece.depth / 2 - 0.045)
    piece.box(centred(piece.width - 0.05), length, (base, base + MATTRESS), sheet)


def _covers(rng: np.random.Generator, piece: Furniture, style: Style, top: float) -> None:
    """A made bed, a turned-back duvet or a crumpled heap; often a folded blanket at the foot."""
    duvet = style.fabric(rng, accent=0.35, patterned=0.4) if chance(rng, 0.65) else style.linen(rng)
    start = -piece.depth / 2 + piece.depth * uniform(rng, 0.2, 0.42)
    end = piece.depth / 2 - 0.042
    piece.box(centred(piece.width), (start, end), (top - uniform(rng, 0.1, 0.2), top + 0.03), duvet)
    middle = ((start + end) / 2, (end - start) / 2)
    if chance(rng, 0.6):
        piece.ellipsoid((0, middle[0], top + 0.02), (piece.width * 0.48, middle[1] * 0.97, 0.05), duvet.shifted(rng))
    if chance(rng, 0.3):
        for _ in range(4):
            x, y = uniform(rng, -0.25, 0.25) * piece.width, middle[0] + uniform(rng, -0.5, 0.5) * middle[1]
            half = (uniform(rng, 0.15, 0.24), uniform(rng, 0.1, 0.2), uniform(rng, 0.04, 0.08))
            piece.ellipsoid((x, y, top + 0.04), half, duvet, rotation_z(uniform(rng, -1.5, 1.5)))
    if chance(rng, 0.45):
        lower = end - uniform(rng, 0.35, 0.7)
        blanket = style.fabric(rng, accent=0.5, patterned=0.4)
        piece.box(centred(piece.width), (lower, end), (top - 0.06, top + 0.055), blanket)


def _pillows(rng: np.random.Generator, piece: Furniture, style: Style, top: float, head: float) -> None:
    count = 2 if piece.width > 1.3 else 1
    width = min(0.7, piece.width / count - 0.08)
    for index in range(count):
        x = (index - (count - 1) / 2) * piece.width / count
        resting = pillow(rng, style, width)
        piece.place(resting, x, head + resting.depth / 2, top, uniform(rng, -0.08, 0.08))
    for _ in range(int(rng.integers(0, 3))):
        loose = cushion(rng, style)
        piece.place(loose, uniform(rng, -0.3, 0.3) * piece.width, head + 0.5, top + 0.01, uniform(rng, -0.4, 0.4))


def bunk_bed(rng: np.random.Generator, style: Style) -> Furniture:
    """Two beds above each other with a ladder."""
    width, depth, height = uniform(rng, 0.95, 1.1), uniform(rng, 2.0, 2.15), uniform(rng, 1.55, 1.8)
    piece = Furniture("bed", width, depth, height)
    frame = style.surface(rng)
    four_legs(piece, height, 0.07, frame)
    for base in (0.28, height - 0.48):
        for side in (-1, 1):
            piece.box(centred(0.03, side * (width / 2 - 0.035)), centred(depth), (base - 0.1, base + 0.05), frame)
        piece.box(centred(width - 0.06), centred(depth - 0.08), (base - 0.03, base), frame)
        piece.box(centred(width - 0.1), centred(depth - 0.14), (base, base + 0.15), style.linen(rng))
        duvet = style.fabric(rng, accent=0.5, patterned=0.4)
        piece.box(centred(width - 0.09), (-depth * 0.2, depth / 2 - 0.06), (base + 0.08, base + 0.19), duvet)
        piece.place(pillow(rng, style, width * 0.62), 0, -depth / 2 + 0.32, base + 0.15)
    piece.box(centred(width - 0.1), (-depth / 2, -depth / 2 + 0.03), (height - 0.3, height - 0.18), frame)
    piece.box(centred(width - 0.1), (depth / 2 - 0.03, depth / 2), (height - 0.3, height - 0.18), frame)
    for rung in range(5):
        z = 0.25 + rung * (height - 0.5) / 4
        piece.box((0.05, width / 2 - 0.07), (depth / 2 - 0.03, depth / 2), (z, z + 0.03), frame)
    return piece


BUILDERS: tuple[Builder, ...] = (
    bed,
    bunk_bed,
    pillow,
    cushion,
)

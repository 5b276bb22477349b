"""Doors, windows and what hangs before them. All stand with their back (y = -depth / 2) against a wall."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.prints import VIEWS
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x
from rgbd3d.data.synthrooms.style import Style


def door(rng: np.random.Generator, style: Style) -> Furniture:
    """A closed door in its frame: flush, panelled, glazed, or a double door."""
    double = chance(rng, 0.12)
    leaf = uniform(rng, 0.62, 0.72) if double else uniform(rng, 0.74, 0.95)
    opening, tall = leaf * (2 if double else 1), uniform(rng, 1.98, 2.1)
    piece = Furniture("door", opening + 0.16, 0.1, tall + 0.08)
    frame = style.frame(rng)
    for side in (-1, 1):
        piece.box(centred(0.08, side * (opening / 2 + 0.04)), (-0.05, 0.03), (0, tall + 0.08), frame)
    piece.box(centred(opening), (-0.05, 0.03), (tall, tall + 0.08), frame)
    skin = frame.shifted(rng) if chance(rng, 0.5) else style.wood(rng)
    design = choose(rng, ("flush", "panels", "glazed"), (0.35, 0.5, 0.15))
    for index in range(2 if double else 1):
        x = (index - 0.5) * leaf if double else 0.0
        _leaf(rng, piece, skin, x, leaf, tall, design)
        grip_side = (1 if index == 0 else -1) if double else choose(rng, (-1, 1))
        _lever(piece, style.metal(rng), x + grip_side * (leaf / 2 - 0.07), grip_side)
    return piece


def _leaf(
    rng: np.random.Generator, piece: Furniture, skin: Material, x: float, width: float, tall: float, design: str
) -> None:
    piece.box(centred(width - 0.006, x), (-0.05, 0.0), (0.006, tall - 0.004), skin)
    if design == "panels":
        rows = choose(rng, ((0.2, 0.9, 1.05, tall - 0.14), (0.18, 0.62, 0.74, 1.28, 1.4, tall - 0.14)))
        columns = 1 if chance(rng, 0.4) else 2
        for column in range(columns):
            panel = (width - 0.24) / columns - 0.03
            center = x + (column - (columns - 1) / 2) * (panel + 0.08)
            for low, high in zip(rows[::2], rows[1::2], strict=True):
                piece.box(centred(panel, center), (0.0, 0.012), (low, high), skin.tinted(0.93).shifted(rng))
    elif design == "glazed":
        pane = Material("paint", (0.45, 0.5, 0.52), 0.5, gloss=0.9)
        piece.box(centred(width - 0.26, x), (0.0, 0.006), (1.0 if chance(rng, 0.5) else 0.25, tall - 0.15), pane)


def _lever(piece: Furniture, metal: Material, x: float, side: int) -> None:
    piece.box(centred(0.035, x), (0.0, 0.012), (0.94, 1.1), metal)
    piece.box((x - 0.11, x + 0.01) if side > 0 else (x - 0.01, x + 0.11), (0.03, 0.046), (1.04, 1.06), metal)


def window(
    rng: np.random.Generator, style: Style, width: float | None = None, height: float | None = None
) -> Furniture:
    """A window with a bright view, divided by bars, on a sill; the sill is the lowest 4 cm."""
    width, height = width or uniform(rng, 0.8, 1.9), height or uniform(rng, 0.9, 1.5)
    piece = Furniture("window", width + 0.1, 0.16, height)
    frame = style.frame(rng) if chance(rng, 0.7) else style.white(rng)
    view = Material(choose(rng, VIEWS), (1.0, 1.0, 1.0), emission=uniform(rng, 1.2, 2.4), fit=True)
    low = 0.04
    piece.box(centred(width), (-0.08, -0.05), (low, height), view)
    rail = uniform(rng, 0.045, 0.07)
    for side in (-1, 1):
        piece.box(centred(rail, side * (width - rail) / 2), (-0.08, 0.0), (low, height), frame)
    piece.box(centred(width), (-0.08, 0.0), (low, low + rail), frame)
    piece.box(centred(width), (-0.08, 0.0), (height - rail, height), frame)
    columns, rows = choose(rng, ((1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 3)), (0.15, 0.35, 0.15, 0.15, 0.12, 0.08))
    for column in range(1, columns):
        x = -width / 2 + width * column / columns
        piece.box(centred(0.03, x), (-0.07, -0.02), (low, height), frame)
    for row in range(1, rows):
        z = low + (height - low) * row / rows
        piece.box(centred(width), (-0.07, -0.02), (z - 0.015, z + 0.015), frame)
    return piece.box(centred(width + 0.1), (-0.08, 0.08), (0.0, low), frame)


def curtain(
    rng: np.random.Generator, style: Style, width: float | None = None, height: float | None = None
) -> Furniture:
    """One curtain, gathered in folds and hanging down to z = 0."""
    width, height = width or uniform(rng, 0.25, 0.6), height or uniform(rng, 1.2, 2.3)
    cloth = style.fabric(rng, accent=0.3, patterned=0.3) if chance(rng, 0.7) else style.linen(rng)
    return hanging_cloth(rng, "curtain", width, height, cloth)


def hanging_cloth(rng: np.random.Generator, label: str, width: float, height: float, cloth: Material) -> Furniture:
    """Cloth in upright folds before a flat sheet, 0.14 m deep."""
    piece = Furniture(label, width, 0.14, height)
    smooth = replace(cloth, scale=min(cloth.scale, 1.2))
    folds = max(3, round(width / uniform(rng, 0.07, 0.13)))
    pitch = width / folds
    piece.box(centred(width), (-0.012, 0.012), (0, height), smooth)
    for fold in range(folds):
        x = -width / 2 + (fold + 0.5) * pitch
        radius = (pitch * 0.5, uniform(rng, 0.03, 0.05))
        piece.cylinder(x, 0.018 * (-1) ** fold, (0, height), radius, smooth)
    return piece


def blinds(
    rng: np.random.Generator, style: Style, width: float | None = None, height: float | None = None
) -> Furniture:
    """Venetian slats, a roller or a pleated Roman blind; the rail is at the top."""
    width, height = width or uniform(rng, 0.8, 1.6), height or uniform(rng, 0.5, 1.2)
    piece = Furniture("blinds", width, 0.08, height)
    design = choose(rng, ("slats", "roller", "roman"), (0.6, 0.2, 0.2))
    skin = style.white(rng) if chance(rng, 0.6) else style.surface(rng)
    piece.box(centred(width), centred(0.06), (height - 0.05, height), skin)
    if design == "slats":
        count = max(5, int(height / 0.06))
        tilt = rotation_x(uniform(rng, 0.2, 1.1))
        for slat in range(count):
            z = 0.02 + (height - 0.08) * (slat + 0.5) / count
            piece.add(Shape.BOX, (0, 0, z), (width / 2 - 0.01, 0.024, 0.002), skin, tilt)
        return piece
    cloth = style.linen(rng) if chance(rng, 0.6) else style.fabric(rng)
    if design == "roller":
        piece.add(Shape.BOX, (0, 0, height / 2), (width / 2 - 0.02, 0.003, height / 2 - 0.01), cloth)
        return piece.box(centred(width - 0.04), centred(0.02), (0, 0.025), skin)
    folds = max(3, int(height / 0.18))
    for fold in range(folds):
        z = height * (fold + 0.5) / folds
        lean = math.radians(6)
        piece.add(Shape.BOX, (0, 0, z), (width / 2 - 0.01, 0.012, height / folds / 2 - 0.002), cloth, rotation_x(lean))
    return piece


BUILDERS: tuple[Builder, ...] = (
    door,
    window,
    curtain,
    blinds,
)

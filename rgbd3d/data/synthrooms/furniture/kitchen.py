"""Kitchen units and appliances."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import FRONT_DEPTH, Builder, centred, fronts
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape
from rgbd3d.data.synthrooms.style import Style

_SINK = 1
_STOVE = 2


def counter(rng: np.random.Generator, style: Style) -> Furniture:
    """Base units under a worktop, often with a sink or a stove let in."""
    width, depth, height = uniform(rng, 1.4, 2.8), uniform(rng, 0.58, 0.66), uniform(rng, 0.86, 0.94)
    piece = Furniture("counter", width, depth, height + 0.26, top=height)
    body, worktop = style.surface(rng), style.stone(rng) if chance(rng, 0.75) else style.wood(rng)
    back, front = -depth / 2, depth / 2 - FRONT_DEPTH
    piece.box(centred(width), (back, front - 0.04), (0, 0.1), body.tinted(0.5), "cabinet")
    piece.box(centred(width), (back, front), (0.1, height - 0.04), body, "cabinet")
    _unit_fronts(rng, piece, body, style.metal(rng), height)
    piece.box(centred(width), centred(depth), (height - 0.04, height), worktop)
    if chance(rng, 0.4):
        piece.box(centred(width), (back, back + 0.015), (height, height + 0.1), worktop)
    if chance(rng, 0.65):
        _let_in_sink(piece, style.steel(rng), uniform(rng, -width / 4, width / 4), height)
    elif chance(rng, 0.5):
        _hob(piece, style.black(rng, 0.7), uniform(rng, -width / 4, width / 4), height)
    return piece


def _unit_fronts(rng: np.random.Generator, piece: Furniture, body: Material, fitting: Material, height: float) -> None:
    """Doors over the whole width, often below a row of drawers; they belong to the cabinet, not the worktop."""
    first = len(piece.parts)
    columns = max(2, round(piece.width / 0.5))
    split = height - 0.05
    if chance(rng, 0.5):
        split -= 0.17
        fronts(rng, piece, columns, 1, (split, height - 0.05), body, fitting, "drawers")
    fronts(rng, piece, columns, 1, (0.11, split), body, fitting, "doors")
    for part in piece.parts[first:]:
        part.label = "cabinet"


def _let_in_sink(piece: Furniture, steel: Material, x: float, top: float) -> None:
    bowl = Material("metal", (0.12, 0.12, 0.12), 1.0, 0.6)
    piece.box(centred(0.6, x), (-0.2, 0.22), (top, top + 0.01), steel, "sink", _SINK)
    piece.box(centred(0.5, x), (-0.14, 0.18), (top + 0.008, top + 0.0125), bowl, "sink", _SINK)
    piece.cylinder(x, -0.23, (top, top + 0.24), 0.014, steel, "sink", _SINK)
    piece.add(Shape.BOX, (x, -0.14, top + 0.24), (0.012, 0.1, 0.01), steel, label="sink", instance=_SINK)
    piece.cylinder(x, -0.05, (top + 0.18, top + 0.24), 0.012, steel, "sink", _SINK)


def _hob(piece: Furniture, glass: Material, x: float, top: float) -> None:
    piece.box(centred(0.58, x), centred(0.5), (top, top + 0.008), glass, "otherfurniture", _STOVE)
    for dx in (-0.15, 0.15):
        for y in (-0.12, 0.12):
            piece.cylinder(x + dx, y, (top + 0.006, top + 0.012), 0.08, glass.tinted(3.0), "otherfurniture", _STOVE)


def wall_cabinet(rng: np.random.Generator, style: Style) -> Furniture:
    """A row of cupboards to hang above a counter."""
    width, depth, height = uniform(rng, 0.8, 2.2), uniform(rng, 0.32, 0.38), uniform(rng, 0.55, 0.8)
    piece = Furniture("cabinet", width, depth, height)
    body = style.surface(rng)
    piece.box(centred(width), (-depth / 2, depth / 2 - FRONT_DEPTH), (0, height), body)
    fronts(rng, piece, max(2, round(width / 0.45)), 1, (0.005, height - 0.005), body, style.metal(rng), "doors")
    return piece


def refrigerator(rng: np.random.Generator, style: Style) -> Furniture:
    """Freezer above or below, two doors side by side, or a small one; white, steel or black."""
    design = choose(rng, ("freezer_below", "freezer_above", "side_by_side", "small"), (0.35, 0.3, 0.2, 0.15))
    width = uniform(rng, 0.85, 0.95) if design == "side_by_side" else uniform(rng, 0.55, 0.75)
    height = uniform(rng, 0.8, 0.95) if design == "small" else uniform(rng, 1.55, 1.9)
    depth = uniform(rng, 0.62, 0.74)
    piece = Furniture("refrigerator", width, depth, height, top=height if design == "small" else None)
    skin = choose(rng, (style.white(rng, 0.5), style.steel(rng), style.black(rng)), (0.55, 0.33, 0.12))
    grip = style.metal(rng) if chance(rng, 0.6) else skin.tinted(0.85)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.1), (0.02, height), skin.tinted(0.9))
    if design == "side_by_side":
        for side in (-1, 1):
            _fridge_door(piece, skin, grip, sorted((0.0, side * width / 2)), (0.05, height), side * 0.045)
        return piece
    split = {"freezer_below": 0.36, "freezer_above": 0.7, "small": 0.0}[design] * height
    grip_x = width / 2 - 0.06
    _fridge_door(piece, skin, grip, [-width / 2, width / 2], (max(split, 0.03), height), grip_x)
    if split:
        _fridge_door(piece, skin, grip, [-width / 2, width / 2], (0.05, split), grip_x)
    return piece


def _fridge_door(
    piece: Furniture, skin: Material, grip: Material, x: list[float], z: tuple[float, float], grip_x: float
) -> None:
    front = piece.depth / 2 - 0.04
    piece.box((x[0] + 0.004, x[1] - 0.004), (front - 0.055, front), (z[0] + 0.004, z[1] - 0.004), skin)
    middle, half = (z[0] + z[1]) / 2, min(0.25, (z[1] - z[0]) * 0.35)
    piece.box(centred(0.025, grip_x), (front + 0.01, front + 0.035), (middle - half, middle + half), grip)


def stove(rng: np.random.Generator, style: Style) -> Furniture:
    """A free-standing cooker with an oven window and four plates."""
    width, depth, height = uniform(rng, 0.55, 0.76), 0.64, 0.98
    piece = Furniture("otherfurniture", width, depth, height)
    skin = choose(rng, (style.white(rng, 0.5), style.steel(rng), style.black(rng)))
    glass, knob = style.black(rng, 0.8), style.black(rng)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.05), (0, 0.9), skin)
    piece.box(centred(width), (-depth / 2, -depth / 2 + 0.05), (0.9, height), skin)
    piece.box(centred(width * 0.94), (depth / 2 - 0.05, depth / 2 - 0.03), (0.22, 0.74), skin.tinted(0.9))
    piece.box(centred(width * 0.7), (depth / 2 - 0.04, depth / 2 - 0.026), (0.34, 0.62), glass)
    piece.box(centred(width * 0.8), (depth / 2 - 0.02, depth / 2), (0.7, 0.72), style.metal(rng))
    for column in (-1, 1):
        for row in (-1, 1):
            piece.cylinder(column * width * 0.23, row * 0.14, (0.9, 0.915), 0.09, glass)
        for step in (0.12, 0.3):
            piece.ellipsoid((column * step * width, depth / 2 - 0.04, 0.82), (0.02, 0.025, 0.02), knob)
    return piece


def microwave(rng: np.random.Generator, style: Style) -> Furniture:
    """A microwave oven for a worktop."""
    width, depth, height = uniform(rng, 0.44, 0.54), 0.36, uniform(rng, 0.26, 0.32)
    piece = Furniture("otherprop", width, depth, height)
    skin = style.white(rng, 0.4) if chance(rng, 0.5) else style.black(rng)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.01), (0.01, height), skin)
    piece.box(
        (-width * 0.45, width * 0.2), (depth / 2 - 0.012, depth / 2), (0.04, height - 0.03), style.black(rng, 0.8)
    )
    return piece.box(
        (width * 0.27, width * 0.46), (depth / 2 - 0.012, depth / 2 - 0.004), (0.05, height - 0.06), skin.tinted(0.6)
    )


def range_hood(rng: np.random.Generator, style: Style) -> Furniture:
    """An extractor with a flue, to hang above a stove."""
    width, depth, height = uniform(rng, 0.55, 0.8), 0.46, uniform(rng, 0.5, 0.7)
    piece = Furniture("otherstructure", width, depth, height)
    steel = style.steel(rng) if chance(rng, 0.7) else style.white(rng)
    piece.box(centred(width), centred(depth), (0, 0.08), steel)
    piece.box(centred(width * 0.7), (-depth / 2, depth / 2 - 0.1), (0.08, 0.16), steel)
    return piece.box(centred(width * 0.36), (-depth / 2, depth / 2 - 0.2), (0.16, height), steel)


def washing_machine(rng: np.random.Generator, style: Style) -> Furniture:
    """A front-loading washing machine or dryer."""
    width, depth, height = 0.6, 0.6, 0.86
    piece = Furniture("otherfurniture", width, depth, height, top=height)
    skin = style.white(rng, 0.5)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.03), (0.01, height), skin)
    piece.box(
        centred(width - 0.02), (depth / 2 - 0.03, depth / 2 - 0.022), (height - 0.13, height - 0.02), skin.tinted(0.8)
    )
    lid = style.black(rng, 0.8)
    for radius, front, material in ((0.19, 0.01, style.metal(rng)), (0.15, 0.0, lid)):
        center = (0.0, depth / 2 - 0.02 - front, 0.42)
        piece.ellipsoid(center, (radius, 0.02, radius), material)
    return piece


BUILDERS: tuple[Builder, ...] = (
    counter,
    wall_cabinet,
    refrigerator,
    stove,
    microwave,
    range_hood,
    washing_machine,
)

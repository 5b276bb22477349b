"""People, built of ellipsoids: enough to stand in the way."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder
from rgbd3d.data.synthrooms.materials import RGB, Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x, rotation_y
from rgbd3d.data.synthrooms.style import Style

_SKINS: tuple[RGB, ...] = ((0.55, 0.33, 0.24), (0.42, 0.24, 0.16), (0.22, 0.11, 0.07), (0.62, 0.42, 0.33))
_HAIR: tuple[RGB, ...] = ((0.02, 0.015, 0.012), (0.08, 0.045, 0.025), (0.3, 0.2, 0.09), (0.4, 0.39, 0.38))


def person(rng: np.random.Generator, style: Style) -> Furniture:
    """A standing person facing +y, arms hanging or bent."""
    height = uniform(rng, 1.55, 1.88)
    unit = height / 1.75
    piece = Furniture("person", 0.62 * unit, 0.76, height)
    skin = Material("paint", choose(rng, _SKINS), gloss=0.1)
    shirt = style.fabric(rng, accent=0.5, patterned=0.3)
    trousers = style.fabric(rng, accent=0.2, patterned=0.0)
    _head(rng, piece, skin, height, unit)
    piece.ellipsoid((0, 0, 1.22 * unit), (0.2 * unit, 0.12, 0.3 * unit), shirt)
    piece.add(Shape.CYLINDER, (0, 0, 1.1 * unit), (0.16 * unit, 0.105, 0.2 * unit), shirt)
    for side in (-1, 1):
        _leg(piece, trousers, style.black(rng, 0.2), side * 0.09 * unit, unit)
        _arm(rng, piece, skin, shirt, side, unit)
    return piece


def _head(rng: np.random.Generator, piece: Furniture, skin: Material, height: float, unit: float) -> None:
    piece.ellipsoid((0, 0.0, height - 0.14), (0.075, 0.095, 0.12), skin)
    piece.cylinder(0, 0, (height - 0.3, height - 0.2), 0.055, skin)
    hair = Material("carpet", choose(rng, _HAIR), 3.0)
    piece.ellipsoid((0, -0.025, height - 0.11), (0.085, 0.095, 0.11), hair)
    if chance(rng, 0.35):
        piece.ellipsoid((0, -0.06, height - 0.25), (0.09, 0.05, 0.16 * unit), hair)


def _leg(piece: Furniture, trousers: Material, shoe: Material, x: float, unit: float) -> None:
    piece.add(Shape.CYLINDER, (x, 0, 0.49 * unit), (0.075, 0.085, 0.43 * unit), trousers)
    piece.ellipsoid((x, 0.05, 0.04), (0.05, 0.13, 0.04), shoe)


def _arm(rng: np.random.Generator, piece: Furniture, skin: Material, shirt: Material, side: int, unit: float) -> None:
    shoulder = np.array([side * 0.21 * unit, 0.0, 1.42 * unit])
    spread = rotation_y(side * -0.12)
    upper = 0.15 * unit
    piece.ellipsoid(shoulder + spread @ np.array([0, 0, -upper]), (0.05, 0.055, upper * 1.15), shirt, spread)
    elbow = shoulder + spread @ np.array([0, 0, -2 * upper])
    bent = rotation_x(uniform(rng, 0.9, 1.4) if chance(rng, 0.4) else uniform(rng, 0.0, 0.3))
    fore = 0.13 * unit
    piece.ellipsoid(elbow + bent @ np.array([0, 0, -fore]), (0.04, 0.045, fore * 1.15), skin, bent)
    piece.ellipsoid(elbow + bent @ np.array([0, 0, -2.2 * fore]), (0.03, 0.045, 0.06), skin, bent)


BUILDERS: tuple[Builder, ...] = (person,)

"""What the catalogue's builders share: legs, doors and drawers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from rgbd3d.data.synthrooms.draws import chance
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture
from rgbd3d.data.synthrooms.style import Style

Span = tuple[float, float]
Builder = Callable[[np.random.Generator, Style], Furniture]

FRONT_DEPTH = 0.045
"""Metres that doors, drawers and their handles stand out from a carcass."""


def centred(width: float, center: float = 0.0) -> Span:
    """The span of the given width around `center`."""
    return center - width / 2, center + width / 2


def four_legs(
    piece: Furniture,
    height: float,
    thickness: float,
    material: Material,
    inset: float = 0.0,
    turned: bool = False,
) -> None:
    """Legs from the floor up to `height` at the corners of the footprint, `inset` metres inwards; round if `turned`."""
    for side in (-1, 1):
        for end in (-1, 1):
            x = side * (piece.width / 2 - inset - thickness / 2)
            y = end * (piece.depth / 2 - inset - thickness / 2)
            if turned:
                piece.cylinder(x, y, (0, height), thickness / 2, material)
            else:
                piece.box(centred(thickness, x), centred(thickness, y), (0, height), material)


def fronts(
    rng: np.random.Generator,
    piece: Furniture,
    columns: int,
    rows: int,
    z: Span,
    material: Material,
    fitting: Material,
    kind: Literal["doors", "drawers"],
    x: Span | None = None,
) -> None:
    """Covers the front of a carcass that ends `FRONT_DEPTH` behind the piece's front with doors or drawers."""
    left, right = x or centred(piece.width)
    width, height = (right - left) / columns, (z[1] - z[0]) / rows
    back = piece.depth / 2 - FRONT_DEPTH
    bars = chance(rng, 0.5)
    piece.box((left, right), (back, back + 0.005), z, material.tinted(0.3))  # the dark joints around the panels
    for column in range(columns):
        for row in range(rows):
            x0, z0 = left + column * width, z[0] + row * height
            panel = (back, back + 0.02)
            piece.box((x0 + 0.006, x0 + width - 0.006), panel, (z0 + 0.006, z0 + height - 0.006), material.shifted(rng))
            if kind == "drawers":
                _handle(piece, x0 + width / 2, z0 + height / 2, fitting, along="x" if bars else None)
            else:
                opens_right = columns == 1 or column % 2 == 0
                edge = x0 + width - 0.05 if opens_right else x0 + 0.05
                level = z0 + height * (0.5 if height > 1.0 else 0.75)
                _handle(piece, edge, level, fitting, along="z" if bars else None)


def _handle(piece: Furniture, x: float, z: float, fitting: Material, along: Literal["x", "z"] | None) -> None:
    front = piece.depth / 2
    if along is None:
        piece.ellipsoid((x, front - 0.014, z), (0.014, 0.014, 0.014), fitting)
        return
    half_x, half_z = (0.06, 0.006) if along == "x" else (0.006, 0.06)
    piece.box((x - half_x, x + half_x), (front - 0.022, front - 0.006), (z - half_z, z + half_z), fitting)

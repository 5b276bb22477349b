"""Toilets, basins, bathtubs and showers."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import FRONT_DEPTH, Builder, centred, four_legs, fronts
from rgbd3d.data.synthrooms.furniture.openings import hanging_cloth
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x
from rgbd3d.data.synthrooms.style import Style

_BASIN = 1


def toilet(rng: np.random.Generator, style: Style) -> Furniture:
    """A close-coupled or wall-hung toilet with the lid up or down."""
    width, depth = uniform(rng, 0.36, 0.46), uniform(rng, 0.62, 0.74)
    rim = uniform(rng, 0.38, 0.43)
    cistern = chance(rng, 0.8)
    height = rim + uniform(rng, 0.36, 0.44)
    piece = Furniture("toilet", width, depth, height)
    glaze = style.ceramic(rng)
    lid = glaze if chance(rng, 0.8) else style.surface(rng)
    wall = -depth / 2
    bowl_y, bowl = depth * 0.16, (width * 0.46, depth * 0.34)
    if cistern:
        piece.box(centred(width * 0.94), (wall, wall + 0.19), (rim - 0.03, height - 0.03), glaze)
        piece.box(centred(width), (wall, wall + 0.2), (height - 0.03, height), glaze)
        piece.ellipsoid((0, wall + 0.1, height), (0.03, 0.02, 0.008), style.metal(rng))
    else:
        piece.box(centred(0.24), (wall, wall + 0.015), (height - 0.16, height), style.white(rng))
    if cistern or chance(rng, 0.5):
        piece.cylinder(0, bowl_y - 0.06, (0, rim - 0.06), (width * 0.3, depth * 0.27), glaze)
    piece.box(centred(width * 0.62), (wall, bowl_y), (rim - 0.14, rim - 0.01), glaze)
    piece.ellipsoid((0, bowl_y, rim - 0.19), (bowl[0] * 0.96, bowl[1] * 0.96, 0.19), glaze)
    piece.cylinder(0, bowl_y, (rim - 0.06, rim - 0.01), bowl, glaze)
    _seat_and_lid(rng, piece, lid, bowl_y, bowl, rim)
    if chance(rng, 0.3):
        piece.cylinder(width * 0.75, wall + 0.1, (0.0, 0.35), 0.045, style.white(rng), "otherprop", 1)
        piece.width = 2 * (width * 0.75 + 0.045)
    return piece


def _seat_and_lid(
    rng: np.random.Generator, piece: Furniture, lid: Material, y: float, bowl: tuple[float, float], rim: float
) -> None:
    piece.cylinder(0, y, (rim - 0.015, rim + 0.015), bowl, lid)
    if chance(rng, 0.55):
        piece.cylinder(0, y, (rim + 0.015, rim + 0.035), bowl, lid)
        return
    water = Material("paint", (0.28, 0.31, 0.33), gloss=0.9)
    piece.cylinder(0, y + 0.02, (rim + 0.012, rim + 0.018), (bowl[0] * 0.62, bowl[1] * 0.66), water)
    hinge, reach = y - bowl[1] + 0.02, (piece.height - rim) / 2
    piece.add(Shape.CYLINDER, (0, hinge, rim + reach), (bowl[0], reach, 0.012), lid, rotation_x(1.48))


def basin(rng: np.random.Generator, style: Style) -> Furniture:
    """A wash basin on a vanity unit, a pedestal or hung on the wall."""
    width, depth, rim = uniform(rng, 0.5, 0.75), uniform(rng, 0.42, 0.52), uniform(rng, 0.8, 0.88)
    piece = Furniture("sink", width, depth, rim + 0.16)
    glaze = style.ceramic(rng)
    design = choose(rng, ("vanity", "pedestal", "wall"), (0.5, 0.35, 0.15))
    if design == "vanity":
        return _vanity(rng, piece, style, rim)
    if design == "pedestal":
        piece.cylinder(0, -depth * 0.1, (0, rim - 0.1), (0.09, 0.08), glaze)
    piece.box(centred(width), (-depth / 2, depth * 0.2), (rim - 0.09, rim), glaze)
    piece.cylinder(0, 0.0, (rim - 0.1, rim), (width / 2, depth / 2), glaze)
    _bowl_and_tap(piece, glaze, style.metal(rng), 0.0, rim)
    return piece


def _vanity(rng: np.random.Generator, piece: Furniture, style: Style, rim: float) -> Furniture:
    """A cabinet under a top with one basin; the label `sink` covers the top, basin and tap only."""
    piece.width = uniform(rng, 0.6, 1.3)
    width, depth = piece.width, piece.depth
    body = style.surface(rng)
    top = style.ceramic(rng) if chance(rng, 0.5) else style.stone(rng)
    foot = choose(rng, (0.0, 0.1))
    first = len(piece.parts)
    piece.box(centred(width - 0.02), (-depth / 2, depth / 2 - FRONT_DEPTH), (foot, rim - 0.05), body)
    if foot:
        four_legs(piece, foot, 0.05, body, inset=0.02)
    columns = max(1, round(width / 0.4))
    fronts(rng, piece, columns, 1, (foot + 0.02, rim - 0.06), body, style.metal(rng), "doors")
    for part in piece.parts[first:]:
        part.label = "cabinet"
    label = "sink" if width < 0.8 else "counter"
    piece.box(centred(width), centred(depth), (rim - 0.05, rim), top, label)
    _bowl_and_tap(piece, style.ceramic(rng), style.metal(rng), 0.0, rim, instance=_BASIN)
    piece.top = None
    return piece


def _bowl_and_tap(piece: Furniture, glaze: Material, tap: Material, x: float, rim: float, instance: int = 0) -> None:
    half_width, half_depth = min(0.24, piece.width * 0.4), piece.depth * 0.32
    piece.cylinder(x, 0.04, (rim, rim + 0.012), (half_width, half_depth), glaze, "sink", instance)
    inside = (half_width * 0.86, half_depth * 0.86)
    piece.cylinder(x, 0.04, (rim + 0.01, rim + 0.015), inside, glaze.tinted(0.62), "sink", instance)
    y = -piece.depth / 2 + 0.05
    piece.cylinder(x, y, (rim, rim + 0.14), 0.014, tap, "sink", instance)
    piece.box(centred(0.024, x), (y - 0.01, y + 0.13), (rim + 0.13, rim + 0.15), tap, "sink", instance)


def bathtub(rng: np.random.Generator, style: Style) -> Furniture:
    """A built-in or free-standing tub, sometimes with water in it and a tap at its end."""
    width, depth, height = uniform(rng, 1.45, 1.75), uniform(rng, 0.68, 0.82), uniform(rng, 0.48, 0.6)
    piece = Furniture("bathtub", width, depth, height)
    glaze = style.ceramic(rng)
    apron = glaze if chance(rng, 0.8) else style.surface(rng)
    rim = uniform(rng, 0.05, 0.08)
    for side in (-1, 1):
        piece.box(centred(width), centred(rim, side * (depth / 2 - rim / 2)), (height - 0.04, height), glaze)
        piece.box(centred(width), centred(rim * 0.8, side * (depth / 2 - rim / 2)), (0, height - 0.04), apron)
        x = side * (width / 2 - 0.05)
        piece.box(centred(0.1, x), centred(depth), (0, height), glaze)
    piece.box(centred(width - 0.15), centred(depth - 0.08), (0, 0.14), glaze)
    for side in (-1, 1):
        center = (side * (width / 2 - 0.14), 0, 0.16)
        piece.ellipsoid(center, (0.13, depth / 2 - rim, 0.15), glaze)
    if chance(rng, 0.2):
        water = Material("paint", (0.45, 0.58, 0.6), gloss=0.9)
        piece.box(centred(width - 0.15), centred(depth - 0.08), (0.14, height - 0.16), water)
    tap = style.metal(rng)
    piece.box((-width / 2 + 0.02, -width / 2 + 0.2), centred(0.03), (height - 0.03, height), tap)
    return piece


def shower(rng: np.random.Generator, style: Style) -> Furniture:
    """A shower tray with a mixer and a rose on a rail; the curtain, where there is one, covers the front."""
    width, depth, height = uniform(rng, 0.85, 1.1), uniform(rng, 0.8, 0.95), 2.05
    piece = Furniture("otherstructure", width, depth, height)
    piece.box(centred(width), centred(depth), (0, 0.08), style.ceramic(rng))
    metal, back = style.metal(rng), -depth / 2 + 0.03
    piece.cylinder(0, back, (0.95, 2.0), 0.012, metal).box(
        centred(0.2), (back - 0.02, back + 0.04), (1.02, 1.07), metal
    )
    piece.box(centred(0.024), (back, back + 0.22), (1.98, 2.0), metal).cylinder(
        0, back + 0.22, (1.95, 1.975), 0.09, metal
    )
    curtain = shower_curtain(rng, style, width)
    return piece.place(curtain, 0, depth / 2 - curtain.depth / 2, 0.1)


def shower_curtain(rng: np.random.Generator, style: Style, width: float | None = None) -> Furniture:
    """Light plastic or cloth in folds on a rod, 1.9 m high."""
    width = width or uniform(rng, 1.0, 1.5)
    cloth = style.fabric(rng, accent=0.25, patterned=0.5) if chance(rng, 0.5) else style.linen(rng)
    piece = hanging_cloth(rng, "shower_curtain", width, 1.9, cloth)
    rod = (width / 2, 0.01, 0.01)
    return piece.add(Shape.BOX, (0, 0, 1.89), rod, style.metal(rng))


def bath_mat(rng: np.random.Generator, style: Style) -> Furniture:
    """A thick small mat."""
    width, depth = uniform(rng, 0.5, 0.85), uniform(rng, 0.4, 0.55)
    cloth = Material("terry", style.colour(rng, accent=0.4), 2.0).shifted(rng)
    return Furniture("floor_mat", width, depth, 0.02).box(centred(width), centred(depth), (0, 0.02), cloth)


BUILDERS: tuple[Builder, ...] = (
    toilet,
    basin,
    bathtub,
    shower,
    shower_curtain,
    bath_mat,
)

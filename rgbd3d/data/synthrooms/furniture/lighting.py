"""Lamps. Shades and bulbs emit; the light that falls on the room is set up by the scene."""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_y
from rgbd3d.data.synthrooms.style import Style


def _shade(rng: np.random.Generator, style: Style) -> Material:
    """Lampshade cloth, lit from inside in two of three cases."""
    glow = uniform(rng, 0.4, 1.5) if chance(rng, 0.65) else 0.0
    warmth = uniform(rng, 0.6, 0.9)
    tint = (0.9, 0.9 * (0.5 + 0.5 * warmth), 0.9 * warmth * warmth)
    return Material("weave", tint, 1.5, emission=glow).shifted(rng)


def _add_shade(rng: np.random.Generator, piece: Furniture, shade: Material, radius: float, tall: float) -> None:
    """A drum, or a cone built of three drums, ending at the top of the piece."""
    top = piece.height
    if chance(rng, 0.5):
        piece.cylinder(0, 0, (top - tall, top), radius, shade)
        return
    for step in range(3):
        z = (top - tall * (3 - step) / 3, top - tall * (2 - step) / 3)
        piece.cylinder(0, 0, z, radius * (1.0 - 0.18 * step), shade)


def table_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A shade on a vase-like, stacked or slim foot."""
    height, radius = uniform(rng, 0.36, 0.62), uniform(rng, 0.1, 0.17)
    piece = Furniture("lamp", 2 * radius, 2 * radius, height)
    tall = height * uniform(rng, 0.35, 0.45)
    metal = style.metal(rng)
    foot = style.paint(rng, gloss=0.6) if chance(rng, 0.6) else style.surface(rng)
    design = choose(rng, ("vase", "balls", "column", "slim"))
    low = height - tall
    if design == "vase":
        piece.ellipsoid((0, 0, low * 0.45), (radius * 0.6, radius * 0.6, low * 0.45), foot)
    elif design == "balls":
        for ball in range(3):
            size = low / 6
            piece.ellipsoid((0, 0, size * (2 * ball + 1)), (size * 1.1, size * 1.1, size), foot)
    elif design == "column":
        piece.box(centred(radius * 0.7), centred(radius * 0.7), (0, low * 0.85), foot)
    piece.cylinder(0, 0, (0, 0.02), radius * 0.6, metal).cylinder(0, 0, (0, height - tall * 0.3), 0.01, metal)
    _add_shade(rng, piece, _shade(rng, style), radius, tall)
    return piece


def desk_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A jointed arm with a small reflector."""
    piece = Furniture("lamp", 0.5, 0.2, 0.48)
    skin = style.black(rng) if chance(rng, 0.5) else style.paint(rng, gloss=0.5)
    piece.cylinder(-0.13, 0, (0, 0.025), 0.085, skin)
    piece.add(Shape.BOX, (-0.17, 0, 0.17), (0.009, 0.009, 0.16), skin, rotation_y(-0.25))
    piece.add(Shape.BOX, (-0.07, 0, 0.38), (0.009, 0.009, 0.16), skin, rotation_y(1.0))
    glow = Material("paint", (1.0, 0.9, 0.7), emission=uniform(rng, 0.3, 2.0))
    piece.ellipsoid((0.09, 0, 0.41), (0.085, 0.075, 0.05), skin)
    return piece.ellipsoid((0.09, 0, 0.385), (0.055, 0.055, 0.035), glow)


def floor_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A standing lamp: shade on a pole, tripod, or an uplighter bowl."""
    height, radius = uniform(rng, 1.4, 1.8), uniform(rng, 0.15, 0.24)
    piece = Furniture("lamp", 2 * radius, 2 * radius, height)
    metal = style.metal(rng) if chance(rng, 0.7) else style.wood(rng)
    design = choose(rng, ("pole", "tripod", "uplighter"), (0.55, 0.2, 0.25))
    if design == "uplighter":
        piece.cylinder(0, 0, (0, 0.025), radius * 0.8, metal).cylinder(0, 0, (0, height - 0.08), 0.013, metal)
        return piece.ellipsoid((0, 0, height - 0.05), (radius * 0.9, radius * 0.9, 0.05), _shade(rng, style))
    if design == "tripod":
        tall = height - 0.25
        for leg in range(3):
            angle = leg * 2 * math.pi / 3
            foot = np.array([math.cos(angle) * radius * 0.85, math.sin(angle) * radius * 0.85, 0.01])
            _strut(piece, foot, np.array([0.0, 0.0, tall]), metal)
    else:
        piece.cylinder(0, 0, (0, 0.025), radius * 0.75, metal)
    piece.cylinder(0, 0, (0.02 if design == "pole" else height - 0.35, height - 0.1), 0.012, metal)
    _add_shade(rng, piece, _shade(rng, style), radius, uniform(rng, 0.22, 0.34))
    return piece


def _strut(piece: Furniture, start: np.ndarray, end: np.ndarray, material: Material) -> None:
    """A thin rod between two points."""
    axis = (end - start) / np.linalg.norm(end - start)
    side = np.cross(axis, [0.0, 1.0, 0.0] if abs(axis[1]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    rotation = np.stack([side, np.cross(axis, side), axis], axis=1)
    half = (0.014, 0.014, float(np.linalg.norm(end - start)) / 2)
    piece.add(Shape.CYLINDER, (start + end) / 2, half, material, rotation)


def ceiling_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A dome, disc or panel flush with the ceiling; its top (z = height) touches the ceiling."""
    radius = uniform(rng, 0.14, 0.28)
    piece = Furniture("lamp", 2 * radius, 2 * radius, 0.11)
    warmth = uniform(rng, 0.6, 1.0)
    glass = Material("paint", (1.0, 0.75 + 0.25 * warmth, warmth), emission=uniform(rng, 1.5, 3.0))
    design = choose(rng, ("dome", "disc", "panel"))
    if design == "panel":
        piece.box(centred(2 * radius), centred(2 * radius), (0.07, 0.11), style.white(rng))
        return piece.box(centred(1.9 * radius), centred(1.9 * radius), (0.06, 0.08), glass)
    piece.cylinder(0, 0, (0.09, 0.11), radius, style.white(rng) if chance(rng, 0.6) else style.metal(rng))
    if design == "dome":
        return piece.ellipsoid((0, 0, 0.055), (radius * 0.92, radius * 0.92, 0.055), glass)
    return piece.cylinder(0, 0, (0.03, 0.09), radius * 0.95, glass)


def pendant_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A shade or globe on a cord; its top (z = height) touches the ceiling."""
    height, radius = uniform(rng, 0.55, 0.95), uniform(rng, 0.14, 0.26)
    piece = Furniture("lamp", 2 * radius, 2 * radius, height)
    shade = _shade(rng, style)
    piece.cylinder(0, 0, (0.2, height), 0.004, style.black(rng)).cylinder(
        0, 0, (height - 0.03, height), 0.05, style.metal(rng)
    )
    if chance(rng, 0.4):
        return piece.ellipsoid((0, 0, radius * 0.8), (radius * 0.8, radius * 0.8, radius * 0.8), shade)
    return piece.cylinder(0, 0, (0, 0.22), radius, shade)


def wall_lamp(rng: np.random.Generator, style: Style) -> Furniture:
    """A sconce, back at y = -depth / 2."""
    piece = Furniture("lamp", 0.2, 0.22, 0.26)
    piece.box(centred(0.1), (-0.11, -0.09), (0.06, 0.2), style.metal(rng))
    piece.box(centred(0.02), (-0.09, 0.0), (0.1, 0.12), style.metal(rng))
    return piece.cylinder(0, 0.01, (0.08, 0.26), 0.09, _shade(rng, style))


BUILDERS: tuple[Builder, ...] = (
    table_lamp,
    desk_lamp,
    floor_lamp,
    ceiling_lamp,
    pendant_lamp,
    wall_lamp,
)

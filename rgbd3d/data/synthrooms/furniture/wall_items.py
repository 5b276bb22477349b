"""Things that hang on walls, back at y = -depth / 2."""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.prints import ART
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x
from rgbd3d.data.synthrooms.style import Style


def picture(rng: np.random.Generator, style: Style) -> Furniture:
    """A framed photograph or painting, with or without a mat, a poster, or a bare canvas."""
    width, height = uniform(rng, 0.2, 1.1), uniform(rng, 0.2, 0.85)
    piece = Furniture("picture", width, 0.04, height)
    fade = uniform(rng, 0.7, 1.0)
    image = Material(choose(rng, ART), (fade, fade, fade), gloss=0.2, fit=True)
    design = choose(rng, ("framed", "mat", "canvas", "poster"), (0.4, 0.25, 0.2, 0.15))
    if design == "canvas":
        return piece.box(centred(width), (-0.02, 0.01), (0, height), image)
    if design == "poster":
        sheet = Material("poster", (fade, fade, fade), fit=True)
        return piece.box(centred(width), (-0.02, -0.014), (0, height), sheet)
    _rectangular_frame(piece, style.surface(rng), uniform(rng, 0.015, 0.045))
    border = uniform(rng, 0.015, 0.045)
    if design == "mat":
        piece.box(centred(width - border), (-0.02, 0.006), (border / 2, height - border / 2), style.white(rng, 0.1))
        border += 0.3 * min(width, height)
    return piece.box(centred(width - border), (-0.02, 0.01), (border / 2, height - border / 2), image)


def _rectangular_frame(piece: Furniture, frame: Material, rail: float) -> None:
    """Four rails around the piece's front, standing proud of whatever they hold."""
    y = (-piece.depth / 2, piece.depth / 2)
    for side in (-1, 1):
        piece.box(centred(rail, side * (piece.width - rail) / 2), y, (0, piece.height), frame)
    piece.box(centred(piece.width - 2 * rail), y, (0, rail), frame)
    piece.box(centred(piece.width - 2 * rail), y, (piece.height - rail, piece.height), frame)


def mirror(rng: np.random.Generator, style: Style) -> Furniture:
    """A framed or frameless mirror, rectangular or oval."""
    width, height = uniform(rng, 0.4, 1.0), uniform(rng, 0.5, 1.3)
    piece = Furniture("mirror", width, 0.04, height)
    glass = Material("paint", (0.85, 0.87, 0.87), mirror=1.0)
    design = choose(rng, ("framed", "bare", "oval"), (0.6, 0.2, 0.2))
    if design == "oval":
        quarter = rotation_x(math.pi / 2)
        middle = height / 2
        piece.add(Shape.CYLINDER, (0, -0.008, middle), (width / 2, height / 2, 0.012), style.surface(rng), quarter)
        inner = (width / 2 - 0.03, height / 2 - 0.03, 0.016)
        return piece.add(Shape.CYLINDER, (0, -0.004, middle), inner, glass, quarter)
    rail = 0.0
    if design == "framed":
        rail = uniform(rng, 0.02, 0.07)
        _rectangular_frame(piece, style.surface(rng), rail)
    return piece.box(centred(width - 2 * rail), (-0.02, 0.0), (rail, height - rail), glass)


def whiteboard(rng: np.random.Generator, style: Style) -> Furniture:
    """A whiteboard with a pen tray, now and then scribbled on."""
    width, height = uniform(rng, 0.9, 2.0), uniform(rng, 0.7, 1.2)
    piece = Furniture("whiteboard", width, 0.1, height)
    metal = style.metal(rng)
    back = -0.05
    piece.box(centred(width), (back, back + 0.022), (0.03, height), metal)
    white = Material("paint", (0.84, 0.85, 0.87), 0.6, 0.5).shifted(rng)
    piece.box(centred(width - 0.04), (back, back + 0.026), (0.05, height - 0.02), white)
    for _ in range(int(rng.integers(0, 6))):
        ink = Material("paint", choose(rng, ((0.04, 0.06, 0.2), (0.3, 0.03, 0.03), (0.03, 0.03, 0.03))))
        x, z = uniform(rng, -0.4, 0.4) * width, height * uniform(rng, 0.2, 0.85)
        length, y = uniform(rng, 0.05, 0.2), (back, back + 0.0275)
        piece.box(centred(min(length, width / 6), x), y, (z, z + uniform(rng, 0.006, 0.012)), ink)
    return piece.box(centred(min(0.6, width * 0.6)), (back, 0.05), (0.0, 0.03), metal)


def pin_board(rng: np.random.Generator, style: Style) -> Furniture:
    """A cork board with sheets of paper."""
    width, height = uniform(rng, 0.5, 1.1), uniform(rng, 0.4, 0.8)
    piece = Furniture("otherprop", width, 0.04, height)
    cork = Material("cardboard", (0.42, 0.26, 0.13), 1.5).shifted(rng)
    piece.box(centred(width), (-0.02, 0.0), (0, height), cork)
    for index in range(int(rng.integers(2, 6))):
        wide, tall = uniform(rng, 0.1, 0.22), uniform(rng, 0.12, 0.28)
        x, z = uniform(rng, -0.5, 0.5) * (width - wide), uniform(rng, 0.02, height - tall - 0.02)
        front = 0.004 + 0.001 * index
        piece.box(centred(wide, x), (-0.01, front), (z, z + tall), _sheet(rng), "paper", index + 1)
    return piece


def _sheet(rng: np.random.Generator) -> Material:
    return Material(choose(rng, ("document", "poster")), (0.9, 0.9, 0.88), fit=True)


def wall_papers(rng: np.random.Generator, style: Style) -> Furniture:
    """A calendar or a few sheets taped to the wall."""
    count = int(rng.integers(1, 4))
    piece = Furniture("paper", 0.26 * count, 0.01, 0.32)
    for index in range(count):
        x = (index - (count - 1) / 2) * 0.26
        low = uniform(rng, 0.0, 0.03)
        piece.box(centred(0.21, x), (-0.005, 0.0), (low, low + 0.29), _sheet(rng), instance=index)
    return piece


def clock(rng: np.random.Generator, style: Style) -> Furniture:
    """A round wall clock showing some time."""
    size = uniform(rng, 0.22, 0.36)
    piece = Furniture("otherprop", size, 0.05, size)
    quarter = rotation_x(math.pi / 2)
    middle, radius = size / 2, size / 2
    piece.add(Shape.CYLINDER, (0, -0.005, middle), (radius, radius, 0.02), style.surface(rng), quarter)
    piece.add(Shape.CYLINDER, (0, 0.0, middle), (radius * 0.88, radius * 0.88, 0.018), style.white(rng), quarter)
    ink = style.black(rng)
    piece.box((0.0, radius * uniform(rng, 0.3, 0.5)), (0.01, 0.022), centred(0.01, middle), ink)
    return piece.box(centred(0.008), (0.01, 0.022), (middle, middle + radius * 0.7), ink)


def radiator(rng: np.random.Generator, style: Style) -> Furniture:
    """A ribbed or flat radiator standing before the wall."""
    width, height = uniform(rng, 0.5, 1.3), uniform(rng, 0.5, 0.75)
    piece = Furniture("otherfurniture", width, 0.12, height)
    enamel = style.white(rng, 0.3)
    if chance(rng, 0.4):
        return piece.box(centred(width), centred(0.08), (0.1, height), enamel)
    ribs = max(6, int(width / 0.07))
    for rib in range(ribs):
        x = -width / 2 + (rib + 0.5) * width / ribs
        piece.box(centred(width / ribs * 0.6, x), centred(0.1), (0.1, height), enamel)
    return piece.box(centred(width * 0.98), centred(0.04), (0.14, height - 0.05), enamel)


def fireplace(rng: np.random.Generator, style: Style) -> Furniture:
    """A mantel around a dark hearth."""
    width, depth, height = uniform(rng, 1.2, 1.6), 0.36, uniform(rng, 1.05, 1.25)
    piece = Furniture("otherstructure", width, depth, height, top=height)
    brick = choose(rng, (Material("brick", (0.4, 0.2, 0.14), 0.7), style.stone(rng), style.white(rng)))
    soot = Material("plaster", (0.02, 0.02, 0.02))
    for side in (-1, 1):
        piece.box(centred(0.28, side * (width / 2 - 0.16)), (-depth / 2, depth / 2 - 0.06), (0, height - 0.06), brick)
    piece.box(centred(width - 0.04), (-depth / 2, depth / 2 - 0.06), (height - 0.32, height - 0.06), brick.shifted(rng))
    piece.box(centred(width - 0.5), (-depth / 2, -depth / 2 + 0.02), (0, height - 0.3), soot)
    return piece.box(centred(width), centred(depth), (height - 0.06, height), style.surface(rng))


BUILDERS: tuple[Builder, ...] = (
    picture,
    mirror,
    whiteboard,
    pin_board,
    wall_papers,
    clock,
    radiator,
    fireplace,
)

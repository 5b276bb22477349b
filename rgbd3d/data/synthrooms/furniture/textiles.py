"""Towels, clothes, rugs and bags."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.prints import RUGS
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x, rotation_y, rotation_z
from rgbd3d.data.synthrooms.style import Style


def _terry(rng: np.random.Generator, style: Style) -> Material:
    shade = style.linen(rng).tint if chance(rng, 0.45) else style.colour(rng, accent=0.6)
    return Material("terry", shade, uniform(rng, 0.8, 1.6)).shifted(rng)


def towel_rail(rng: np.random.Generator, style: Style) -> Furniture:
    """One or two towels folded over a rail on the wall."""
    width, height = uniform(rng, 0.4, 0.75), uniform(rng, 0.45, 0.8)
    piece = Furniture("towel", width, 0.12, height)
    metal = style.metal(rng)
    rod_z = height - 0.02
    piece.add(Shape.CYLINDER, (0, 0.02, rod_z), (0.01, 0.01, width / 2), metal, rotation_y(math.pi / 2), "otherprop")
    for side in (-1, 1):
        piece.box(centred(0.02, side * (width / 2 - 0.01)), (-0.06, 0.03), (rod_z - 0.01, height), metal, "otherprop")
    count = 2 if width > 0.6 and chance(rng, 0.6) else 1
    for index in range(count):
        cloth = _terry(rng, style)
        wide = width / count * uniform(rng, 0.65, 0.85)
        x = (index - (count - 1) / 2) * width / count
        drop = height * uniform(rng, 0.0, 0.3)
        piece.box(centred(wide, x), (0.03, 0.045), (drop, rod_z), cloth, instance=index)
        piece.box(centred(wide * 0.97, x), (-0.005, 0.01), (drop + 0.06, rod_z), cloth, instance=index)
        over = (wide / 2, 0.025, 0.018)
        piece.ellipsoid((x, 0.02, rod_z), over, cloth, instance=index)
    return piece


def towel_hook(rng: np.random.Generator, style: Style) -> Furniture:
    """A towel or bath robe falling in folds from a hook."""
    height = uniform(rng, 0.55, 1.0)
    piece = Furniture("towel", 0.34, 0.14, height)
    cloth = _terry(rng, style)
    piece.ellipsoid((0, -0.03, height - 0.03), (0.02, 0.04, 0.02), style.metal(rng), label="otherprop")
    folds = int(rng.integers(3, 5))
    for fold in range(folds):
        x = (fold - (folds - 1) / 2) * 0.24 / folds
        low = uniform(rng, 0.0, 0.08)
        lean = rotation_y(-x * 0.6)
        center = (x, -0.01 + 0.015 * (fold % 2), (low + height) / 2 - 0.02)
        piece.add(Shape.CYLINDER, center, (0.045, 0.04, (height - low) / 2 - 0.03), cloth, lean)
    return piece.ellipsoid((0, -0.01, height - 0.1), (0.09, 0.05, 0.09), cloth)


def towel_stack(rng: np.random.Generator, style: Style) -> Furniture:
    """Folded towels on top of each other."""
    layers = int(rng.integers(2, 5))
    piece = Furniture("towel", 0.38, 0.28, 0.065 * layers)
    for layer in range(layers):
        cloth = _terry(rng, style)
        wide, deep = uniform(rng, 0.3, 0.37), uniform(rng, 0.2, 0.25)
        low = layer * 0.065
        piece.box(centred(wide), centred(deep), (low, low + 0.06), cloth)
        fold = (wide / 2, 0.012, 0.03)
        piece.ellipsoid((0, deep / 2, low + 0.03), fold, cloth)
    return piece


def clothes_pile(rng: np.random.Generator, style: Style) -> Furniture:
    """Garments dropped on a heap."""
    piece = Furniture("clothes", 0.65, 0.6, 0.26)
    for index in range(int(rng.integers(2, 6))):
        cloth = style.fabric(rng, accent=0.45, patterned=0.35)
        middle = np.array([uniform(rng, -0.07, 0.07), uniform(rng, -0.04, 0.04), 0.05 + 0.026 * index])
        turn = rotation_z(uniform(rng, -math.pi, math.pi))
        body = (uniform(rng, 0.14, 0.2), uniform(rng, 0.1, 0.14), 0.035)
        piece.ellipsoid(middle, body, cloth, turn @ rotation_x(uniform(rng, -0.08, 0.08)))
        piece.add(Shape.BOX, middle, (body[0] * 0.66, body[1] * 0.66, 0.022), cloth, turn)
        for side in (-1, 1):
            sleeve = middle + turn @ np.array([side * body[0] * 0.7, side * 0.04, -0.01])
            bent = turn @ rotation_z(uniform(rng, -0.9, 0.9))
            piece.ellipsoid(sleeve, (uniform(rng, 0.08, 0.12), 0.04, 0.028), cloth, bent)
    return piece


def folded_clothes(rng: np.random.Generator, style: Style) -> Furniture:
    """A tidy stack of shirts and trousers."""
    layers = int(rng.integers(2, 7))
    piece = Furniture("clothes", 0.36, 0.3, 0.035 * layers)
    for layer in range(layers):
        wide, deep = uniform(rng, 0.25, 0.34), uniform(rng, 0.2, 0.28)
        cloth = style.fabric(rng, accent=0.5, patterned=0.35)
        piece.box(centred(wide), centred(deep), (layer * 0.035, layer * 0.035 + 0.033), cloth)
    return piece


def hanging_clothes(rng: np.random.Generator, style: Style) -> Furniture:
    """Coats and shirts on wall hooks under a board."""
    count = int(rng.integers(2, 5))
    width, height = 0.26 * count + 0.06, uniform(rng, 0.75, 1.1)
    piece = Furniture("clothes", width, 0.24, height)
    board = style.surface(rng)
    piece.box(centred(width), (-0.12, -0.1), (height - 0.1, height), board, "otherfurniture")
    for index in range(count):
        x = (index - (count - 1) / 2) * 0.26
        _garment(rng, piece, style, x, -0.02, height - 0.06, height * uniform(rng, 0.55, 0.9), 0.12, index)
    return piece


def clothes_rack(rng: np.random.Generator, style: Style) -> Furniture:
    """A rail on a stand with garments side by side."""
    width, depth, height = uniform(rng, 0.9, 1.3), 0.5, uniform(rng, 1.45, 1.7)
    piece = Furniture("otherfurniture", width, depth, height)
    metal = style.metal(rng)
    for side in (-1, 1):
        x = side * (width / 2 - 0.02)
        piece.cylinder(x, 0, (0.02, height), 0.014, metal).box(centred(0.03, x), centred(depth), (0, 0.025), metal)
    along = rotation_y(math.pi / 2)
    piece.add(Shape.CYLINDER, (0, 0, height - 0.015), (0.013, 0.013, width / 2), metal, along)
    count = int(rng.integers(6, 12))
    for index in range(count):
        x = (index - (count - 1) / 2) * (width - 0.2) / count
        drop = height * uniform(rng, 0.45, 0.7)
        cloth = style.fabric(rng, accent=0.5, patterned=0.3)
        top = height - 0.1
        half = ((width - 0.2) / count * 0.48, uniform(rng, 0.17, 0.22), drop / 2)
        piece.add(
            Shape.BOX, (x, 0, top - drop / 2), half, cloth, rotation_z(uniform(rng, -0.1, 0.1)), "clothes", index + 1
        )
        piece.ellipsoid((x, 0, top), (half[0], half[1], 0.05), cloth, None, "clothes", index + 1)
    return piece


def _garment(
    rng: np.random.Generator,
    piece: Furniture,
    style: Style,
    x: float,
    y: float,
    top: float,
    length: float,
    half_width: float,
    instance: int,
) -> None:
    """A coat seen from the front: shoulders, body, two sleeves."""
    cloth = style.fabric(rng, accent=0.4, patterned=0.3)
    low = max(0.0, top - length)
    middle = (top + low) / 2
    body = (half_width * 0.8, 0.06, (top - low) / 2 - 0.03)
    piece.add(Shape.CYLINDER, (x, y, middle - 0.02), body, cloth, instance=instance)
    piece.ellipsoid((x, y, top - 0.07), (half_width, 0.065, 0.07), cloth, instance=instance)
    for side in (-1, 1):
        arm = length * 0.35
        center = (x + side * half_width * 0.86, y + 0.02, top - 0.07 - arm)
        piece.add(Shape.CYLINDER, center, (0.035, 0.045, arm), cloth, rotation_y(-side * 0.05), instance=instance)


def rug(rng: np.random.Generator, style: Style) -> Furniture:
    """A woven or plain carpet on the floor."""
    width, depth = uniform(rng, 1.3, 2.6), uniform(rng, 0.9, 1.8)
    piece = Furniture("floor_mat", width, depth, 0.012)
    if chance(rng, 0.6):
        fade = uniform(rng, 0.75, 1.0)
        weave = Material(choose(rng, RUGS), (fade, fade, fade), fit=True)
    else:
        weave = replace(style.fabric(rng, patterned=0.3), texture="carpet", scale=0.9, gloss=0.0)
    return piece.box(centred(width), centred(depth), (0, 0.012), weave)


def backpack(rng: np.random.Generator, style: Style) -> Furniture:
    """A school bag with a front pocket and straps."""
    width, depth, height = uniform(rng, 0.28, 0.38), uniform(rng, 0.2, 0.28), uniform(rng, 0.38, 0.5)
    piece = Furniture("bag", width, depth, height)
    cloth = replace(style.fabric(rng, accent=0.5, patterned=0.1), scale=2.0)
    piece.ellipsoid((0, 0, height / 2), (width / 2, depth * 0.36, height / 2), cloth)
    piece.box(centred(width * 0.82), centred(depth * 0.5), (0, height * 0.75), cloth)
    pocket = (0, depth * 0.28, height * 0.3)
    piece.ellipsoid(pocket, (width * 0.36, depth * 0.2, height * 0.22), cloth.tinted(0.8))
    for side in (-1, 1):
        piece.box(
            centred(0.04, side * width * 0.25),
            (-depth / 2, -depth / 2 + 0.04),
            (0.06, height * 0.85),
            cloth.tinted(0.6),
        )
    return piece


def handbag(rng: np.random.Generator, style: Style) -> Furniture:
    """A tote or shopping bag standing upright."""
    width, depth, height = uniform(rng, 0.3, 0.45), uniform(rng, 0.12, 0.2), uniform(rng, 0.34, 0.5)
    piece = Furniture("bag", width, depth, height)
    paper = Material("cardboard", (0.4, 0.26, 0.14), 1.2).shifted(rng)
    skin = paper if chance(rng, 0.3) else replace(style.fabric(rng, accent=0.5), texture="leather")
    body = height * 0.66
    piece.box(centred(width * 0.94), centred(depth * 0.9), (0, body), skin)
    for end in (-1, 1):
        y = end * depth * 0.35
        for side in (-1, 1):
            piece.box(centred(0.018, side * width * 0.2), centred(0.01, y), (body, height), skin.tinted(0.7))
        piece.box(centred(width * 0.42), centred(0.01, y), (height - 0.018, height), skin.tinted(0.7))
    return piece


def suitcase(rng: np.random.Generator, style: Style) -> Furniture:
    """An upright suitcase on castors."""
    width, depth, height = uniform(rng, 0.36, 0.5), uniform(rng, 0.22, 0.3), uniform(rng, 0.56, 0.78)
    piece = Furniture("bag", width, depth, height + 0.08)
    shell = style.black(rng) if chance(rng, 0.4) else style.paint(rng, gloss=0.4)
    piece.box(centred(width), centred(depth), (0.05, height), shell)
    for side in (-1, 1):
        piece.box(centred(0.03, side * (width / 2 - 0.04)), centred(depth - 0.04), (0, 0.05), style.black(rng))
        piece.box(centred(0.015, side * width * 0.2), centred(0.015, -depth * 0.3), (height, height + 0.07), shell)
    return piece.box(centred(width * 0.4 + 0.015), centred(0.02, -depth * 0.3), (height + 0.06, height + 0.08), shell)


BUILDERS: tuple[Builder, ...] = (
    towel_rail,
    towel_hook,
    towel_stack,
    clothes_pile,
    folded_clothes,
    hanging_clothes,
    clothes_rack,
    rug,
    backpack,
    handbag,
    suitcase,
)

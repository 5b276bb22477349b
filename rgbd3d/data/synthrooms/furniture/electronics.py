"""Televisions, computers and their kin."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.common import Builder, centred
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.prints import ART
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x
from rgbd3d.data.synthrooms.style import Style


def _display(rng: np.random.Generator, on: float, desktop: float) -> Material:
    """A dark glossy panel, or with probability `on` a lit one that shows a desktop or a film."""
    if not chance(rng, on):
        return Material("paint", (0.012, 0.012, 0.014), gloss=0.9)
    texture = "screen" if chance(rng, desktop) else choose(rng, ART)
    return Material(texture, (1.0, 1.0, 1.05), gloss=0.3, emission=uniform(rng, 0.5, 1.1), fit=True)


def _panel(piece: Furniture, low: float, case: Material, display: Material, y: float = 0.0) -> None:
    bezel = 0.018
    piece.box(centred(piece.width), (y - 0.03, y + 0.012), (low, piece.height), case)
    screen = (low + bezel, piece.height - bezel)
    piece.box(centred(piece.width - 2 * bezel), (y, y + 0.016), screen, display)


def tv(rng: np.random.Generator, style: Style) -> Furniture:
    """A flat television on its foot, seldom an old tube set."""
    if chance(rng, 0.15):
        return _tube_tv(rng, style)
    width = uniform(rng, 0.7, 1.3)
    piece = Furniture("tv", width, 0.26, width * 0.57 + 0.08)
    case = style.black(rng)
    _panel(piece, 0.08, case, _display(rng, 0.35, 0.1))
    piece.box(centred(0.08), (-0.03, 0.0), (0, 0.15), case)
    return piece.box(centred(width * 0.4), centred(0.22), (0, 0.015), case)


def _tube_tv(rng: np.random.Generator, style: Style) -> Furniture:
    width = uniform(rng, 0.5, 0.75)
    piece = Furniture("tv", width, 0.48, width * 0.82)
    case = style.black(rng, 0.2) if chance(rng, 0.6) else style.steel(rng)
    piece.box(centred(width), (0.06, 0.24), (0, piece.height), case)
    piece.box(centred(width * 0.75), (-0.24, 0.06), (0.03, piece.height * 0.85), case)
    center = (0, 0.222, piece.height * 0.54)
    glass = Material("paint", (0.04, 0.045, 0.04), gloss=0.8)
    return piece.add(Shape.BOX, center, (width * 0.42, 0.018, piece.height * 0.38), glass)


def wall_tv(rng: np.random.Generator, style: Style) -> Furniture:
    """A flat television to hang on a wall, back at y = -depth / 2."""
    width = uniform(rng, 0.8, 1.4)
    piece = Furniture("tv", width, 0.08, width * 0.57)
    _panel(piece, 0.0, style.black(rng), _display(rng, 0.35, 0.1), y=0.02)
    return piece.box(centred(0.3), (-0.04, 0.0), centred(0.25, piece.height / 2), style.black(rng))


def monitor(rng: np.random.Generator, style: Style) -> Furniture:
    """A computer display; NYU40 counts it among televisions."""
    width = uniform(rng, 0.42, 0.62)
    piece = Furniture("tv", width, 0.22, width * 0.6 + 0.12)
    case = style.black(rng) if chance(rng, 0.7) else style.steel(rng)
    _panel(piece, 0.12, case, _display(rng, 0.65, 0.8), y=0.02)
    piece.box(centred(0.05), (-0.05, -0.01), (0, 0.2), case)
    return piece.box(centred(0.22), centred(0.18), (0, 0.012), case)


def laptop(rng: np.random.Generator, style: Style) -> Furniture:
    """An open laptop facing +y."""
    width, depth = uniform(rng, 0.31, 0.38), uniform(rng, 0.22, 0.26)
    piece = Furniture("otherprop", width, depth + 0.1, depth)
    case = style.steel(rng) if chance(rng, 0.5) else style.black(rng)
    hinge = -depth / 2 + 0.05
    piece.box(centred(width), (hinge, hinge + depth), (0, 0.018), case)
    keys = Material("keyboard", (1.0, 1.0, 1.0), fit=True)
    piece.box(centred(width * 0.88), (hinge + 0.03, hinge + depth * 0.6), (0.01, 0.021), keys)
    lean = rotation_x(0.28)
    half = depth / 2 * 0.95
    lid = np.array([0.0, hinge, 0.018]) + lean @ np.array([0.0, 0.0, half])
    piece.add(Shape.BOX, lid, (width / 2, 0.005, half), case, lean)
    front = lid + lean @ np.array([0.0, 0.004, 0.0])
    screen = _display(rng, 0.75, 0.8)
    return piece.add(Shape.BOX, front, (width / 2 - 0.012, 0.003, half - 0.012), screen, lean)


def keyboard(rng: np.random.Generator, style: Style) -> Furniture:
    """A computer keyboard with a mouse to its right, as its user sees it."""
    piece = Furniture("otherprop", 0.58, 0.16, 0.04)
    case = style.black(rng, 0.2) if chance(rng, 0.7) else style.white(rng)
    piece.box((-0.16, 0.28), centred(0.15), (0, 0.02), case)
    piece.box((-0.15, 0.27), centred(0.13), (0.01, 0.025), Material("keyboard", (1.0, 1.0, 1.0), fit=True))
    return piece.ellipsoid((-0.24, 0, 0.018), (0.033, 0.055, 0.02), case)


def computer_case(rng: np.random.Generator, style: Style) -> Furniture:
    """A tower on the floor."""
    width, depth, height = 0.2, uniform(rng, 0.4, 0.48), uniform(rng, 0.38, 0.46)
    piece = Furniture("otherprop", width, depth, height)
    case = style.black(rng, 0.2) if chance(rng, 0.7) else style.white(rng)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.012), (0, height), case)
    return piece.box(centred(width * 0.94), (depth / 2 - 0.02, depth / 2), (0.01, height - 0.01), case.tinted(1.6))


def speaker(rng: np.random.Generator, style: Style) -> Furniture:
    """A loudspeaker, small or floor-standing."""
    height = choose(rng, (uniform(rng, 0.2, 0.35), uniform(rng, 0.7, 1.0)))
    piece = Furniture("otherprop", 0.2, 0.24, height)
    skin = style.black(rng, 0.2) if chance(rng, 0.6) else style.wood(rng)
    piece.box(centred(0.2), (-0.12, 0.1), (0, height), skin)
    cone = style.black(rng, 0.1)
    for share, radius in ((0.35, 0.075), (0.75, 0.045)):
        piece.ellipsoid((0, 0.1, height * share), (radius, 0.015, min(radius, height * 0.2)), cone)
    return piece


def printer(rng: np.random.Generator, style: Style) -> Furniture:
    """A desktop printer with a sheet in its tray."""
    width, depth, height = uniform(rng, 0.4, 0.5), 0.42, uniform(rng, 0.2, 0.34)
    piece = Furniture("otherprop", width, depth, height)
    case = style.white(rng) if chance(rng, 0.5) else style.black(rng)
    piece.box(centred(width), (-depth / 2, depth / 2 - 0.08), (0, height), case)
    piece.box(centred(width * 0.7), (depth / 2 - 0.08, depth / 2), (0.06, 0.075), case.tinted(0.8))
    sheet = Material("document", (0.9, 0.9, 0.9), fit=True)
    return piece.box(centred(width * 0.5), (depth / 2 - 0.08, depth / 2 - 0.01), (0.074, 0.08), sheet, "paper", 1)


BUILDERS: tuple[Builder, ...] = (
    tv,
    wall_tv,
    monitor,
    laptop,
    keyboard,
    computer_case,
    speaker,
    printer,
)

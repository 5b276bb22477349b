"""Chairs, armchairs, stools, benches and sofas."""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.data.synthrooms.draws import chance, choose, uniform
from rgbd3d.data.synthrooms.furniture.bedding import cushion
from rgbd3d.data.synthrooms.furniture.common import Builder, centred, four_legs
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Shape, rotation_x, rotation_z
from rgbd3d.data.synthrooms.style import Style


def chair(rng: np.random.Generator, style: Style) -> Furniture:
    """A dining chair: slats, ladder, spindles, panel or a fully upholstered one; sometimes with arms."""
    width, depth, height = uniform(rng, 0.41, 0.52), uniform(rng, 0.42, 0.54), uniform(rng, 0.8, 1.06)
    seat = uniform(rng, 0.43, 0.48)
    frame = style.surface(rng)
    upholstery = style.fabric(rng) if chance(rng, 0.5) else frame
    piece = Furniture("chair", width, depth, height)
    back = choose(rng, (_slats, _ladder, _spindles, _panel, _upholstered_back))
    if back is _upholstered_back:
        upholstery = style.fabric(rng)
    turned = chance(rng, 0.3)
    four_legs(piece, seat - 0.04, uniform(rng, 0.03, 0.045), frame, turned=turned)
    piece.box(centred(width), centred(depth), (seat - 0.045, seat - 0.02), frame)
    _soft_or_hard_seat(piece, seat, upholstery, padded=upholstery is not frame)
    back(piece, seat, frame, upholstery)
    if chance(rng, 0.25):
        _arms(piece, seat, frame)
    return piece


def _soft_or_hard_seat(piece: Furniture, seat: float, material: Material, padded: bool) -> None:
    inset = 0.015 if padded else 0.0
    piece.box(
        centred(piece.width - 2 * inset),
        (-piece.depth / 2 + 0.04, piece.depth / 2 - inset),
        (seat - 0.02, seat),
        material,
    )
    if padded:
        center = (0.0, 0.015, seat)
        piece.ellipsoid(center, (piece.width / 2 - 0.02, piece.depth / 2 - 0.04, 0.025), material)


def _posts(piece: Furniture, seat: float, frame: Material) -> None:
    for side in (-1, 1):
        x = side * (piece.width / 2 - 0.02)
        piece.box(centred(0.035, x), (-piece.depth / 2, -piece.depth / 2 + 0.035), (seat - 0.04, piece.height), frame)


def _slats(piece: Furniture, seat: float, frame: Material, upholstery: Material) -> None:
    _posts(piece, seat, frame)
    back = (-piece.depth / 2 + 0.008, -piece.depth / 2 + 0.026)
    piece.box(centred(piece.width), back, (piece.height - 0.08, piece.height - 0.005), frame)
    for index in range(4):
        x = (index - 1.5) * piece.width / 5
        piece.box(centred(0.03, x), back, (seat + 0.02, piece.height - 0.07), frame)


def _ladder(piece: Furniture, seat: float, frame: Material, upholstery: Material) -> None:
    _posts(piece, seat, frame)
    back = (-piece.depth / 2 + 0.008, -piece.depth / 2 + 0.026)
    step = (piece.height - seat - 0.08) / 3
    for index in range(3):
        top = piece.height - 0.02 - index * step
        piece.box(centred(piece.width), back, (top - 0.07, top), frame)


def _spindles(piece: Furniture, seat: float, frame: Material, upholstery: Material) -> None:
    y = -piece.depth / 2 + 0.025
    for index in range(6):
        x = (index - 2.5) * piece.width / 6.2
        piece.cylinder(x, y, (seat, piece.height - 0.04), 0.01, frame)
    piece.box(centred(piece.width), (y - 0.015, y + 0.015), (piece.height - 0.06, piece.height), frame)


def _panel(piece: Furniture, seat: float, frame: Material, upholstery: Material) -> None:
    _posts(piece, seat, frame)
    back = (-piece.depth / 2 + 0.005, -piece.depth / 2 + 0.03)
    piece.box(centred(piece.width), back, (seat + 0.12, piece.height - 0.01), upholstery)


def _upholstered_back(piece: Furniture, seat: float, frame: Material, upholstery: Material) -> None:
    half = (piece.height - seat) / 2
    center = (0.0, -piece.depth / 2 + 0.06, seat + half)
    piece.add(Shape.BOX, center, (piece.width / 2 - 0.005, 0.03, half - 0.01), upholstery, rotation_x(0.05))


def _arms(piece: Furniture, seat: float, frame: Material) -> None:
    for side in (-1, 1):
        x = side * (piece.width / 2 - 0.02)
        piece.box(centred(0.04, x), (-piece.depth / 2, piece.depth / 2 - 0.05), (seat + 0.19, seat + 0.215), frame)
        piece.box(centred(0.03, x), (piece.depth / 2 - 0.1, piece.depth / 2 - 0.07), (seat - 0.04, seat + 0.19), frame)


def office_chair(rng: np.random.Generator, style: Style) -> Furniture:
    """A swivel chair on five castors, dark more often than not."""
    width, depth, height = 0.6, 0.6, uniform(rng, 0.9, 1.2)
    seat = uniform(rng, 0.44, 0.52)
    cover = style.black(rng, gloss=0.2) if chance(rng, 0.5) else style.fabric(rng)
    base = style.black(rng) if chance(rng, 0.6) else style.metal(rng)
    piece = Furniture("chair", width, depth, height)
    for spoke in range(5):
        angle = spoke * 2 * math.pi / 5
        turn = rotation_z(angle)
        piece.add(Shape.BOX, (math.cos(angle) * 0.14, math.sin(angle) * 0.14, 0.085), (0.14, 0.018, 0.015), base, turn)
        piece.ellipsoid((math.cos(angle) * 0.26, math.sin(angle) * 0.26, 0.035), (0.03, 0.03, 0.035), base)
    piece.cylinder(0, 0, (0.08, seat - 0.04), 0.028, base)
    piece.ellipsoid((0, 0.02, seat - 0.02), (0.25, 0.24, 0.05), cover)
    piece.box(centred(0.4), centred(0.38, 0.02), (seat - 0.05, seat + 0.02), cover)
    half = (height - seat - 0.12) / 2
    piece.add(Shape.BOX, (0, -0.235, height - half - 0.01), (0.21, 0.028, half), cover, rotation_x(0.06))
    piece.box(centred(0.06), (-0.29, -0.26), (seat - 0.02, height - half), base)
    if chance(rng, 0.6):
        for side in (-1, 1):
            piece.box(centred(0.05, side * 0.265), centred(0.26), (seat + 0.19, seat + 0.22), base)
            piece.box(centred(0.03, side * 0.265), centred(0.05), (seat - 0.03, seat + 0.19), base)
    return piece


def stool(rng: np.random.Generator, style: Style) -> Furniture:
    """A low or a bar stool."""
    height = choose(rng, (uniform(rng, 0.42, 0.5), uniform(rng, 0.62, 0.75)))
    size = uniform(rng, 0.32, 0.42)
    frame = style.surface(rng) if chance(rng, 0.6) else style.metal(rng)
    piece = Furniture("chair", size, size, height)
    seat = style.fabric(rng) if chance(rng, 0.4) else frame
    if chance(rng, 0.5):
        piece.cylinder(0, 0, (height - 0.05, height), size / 2, seat)
        piece.cylinder(0, 0, (0.02, height - 0.05), 0.025, frame).cylinder(0, 0, (0, 0.02), size * 0.45, frame)
        return piece
    four_legs(piece, height - 0.04, 0.035, frame, inset=0.01)
    piece.box(centred(size), centred(size), (height - 0.04, height), seat)
    for end in (-1, 1):
        piece.box(centred(size - 0.05), centred(0.02, end * (size / 2 - 0.028)), (0.16, 0.185), frame)
    return piece


def bench(rng: np.random.Generator, style: Style) -> Furniture:
    """A bench or an upholstered ottoman."""
    width, depth, height = uniform(rng, 0.6, 1.3), uniform(rng, 0.34, 0.5), uniform(rng, 0.4, 0.48)
    piece = Furniture("otherfurniture", width, depth, height)
    frame = style.surface(rng)
    if chance(rng, 0.5):
        cloth = style.fabric(rng)
        four_legs(piece, 0.1, 0.05, frame, inset=0.03)
        return piece.box(centred(width), centred(depth), (0.1, height), cloth)
    four_legs(piece, height - 0.04, 0.05, frame, inset=0.02)
    return piece.box(centred(width), centred(depth), (height - 0.04, height), frame)


def armchair(rng: np.random.Generator, style: Style) -> Furniture:
    """A one-seat sofa; NYU40 calls it a chair."""
    piece = _couch(rng, style, "chair", uniform(rng, 0.75, 0.95), seats=1)
    if chance(rng, 0.4):
        piece.place(cushion(rng, style), 0, -piece.depth / 2 + 0.38, 0.46, uniform(rng, -0.3, 0.3))
    return piece


def sofa(rng: np.random.Generator, style: Style) -> Furniture:
    """Two or three seats, now and then with a chaise, with loose cushions and a throw."""
    width = uniform(rng, 1.4, 2.3)
    piece = _couch(rng, style, "sofa", width, seats=2 if width < 1.8 else 3)
    inner = width / 2 - 0.45
    for _ in range(int(rng.integers(0, 5))):
        piece.place(
            cushion(rng, style), uniform(rng, -inner, inner), -piece.depth / 2 + 0.38, 0.46, uniform(rng, -0.5, 0.5)
        )
    if chance(rng, 0.25):
        _throw(piece, style.fabric(rng, accent=0.5), uniform(rng, -inner, inner))
    return piece


def _throw(piece: Furniture, cloth: Material, x: float) -> None:
    """A blanket over the back rest."""
    back = -piece.depth / 2
    piece.box(
        centred(0.5, x), (back, back + 0.215), (piece.height - 0.005, piece.height + 0.012), cloth, "otherprop", 1
    )
    piece.box(centred(0.5, x), (back + 0.2, back + 0.215), (piece.height - 0.3, piece.height), cloth, "otherprop", 1)


def _couch(rng: np.random.Generator, style: Style, label: str, width: float, seats: int) -> Furniture:
    depth, height = uniform(rng, 0.8, 0.95), uniform(rng, 0.74, 0.95)
    arm, seat = uniform(rng, 0.1, 0.22), uniform(rng, 0.38, 0.44)
    arm_height = seat + uniform(rng, 0.1, 0.2)
    cloth = style.fabric(rng)
    piece = Furniture(label, width, depth, height)
    foot = uniform(rng, 0.03, 0.12)
    four_legs(piece, foot, 0.05, style.surface(rng), inset=0.03)
    piece.box(centred(width), centred(depth - 0.02), (foot, seat - 0.12), cloth.shifted(rng))
    piece.box(centred(width), (-depth / 2, -depth / 2 + 0.2), (foot, height), cloth.shifted(rng))
    round_arms = chance(rng, 0.4)
    for side in (-1, 1):
        x = side * (width / 2 - arm / 2)
        piece.box(centred(arm, x), centred(depth - 0.01), (foot, arm_height - (arm / 2 if round_arms else 0)), cloth)
        if round_arms:
            half = (arm / 2, arm / 2, depth / 2 - 0.002)
            piece.add(Shape.CYLINDER, (x, 0, arm_height - arm / 2), half, cloth, rotation_x(math.pi / 2))
    _seat_cushions(rng, piece, cloth, seats, seat, arm)
    return piece


def _seat_cushions(
    rng: np.random.Generator, piece: Furniture, cloth: Material, seats: int, seat: float, arm: float
) -> None:
    depth, width = piece.depth, (piece.width - 2 * arm) / seats
    back_half = (piece.height - seat) / 2 - 0.02
    puffy = chance(rng, 0.5)
    for index in range(seats):
        x = -piece.width / 2 + arm + (index + 0.5) * width
        own = cloth.shifted(rng)
        piece.box(centred(width - 0.015, x), (-depth / 2 + 0.18, depth / 2), (seat - 0.12, seat), own)
        if puffy:
            piece.ellipsoid((x, 0.08, seat), (width / 2 - 0.01, depth / 2 - 0.1, 0.035), own)
        center = (x, -depth / 2 + 0.25, seat + back_half)
        piece.add(Shape.BOX, center, (width / 2 - 0.01, 0.06, back_half), own, rotation_x(0.12))


BUILDERS: tuple[Builder, ...] = (
    chair,
    office_chair,
    stool,
    bench,
    armchair,
    sofa,
)

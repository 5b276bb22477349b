from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rgbd3d.data.synthrooms.furniture import FURNITURE
from rgbd3d.data.synthrooms.labels import LABEL_ID, NYU40
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import MIN_HALF, Furniture, Part, Shape, rotation_x, rotation_y, rotation_z
from rgbd3d.data.synthrooms.style import Style, linear
from rgbd3d.data.synthrooms.textures import TEXTURES

TOLERANCE = 0.02
"""Metres that a part may stand out of its piece's stated box."""


def build(name: str, seed: int) -> Furniture:
    rng = np.random.default_rng([seed, 11])
    return FURNITURE[name](rng, Style.draw(rng))


def all_parts(piece: Furniture) -> list[Part]:
    return [part for member in piece.walk() for part in member.parts]


def fingerprint(piece: Furniture) -> list[tuple]:
    parts = [(part.shape, part.label, part.instance, part.material) for part in all_parts(piece)]
    numbers = [np.concatenate([part.center, part.half, part.rotation.ravel()]).tolist() for part in all_parts(piece)]
    placed = [(child.x, child.y, child.z, child.yaw) for member in piece.walk() for child in member.children]
    return [parts, numbers, placed]


def display_chroma(material: Material) -> float:
    display = np.array(material.tint) ** (1 / 2.2)
    return float(np.ptp(display))


@pytest.mark.parametrize("name", sorted(FURNITURE))
def test_parts_keep_to_the_stated_extents(name: str) -> None:
    for seed in range(25):
        for piece in build(name, seed).walk():
            low, high = piece.own_bounds()
            limit = np.array([piece.width / 2, piece.depth / 2])
            assert (low[:2] >= -limit - TOLERANCE).all(), f"seed {seed}: {piece.label} {low} beyond -{limit}"
            assert (high[:2] <= limit + TOLERANCE).all(), f"seed {seed}: {piece.label} {high} beyond {limit}"
            assert low[2] >= -TOLERANCE, f"seed {seed}: {piece.label} sinks to {low[2]}"
            assert high[2] <= piece.height + TOLERANCE, f"seed {seed}: {piece.label} {high[2]} above {piece.height}"


@pytest.mark.parametrize("name", sorted(FURNITURE))
def test_parts_are_valid(name: str) -> None:
    for seed in range(10):
        piece = build(name, seed)
        for member in piece.walk():
            assert member.label in NYU40
            assert member.parts
            if member.top is not None:
                assert 0 < member.top <= member.height + 1e-9
        for part in all_parts(piece):
            assert part.label is None or part.label in NYU40
            assert part.shape in (Shape.BOX, Shape.CYLINDER, Shape.ELLIPSOID)
            assert np.isfinite(part.center).all()
            assert (part.half >= MIN_HALF).all()
            assert (part.half < 2).all()
            np.testing.assert_allclose(part.rotation @ part.rotation.T, np.eye(3), atol=1e-12)
            assert part.material.texture in TEXTURES
            assert all(0 <= value <= 1.1 for value in part.material.tint)


@pytest.mark.parametrize("name", sorted(FURNITURE))
def test_builders_are_deterministic_and_draw_new_designs(name: str) -> None:
    assert fingerprint(build(name, 5)) == fingerprint(build(name, 5))
    assert fingerprint(build(name, 5)) != fingerprint(build(name, 6))


def test_catalogue_covers_the_label_space() -> None:
    pieces = [member for name in FURNITURE for seed in range(12) for member in build(name, seed).walk()]
    made = {part.label or piece.label for piece in pieces for part in piece.parts}
    room_itself = {"void", "wall", "floor", "ceiling"}
    assert set(NYU40) - made == room_itself


def test_label_ids_are_those_of_nyu40() -> None:
    assert len(NYU40) == 41
    assert (LABEL_ID["wall"], LABEL_ID["chair"], LABEL_ID["toilet"], LABEL_ID["otherprop"]) == (1, 5, 33, 40)


def test_rare_classes_come_in_several_designs() -> None:
    builders = {
        "towel": ("towel_rail", "towel_hook", "towel_stack"),
        "clothes": ("clothes_pile", "folded_clothes", "hanging_clothes"),
        **{name: (name,) for name in ("bed", "toilet", "night_stand", "chair", "sofa", "table_lamp")},
    }
    for label, names in builders.items():
        pieces = [build(name, seed) for name in names for seed in range(30)]
        silhouettes = {tuple(part.shape for part in all_parts(piece)) for piece in pieces}
        assert len(silhouettes) >= 5, label


def test_palettes_are_as_desaturated_as_real_rooms() -> None:
    """Large surfaces are nearly grey; over all furniture the display chroma stays below twice that of NYUv2 (0.12)."""
    shell, furniture = [], []
    for seed in range(60):
        rng = np.random.default_rng([seed, 3])
        style = Style.draw(rng)
        shell += [display_chroma(style.wall_finish(rng)), display_chroma(style.ceiling_finish(rng))]
        furniture += [display_chroma(draw(rng)) for draw in (style.surface, style.fabric, style.metal, style.linen)]
    assert np.mean(shell) < 0.12
    assert np.mean(furniture) < 0.24
    assert np.quantile(furniture, 0.95) < 0.5


def test_a_room_has_one_coherent_palette() -> None:
    """Woods of one room differ far less than woods of different rooms."""

    def tones(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        style = Style.draw(rng)
        return np.array([style.wood(rng, tone=0).tint for _ in range(8)])

    rooms = np.stack([tones(seed) for seed in range(20)])
    assert rooms.std(axis=1).mean() < 0.5 * rooms.mean(axis=1).std(axis=0).mean()


def test_linear_inverts_the_display_curve_and_keeps_off_black_and_white() -> None:
    assert linear((0.5, 0.5, 0.5))[0] == pytest.approx(0.5**2.2)
    assert linear((-1.0, 2.0, 0.0)) == (0.005, 0.95, 0.005)


def test_shifted_material_differs_only_in_its_offset() -> None:
    material = Material("weave", (0.2, 0.3, 0.4), 2.0)
    shifted = material.shifted(np.random.default_rng(0))
    assert shifted.offset != material.offset
    assert dataclasses.replace(shifted, offset=material.offset) == material


def test_tinted_material_stays_a_valid_albedo() -> None:
    assert Material(tint=(0.6, 0.2, 0.0)).tinted(2.0).tint == (1.0, 0.4, 0.0)


@pytest.mark.parametrize("shape", [Shape.BOX, Shape.CYLINDER, Shape.ELLIPSOID])
def test_extent_encloses_the_rotated_primitive_tightly(shape: Shape) -> None:
    turn = rotation_z(0.4) @ rotation_x(0.7) @ rotation_y(-1.1)
    part = Part(shape, np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.2, 0.6]), turn, Material())
    directions = np.random.default_rng(0).normal(size=(200_000, 3))
    if shape is Shape.ELLIPSOID:
        unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    elif shape is Shape.CYLINDER:
        unit = np.concatenate(
            [directions[:, :2] / np.linalg.norm(directions[:, :2], axis=1, keepdims=True), np.sign(directions[:, 2:])],
            1,
        )
    else:
        unit = np.sign(directions)
    points = part.center + (unit * part.half) @ turn.T
    low, high = part.extent()
    np.testing.assert_allclose(points.min(0), low, atol=2e-3)
    np.testing.assert_allclose(points.max(0), high, atol=2e-3)


def test_rotations_turn_counter_clockwise() -> None:
    quarter = math.pi / 2
    np.testing.assert_allclose(rotation_z(quarter) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_x(quarter) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation_y(quarter) @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_grain_follows_the_length_of_a_part() -> None:
    wood, paint = Material("wood_fine"), Material("paint")
    piece = Furniture("table", 2, 1, 1).box((-1, 1), (-0.1, 0.1), (0, 0.1), wood).cylinder(0, 0, (0, 1), 0.05, wood)
    piece.box((-0.1, 0.1), (-0.5, 0.5), (0, 0.1), wood).box((-0.1, 0.1), (-0.5, 0.5), (0, 0.1), paint)
    assert [part.grain_axis for part in piece.parts] == [0, 2, 1, 0]


def test_box_and_cylinder_span_the_given_ranges() -> None:
    piece = (
        Furniture("box", 1, 1, 1)
        .box((0, 1), (-1, 0), (0.2, 0.4), Material())
        .cylinder(0.5, 0, (0, 2), (0.1, 0.3), Material())
    )
    np.testing.assert_allclose(piece.parts[0].extent(), [[0, -1, 0.2], [1, 0, 0.4]])
    np.testing.assert_allclose(piece.parts[1].extent(), [[0.4, -0.3, 0], [0.6, 0.3, 2]])
    low, high = piece.own_bounds()
    np.testing.assert_allclose([low, high], [[0, -1, 0], [1, 0.3, 2]])

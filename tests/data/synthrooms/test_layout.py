"""Rooms one could walk in: nothing overlaps, nothing leaves the room, cameras stand in free space."""

import numpy as np
import pytest

from rgbd3d.data.synthrooms.camera import CLEARANCE, is_free, path, viewpoints
from rgbd3d.data.synthrooms.decoration import decorate, surface_height
from rgbd3d.data.synthrooms.furniture import FURNITURE
from rgbd3d.data.synthrooms.labels import LABEL_ID, NYU40
from rgbd3d.data.synthrooms.layout import make_scene
from rgbd3d.data.synthrooms.placement import Placer, Spot, WallPatch, total_height
from rgbd3d.data.synthrooms.rooms import ROOM_KINDS
from rgbd3d.data.synthrooms.scene import Footprint, SceneBuilder
from rgbd3d.data.synthrooms.shapes import Furniture, Shape
from rgbd3d.data.synthrooms.style import Style

SEEDS = range(24)


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(seed) for seed in SEEDS]


def bare_room(size=(4.0, 3.0, 2.5)):
    rng = np.random.default_rng(0)
    style = Style.draw(rng)
    shell = tuple(style.wall_finish(rng) for _ in range(6))
    return Placer(SceneBuilder(np.array(size), shell, rng), rng)


def crate(width=1.0, depth=0.5, height=0.8):
    piece = Furniture("box", width, depth, height, top=height)
    material = Style.draw(np.random.default_rng(1)).paint(np.random.default_rng(1))
    return piece.box((-width / 2, width / 2), (-depth / 2, depth / 2), (0, height), material)


def part_corners(scene):
    signs = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * 2.0 - 1.0
    reach = np.einsum("pij,kj->pki", scene.rotation * scene.half[:, None], signs)
    return scene.center[:, None] + reach


def test_equal_seeds_give_equal_rooms_and_other_seeds_other_rooms():
    first, again, other = make_scene(5), make_scene(5), make_scene(6)
    np.testing.assert_array_equal(first.center, again.center)
    assert first.materials == again.materials
    assert first.size.tolist() != other.size.tolist()


def test_every_wish_is_in_the_catalogue():
    for room in ROOM_KINDS.values():
        wishes = {name for name, _ in (*room.against, *room.centre, *room.loose, *room.hung)} | set(room.filler)
        assert wishes <= set(FURNITURE)


def test_a_kind_can_be_chosen():
    assert make_scene(3, "bathroom").kind == "bathroom"
    with pytest.raises(KeyError):
        make_scene(3, "ballroom")


def test_furniture_does_not_overlap(scenes):
    for scene in scenes:
        taken = scene.footprints
        assert len(taken) >= 3
        for index, one in enumerate(taken):
            for other in taken[:index]:
                # Doors reserve floor that may touch a corner pier or each other, at height zero.
                if one.height > 0 and other.height > 0:
                    assert not one.overlaps(other, gap=-1e-6), (scene.seed, one, other)


def test_furniture_stays_in_the_room(scenes):
    for scene in scenes:
        boxes = np.array([(f.x0, f.y0, f.x1, f.y1) for f in scene.footprints if f.height > 0])
        assert boxes[:, :2].min() > -1e-5
        assert (boxes[:, 2:] < scene.size[:2] + 1e-5).all()
        centres_inside = ((scene.center > -0.05) & (scene.center < scene.size + 0.05)).all(1)
        assert centres_inside.all(), NYU40[scene.label[:-6][~centres_inside][0]]


def test_nothing_sticks_out_of_the_walls(scenes):
    for scene in scenes:
        corners = part_corners(scene)[scene.shape == Shape.BOX]
        beyond = np.maximum(-corners, corners - scene.size).max()
        assert beyond < 0.12


def test_room_sides_are_wall_floor_and_ceiling(scenes):
    expected = [LABEL_ID[name] for name in ("wall", "wall", "wall", "wall", "floor", "ceiling")]
    for scene in scenes:
        assert scene.label[-6:].tolist() == expected
        assert scene.instance[-6:].tolist() == [1, 2, 3, 4, 5, 6]


def test_parts_of_an_instance_share_a_label(scenes):
    for scene in scenes:
        pairs = {(int(i), int(n)) for i, n in zip(scene.instance, scene.label, strict=True)}
        assert len(pairs) == len({instance for instance, _ in pairs})


def test_every_room_is_lit(scenes):
    assert all(scene.lights for scene in scenes)
    assert all((light.color > 0).all() for scene in scenes for light in scene.lights)


def test_rare_classes_occur(scenes):
    seen = {NYU40[label] for scene in scenes for label in scene.label}
    wanted = {"towel", "clothes", "night_stand", "toilet", "bed", "mirror", "lamp", "paper", "counter", "pillow"}
    assert wanted <= seen


def test_placer_refuses_what_does_not_fit():
    placer = bare_room()
    middle = Spot(crate(), np.array([2.0, 1.5, 0.0]), 0.0)
    assert placer.put(middle)
    assert not placer.put(Spot(crate(), np.array([2.4, 1.6, 0.0]), 0.0))
    assert not placer.put(Spot(crate(), np.array([3.8, 0.5, 0.0]), 0.0))
    assert placer.against_wall(crate(width=5.0)) is None


def test_pieces_against_a_wall_face_the_room():
    placer = bare_room()
    for _ in range(6):
        spot = placer.against_wall(crate(height=1.2))
        assert spot is not None
        ahead = spot.beside(0.0, 1.0)[:2] - spot.position[:2]
        to_middle = placer.builder.size[:2] / 2 - spot.position[:2]
        wall_axis = 0 if spot.wall < 2 else 1
        assert ahead[wall_axis] * to_middle[wall_axis] > 0


def test_walls_are_shared_without_overlap():
    placer = bare_room()
    assert placer.hang(crate(height=0.8, depth=0.04), 1.0, 1.0, wall=2, along=2.0)
    assert placer.hang(crate(height=0.8, depth=0.04), 1.0, 1.0, wall=2, along=2.3) is None
    tall = Spot(crate(height=1.5), *placer.wall_pose(2, 2.0, 0.3), wall=2, along=2.0)
    assert not placer.put(tall)
    low = Spot(crate(height=0.7), *placer.wall_pose(2, 2.0, 0.3), wall=2, along=2.0)
    assert placer.put(low)


def test_overlap_arithmetic():
    one = Footprint(0, 0, 1, 1, 1.0)
    assert one.overlaps(Footprint(0.9, 0.9, 2, 2, 1.0))
    assert not one.overlaps(Footprint(1.1, 0, 2, 1, 1.0))
    assert one.overlaps(Footprint(1.1, 0, 2, 1, 1.0), gap=0.2)
    assert WallPatch(0, 1, 0, 1).overlaps(WallPatch(0.5, 2, 0.5, 2))
    assert not WallPatch(0, 1, 0, 1).overlaps(WallPatch(0.5, 2, 1.5, 2))


def test_decoration_stands_on_the_top_and_inside_its_edges():
    rng = np.random.default_rng(4)
    style = Style.draw(rng)
    count = 0
    for _ in range(10):
        table = FURNITURE["dining_table"](rng, style)
        decorate(table, "dining_table", rng, style)
        for child in table.children:
            assert child.z == table.top
            assert abs(child.x) <= table.width / 2
            assert abs(child.y) <= table.depth / 2
        count += len(table.children)
        assert total_height(table) >= table.height
    assert count > 10


def test_things_lie_on_the_mattress():
    rng = np.random.default_rng(0)
    bed = FURNITURE["bed"](rng, Style.draw(rng))
    height = surface_height(bed, 0.0, 0.2)
    assert height is not None
    assert 0.35 < height < 0.8
    assert surface_height(bed, 5.0, 0.0) is None


def test_cameras_stand_in_free_space_inside_the_room(scenes):
    for scene in scenes[:12]:
        rng = np.random.default_rng(scene.seed)
        poses = np.concatenate([viewpoints(scene, 6, rng), path(scene, 12, rng)])
        assert is_free(scene, poses[:, :3, 3]).all()
        assert (poses[:, :3, 3] >= CLEARANCE).all()
        assert (poses[:, :3, 3] <= scene.size - CLEARANCE).all()


def test_poses_are_rigid_and_upright(scenes):
    poses = viewpoints(scenes[0], 20, np.random.default_rng(0))
    axes = poses[:, :3, :3]
    np.testing.assert_allclose(axes.transpose(0, 2, 1) @ axes, np.tile(np.eye(3), (20, 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(axes), 1.0, atol=1e-9)
    assert (axes[:, 2, 1] < -0.7).all()  # image y points down


def test_paths_are_smooth(scenes):
    for scene in scenes[:8]:
        poses = path(scene, 20, np.random.default_rng(1), rate=10.0)
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        turns = np.einsum("nij,nij->n", poses[1:, :3, :3], poses[:-1, :3, :3])
        assert steps.max() < 0.15
        assert np.degrees(np.arccos(np.clip((turns - 1) / 2, -1, 1))).max() < 8


def test_is_free_knows_furniture_and_walls(scenes):
    scene = scenes[0]
    tall = max(scene.footprints, key=lambda footprint: footprint.height)
    inside = [(tall.x0 + tall.x1) / 2, (tall.y0 + tall.y1) / 2, tall.height / 2]
    outside = [-0.5, 1.0, 1.0]
    assert not is_free(scene, np.array([inside, outside])).any()

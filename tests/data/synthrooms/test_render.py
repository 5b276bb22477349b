"""Rendered frames: geometry against geometry, light against common sense, and the same bits every time."""

import hashlib
import math

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d import geometry
from rgbd3d.data.synthrooms import raycast
from rgbd3d.data.synthrooms.camera import viewpoints
from rgbd3d.data.synthrooms.cloud import scene_cloud
from rgbd3d.data.synthrooms.filters import box_blur
from rgbd3d.data.synthrooms.labels import LABEL_ID
from rgbd3d.data.synthrooms.layout import make_scene
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.raycast import Raster, cast
from rgbd3d.data.synthrooms.render import FOV_RANGE, default_renderer, render_scene
from rgbd3d.data.synthrooms.response import Camera
from rgbd3d.data.synthrooms.scene import Light, SceneBuilder
from rgbd3d.data.synthrooms.shading import _edges, _interpolate
from rgbd3d.data.synthrooms.shapes import Furniture, Shape
from rgbd3d.data.synthrooms.sheet import contact_sheet, label_colors
from rgbd3d.types import IGNORE_LABEL

SIZE = (48, 64)
GEOMETRY = {
    "compact": "35adc22ac92872b6a99e42e88e56a1b4c1f29fb09d5f5bb314191af36c02d50e",
    "deep": "bbbf021a5471d5d283f194ec67d3c97b244ee2b077a432a61d9e589a5a47131a",
}
COLORS = {
    "compact": [
        [122.86, 138.19, 169.1, 155.42, 116.68, 133.19, 162.92, 155.8, 120.39, 134.43, 151.23, 153.2],
        [104.62, 130.88, 174.0, 172.81, 91.09, 119.54, 170.9, 166.45, 88.68, 118.75, 172.15, 166.0],
    ],
    "deep": [
        [88.84, 124.22, 174.43, 199.06, 52.71, 106.64, 178.24, 198.16, 44.76, 105.43, 179.05, 197.46],
        [95.29, 136.59, 181.29, 151.7, 83.02, 147.21, 182.19, 154.12, 84.23, 154.44, 186.29, 146.87],
    ],
}
"""Mean red, green, blue of the four quarters of two frames."""
GREY = Material("paint", (0.5, 0.5, 0.5))
EAST = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Axes of a level camera that looks along +x, in columns."""


@pytest.fixture(scope="module")
def walk():
    return render_scene(3, 6, (90, 120), fov=60.0, cameras="path")


def small_room(*pieces, light=(2.0, 2.0, 2.4)):
    """A grey room of 4 m x 4 m x 2.5 m with one lamp; pieces are (furniture, x, y, z, yaw)."""
    builder = SceneBuilder(np.array([4.0, 4.0, 2.5]), (GREY,) * 6, np.random.default_rng(0))
    for piece, x, y, z, yaw in pieces:
        builder.add(piece, np.array([x, y, z]), yaw)
    builder.lights.append(Light(np.array(light), np.array([0.0, 0.0, -1.0]), np.full(3, 3.0)))
    return builder.pack(0, "test")


def block(x, y, z, material=GREY, label="box"):
    return Furniture(label, x, y, z).box((-x / 2, x / 2), (-y / 2, y / 2), (0, z), material)


def pose(position, axes=EAST):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, position
    return matrix


def depths(scene, count):
    """Depth of the pixels of good views of a room, without colours."""
    raster = Raster.from_fov((30, 40), 62.0)
    for view in viewpoints(scene, count, np.random.default_rng(scene.seed)):
        yield torch.from_numpy(cast(scene, raster, view[:3, 3], view[:3, :3])[0]).flatten()


def depth_statistics(depth):
    return depth.median().item(), depth.quantile(0.9).item(), depth.log().std().item()


def digest(frames, keys=("image", "depth", "semantic", "instance")):
    state = hashlib.sha256()
    for frame in frames:
        values = {**frame, "depth": (frame["depth"] * 1000).round().to(torch.int32)}
        for key in keys:
            state.update(values[key].numpy().tobytes())
    return state.hexdigest()


# ------------------------------------------------------------------------------------------------------------ samples


def test_samples_keep_the_contract():
    frames = render_scene(1, 2, SIZE)
    height, width = SIZE
    for number, frame in enumerate(frames):
        assert frame["image"].dtype == torch.uint8
        assert frame["image"].shape == (3, height, width)
        assert frame["depth"].dtype == torch.float32
        assert frame["depth"].shape == (1, height, width)
        assert frame["semantic"].dtype == torch.int64
        assert frame["instance"].dtype == torch.int32
        assert frame["normal"].shape == (3, height, width)
        assert frame["pose"].dtype == frame["intrinsics"].dtype == torch.float32
        assert frame["depth"].min() > 0.05
        assert frame["depth"].max() < 10
        assert ((frame["semantic"] < 40) | (frame["semantic"] == IGNORE_LABEL)).all()
        assert frame["instance"].min() >= 1
        assert (frame["scene_id"], frame["frame_id"]) == ("synthrooms-0000001", number)


def test_frames_are_exposed():
    luma = torch.stack([frame["image"].float().mean(0) for seed in range(4) for frame in render_scene(seed, 2, SIZE)])
    assert 60 < luma.mean() < 160
    assert luma.flatten(1).std(1).mean() > 35


def test_depth_of_deep_rooms_is_spread_as_in_real_ones():
    """Medians over NYUv2's training frames: median 2.69 m, 90th percentile 3.86 m, deviation of the logarithm 0.32."""
    found = [depth_statistics(depth) for seed in range(1, 41) for depth in depths(make_scene(seed, rooms="deep"), 4)]
    median, far, spread = torch.tensor(found).median(0).values.tolist()
    assert median == pytest.approx(2.69, abs=0.25)
    assert far == pytest.approx(3.86, abs=0.35)
    assert spread == pytest.approx(0.32, abs=0.04)


def test_deep_rooms_are_longer_on_one_side():
    sizes = [(make_scene(seed, "office").size, make_scene(seed, "office", "deep").size) for seed in range(40)]
    longer = np.array([(deep[:2] > compact[:2] * 1.02).sum() for compact, deep in sizes])
    assert set(longer) <= {0, 1}
    assert longer.mean() > 0.9


def test_same_bits_on_every_run():
    assert digest(render_scene(11, 2, SIZE)) == digest(render_scene(11, 2, SIZE))
    assert digest(render_scene(11, 2, SIZE)) != digest(render_scene(12, 2, SIZE))


def test_bits_do_not_depend_on_the_threads_of_the_caller():
    threads = torch.get_num_threads()
    expected = digest(render_scene(11, 1, SIZE))
    try:
        torch.set_num_threads(2)
        assert digest(render_scene(11, 1, SIZE)) == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("rooms", ["compact", "deep"])
def test_published_data_do_not_change(rooms):
    """A change of the renderer fails here: then raise RENDERER, which data sets record.

    Colours are compared as means over blocks, because the last bit of a pixel depends on the CPU's instruction set.
    """
    frames = render_scene(1, 2, SIZE, rooms=rooms)
    assert digest(frames, ("depth", "semantic", "instance")) == GEOMETRY[rooms]
    means = [torch.nn.functional.avg_pool2d(frame["image"].float(), (24, 32)).flatten() for frame in frames]
    torch.testing.assert_close(torch.stack(means), torch.tensor(COLORS[rooms]), atol=0.3, rtol=0)


def test_field_of_view():
    focal = render_scene(2, 1, SIZE, fov=60.0)[0]["intrinsics"][0, 0]
    assert focal == pytest.approx(SIZE[1] / 2 / math.tan(math.radians(30)))
    drawn = render_scene(2, 1, SIZE)[0]["intrinsics"][0, 0]
    low, high = (SIZE[1] / 2 / math.tan(math.radians(fov) / 2) for fov in reversed(FOV_RANGE))
    assert low <= drawn <= high


# ----------------------------------------------------------------------------------------------------------- geometry


def test_depth_agrees_between_frames_of_a_walk(walk):
    for one, other in ((walk[0], walk[3]), (walk[5], walk[2])):
        to_other = geometry.relative_pose(one["pose"], other["pose"])
        pixels, z = geometry.reproject(one["depth"], one["intrinsics"], to_other)
        expected, inside = geometry.sample(other["depth"][None], pixels[None], mode="nearest")
        labels, _ = geometry.sample(other["semantic"][None, None].float(), pixels[None], mode="nearest")
        error = ((expected[0] - z).abs() / z)[inside[0]]
        assert inside.float().mean() > 0.4
        assert error.median() < 0.005
        agrees = error < 0.02
        assert agrees.float().mean() > 0.85
        same_label = (labels[0, 0] == one["semantic"])[inside[0, 0]][agrees]
        assert same_label.float().mean() > 0.97


def test_normals_agree_with_depth(walk):
    for frame in walk[::3]:
        points = geometry.transform(geometry.unproject(frame["depth"], frame["intrinsics"]), frame["pose"])
        across, down = points[:, 1:-1, 2:] - points[:, 1:-1, :-2], points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
        numeric = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=0), dim=0)
        normal = frame["normal"]
        torch.testing.assert_close(normal.norm(dim=0), torch.ones(normal.shape[1:]), atol=1e-4, rtol=0)
        instance = frame["instance"]
        inner = (instance[1:-1, 2:] == instance[1:-1, :-2]) & (instance[2:, 1:-1] == instance[:-2, 1:-1])
        cosine = (numeric * normal[:, 1:-1, 1:-1]).sum(0)[inner]
        assert (cosine > 0.98).float().mean() > 0.85


def test_normals_face_the_camera(walk):
    frame = walk[0]
    points = geometry.transform(geometry.unproject(frame["depth"], frame["intrinsics"]), frame["pose"])
    towards = frame["pose"][:3, 3, None, None] - points
    assert ((towards * frame["normal"]).sum(0) > -1e-3).float().mean() > 0.999


def test_depths_of_simple_shapes_are_exact():
    ball = Furniture("box", 0.6, 0.6, 0.6).ellipsoid((0, 0, 0.3), (0.3, 0.3, 0.3), GREY)
    tube = Furniture("box", 0.4, 0.4, 1.0).cylinder(0, 0, (0, 1.0), 0.2, GREY)
    raster = Raster.from_fov((41, 41), 60.0)
    for piece, expected in ((block(0.4, 1.0, 1.0), 1.8), (ball, 1.7), (tube, 1.8)):
        scene = small_room((piece, 3.0, 2.0, 1.0 - piece.height / 2, 0.0))
        depth, index = cast(scene, raster, np.array([1.0, 2.0, 1.0]), EAST)
        assert depth[20, 20] == pytest.approx(expected, abs=1e-5)
        assert index[20, 20] == 0
        assert depth[20, 0] == pytest.approx(3.0, abs=1e-5)  # the wall behind it
        assert index[0, 0] == len(scene.center)
    empty = small_room((block(0.1, 0.1, 0.1), 0.2, 0.2, 0.0, 0.0))
    depth, _ = cast(empty, raster, np.array([1.0, 2.0, 1.25]), EAST)
    assert depth[20, 20] == pytest.approx(3.0, abs=1e-5)


def test_small_and_large_primitives_are_drawn_alike(monkeypatch):
    scene = make_scene(2)
    raster = Raster.from_fov((60, 80), 65.0)
    position, axes = np.array([scene.size[0] / 2, scene.size[1] / 2, 1.4]), EAST
    monkeypatch.setattr(raycast, "SMALL", 0)
    depth, index = cast(scene, raster, position, axes)
    monkeypatch.setattr(raycast, "SMALL", 1 << 30)
    depth_together, index_together = cast(scene, raster, position, axes)
    np.testing.assert_allclose(depth_together, depth, atol=1e-5)
    assert (index_together == index).mean() > 0.99  # where two faces coincide either may be drawn
    assert len(np.unique(index)) > 5


def test_a_cropped_raster_sees_the_same_rays():
    raster = Raster.from_fov((20, 30), 70.0)
    u, v = raster.slopes()
    crop_u, crop_v = raster.crop(4, 3, 10, 9).slopes()
    np.testing.assert_allclose(crop_u, u[4:10], rtol=1e-6)
    np.testing.assert_allclose(crop_v, v[3:9], rtol=1e-6)


# -------------------------------------------------------------------------------------------------------------- light


def view(scene, position, axes=EAST, size=(41, 41), fov=60.0):
    return default_renderer().shader(scene).view(Raster.from_fov(size, fov), pose(np.array(position), axes))


def test_a_table_casts_a_shadow_on_the_floor():
    down = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    spare = (block(0.1, 0.1, 0.1), 0.2, 0.2, 0.0, 0.0)
    board = (block(1.2, 1.2, 0.05), 2.0, 2.0, 1.5, 0.0)
    lit, shaded = small_room(spare), small_room(spare, board)
    below = (2.0, 2.0, 1.4)
    bright, dark = (float(view(scene, below, down).radiance[:, 20, 20].mean()) for scene in (lit, shaded))
    assert dark < 0.5 * bright


def test_corners_are_darker_than_open_walls():
    radiance = view(small_room((block(0.1, 0.1, 0.1), 0.2, 0.2, 0.0, 0.0)), (1.0, 2.0, 1.2), size=(61, 121), fov=90.0)
    row = radiance.radiance.mean(0)[30]
    assert row[60] > row[:45].min()


def test_mirrors_show_what_is_behind_the_camera():
    glass = Material("paint", (0.9, 0.9, 0.9), mirror=1.0)
    mirror = Furniture("mirror", 1.4, 0.04, 1.4).box((-0.7, 0.7), (-0.02, 0.02), (0, 1.4), glass)
    hung = (mirror, 3.97, 2.0, 0.5, math.pi / 2)
    red = Material("paint", (0.9, 0.02, 0.02))
    behind = (block(0.8, 0.8, 1.6, red), 0.5, 2.0, 0.4, 0.0)
    without = view(small_room(hung), (2.0, 2.0, 1.2))
    with_red = view(small_room(hung, behind), (2.0, 2.0, 1.2))
    assert with_red.label[20, 20] == LABEL_ID["mirror"]
    center = with_red.radiance[:, 18:23, 18:23].mean((1, 2))
    assert center[0] > 5 * center[1]
    plain = without.radiance[:, 18:23, 18:23].mean((1, 2))
    assert plain[0] < 2 * plain[1]


def test_lamps_glow():
    glow = Material("paint", (1.0, 1.0, 1.0), emission=3.0)
    scene = small_room((block(0.3, 0.3, 0.3, glow, "lamp"), 3.0, 2.0, 1.05, 0.0))
    picture = view(scene, (1.0, 2.0, 1.2))
    assert picture.radiance[:, 20, 20].min() > 2 * picture.radiance[:, 20, 2].max()


def test_light_between_the_lattice_is_linear_or_exact():
    height, width = 7, 9
    ramp = torch.arange(width).float() + 10 * torch.arange(height)[:, None]
    dense = _interpolate(ramp[None, ::2, ::2], (height, width))[0]
    torch.testing.assert_close(dense, ramp)
    face = torch.zeros(height, width, dtype=torch.int32)
    assert len(_edges(face)) == 0
    face[3, 4] = 1
    edges = set(_edges(face).tolist())
    assert 3 * width + 4 in edges
    face[:, 5:] = 2
    assert {row * width + 5 for row in range(height)} <= set(_edges(face).tolist())


def test_box_blur_is_the_mean_of_nine():
    image = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(box_blur(image), torch.nn.functional.avg_pool2d(padded, 3, 1)[0])


def test_exposure_follows_the_light():
    camera = Camera.draw(np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    radiance = torch.rand(3, 40, 40, generator=generator)
    flat = torch.zeros(40, 40, dtype=torch.int32)
    picture = camera.picture(radiance, flat, (1,))
    assert torch.equal(picture, camera.picture(radiance, flat, (1,)))
    assert not torch.equal(picture, camera.picture(radiance, flat, (2,)))
    darker = camera.picture(0.01 * radiance, flat, (1,))
    assert (picture.float() - darker.float()).abs().mean() < 2


# ---------------------------------------------------------------------------------------------------- clouds, pictures


def test_clouds_lie_in_the_room_and_are_thinned():
    cloud = scene_cloud(4, frames=4, voxel=0.05, size=(60, 80))
    scene = make_scene(4)
    count = len(cloud["xyz"])
    assert count > 1000
    assert {len(cloud[key]) for key in ("rgb", "normal", "semantic", "instance")} == {count}
    assert (cloud["xyz"].numpy() > -0.02).all()
    assert (cloud["xyz"].numpy() < scene.size + 0.02).all()
    cells = torch.floor(cloud["xyz"] / 0.05).long()
    assert len(torch.unique(cells, dim=0)) == count
    floor = cloud["semantic"] == LABEL_ID["floor"] - 1
    assert floor.any()
    assert cloud["xyz"][floor, 2].abs().max() < 0.01
    torch.testing.assert_close(cloud["normal"][floor][:, 2], torch.ones(int(floor.sum())))


def test_contact_sheet(tmp_path):
    frames = render_scene(1, 2, SIZE)
    path = contact_sheet([*frames, frames[0]], tmp_path / "sheet.png", columns=2)
    with Image.open(path) as picture:
        pixels = np.array(picture)
    height, width = SIZE
    assert pixels.shape == (2 * height, 2 * 3 * width, 3)
    np.testing.assert_array_equal(pixels[:height, :width], frames[0]["image"].permute(1, 2, 0).numpy())
    assert (pixels[height:, 3 * width :] == 0).all()
    labels = label_colors()[frames[0]["semantic"].numpy()]
    np.testing.assert_array_equal(pixels[:height, 2 * width : 3 * width], labels)
    assert len(np.unique(label_colors()[:40], axis=0)) == 40
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], tmp_path / "none.png")


def test_shapes_of_the_catalogue_can_be_hit():
    assert set(raycast.HITTABLE) == {int(Shape.BOX), int(Shape.CYLINDER), int(Shape.ELLIPSOID)}

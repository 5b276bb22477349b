import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from rgbd3d.cards import Augment
from rgbd3d.data import transforms as T
from rgbd3d.data.batch import prepare
from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source
from rgbd3d.data.transforms import joint
from rgbd3d.geometry import project, relative_pose, reproject, sample, unproject
from rgbd3d.seeding import generator

HEIGHT, WIDTH = 48, 70
K = torch.tensor([[61.0, 0.7, 33.3], [0.0, 58.0, 25.1], [0.0, 0.0, 1.0]])
FLIP = T.HorizontalFlip()
GEOMETRIC = {
    "resize": T.Resize((31, 90)),
    "within": T.ResizeWithin((40, 40)),
    "cover": T.ResizeToCover((60, 60)),
    "scale": T.RandomScale((0.3, 1.7)),
    "pad": T.PadTo((64, 64), color=128),
    "center": T.CenterCrop((40, 50)),
    "crop": T.RandomCrop((33, 44)),
    "resized crop": T.RandomResizedCrop((37, 41), (0.2, 1.0), (0.75, 1.3333)),
    "zoom": T.RandomZoom(1.5),
    "flip": FLIP,
}


def make_sample(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> dict:
    """Every map holds the number of its pixel (planes its remainder); a fifth of the depth is invalid."""
    draws = torch.Generator().manual_seed(seed)
    number = torch.arange(1, height * width + 1).view(height, width)
    return {
        "image": torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=draws),
        "depth": (number / 1000 * (torch.rand(height, width, generator=draws) > 0.2))[None],
        "depth_filled": (number / 1000)[None],
        "depth_edges": (number % 2).byte(),
        "planes": (number % 7).byte(),
        "semantic": number,
        "instance": number.int(),
        "intrinsics": K.clone(),
        "pose": torch.linalg.qr(torch.randn(4, 4, generator=draws))[0],
        "scene_id": "kitchen",
        "frame_id": 7,
        "class_id": 3,
    }


def same(first: dict, second: dict) -> bool:
    equal = {k: torch.equal(v, second[k]) if isinstance(v, torch.Tensor) else v == second[k] for k, v in first.items()}
    return first.keys() == second.keys() and all(equal.values())


@pytest.mark.parametrize("name", GEOMETRIC)
def test_all_maps_move_together_and_keep_their_types(name):
    before = make_sample()
    after = GEOMETRIC[name](before, generator(1))
    number = after["semantic"]
    inside = number != 255 if name == "pad" else torch.ones_like(number, dtype=torch.bool)
    assert torch.equal(after["instance"][inside], number[inside].int())
    assert torch.equal(after["planes"][inside], (number % 7).byte()[inside])
    assert torch.equal(after["depth_edges"][inside], (number % 2).byte()[inside])
    assert torch.equal(after["depth_filled"][0][inside], number[inside] / 1000)
    valid = after["depth"][0] > 0
    assert torch.equal(after["depth"][0][valid], number[valid] / 1000)
    assert torch.equal(valid[inside], (before["depth"].flatten() > 0)[number[inside] - 1])
    for key, value in after.items():
        assert type(value) is type(before[key])
        assert not isinstance(value, torch.Tensor) or value.dtype == before[key].dtype
    assert (after["scene_id"], after["frame_id"], after["class_id"]) == ("kitchen", 7, 3)
    assert after["image"].shape[-2:] == number.shape


@pytest.mark.parametrize("name", GEOMETRIC)
@pytest.mark.parametrize("seed", range(3))
def test_a_pixel_keeps_its_point(name, seed):
    """Each pixel sees the point that it saw at its old place, up to half a pixel where pixels were resampled."""
    before = make_sample()
    after = GEOMETRIC[name](before, generator(seed))
    points = unproject(before["depth_filled"], K).flatten(1)
    if name == "flip":
        points = points * torch.tensor([[-1.0], [1.0], [1.0]])
    now = unproject(after["depth_filled"], after["intrinsics"]).flatten(1)
    inside = now[2] > 0
    then = points[:, after["semantic"].flatten()[inside] - 1]
    across, down = K[0, 0] / after["intrinsics"][0, 0], K[1, 1] / after["intrinsics"][1, 1]
    resampled = name not in ("pad", "center", "crop", "flip")
    allowed = 0.5 * max(across, down, 1) * resampled + 1e-4
    assert ((now[:, inside] - then).abs() * 58 / then[2]).max() <= allowed * 1.1
    if name not in ("resized crop", "zoom", "resize"):
        assert abs(across - down) < 0.08


@pytest.mark.parametrize("size", [(96, 140), (31, 90), (24, 35)])
def test_resizing_keeps_the_relative_place_of_a_projected_point(size):
    """Measured from the image's corner, which is half a pixel outside the first pixel's centre."""
    intrinsics = T.Resize(size)(make_sample())["intrinsics"]
    point = torch.tensor([0.3, -0.2, 1.7]).view(3, 1, 1)
    old, new = (project(point, matrix)[0].flatten() for matrix in (K, intrinsics))
    torch.testing.assert_close((new + 0.5) / torch.tensor(size[::-1]), (old + 0.5) / torch.tensor([WIDTH, HEIGHT]))


def test_flipped_poses_are_rigid_and_place_the_mirrored_points_in_the_mirrored_world():
    before = make_sample()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(5)))[0]
    rotation = rotation * torch.linalg.det(rotation).sign()
    before["pose"] = torch.eye(4)
    before["pose"][:3, :3], before["pose"][:3, 3] = rotation, torch.tensor([1.0, -2.0, 3.0])
    after = FLIP(before)
    turned = after["pose"][:3, :3]
    torch.testing.assert_close(turned @ turned.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(turned) == pytest.approx(1, abs=1e-5)

    def in_world(sample: dict) -> torch.Tensor:
        points = unproject(sample["depth_filled"], sample["intrinsics"]).flatten(1)
        return (sample["pose"][:3, :3] @ points + sample["pose"][:3, 3:]).view(3, HEIGHT, WIDTH)

    mirrored = in_world(after).flip(-1) * torch.tensor([-1.0, 1, 1]).view(3, 1, 1)
    torch.testing.assert_close(mirrored, in_world(before), atol=1e-4, rtol=1e-5)


def test_flipped_normals_are_those_of_the_flipped_planes():
    """The plane 0.6 x - 0.8 z = -2 in camera axes, seen by a camera whose centre is off the middle of the image."""
    normal = torch.tensor([0.6, 0.0, -0.8])
    pixels = unproject(torch.ones(1, HEIGHT, WIDTH), K)
    depth = -2 / (normal @ pixels.flatten(1)).view(1, HEIGHT, WIDTH)
    sample = {"depth": depth, "intrinsics": K, "plane_normals": torch.cat([torch.tensor([7.0]), normal])[None]}
    after = FLIP(sample)
    number, *flipped = after["plane_normals"][0].tolist()
    assert number == 7
    points = unproject(after["depth"], after["intrinsics"]).flatten(1)
    torch.testing.assert_close(torch.tensor(flipped) @ points, torch.full_like(points[0], -2.0))


def test_two_flipped_real_frames_reproject_as_before(rgbd_frames):
    source = open_source(rgbd_frames / "frames7" / "sun3d_lounge_a")
    first, second = source[0], source[10]

    def error(first: dict, second: dict) -> torch.Tensor:
        to_other = relative_pose(first["pose"].double(), second["pose"].double()).float()
        pixels, z = reproject(first["depth"], first["intrinsics"], to_other, second["intrinsics"])
        seen, inside = sample(second["depth"][None], pixels[None], "nearest")
        return torch.where(inside & (seen > 0), (z - seen).abs(), torch.nan)[0, 0]

    plain, flipped = error(first, second), error(FLIP(first), FLIP(second)).flip(-1)
    assert plain.nanmedian() < 0.05
    both = plain.isfinite() & flipped.isfinite()
    assert both.float().mean() > 0.4
    # Rounding decides which neighbour a few pixels at depth edges fall on.
    assert ((plain - flipped).abs()[both] < 1e-3).float().mean() > 0.97
    assert error(first, FLIP(second)).nanmedian() > 0.1


# -------------------------------------------------------------------------------------------- other libraries, own path


@pytest.mark.parametrize("seed", range(40))
def test_random_crops_and_flips_are_those_of_torchvision(seed):
    """Equal seeds, ours explicit and torchvision's global, give equal boxes."""
    box, scale, ratio = (37, 41), (0.2, 1.0), (0.75, 1.3333)
    pairs = [
        (T.RandomResizedCrop(box, scale, ratio), v2.RandomResizedCrop(box, scale, ratio)),
        (T.RandomResizedCrop(box, (0.9, 1.0), (3, 4)), v2.RandomResizedCrop(box, (0.9, 1.0), (3, 4))),
        (T.RandomResizedCrop(box, (0.9, 1.0), (0.2, 0.3)), v2.RandomResizedCrop(box, (0.9, 1.0), (0.2, 0.3))),
        (T.RandomCrop((48, 44)), v2.RandomCrop((48, 44))),
        (T.RandomApply(FLIP, 0.5), v2.RandomHorizontalFlip(0.5)),
        (T.CenterCrop((39, 51)), v2.CenterCrop((39, 51))),
    ]
    image = make_sample()["image"]
    for ours, theirs in pairs:
        torch.manual_seed(seed)
        expected = theirs(tv_tensors.Image(image)).as_subclass(torch.Tensor)
        assert torch.equal(ours({"image": image}, torch.Generator().manual_seed(seed))["image"], expected), theirs


@pytest.mark.parametrize("size", [(96, 140), (32, 36)])  # no pixel centre falls between two old pixels
def test_resized_colour_is_that_of_pil(size):
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 17), (HEIGHT, WIDTH), mode="bicubic")[0].clamp(0, 1)
    image = (255 * image).byte()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    modes = {
        InterpolationMode.NEAREST: (Image.Resampling.NEAREST, 0),
        InterpolationMode.BILINEAR: (Image.Resampling.BILINEAR, 1),
        InterpolationMode.BICUBIC: (Image.Resampling.BICUBIC, 1),
    }
    for mode, (resample, tolerance) in modes.items():
        expected = np.asarray(picture.resize(size[::-1], resample), np.int16)
        ours = T.Resize(size, mode)({"image": image})["image"].permute(1, 2, 0).numpy()
        assert np.abs(ours - expected).max() <= tolerance, mode


def test_resizing_is_that_of_the_batched_path():
    size = (36, 50)
    sample = make_sample()
    sample["semantic"] = sample["semantic"] % 40
    batch = prepare([sample], Augment(), size, generator(0))
    single = T.Compose([T.Resize(size), T.Normalise(), T.StandardiseDepth(truncated=0.1)])(sample)
    assert all(torch.equal(single[key], batch[key][0]) for key in ("image", "depth", "depth_metres", "semantic"))


# ------------------------------------------------------------------------------------------------------ what each does


def test_sizes():
    small = make_sample()
    assert joint.size_of(T.ResizeWithin((35, 35))(small)) == (24, 35)
    assert joint.size_of(T.ResizeToCover((35, 35))(small)) == (35, 51)
    assert joint.size_of(T.ResizeWithin((30, 400))(small)) == (30, 44)
    sizes = torch.tensor([joint.size_of(T.RandomScale((0.5, 2))(small, generator(i))) for i in range(200)])
    assert sizes[:, 0].min() >= 24
    assert sizes[:, 0].max() <= 96
    assert sizes[:, 0].unique().numel() > 50
    assert joint.size_of(T.RandomScale((0.03, 0.031))(small, generator(0))) == (1, 2)


def test_padding_is_invalid_ignored_and_leaves_the_camera():
    before = make_sample()
    before["semantic"] %= 40
    after = T.PadTo((50, 100), color=128)(before)
    assert torch.equal(after["image"][:, :HEIGHT, :WIDTH], before["image"])
    for key, value in {
        "image": 128,
        "depth": 0,
        "depth_filled": 0,
        "semantic": 255,
        "instance": 0,
        "planes": 0,
    }.items():
        assert (after[key][..., HEIGHT:, :] == value).all()
        assert (after[key][..., WIDTH:] == value).all()
    assert torch.equal(after["intrinsics"], K)
    assert same(T.PadTo((10, 20), color=128)(before), before)
    cropped = T.Compose([T.PadTo((64, 80), color=0), T.CenterCrop((64, 80))])(before)
    assert (cropped["semantic"] == 255).sum() == 64 * 80 - HEIGHT * WIDTH


def test_zoom_keeps_the_size_and_stays_in_its_range():
    zooms = []
    for seed in range(100):
        after = T.RandomZoom(1.15)(make_sample(), generator(seed))
        assert joint.size_of(after) == (HEIGHT, WIDTH)
        zooms.append([after["intrinsics"][0, 0] / K[0, 0], after["intrinsics"][1, 1] / K[1, 1]])
    zooms = torch.tensor(zooms)
    assert zooms.min() >= 1
    assert zooms.max() <= 1.15
    assert (zooms.std(0) > 0.02).all()
    assert (zooms[:, 0] - zooms[:, 1]).abs().max() > 0.05


@pytest.mark.parametrize("name", GEOMETRIC)
def test_frames_of_a_clip_move_alike(name):
    frames = [make_sample(seed) for seed in range(3)]
    clip = {
        "frames": torch.stack([frame["image"] for frame in frames]),
        "depth_frames": torch.stack([frame["depth"] for frame in frames]),
        "intrinsics": K.expand(3, 3, 3),
        "class_id": 4,
    }
    moved = GEOMETRIC[name](clip, generator(2))
    for index, frame in enumerate(frames):
        single = GEOMETRIC[name](frame, generator(2))
        assert torch.equal(moved["frames"][index], single["image"])
        assert torch.equal(moved["depth_frames"][index], single["depth"])
        assert torch.equal(moved["intrinsics"][index], single["intrinsics"])
    assert moved["class_id"] == 4


@pytest.mark.parametrize("name", GEOMETRIC)
def test_samples_are_not_changed(name):
    before, untouched = make_sample(), make_sample()
    GEOMETRIC[name](before, generator(0))
    assert same(before, untouched)


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("crop", [T.RandomCrop((49, 20)), T.CenterCrop((20, 71)), T.RandomCrop((100, 100))])
def test_a_crop_larger_than_the_sample_is_refused(crop):
    with pytest.raises(DataError, match="out of 70 x 48: enlarge or pad it"):
        crop(make_sample(), generator(0))


def test_samples_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match=r"no map to transform, only \['frame_id'\]"):
        FLIP({"frame_id": 3})
    with pytest.raises(DataError, match=r"one size.*image 70 x 48.*depth 35 x 24"):
        FLIP({**make_sample(), "depth": torch.ones(1, 24, 35)})
    with pytest.raises(DataError, match=r"image should be a tensor.*not bytes: decode"):
        FLIP({"image": b"\xff\xd8"})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.Resize((0, 3)), "size"),
        (lambda: T.Resize((3,)), "size"),
        (lambda: T.ResizeWithin((2.5, 3)), "size"),
        (lambda: T.RandomScale((2.0, 1.0)), "scale"),
        (lambda: T.RandomResizedCrop((3, 3), (0.0, 1.0), (0.75, 1.33)), "scale"),
        (lambda: T.RandomResizedCrop((3, 3), (0.5, 1.5), (0.75, 1.33)), "scale"),
        (lambda: T.RandomResizedCrop((3, 3), (0.5, 1.0), (float("nan"), 1.33)), "ratio"),
        (lambda: T.RandomZoom(0.9), "largest"),
        (lambda: T.PadTo((3, 3), color=300), "color"),
        (lambda: T.RandomApply(FLIP, 1.5), "p should lie within 0..1"),
    ],
)
def test_impossible_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()

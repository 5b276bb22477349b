import colorsys

import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from rgbd3d.data import transforms as T
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms.color import _from_hsv, _to_hsv
from rgbd3d.seeding import generator

IMAGE = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
JITTER = T.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1))
COLOR = {
    "jitter": JITTER,
    "grey": T.Grayscale(),
    "blur": T.GaussianBlur((0.1, 2.0)),
    "gamma": T.RandomGamma((0.8, 1.2)),
    "brightness": T.BrightnessContrast(0.2),
    "hsv": T.HueSaturationValue(40, 0.1, 0.1),
}


@pytest.mark.parametrize("seed", range(20))
def test_colour_is_that_of_torchvision(seed):
    """Equal seeds, ours explicit and torchvision's global, give equal pictures."""
    pairs = [
        (JITTER, v2.ColorJitter(0.4, 0.4, 0.2, 0.1)),
        (T.RandomApply(JITTER, 0.5), v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.5)),
        (T.RandomApply(T.Grayscale(), 0.3), v2.RandomGrayscale(0.3)),
        (T.RandomApply(T.GaussianBlur((0.1, 2.0)), 0.5), v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], 0.5)),
    ]
    for ours, theirs in pairs:
        torch.manual_seed(seed)
        expected = theirs(tv_tensors.Image(IMAGE)).as_subclass(torch.Tensor)
        assert torch.equal(ours({"image": IMAGE}, torch.Generator().manual_seed(seed))["image"], expected), theirs


@pytest.mark.parametrize("name", COLOR)
def test_only_colour_changes_and_clips_change_alike(name):
    depth = torch.rand(1, 40, 50)
    clip = {"frames": torch.stack([IMAGE, IMAGE.flip(-1)]), "depth_frames": torch.stack([depth, depth]), "class_id": 2}
    sample = {"image": IMAGE, "depth": depth, "intrinsics": torch.eye(3)}
    before = IMAGE.clone()
    changed, frames = COLOR[name](sample, generator(4)), COLOR[name](clip, generator(4))["frames"]
    assert torch.equal(IMAGE, before)
    assert changed["depth"] is depth
    assert changed["intrinsics"] is sample["intrinsics"]
    assert changed["image"].dtype == torch.uint8
    assert not torch.equal(changed["image"], IMAGE)
    assert torch.equal(frames[0], changed["image"])
    assert torch.equal(frames[1], COLOR[name]({"image": IMAGE.flip(-1)}, generator(4))["image"])


def test_brightness_and_contrast_are_affine_about_black():
    ramp = torch.arange(100, 160, dtype=torch.uint8).expand(3, 4, 60)
    slopes, shifts = [], []
    for seed in range(200):
        out = T.BrightnessContrast(0.2)({"image": ramp}, generator(seed))["image"][0, 0].double()
        slope = (out[-1] - out[0]) / 59
        slopes.append(slope)
        shifts.append((out.mean() - slope * 129.5) / 255)
        assert (out - (slope * ramp[0, 0] + 255 * shifts[-1])).abs().max() <= 1.01
    for values, center in ((slopes, 1.0), (shifts, 0.0)):
        values = torch.stack(values)
        assert (values - center).abs().max() < 0.22
        assert values.std() == pytest.approx(0.2 / 3**0.5, rel=0.15)


def test_gamma_is_a_power():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    gammas = []
    for seed in range(100):
        out = T.RandomGamma((0.8, 1.2))({"image": ramp}, generator(seed))["image"][0].flatten() / 255
        gammas.append(out[60:200].log().mean() / (torch.arange(60, 200) / 255).log().mean())
        assert (out - (torch.arange(256) / 255) ** gammas[-1]).abs().max() < 2 / 255
    gammas = torch.stack(gammas)
    assert gammas.min() > 0.79
    assert gammas.max() < 1.22
    assert gammas.std() > 0.08


def test_hsv_is_that_of_the_standard_library():
    colors = torch.cat(
        [torch.rand(300, 3), torch.tensor([[0.4, 0.4, 0.4], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]])]
    )
    hsv = _to_hsv(colors.T[:, :, None])
    expected = torch.tensor([colorsys.rgb_to_hsv(*color) for color in colors.tolist()])
    torch.testing.assert_close(hsv[:, :, 0].T, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(_from_hsv(hsv)[:, :, 0].T, colors, atol=1e-6, rtol=1e-5)
    shifted = hsv + torch.tensor([-0.4, 0.15, -0.1]).view(3, 1, 1)
    clipped = [(h % 1, min(max(s, 0), 1), min(max(v, 0), 1)) for h, s, v in shifted[:, :, 0].T.tolist()]
    expected = torch.tensor([colorsys.hsv_to_rgb(*color) for color in clipped])
    torch.testing.assert_close(_from_hsv(shifted)[:, :, 0].T, expected, atol=1e-5, rtol=1e-5)


def test_hue_saturation_and_value_are_shifted_within_their_limits():
    color = torch.tensor([200, 120, 90], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)
    before = colorsys.rgb_to_hsv(200 / 255, 120 / 255, 90 / 255)
    shifts = []
    for seed in range(200):
        out = T.HueSaturationValue(40, 30 / 255, 20 / 255)({"image": color}, generator(seed))["image"][:, 0, 0] / 255
        hue, saturation, value = (a - b for a, b in zip(colorsys.rgb_to_hsv(*out.tolist()), before, strict=True))
        shifts.append([360 * ((hue + 0.5) % 1 - 0.5), 255 * saturation, 255 * value])
    shifts = torch.tensor(shifts)
    limits = torch.tensor([40, 30, 20])
    assert (shifts.abs().amax(0) <= limits + 2).all()
    assert (shifts.abs().amax(0) >= 0.9 * limits).all()


def test_last_steps():
    assert torch.equal(T.ToFloat()({"image": IMAGE})["image"], IMAGE / 255)
    normalised = T.Normalise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))({"image": IMAGE})["image"]
    expected = (IMAGE / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    torch.testing.assert_close(normalised, expected)
    frames = T.Normalise()({"frames": IMAGE.expand(2, -1, -1, -1)})["frames"]
    assert torch.equal(frames[1], T.Normalise()({"image": IMAGE})["image"])


@pytest.mark.parametrize("name", COLOR)
def test_wrong_colour_is_refused(name):
    with pytest.raises(DataError, match=r"neither image nor frames, only \['depth'\]"):
        COLOR[name]({"depth": torch.ones(1, 3, 3)}, generator(0))
    with pytest.raises(DataError, match=r"image torch\.float32: ToFloat or Normalise come last"):
        COLOR[name](T.ToFloat()({"image": IMAGE}), generator(0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.ColorJitter((-0.1, 1), (1, 1), (1, 1), (0, 0)), "brightness"),
        (lambda: T.ColorJitter((1, 1), (1, 1), (1, 1), (-0.6, 0.1)), "hue"),
        (lambda: T.GaussianBlur((0.0, 1.0)), "sigma"),
        (lambda: T.RandomGamma((1.2, 0.8)), "gamma"),
        (lambda: T.BrightnessContrast(-0.1), "limit"),
        (lambda: T.HueSaturationValue(40, 30, 20), "saturation"),
    ],
)
def test_impossible_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()

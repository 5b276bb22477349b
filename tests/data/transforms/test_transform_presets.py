"""The values are those of FACTS.md §1.2, §5.2, §6.1, §6.2, measured on what comes out."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data import transforms as T
from rgbd3d.data.batch import denormalise_image
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms import joint
from rgbd3d.seeding import generator

SIZES = {
    "multimae-pretrain": (224, 224),
    "multimae-semseg": (640, 640),
    "multimae-semseg-eval": (640, 640),
    "multimae-depth": (256, 256),
    "multimae-depth-eval": (256, 256),
    "progressive-semseg": (640, 640),
    "mim-depth": (480, 480),
    "mim-depth-eval": (480, 640),
    "pri3d": (240, 320),
    "pri3d-pretrain": (240, 320),
    "sc-depth": (480, 480),
    "sc-depth-eval": (480, 480),
}
DETERMINISTIC = {"multimae-semseg-eval", "multimae-depth-eval", "mim-depth-eval", "pri3d", "sc-depth-eval"}
SMALL = (48, 48)
K = torch.tensor([[500.0, 0.0, 319.5], [0.0, 500.0, 239.5], [0.0, 0.0, 1.0]])


def make_sample(height: int = 480, width: int = 640) -> dict:
    """A grey ramp to the right, so that colour tells flips and scale; depth 1..9 m with holes."""
    draws = torch.Generator().manual_seed(0)
    depth = 1 + 8 * torch.rand(1, height, width, generator=draws)
    depth[torch.rand(depth.shape, generator=draws) < 0.1] = 0
    return {
        "image": torch.linspace(20, 235, width).byte().expand(3, height, width).contiguous(),
        "depth": depth,
        "semantic": torch.randint(0, 40, (height, width), generator=draws),
        "intrinsics": K.clone(),
        "pose": torch.eye(4),
    }


def outputs(name: str, count: int, size: tuple[int, int] = SMALL) -> list[dict]:
    sample, transform = make_sample(60, 80), T.preset(name, size)
    return [transform(sample, generator(1, index)) for index in range(count)]


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def is_flipped(image: torch.Tensor) -> bool:
    return bool(image[..., : image.shape[-1] // 2].mean() > image[..., image.shape[-1] // 2 :].mean())


def test_names():
    assert set(T.list_presets()) == set(SIZES)
    with pytest.raises(ValueError, match="did you mean 'multimae-semseg'"):
        T.preset("multimae-semsegg")
    with pytest.raises(ValueError, match="there are multimae-pretrain, "):
        T.preset("zzz")


@pytest.mark.parametrize("name", SIZES)
def test_sizes_types_and_finiteness(name):
    out = T.preset(name)(make_sample(), generator(3))
    assert joint.size_of(out) == SIZES[name]
    assert out["image"].dtype == out["depth"].dtype == torch.float32
    assert out["image"].isfinite().all()
    assert out["depth"].isfinite().all()
    assert type(out["image"]) is torch.Tensor
    assert set(out["semantic"].unique().tolist()) <= {*range(40), 255}
    assert ("semseg" in name) or (out["semantic"] < 40).all()
    smaller = T.preset(name, (64, 96))(make_sample(), generator(3))
    assert joint.size_of(smaller) == (64, 96)


@pytest.mark.parametrize("name", SIZES)
def test_only_the_given_generator_is_drawn_from(name):
    sample, transform = make_sample(60, 80), T.preset(name, SMALL)
    untouched = make_sample(60, 80)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    runs = [[transform(sample, generator(seed, 5)) for seed in range(4)] for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert all(same(first, second) for first, second in zip(*runs, strict=True))
    assert same(sample, untouched)
    if name in DETERMINISTIC:
        assert same(transform(sample), runs[0][1])
    else:
        assert not same(runs[0][0], runs[0][1])
        with pytest.raises(ValueError, match=r"call it with a torch\.Generator"):
            transform(sample)


@pytest.mark.parametrize("name", SIZES)
def test_real_frames(name, rgbd_frames):
    from rgbd3d.data.sources import open_source

    frame = open_source(rgbd_frames / "frames7" / "sun3d_lounge_a")[0]
    out = T.preset(name, (96, 128))(frame, generator(0))
    metres = out.get("depth_metres", out["depth"])
    assert set(metres.unique().tolist()) <= {0, *frame["depth"].unique().tolist()}
    assert out["frame_id"] == frame["frame_id"]


# ------------------------------------------------------------------------------------------------------------ MultiMAE


def test_multimae_pretrain_crops():
    outs = outputs("multimae-pretrain", 300)
    across, down = (torch.stack([o["intrinsics"][i, i] for o in outs]) / 500 for i in range(2))
    columns, rows = 48 / across, 48 / down
    area, ratio = rows * columns / (60 * 80), columns / rows
    assert 0.19 < area.min() < 0.25
    assert 0.95 < area.max() <= 1
    assert 0.70 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.4
    assert np.mean([is_flipped(o["image"]) for o in outs]) == pytest.approx(0.5, abs=0.09)
    assert all(abs(float(o["depth"][o["depth_metres"] > 0].median())) < 1 for o in outs[:20])


def test_multimae_semseg_is_large_scale_jitter():
    outs = outputs("multimae-semseg", 300, (80, 80))
    scale = torch.stack([o["intrinsics"][0, 0] for o in outs]) / 500
    assert 0.1 <= scale.min() < 0.15
    assert 1.9 < scale.max() <= 2
    assert scale.mean() == pytest.approx(1.05, abs=0.1)
    small = outs[int(scale.argmin())]
    padded = small["semantic"] == 255
    assert padded.float().mean() > 0.95
    assert not padded[0, 0]
    assert (small["depth_metres"][0][padded] == 0).all()
    assert (small["depth"][0][padded] == 0).all()
    grey = 255 * denormalise_image(small["image"])
    torch.testing.assert_close(grey[:, padded], torch.full_like(grey[:, padded], 128), atol=0.01, rtol=0)
    without = {key: value for key, value in make_sample().items() if key != "depth"}
    assert "depth_metres" not in T.preset("multimae-semseg", SMALL)(without, generator(0))


def test_multimae_semseg_eval_fits_the_longer_side():
    out = T.preset("multimae-semseg-eval")(make_sample(120, 160))
    assert ((out["semantic"] == 255).nonzero()[:, 0].unique() == torch.arange(480, 640)).all()
    torch.testing.assert_close(out["intrinsics"][0, 0], torch.tensor(2000.0))


def test_multimae_depth_target_has_the_constants_of_the_script():
    sample = make_sample()
    out = T.preset("multimae-depth-eval")(sample)
    valid = out["depth_metres"] > 0
    stored = out["depth_metres"].double() * 65536 / 10
    expected = (stored - 2070.7764) / 777.5723
    torch.testing.assert_close(out["depth"][valid], expected[valid].float(), atol=1e-4, rtol=1e-5)
    # Centre crop of the frame at 256 x 341: the principal point moves by half of the 85 columns, rounded to even.
    expected_cx = (319.5 + 0.5) * 341 / 640 - 0.5 - 42
    assert out["intrinsics"][0, 2] == pytest.approx(expected_cx, abs=1e-3)


def test_multimae_depth_colours():
    sample = make_sample(48, 48)
    sample["image"][:] = torch.tensor([180, 100, 60]).byte().view(3, 1, 1)
    outs = [T.preset("multimae-depth", SMALL)(sample, generator(2, i)) for i in range(300)]
    colors = torch.stack([denormalise_image(o["image"])[:, 0, 0] for o in outs])
    grey = (colors.amax(1) - colors.amin(1)) < 0.01
    plain = ((255 * colors - torch.tensor([180, 100, 60])).abs() < 1).all(1)
    assert grey.float().mean() == pytest.approx(0.3, abs=0.08)
    assert plain.float().mean() == pytest.approx(0.5 * 0.7, abs=0.08)


# ------------------------------------------------------------------------------------------------- MIM-Depth, SC-Depth


def test_mim_depth_cuts_a_quarter_and_stays_in_0_to_1():
    sample = make_sample(60, 80)
    sample["image"][:] = torch.tensor([180, 100, 60]).byte().view(3, 1, 1)
    sample["depth"][:] = 0.333
    outs = [T.preset("mim-depth", (60, 80))(sample, generator(1, i)) for i in range(300)]
    # Depth is 333 - 256 = 77 in all channels; other colours stay reddish whatever the jitter.
    cut = [bool((o["image"].std(0) < 0.08).any()) for o in outs]
    assert np.mean(cut) == pytest.approx(0.25, abs=0.08)
    assert all(o["image"].min() >= 0 and o["image"].max() <= 1 for o in outs)
    assert all((o["depth"] == 0.333).all() for o in outs)
    unchanged = [bool(((o["image"][:, 0, 0] * 255 - torch.tensor([180, 100, 60])).abs() < 0.5).all()) for o in outs]
    assert np.mean(unchanged) == pytest.approx(0.125, abs=0.06)
    with pytest.raises(DataError, match="cannot crop 480 x 480"):
        T.preset("mim-depth")(sample, generator(0))


def test_mim_depth_eval_changes_nothing_but_the_scale_of_colour():
    sample = make_sample()
    out = T.preset("mim-depth-eval")(sample)
    assert torch.equal(out["image"], sample["image"] / 255)
    assert all(out[key] is sample[key] for key in ("depth", "semantic", "intrinsics"))


def test_sc_depth_zooms_up_to_15_per_cent_and_leaves_depth():
    outs = outputs("sc-depth", 200, (60, 80))
    zoom = torch.stack([o["intrinsics"].diagonal()[:2] for o in outs]) / 500
    assert zoom.min() >= 1
    assert 1.1 < zoom.max() <= 1.15
    flips = [is_flipped(o["image"]) for o in outs]
    assert np.mean(flips) == pytest.approx(0.5, abs=0.1)
    assert all(("depth_metres" not in o) and o["depth"].max() > 8 for o in outs)
    snippet = {
        "frames": make_sample(60, 80)["image"].expand(3, -1, -1, -1),
        "intrinsics": K,
    }
    frames = T.preset("sc-depth", (60, 80))(snippet, generator(1, 0))["frames"]
    assert all(torch.equal(frame, outs[0]["image"]) for frame in frames)


def test_sc_depth_normalisation():
    out = T.preset("sc-depth-eval", (480, 640))(make_sample())
    torch.testing.assert_close(out["image"], (make_sample()["image"] / 255 - 0.45) / 0.225)


# ----------------------------------------------------------------------------------------------------------- two-stage


def test_progressive_semseg_flips_blurs_and_pads():
    outs = outputs("progressive-semseg", 200)
    assert all((out["semantic"][36:] == 255).all() and (out["semantic"][:36] < 40).all() for out in outs)
    plain = T.Compose([T.ResizeWithin(SMALL), T.PadTo(SMALL, color=128), T.Normalise()])(make_sample(60, 80))
    flipped = np.mean([is_flipped(out["image"][:, :36]) for out in outs])
    untouched = np.mean([torch.equal(out["image"], plain["image"]) for out in outs])
    assert flipped == pytest.approx(0.5, abs=0.1)
    assert untouched == pytest.approx(0.25, abs=0.09), "neither flipped nor blurred"
    assert not any(torch.equal(out["semantic"], plain["semantic"]) and is_flipped(out["image"]) for out in outs)


# --------------------------------------------------------------------------------------------------------------- Pri3D


def test_pri3d_is_pil_nearest_and_imagenet():
    sample = make_sample()
    sample["image"] = torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8)
    out = T.preset("pri3d")(sample)
    small = Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).resize((320, 240), Image.Resampling.NEAREST)
    expected = (np.asarray(small) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(out["image"].permute(1, 2, 0).numpy(), expected, atol=1e-5)
    depth = Image.fromarray(sample["depth"][0].numpy()).resize((320, 240), Image.Resampling.NEAREST)
    assert np.array_equal(out["depth"][0].numpy(), np.asarray(depth))


def test_pri3d_pretrain_changes_colour_only():
    plain = T.preset("pri3d", SMALL)(make_sample(60, 80))
    outs = outputs("pri3d-pretrain", 200)
    assert all(torch.equal(o[key], plain[key]) for o in outs for key in ("depth", "semantic", "intrinsics", "pose"))
    untouched = np.mean([torch.equal(o["image"], plain["image"]) for o in outs])
    # The ramp is grey already: jitter misses it with 0.2, blur with 0.5.
    assert untouched == pytest.approx(0.1, abs=0.06)

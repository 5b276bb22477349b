import pytest
import torch

from rgbd3d.data import transforms as T
from rgbd3d.data.codec import DataError
from rgbd3d.seeding import generator

WIDTH = 60


def make_sample() -> dict:
    draws = torch.Generator().manual_seed(0)
    depth = 0.5 + 9 * torch.rand(1, 40, WIDTH, generator=draws)
    depth[torch.rand(depth.shape, generator=draws) < 0.2] = 0
    return {"image": torch.full((3, 40, WIDTH), 77, dtype=torch.uint8), "depth": depth}


def strip(changed: dict) -> torch.Tensor:
    """Columns that are no longer as they were."""
    return (changed["image"] != 77).any(0).any(0).nonzero().flatten()


def test_cut_depth_shows_millimetres_modulo_256_in_one_strip():
    cut, sample = T.CutDepth(widest=0.75, values_per_metre=1000), make_sample()
    grey = (sample["depth"].double() * 1000).round().long() % 256
    for seed in range(50):
        changed = cut(sample, generator(seed))
        columns = strip(changed)
        left, right = int(columns[0]), int(columns[-1]) + 1
        assert torch.equal(changed["image"][:, :, left:right], grey[..., left:right].expand(3, -1, -1).byte())
        assert len(columns) == right - left
        assert right - left <= max(0.75 * (WIDTH - left), 1)
        assert changed["depth"] is sample["depth"]
        assert (sample["image"] == 77).all()


def test_strips_begin_anywhere_and_have_any_width():
    cut, sample = T.CutDepth(widest=0.75, values_per_metre=1000), make_sample()
    strips = [strip(cut(sample, generator(seed))) for seed in range(300)]
    begins = torch.tensor([columns[0] for columns in strips]) / WIDTH
    widths = torch.tensor([len(columns) for columns in strips]) / WIDTH
    assert begins.float().mean() == pytest.approx(0.5, abs=0.06)
    # E[(1 - α) β 0.75] = 0.75 / 4, less half a column by truncation.
    assert widths.float().mean() == pytest.approx(0.75 / 4 - 0.5 / WIDTH, abs=0.03)


def test_cut_depth_can_show_depth_in_one_run():
    ramp = torch.linspace(0, 10, 101).view(1, 1, 101).expand(1, 4, 101).contiguous()
    image = torch.zeros(3, 4, 101, dtype=torch.uint8)
    shown = T.CutDepth(1.0, 25.5)({"image": image, "depth": ramp}, generator(3))["image"][0, 0]
    columns = shown.nonzero().flatten()
    torch.testing.assert_close(shown[columns].float(), (25.5 * ramp[0, 0, columns]).round())


def test_cut_depth_cuts_all_frames_alike():
    sample = make_sample()
    clip = {"frames": sample["image"].expand(2, -1, -1, -1), "depth_frames": sample["depth"].expand(2, -1, -1, -1)}
    cut = T.CutDepth(0.75, 1000)
    frames = cut(clip, generator(1))["frames"]
    assert all(torch.equal(frame, cut(sample, generator(1))["image"]) for frame in frames)


@pytest.mark.parametrize("truncated", [0.0, 0.1])
def test_standardisation_is_the_formula_over_valid_pixels(truncated):
    sample = make_sample()
    valid = sample["depth"] > 0
    ordered = sample["depth"][valid].double().sort().values
    kept = ordered[int(truncated * len(ordered)) : int((1 - truncated) * len(ordered))]
    expected = (sample["depth"] - kept.mean()) / torch.sqrt(kept.var() + 1e-6)
    out = T.StandardiseDepth(truncated)(sample)
    torch.testing.assert_close(out["depth"][valid], expected[valid].float(), atol=1e-5, rtol=1e-5)
    assert (out["depth"][~valid] == 0).all()
    assert torch.equal(out["depth_metres"], sample["depth"])


def test_a_clip_is_standardised_as_a_whole():
    near, far = make_sample()["depth"], 2 * make_sample()["depth"]
    out = T.StandardiseDepth(truncated=0.0)({"depth_frames": torch.stack([near, far])})
    valid = torch.stack([near, far]) > 0
    assert out["depth_frames"][valid].mean() == pytest.approx(0, abs=1e-4)
    assert out["depth_frames"][valid].std() == pytest.approx(1, abs=1e-4)
    assert out["depth_frames"][0][near > 0].mean() < -0.3
    assert out["depth_frames_metres"].shape == (2, 1, 40, WIDTH)


def test_constants_are_applied_to_valid_pixels():
    sample = make_sample()
    out = T.NormaliseDepth(mean=2.0, deviation=0.5)(sample)
    valid = sample["depth"] > 0
    torch.testing.assert_close(out["depth"][valid], 2 * (sample["depth"][valid] - 2))
    assert (out["depth"][~valid] == 0).all()


def test_geometry_after_standardisation_moves_the_metres_too():
    out = T.HorizontalFlip()(T.StandardiseDepth(0.1)(make_sample()))
    assert torch.equal(out["depth_metres"].flip(-1), make_sample()["depth"])


def test_bad_samples_are_refused():
    image = {"image": make_sample()["image"]}
    for transform in (T.CutDepth(0.75, 1000), T.StandardiseDepth(0.1), T.NormaliseDepth(2, 1)):
        with pytest.raises(DataError, match=r"neither depth nor depth_frames, only \['image'\]"):
            transform(image, generator(0))
    assert T.StandardiseDepth(0.1, required=False)(image) == image
    with pytest.raises(DataError, match="depth is no longer in metres"):
        T.Compose([T.StandardiseDepth(0.1), T.NormaliseDepth(2, 1)])(make_sample())
    with pytest.raises(DataError, match="CutDepth needs image in uint8"):
        T.CutDepth(0.75, 1000)(T.ToFloat()(make_sample()), generator(0))
    with pytest.raises(DataError, match="CutDepth needs image in uint8"):
        T.CutDepth(0.75, 1000)({"depth": make_sample()["depth"]}, generator(0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: T.CutDepth(1.5, 1000), "widest"),
        (lambda: T.CutDepth(0.5, 0), "values_per_metre"),
        (lambda: T.StandardiseDepth(0.5), "truncated"),
        (lambda: T.NormaliseDepth(1, 0), "deviation"),
    ],
)
def test_impossible_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()

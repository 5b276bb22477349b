"""Every protocol of depth estimation on frames whose errors are known."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from made_up_frames import MadeUpFrames
from tiny_tasks import sections

from rgbd3d.downstream.network import build_task_network
from rgbd3d.evaluation.protocols_depth import DEPTH_PROTOCOLS
from rgbd3d.evaluation.score import score

BY_NAME = {protocol.name: protocol for protocol in DEPTH_PROTOCOLS}
BY_IMAGE = ["nyuv2-depth/eigen", "nyuv2-train795-depth/full", "synthrooms-depth/full", "frames-depth/full"]
IBIMS = ["ibims-depth/v0.9", "ibims-depth/truncated"]
SIZE = (480, 640)
PREDICTED = 2.2


def two_frames(protocol):
    return replace(protocol, frames=replace(protocol.frames, count=None, numbers={}, first=0))


def model(images):
    """The same depth everywhere, at a quarter of the resolution."""
    return torch.full((len(images), 1, images.shape[2] // 4, images.shape[3] // 4), PREDICTED)


def frame(depth):
    return {"image": torch.zeros(3, *SIZE, dtype=torch.uint8), "depth": depth}


def near_and_far(index):
    """All of it 2 m away; then one half 4 m away and the other not measured."""
    depth = torch.full((1, *SIZE), 2.0)
    if index:
        depth[:] = 4.0
        depth[:, :, 320:] = 0
    return frame(depth)


def computed(name, make, predict=model):
    protocol = two_frames(BY_NAME[name])
    return score(protocol, MadeUpFrames(protocol.frames, make, count=2), predict).compute()


def test_no_protocol_is_forgotten():
    assert {*BY_IMAGE, *IBIMS, "nyuv2-depth/multimae-crop"} == BY_NAME.keys()


@pytest.mark.parametrize("name", BY_IMAGE)
def test_means_over_images(name):
    result = computed(name, near_and_far)
    assert (result["delta1"], result["delta2"], result["delta3"]) == (50, 50, 100)  # 4 / 2.2 = 1.82 < 1.25³
    assert result["abs_rel"] == pytest.approx((0.1 + 0.45) / 2)
    assert result["sq_rel"] == pytest.approx((0.02 + 0.81) / 2)
    assert result["rmse"] == pytest.approx((0.2 + 1.8) / 2)
    assert result["log10"] == pytest.approx((math.log10(1.1) - math.log10(0.55)) / 2)
    assert result["rmse_log"] == pytest.approx((math.log(1.1) - math.log(0.55)) / 2)
    assert result["silog"] == pytest.approx((math.log(1.1) - math.log(0.55)) / 2 * 0.5**0.5)


def test_means_over_pixels():
    result = computed("nyuv2-depth/multimae-crop", near_and_far)
    assert result["delta1"] == pytest.approx(200 / 3)
    assert result["abs_rel"] == pytest.approx((2 * 0.1 + 0.45) / 3)
    assert result["rmse"] == pytest.approx(((2 * 0.04 + 3.24) / 3) ** 0.5)


def outside(rows, columns, value):
    """2 m within rows and columns, another value elsewhere."""

    def make(_):
        depth = torch.full((1, *SIZE), value)
        depth[:, slice(*rows), slice(*columns)] = 2.0
        return frame(depth)

    return make


@pytest.mark.parametrize(
    ("rows", "columns", "exact"),
    [((45, 471), (41, 601), True), ((46, 471), (41, 601), False), ((45, 471), (41, 600), False)],
)
def test_eigen_scores_its_crop_alone(rows, columns, exact):
    result = computed("nyuv2-depth/eigen", outside(rows, columns, 0.5))
    assert (result["delta1"] == 100) == exact


@pytest.mark.parametrize(("value", "counted"), [(1e-3, False), (1.1e-3, True), (10.0, False), (9.99, True)])
def test_eigen_scores_its_range_alone(value, counted):
    result = computed("nyuv2-depth/eigen", outside((45, 471), (41, 321), value))
    assert result["delta1"] == pytest.approx(50 if counted else 100)


RANGES = {
    "nyuv2-depth/multimae-crop": (0.0, math.inf),
    "nyuv2-train795-depth/full": (0.0, math.inf),
    "synthrooms-depth/full": (1e-3, 10.0),
    "frames-depth/full": (0.0, math.inf),
}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [9e-4, 1.1e-3, 0.5, 6.0, 9.99, 10.01, 60.0])
def test_the_others_score_their_range_to_the_border(name, value):
    near, far = RANGES[name]
    result = computed(name, outside((0, 480), (0, 320), value))
    assert result["delta1"] == pytest.approx(50 if near < value < far else 100, abs=0.5)


def test_eigen_says_what_the_network_sees():
    facts = BY_NAME["nyuv2-depth/eigen"].facts()
    assert facts["augmentation"] == "mirror image and 2 square windows"
    assert facts["input"] == "image height of the card with the aspect of what is shown, rounded to the patch"
    assert BY_NAME["synthrooms-depth/full"].facts()["input"] == "image size of the card"


def test_networks_see_the_windows_of_eigen_as_squares():
    """MIM-Depth feeds two squares of 480 x 480; a card of 32 x 48 pixels is as high as they are wide."""
    network = build_task_network(sections("depth-convnext"))
    seen = []
    network.register_forward_pre_hook(lambda module, images: seen.append(tuple(images[0].shape)))
    protocol = BY_NAME["nyuv2-depth/eigen"]
    predict = partial(network.predict, size=protocol.input_size)
    assert protocol.predict(predict, torch.zeros(2, 3, *SIZE, dtype=torch.uint8)).shape == (2, 1, *SIZE)
    assert seen == [(8, 3, 32, 32)]


def test_eigen_limits_predictions():
    result = computed("nyuv2-depth/eigen", outside((0, 480), (0, 640), 0.0), lambda images: model(images) * 100)
    assert result["abs_rel"] == pytest.approx((10 - 2) / 2)


def test_multimae_scores_the_middle():
    # 640 x 480 become 341 x 256, of which the columns 42 to 297 remain: (42.5 and 297.5) * 640 / 341 = 79.8 and 558.4.
    assert computed("nyuv2-depth/multimae-crop", outside((0, 480), (79, 559), 0.5))["delta1"] == 100
    assert computed("nyuv2-depth/multimae-crop", outside((0, 480), (80, 559), 0.5))["delta1"] < 100
    assert computed("nyuv2-depth/multimae-crop", outside((0, 480), (79, 558), 0.5))["delta1"] < 100


def test_what_the_models_are_shown():
    seen = []

    def predict(images):
        seen.append(tuple(images.shape))
        return model(images)

    for name in ("nyuv2-depth/eigen", "nyuv2-depth/multimae-crop", "nyuv2-train795-depth/full"):
        computed(name, near_and_far, predict)
    # two windows of two frames and their mirror images; the centre; whole frames
    assert seen == [(8, 3, 480, 480), (2, 3, 256, 256), (2, 3, 480, 640)]


def test_eigen_blackens_the_white_border():
    def white(_):
        return near_and_far(0) | {"image": torch.full((3, *SIZE), 255, dtype=torch.uint8)}

    shown = []

    def predict(images):
        shown.append(images)
        return model(images)

    computed("nyuv2-depth/eigen", white, predict)
    left_window = shown[0][0, 0]
    assert (left_window[7:474, 7:] == 255).all()
    assert not left_window[:7].any()
    assert not left_window[474:].any()
    assert not left_window[:, :7].any()


@pytest.mark.parametrize("name", IBIMS)
def test_ibims(name):
    """The plane of the truth is level, the predicted one tilted by 10 degrees; depth is off by ten percent at least."""
    x = (torch.arange(640, dtype=torch.float64) - 319.5) / 500

    def tilted(slope):
        return (2.0 / (1 - slope * x)).expand(1, *SIZE)

    def make(_):
        edges = torch.zeros(SIZE, dtype=torch.uint8)
        edges[:, 100] = 1
        return frame(tilted(0.0).float()) | {
            "depth_edges": edges,
            "planes": torch.full(SIZE, 65, dtype=torch.uint8),
            "plane_normals": torch.tensor([[65, 0.0, 0, -1]]),
            "intrinsics": torch.tensor([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]]),
        }

    slope = math.tan(math.radians(10))
    result = computed(name, make, lambda images: 1.1 * tilted(slope).expand(len(images), 1, *SIZE))
    assert result["pe_orie"] == pytest.approx(10, abs=1e-4)
    assert result["pe_plan"] == pytest.approx(0, abs=1e-4)
    assert result["dbe_acc"] == result["dbe_comp"] == 10  # no edge is predicted
    assert result["dde_0"] == 100
    assert 0.09 < result["abs_rel"] < 0.12


def test_versions_of_ibims_differ_in_completeness():
    def make(_):
        edges = torch.zeros(SIZE, dtype=torch.uint8)
        edges[:, 320] = edges[:, 520] = 1
        return frame(torch.full((1, *SIZE), 2.0)) | {
            "depth_edges": edges,
            "planes": torch.zeros(SIZE, dtype=torch.uint8),
            "plane_normals": torch.zeros(0, 4),
            "intrinsics": torch.eye(3),
        }

    def step(images):
        depth = torch.full((len(images), 1, *SIZE), 2.0)
        depth[..., 320:] = 4
        return depth

    pytest.importorskip("skimage")
    assert computed("ibims-depth/v0.9", make, step)["dbe_comp"] == pytest.approx(100, abs=1)
    assert computed("ibims-depth/truncated", make, step)["dbe_comp"] == pytest.approx(10 / 3, abs=0.7)


@pytest.mark.parametrize("name", BY_NAME)
def test_models_of_something_else_are_refused(name):
    protocol = two_frames(BY_NAME[name])
    images = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    with pytest.raises(ValueError, match=rf"{name} needs depth \(2, 1, H, W\); the model gives"):
        protocol.predict(lambda images: torch.ones(len(images), 40, 8, 8), images)


@pytest.mark.parametrize("name", ["nyuv2-depth/eigen", "nyuv2-depth/multimae-crop", *IBIMS])
def test_frames_of_another_size_are_refused(name):
    frames = BY_NAME[name].frames

    def small(_):
        return {"image": torch.zeros(3, 240, 320, dtype=torch.uint8)}

    with pytest.raises(ValueError, match="320 x 240 pixels; this protocol is for frames of 640 x 480"):
        frames.check(MadeUpFrames(frames, small))


@pytest.mark.parametrize("name", IBIMS)
def test_ibims_needs_its_annotations(name):
    frames = BY_NAME[name].frames
    source = MadeUpFrames(frames, near_and_far, columns=("image", "depth"))
    with pytest.raises(ValueError, match="made-up has no depth_edges and no planes and no plane_normals"):
        frames.check(source)

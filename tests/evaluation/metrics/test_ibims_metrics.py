"""The errors of iBims-1 against hand-made answers and the reference fixture."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from rgbd3d.evaluation.metrics import IbimsMeter
from rgbd3d.evaluation.metrics.ibims import TRUNCATED, V09

pytest.importorskip("skimage")

SIZE = (480, 640)
CAMERA = torch.tensor([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
WHOLE = 1
"""Number of a plane that covers the frame."""


def plane(slope: float) -> torch.Tensor:
    """Depth (1, H, W) of the plane z = 3 + slope * x, float64."""
    x = (torch.arange(SIZE[1], dtype=torch.float64) - 319.5) / 500
    return (3 / (1 - slope * x)).expand(1, *SIZE).clone()


def frame(depth: torch.Tensor, **changes) -> dict:
    return {
        "depth": depth.float(),
        "depth_edges": torch.zeros(SIZE, dtype=torch.uint8),
        "planes": torch.full(SIZE, WHOLE, dtype=torch.uint8),
        "plane_normals": torch.tensor([[WHOLE, 0.0, 0, 1]]),
        "intrinsics": CAMERA,
    } | changes


def computed(prediction: torch.Tensor, truth: dict, boundaries=V09) -> dict[str, float]:
    meter = IbimsMeter(boundaries)
    meter.update(prediction, truth)
    return meter.compute()


def test_a_perfect_prediction():
    result = computed(plane(0), frame(plane(0)))
    for name in ("abs_rel", "sq_rel", "rmse", "log10", "pe_plan", "pe_orie", "dde_minus", "dde_plus"):
        assert result[name] == pytest.approx(0, abs=1e-4)
    assert result["delta1"] == result["dde_0"] == 100
    assert math.isnan(result["dbe_acc"])


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_tilted_plane_is_flat_and_off_by_its_angle(scale, sign):
    tilt = 10.0
    normals = torch.tensor([[WHOLE, 0.0, 0, sign]])
    result = computed(scale * plane(math.tan(math.radians(tilt))), frame(plane(0), plane_normals=normals))
    assert result["pe_orie"] == pytest.approx(tilt, abs=1e-6)
    assert result["pe_plan"] == pytest.approx(0, abs=1e-4)


def test_a_step_in_a_plane_by_hand():
    prediction = plane(0)
    prediction[:, :, 320:] = 3.2
    meter = IbimsMeter()
    meter.update(prediction, frame(plane(0)))
    # Scaled by 3 / median = 3 / 3.1, the halves lie 20 cm * 3 / 3.1 apart, and the best plane tilts towards both.
    points = (3 / 3.1) * prediction[0, 0].numpy() * np.array([(np.arange(640) - 319.5) / 500, np.ones(640)])
    residual = np.sqrt(np.linalg.eigvalsh(np.cov(points, bias=True))[0])
    assert meter.compute()["pe_plan"] == pytest.approx(100 * residual, rel=1e-4)


def test_small_planes_are_left_out():
    planes = torch.zeros(SIZE, dtype=torch.uint8)
    planes[:24] = 7  # exactly 5 %
    normals = torch.tensor([[7, 0.0, 0, 1]])
    truth = frame(plane(0), planes=planes, plane_normals=normals)
    assert computed(plane(0), truth)["pe_orie"] == pytest.approx(0, abs=1e-4)
    truth["depth"][0, 0, 0] = 0  # one pixel less is valid
    assert math.isnan(computed(plane(0), truth)["pe_orie"])


def test_directed_errors_by_hand():
    truth = torch.full((1, *SIZE), 2.0, dtype=torch.float64)
    truth[:, :, 160:] = 4.0
    prediction = torch.full((1, *SIZE), 2.5, dtype=torch.float64)
    prediction[:, :, :64] = 3.5
    prediction[:, :, 320:] = 5.0
    # columns 0:64 wrongly behind 3 m, 160:320 wrongly before it
    result = computed(prediction, frame(truth))
    assert (result["dde_plus"], result["dde_minus"], result["dde_0"]) == (10, 25, 65)


def edge_case(shift: int) -> tuple[torch.Tensor, dict]:
    """A step of the depth in the middle, the true edge `shift` pixels to the right of where it is found."""
    prediction = torch.full((1, *SIZE), 2.0, dtype=torch.float64)
    prediction[:, :, 320:] = 4.0
    edges = torch.zeros(SIZE, dtype=torch.uint8)
    edges[:, 320 + shift] = 1
    return prediction, frame(plane(0), depth_edges=edges)


@pytest.mark.parametrize("version", [V09, TRUNCATED])
def test_edges_that_are_off_by_some_pixels(version):
    offset = computed(*edge_case(0), version)["dbe_acc"]
    assert 0 <= offset <= 1  # the detector sees the step on one side of it
    result = computed(*edge_case(6), version)
    assert abs(result["dbe_acc"] - 6) <= 1
    assert result["dbe_comp"] == pytest.approx(result["dbe_acc"], abs=0.3)  # the ends of the edge are not found


def test_a_weak_step_is_an_edge_for_the_lower_thresholds_only():
    prediction, truth = edge_case(0)
    prediction[:, :, 160:320] = 2.2  # a tenth of the range
    truth["depth_edges"][:] = 0
    truth["depth_edges"][:, 160] = 1
    assert computed(prediction, truth, V09)["dbe_acc"] < 1
    assert computed(prediction, truth, TRUNCATED)["dbe_acc"] == 10, "no edge near"


def test_completeness_far_from_any_prediction():
    prediction, truth = edge_case(0)
    truth["depth_edges"][:, 520] = 1  # a second true edge, 200 pixels from the predicted one
    directed, truncated = computed(prediction, truth, V09), computed(prediction, truth, TRUNCATED)
    assert directed["dbe_comp"] == pytest.approx(100, abs=1)
    assert truncated["dbe_comp"] == pytest.approx(10 / 3, abs=0.7)  # two of three edges have a partner


@pytest.mark.parametrize("version", [V09, TRUNCATED])
def test_no_edge_near_the_truth_counts_as_ten_pixels(version):
    _, truth = edge_case(0)
    result = computed(plane(0), truth, version)
    assert (result["dbe_acc"], result["dbe_comp"]) == (10, 10)


# ------------------------------------------------------------------------------------------------------------ reference


@pytest.fixture
def reference(golden):
    given = np.load(golden / "ibims_metrics/inputs.npz")
    expected = json.loads((golden / "ibims_metrics/meta.json").read_text())["expected"]
    valid = (given["mask_invalid"] > 0) & (given["gt"] > 0)
    planes, normals = np.zeros(SIZE, np.uint8), []
    for kind, name in enumerate(("wall", "floor", "table")):
        planes = np.where(given[f"mask_{name}"] > 0, 64 * kind + given[f"mask_{name}"], planes)
        for number, (right, forward, up) in enumerate(given[f"paras_{name}"][:, 4:7], 1):
            normals.append([64 * kind + number, right, -up, forward])
    camera = given["calib"].T.copy()
    camera[:2, 2] -= 1
    truth = {
        "depth": torch.from_numpy(given["gt"] * valid)[None],
        "depth_edges": torch.from_numpy(given["edges"]),
        "planes": torch.from_numpy(planes.astype(np.uint8)),
        "plane_normals": torch.tensor(normals),
        "intrinsics": torch.from_numpy(camera),
    }
    return torch.from_numpy(given["pred"])[None], truth, expected


@pytest.mark.parametrize(
    ("version", "completeness"),
    [(V09, "v09_dbe_com_untruncated_thr0.10_0.20"), (TRUNCATED, "dbe_com_symmetric_truncated")],
)
def test_reference(reference, version, completeness):
    prediction, truth, expected = reference
    result = computed(prediction, truth, version)
    pairs = {"abs_rel": "abs_rel", "sq_rel": "sq_rel", "rmse": "rms", "log10": "log10"}
    pairs |= {"dbe_acc": "dbe_acc_thr0.15_0.30", "dbe_comp": completeness}
    pairs |= {"pe_plan": "pe_fla_mean", "pe_orie": "pe_ori_mean"}
    for ours, theirs in pairs.items():
        assert result[ours] == pytest.approx(expected[theirs], rel=1e-4, abs=1e-4), ours
    percents = {"dde_0": "dde_0", "dde_minus": "dde_m", "dde_plus": "dde_p"}
    percents |= {f"delta{k}": f"thr{k}" for k in (1, 2, 3)}
    for ours, theirs in percents.items():
        assert result[ours] / 100 == pytest.approx(expected[theirs], rel=1e-4), ours


def test_single_planes_of_the_reference(reference):
    prediction, truth, expected = reference
    meter = IbimsMeter()
    meter.update(prediction, truth)
    for ours, theirs in (("pe_plan", "fla"), ("pe_orie", "ori")):
        flat = [value for kind in ("wall", "floor", "table") for value in expected[f"pe_{theirs}_{kind}"]]
        np.testing.assert_allclose(meter.values[ours], flat, rtol=1e-4)


def test_frames_and_planes_add_up(reference):
    prediction, truth, expected = reference
    one, other = IbimsMeter(), IbimsMeter()
    one.update(prediction, truth)
    other.update(plane(0), frame(plane(0)))
    one.merge(copy.deepcopy(other))
    result = one.compute()
    assert result["abs_rel"] == pytest.approx(expected["abs_rel"] / 2, rel=1e-4)  # a mean over two frames
    assert result["pe_orie"] == pytest.approx(expected["pe_ori_mean"] * 4 / 5, rel=1e-4)  # over five planes
    with pytest.raises(ValueError, match="different settings"):
        one.merge(IbimsMeter(TRUNCATED))


# ------------------------------------------------------------------------------------------------------------ bad input


def test_refuses_what_does_not_fit():
    truth = frame(plane(0))
    with pytest.raises(ValueError, match="there is no planes, intrinsics"):
        IbimsMeter().update(plane(0), {key: truth[key] for key in ("depth", "depth_edges", "plane_normals")})
    with pytest.raises(ValueError, match=r"prediction \(1, 240, 320\), but depth is \(1, 480, 640\)"):
        IbimsMeter().update(plane(0)[:, ::2, ::2], truth)
    for bad in (0.0, torch.nan, torch.inf):
        prediction = plane(0)
        prediction[0, 0, 0] = bad
        with pytest.raises(ValueError, match="not positive and finite everywhere"):
            IbimsMeter().update(prediction, truth)


def test_nothing_evaluated_is_an_error():
    meter = IbimsMeter()
    meter.update(plane(0), frame(torch.zeros(1, *SIZE)))
    with pytest.raises(ValueError, match="no valid depth"):
        meter.compute()

"""Depth errors against hand-made answers and the reference fixtures."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.evaluation.metrics import DepthMeter
from rgbd3d.evaluation.metrics.depth import EIGEN_CROP, Scoring, Window


def maps(*rows):
    return torch.tensor(rows)[:, None, None]


def test_by_hand():
    meter = DepthMeter()
    meter.update(maps([2.0, 3.0, 9.0, 4.0]), maps([2.0, 2.0, 0.0, 4.0]))
    result = meter.compute()
    assert result["delta1"] == pytest.approx(200 / 3)
    assert result["delta2"] == pytest.approx(100.0)
    assert result["abs_rel"] == pytest.approx(0.5 / 3)
    assert result["sq_rel"] == pytest.approx(0.5 / 3)
    assert result["rmse"] == pytest.approx((1 / 3) ** 0.5)
    off = torch.tensor(1.5, dtype=torch.float64).log().item()
    assert result["log10"] == pytest.approx(torch.tensor(1.5, dtype=torch.float64).log10().item() / 3)
    assert result["rmse_log"] == pytest.approx(off / 3**0.5)
    assert result["silog"] == pytest.approx((off**2 / 3 - 0.5 * (off / 3) ** 2) ** 0.5)


TRUTH, GUESS = maps([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]), maps([1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(("average", "delta1", "rmse"), [("images", 50, 0.5), ("pixels", 80, 0.2**0.5)])
def test_averages_over_images_or_pixels(average, delta1, rmse):
    meter = DepthMeter(Scoring(average=average))
    meter.update(GUESS, TRUTH)
    assert meter.compute()["delta1"] == pytest.approx(delta1)
    assert meter.compute()["rmse"] == pytest.approx(rmse)


@pytest.mark.parametrize("average", ["images", "pixels"])
def test_parts_and_processes_add_up(average):
    scoring = Scoring(average=average)
    draws = torch.Generator().manual_seed(0)
    guess, truth = 1 + torch.rand(2, 6, 1, 5, 7, generator=draws)
    truth[4] = 0  # without any measurement: skipped
    whole, one, other = DepthMeter(scoring), DepthMeter(scoring), DepthMeter(scoring)
    whole.update(guess, truth)
    one.update(guess[:2], truth[:2])
    other.update(guess[2:5], truth[2:5])
    other.update(guess[5:], truth[5:])
    one.merge(copy.deepcopy(other))
    assert one.compute() == pytest.approx(whole.compute(), rel=1e-12)
    with pytest.raises(ValueError, match="different settings"):
        one.merge(DepthMeter(Scoring(far=3)))


def test_range_and_window():
    truth = torch.full((1, 1, 6, 8), 50.0)
    truth[..., 1:3, 2:7] = torch.tensor([0.5, 10.0, 2.0, 2.0, 4.0])
    guess = torch.full((1, 1, 6, 8), -3.0)
    guess[..., 1:3, 2:7] = torch.tensor([9.0, 9.0, 2.0, 3.0, torch.inf])
    meter = DepthMeter(Scoring(0.5, 10.0, Window(1, 3, 2, 7)))
    meter.update(guess, truth)
    # 0.5 and 10 m lie on the ends of the range and do not count; infinity becomes 10 m
    assert meter.compute()["abs_rel"] == pytest.approx((0 + 0.5 + 1.5) / 3)
    with pytest.raises(ValueError, match=r"rows 45:471, columns 41:601 do not lie within 8 x 6 pixels"):
        DepthMeter(Scoring(window=EIGEN_CROP)).update(guess, truth)


def test_mim_depth_reference(golden):
    folder = golden / "mimdepth_metrics"
    meta = json.loads((folder / "meta.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    meter = DepthMeter(Scoring(meta["min_depth"], meta["max_depth"]))
    meter.update(inputs["pred"][None, None], inputs["gt"][None, None])
    result, expected = meter.compute(), meta["metrics_small"]
    tolerance = {"rel": meta["suggested"]["rtol"], "abs": meta["suggested"]["atol"]}
    for k in (1, 2, 3):
        assert result[f"delta{k}"] / 100 == pytest.approx(expected[f"d{k}"], **tolerance)
    for name in ("abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog"):
        assert result[name] == pytest.approx(expected[name], **tolerance)


def test_eigen_crop_reference(golden):
    meta = json.loads((golden / "mimdepth_metrics/meta.json").read_text())
    crop = EIGEN_CROP
    assert [crop.top, crop.bottom, crop.left, crop.right] == meta["eigen_crop"]
    meter = DepthMeter(Scoring(meta["min_depth"], meta["max_depth"], crop, "pixels"))
    meter.update(torch.ones(1, 1, 480, 640), torch.ones(1, 1, 480, 640))
    assert meter.sums[0] == meta["crop_count"]


def test_multimae_reference(golden):
    folder = golden / "multimae_finetune_losses"
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    mean, deviation = 2070.7764, 777.5723
    truth = (inputs["target"] * deviation + mean) * inputs["mask_valid"]
    meter = DepthMeter(Scoring(average="pixels"))
    meter.update(inputs["pred"] * deviation + mean, truth)
    result = meter.compute()
    for k in (1, 2, 3):
        assert result[f"delta{k}"] / 100 == pytest.approx(float(expected[f"metric_delta_{k}"]), rel=1e-5)
    pairs = {"rmse": "rmse", "abs_rel": "rel", "sq_rel": "srel", "rmse_log": "log10"}  # its log10 is no log10
    for ours, theirs in pairs.items():
        assert result[ours] == pytest.approx(float(expected[f"metric_{theirs}"]), rel=1e-5)


@pytest.mark.parametrize("bad", [0.0, -1.0, torch.nan, torch.inf])
def test_predictions_that_are_no_metres(bad):
    with pytest.raises(ValueError, match="1 of 2 predictions are not positive and finite"):
        DepthMeter().update(maps([2.0, bad]), maps([2.0, 2.0]))
    DepthMeter().update(maps([2.0, bad]), maps([2.0, 0.0]))


def test_nan_is_refused_even_within_a_range():
    with pytest.raises(ValueError, match="not positive and finite"):
        DepthMeter(Scoring(1e-3, 10)).update(maps([torch.nan]), maps([1.0]))


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        DepthMeter().update(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2))


@pytest.mark.parametrize("average", ["images", "pixels"])
def test_nothing_evaluated_is_an_error(average):
    meter = DepthMeter(Scoring(average=average))
    meter.update(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3))
    with pytest.raises(ValueError, match="no valid depth"):
        meter.compute()

"""Metrics against answers that can be computed by hand, and against the reference fixtures."""

import json

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.evaluation.metrics import DepthMeter, SemanticMeter


def test_semantic_meter_by_hand():
    meter = SemanticMeter(3)
    meter.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]))
    result = meter.compute()
    # class 0: 1 hit, 1 false positive; class 1: 1 hit, 1 miss; class 2 does not occur
    assert result["miou"] == pytest.approx(50.0)
    assert result["pixel_accuracy"] == pytest.approx(200 / 3)
    assert result["mean_accuracy"] == pytest.approx(75.0)


def test_semantic_meter_adds_up_over_batches():
    draws = torch.Generator().manual_seed(0)
    prediction, target = torch.randint(0, 5, (2, 4, 8, 8), generator=draws)
    whole, parts = SemanticMeter(5), SemanticMeter(5)
    whole.update(prediction, target)
    for p, t in zip(prediction.split(1), target.split(1), strict=True):
        parts.update(p, t)
    assert whole.compute() == parts.compute()


def test_semantic_meter_refuses_labels_out_of_range():
    with pytest.raises(ValueError, match="label 7 does not fit 5 classes"):
        SemanticMeter(5).update(torch.zeros(1, 1, 2, dtype=torch.int64), torch.tensor([[[1, 7]]]))


def test_nothing_evaluated_is_an_error():
    meter = SemanticMeter(2)
    meter.update(torch.zeros(1, 1, 1, dtype=torch.int64), torch.full((1, 1, 1), 255))
    with pytest.raises(ValueError, match="no labelled pixel"):
        meter.compute()
    with pytest.raises(ValueError, match="no valid depth"):
        DepthMeter().compute()


def test_depth_meter_by_hand():
    meter = DepthMeter()
    truth = torch.tensor([2.0, 2.0, 0.0, 4.0]).view(1, 1, 2, 2)
    guess = torch.tensor([2.0, 3.0, 9.0, 4.0]).view(1, 1, 2, 2)
    meter.update(guess, truth)
    result = meter.compute()
    assert result["delta1"] == pytest.approx(200 / 3)
    assert result["delta2"] == pytest.approx(100.0)
    assert result["abs_rel"] == pytest.approx(0.5 / 3)
    assert result["rmse"] == pytest.approx((1 / 3) ** 0.5)


def test_depth_is_averaged_over_images_not_over_pixels():
    meter = DepthMeter()
    truth = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]).view(2, 1, 2, 2)
    guess = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
    meter.update(guess, truth)
    assert meter.compute()["delta1"] == pytest.approx(50.0)


def test_depth_metrics_equal_the_reference(golden):
    folder = golden / "mimdepth_metrics"
    meta = json.loads((folder / "meta.json").read_text())
    inputs = load_file(folder / "inputs.safetensors")
    truth = inputs["gt"][None, None]
    valid = (truth > meta["min_depth"]) & (truth < meta["max_depth"])
    meter = DepthMeter()
    meter.update(inputs["pred"][None, None], truth * valid)
    result, expected = meter.compute(), meta["metrics_small"]
    for ours, theirs, factor in (("delta1", "d1", 100), ("delta2", "d2", 100), ("delta3", "d3", 100)):
        assert result[ours] == pytest.approx(factor * expected[theirs], rel=1e-5)
    for name, theirs in (("abs_rel", "abs_rel"), ("rmse", "rmse"), ("log10", "log10")):
        assert result[name] == pytest.approx(expected[theirs], rel=1e-5)

"""Accuracy and average precision against hand-made answers and the reference fixture."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.evaluation.metrics import ClassificationMeter


def test_by_hand():
    meter = ClassificationMeter(3)
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0]])
    meter.update(scores[:1], torch.tensor([0]))
    meter.update(scores[1:], torch.tensor([1, 1]))
    # class 0: ranked first; class 1: ranked first and second; class 2 does not occur
    assert meter.average_precision().tolist()[:2] == [1.0, 1.0]
    assert meter.average_precision()[2].isnan()
    assert meter.compute() == {"top1": pytest.approx(200 / 3), "mean_average_precision": 100}


def test_equal_scores_are_one_threshold():
    meter = ClassificationMeter(1)
    # Class 0 against nothing else would always be right, so take two classes whose scores tie.
    meter = ClassificationMeter(2)
    meter.update(torch.tensor([[0.5, 0.5]] * 4), torch.tensor([0, 1, 1, 1]))
    assert meter.average_precision().tolist() == [0.25, 0.75]


def test_reference(golden):
    folder = golden / "detection_map"
    meta, inputs = json.loads((folder / "meta.json").read_text()), load_file(folder / "inputs.safetensors")
    one, other = ClassificationMeter(9), ClassificationMeter(9)
    one.update(inputs["scores"][:20], inputs["labels"][:20])
    other.update(inputs["scores"][20:], inputs["labels"][20:])
    one.merge(other)
    np.testing.assert_allclose(one.average_precision(), meta["per_class_ap"], atol=1e-6)
    assert one.compute()["mean_average_precision"] / 100 == pytest.approx(meta["macro_map"], abs=1e-6)


def test_refuses_what_does_not_fit():
    meter = ClassificationMeter(3)
    with pytest.raises(ValueError, match="2 scores each, but there are 3 classes"):
        meter.update(torch.zeros(1, 2), torch.tensor([0]))
    with pytest.raises(ValueError, match="labels 3 to 3 do not fit 3 classes"):
        meter.update(torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(ValueError, match="no example"):
        meter.compute()
    with pytest.raises(ValueError, match="different settings"):
        meter.merge(ClassificationMeter(4))

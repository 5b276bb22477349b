"""Counting of classes against hand-made answers, the reference fixtures and scripts of the benchmarks."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.data.label_spaces import lookup
from rgbd3d.evaluation.metrics import SemanticMeter
from rgbd3d.evaluation.metrics.segmentation import BENCHMARK, POINTCEPT, PRESENT, PRI3D, class_table
from rgbd3d.evaluation.tables import as_markdown

VOID = 255


def filled(counting, classes, prediction, target):
    meter = SemanticMeter(classes, counting)
    meter.update(torch.as_tensor(prediction)[None, None], torch.as_tensor(target)[None, None])
    return meter


def test_by_hand():
    # class 0: 1 hit, 1 false positive; class 1: 1 hit, 1 miss; class 2 does not occur
    result = filled(PRESENT, 3, [0, 0, 1, 1], [0, 1, 1, VOID]).compute()
    assert result["miou"] == pytest.approx(50.0)
    assert result["pixel_accuracy"] == pytest.approx(200 / 3)
    assert result["mean_accuracy"] == pytest.approx(75.0)


@pytest.mark.parametrize(
    ("counting", "miou", "pixel_accuracy", "mean_accuracy"),
    [
        (PRESENT, (1 / 3 + 1 / 2) / 2, 2 / 5, (1 / 3 + 1 / 2) / 2),
        (BENCHMARK, (1 / 3 + 1 / 2 + 0) / 3, 2 / 5, (1 / 3 + 1 / 2) / 2),
        (PRI3D, (1 / 2 + 1 / 2 + 0 + 0) / 4, 2 / 4, (1 / 2 + 1 / 2) / 4),
        (POINTCEPT, (1 / 3 + 1 / 2 + 0 + 0) / 4, 2 / 5, (1 / 3 + 1 / 2) / 4),
    ],
    ids=["present", "benchmark", "pri3d", "pointcept"],
)
def test_countings_by_hand(counting, miou, pixel_accuracy, mean_accuracy):
    """Of class 0 one pixel is hit, one called class 2, one void; of class 1 one is hit, one called class 2."""
    result = filled(counting, 4, [0, 2, VOID, 1, 2, 3], [0, 0, 0, 1, 1, VOID]).compute()
    assert result["miou"] == pytest.approx(100 * miou)
    assert result["pixel_accuracy"] == pytest.approx(100 * pixel_accuracy)
    assert result["mean_accuracy"] == pytest.approx(100 * mean_accuracy)


def test_per_class_table_by_hand():
    meter = filled(BENCHMARK, 4, [0, 2, VOID, 1, 2], [0, 0, 0, 1, 1])
    wall, floor, chair, lamp = meter.per_class(["wall", "floor", "chair", "lamp"])
    assert (wall.iou, wall.precision) == (pytest.approx(100 / 3), 100)
    assert (wall.accuracy, wall.share) == (pytest.approx(100 / 3), 60)
    assert (floor.iou, floor.accuracy, floor.precision, floor.share) == (50, 50, 100, 40)
    assert (chair.iou, chair.accuracy, chair.precision, chair.share) == (0, None, 0, 0)
    assert (lamp.iou, lamp.accuracy, lamp.precision) == (None, None, None)
    assert "| wall | 33.3 | 33.3 | 100.0 | 60.0 |\n| floor | 50.0 |" in as_markdown(class_table([wall, floor]))
    assert as_markdown(class_table([lamp])).endswith("| lamp | – | – | – | 0.0 |")


def test_confusion_matrix_has_a_column_for_none():
    matrix = filled(BENCHMARK, 2, [1, VOID, 1, 0], [0, 0, 1, VOID]).matrix
    assert matrix.tolist() == [[0, 1, 1], [0, 1, 0]]


def test_parts_and_processes_add_up():
    prediction, target = torch.randint(0, 5, (2, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    whole, one, other = SemanticMeter(5), SemanticMeter(5), SemanticMeter(5)
    whole.update(prediction, target)
    one.update(prediction[:1], target[:1])
    for p, t in zip(prediction[1:].split(1), target[1:].split(1), strict=True):
        other.update(p, t)
    one.merge(copy.deepcopy(other))
    assert whole.compute() == one.compute()
    with pytest.raises(ValueError, match="different settings"):
        one.merge(SemanticMeter(5, PRI3D))


def test_scannet_reference(golden):
    folder = golden / "scannet_miou"
    meta = json.loads((folder / "meta.json").read_text())
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    to_train = torch.from_numpy(lookup("scannet20", "nyu40").astype(np.int64))
    truth, prediction = to_train[inputs["gt_nyu40"]], to_train[inputs["pred_nyu40"]]
    tolerance = meta["suggested"]

    official = SemanticMeter(20, BENCHMARK)
    official.update(prediction, truth)
    assert official.compute()["miou"] == pytest.approx(100 * float(expected["official_miou"]), rel=tolerance["rtol"])
    ious = [np.nan if row.iou is None else row.iou / 100 for row in official.per_class([""] * 20)]
    np.testing.assert_allclose(ious, expected["official_iou"], **tolerance)

    pri3d = SemanticMeter(20, PRI3D)
    pri3d.update(prediction, truth)
    assert pri3d.compute()["miou"] == pytest.approx(100 * float(expected["pri3d_miou"]), rel=tolerance["rtol"])
    assert pri3d.compute()["pixel_accuracy"] == pytest.approx(100 * float(expected["pri3d_acc"]), rel=tolerance["rtol"])


def test_pointcept_reference(golden):
    folder = golden / "pointcept_sched_miou"
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    truth = inputs["gt"].where(inputs["gt"] >= 0, VOID)
    meter = SemanticMeter(7, POINTCEPT)
    meter.update(inputs["pred"][None], truth[None])
    result = meter.compute()
    for ours, theirs in (("miou", "miou"), ("mean_accuracy", "macc"), ("pixel_accuracy", "allacc")):
        assert result[ours] == pytest.approx(100 * float(expected[theirs]), rel=1e-6)
    ious = [(row.iou or 0) / 100 for row in meter.per_class([""] * 7)]
    np.testing.assert_allclose(ious, expected["iou"], rtol=1e-6, atol=1e-8)
    hits = meter.matrix[:, :7].diagonal()
    assert torch.equal(hits, expected["intersection"])
    assert torch.equal(meter.matrix.sum(1), expected["target"])


@pytest.mark.parametrize("void_is_zero", [False, True])
def test_mmsegmentation_reference(golden, void_is_zero):
    folder = golden / "multimae_finetune_losses"
    inputs, expected = load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")
    if void_is_zero:
        raw, prefix = inputs["seg_gt_zero_is_void"], "rzl_"
        truth = torch.where((raw == 0) | (raw == VOID), VOID, raw - 1)
    else:
        truth, prefix = inputs["seg_gt"], ""
    meter = SemanticMeter(9, BENCHMARK)
    meter.update(inputs["seg_pred"], truth)
    ious = [np.nan if row.iou is None else row.iou / 100 for row in meter.per_class([""] * 9)]
    np.testing.assert_allclose(ious, expected[f"{prefix}iou"], rtol=1e-9)
    result = meter.compute()
    assert result["pixel_accuracy"] == pytest.approx(100 * float(expected[f"{prefix}all_acc"]), rel=1e-9)
    assert result["miou"] == pytest.approx(100 * np.nanmean(expected[f"{prefix}iou"]), rel=1e-9)
    if not void_is_zero:
        assert result["mean_accuracy"] == pytest.approx(100 * np.nanmean(expected["acc"]), rel=1e-9)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ([0, 0], [1, 7], "label 7 does not fit 5 classes"),
        ([0, 0], [1, 5], "label 5 does not fit 5 classes"),
        ([0, 0], [1, -1], "label -1 does not fit 5 classes"),
        ([0, 5], [1, 1], "prediction 5 does not fit 5 classes"),
        ([0], [1, 1], "differ in shape"),
    ],
)
def test_refuses_what_does_not_fit(prediction, target, message):
    with pytest.raises(ValueError, match=message):
        filled(BENCHMARK, 5, prediction, target)


def test_nothing_evaluated_is_an_error():
    with pytest.raises(ValueError, match="no labelled pixel"):
        filled(BENCHMARK, 2, [0], [VOID]).compute()
    empty = SemanticMeter(2)
    empty.update(torch.zeros(0, 4, 4, dtype=torch.int64), torch.zeros(0, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="no labelled pixel"):
        empty.compute()

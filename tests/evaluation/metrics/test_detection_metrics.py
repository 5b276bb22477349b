"""Average precision against hand-made answers and the reference fixture of pycocotools."""

import copy
import json

import numpy as np
import pytest
import torch

from rgbd3d.evaluation.metrics import InstanceMeter
from rgbd3d.evaluation.metrics.detection import best_detections

coder = pytest.importorskip("faster_coco_eval.core.mask")

SIZE = (40, 60)


def objects(*boxes, labels=None, scores=None, crowd=None):
    """Rectangles as boxes and masks."""
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    made = {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(labels or [1] * len(boxes), dtype=torch.int64),
        "masks": masks,
    }
    if scores is not None:
        made |= {"scores": torch.tensor(scores, dtype=torch.float32), "masks": 0.9 * masks[:, None]}
    return made | ({} if crowd is None else {"crowd": torch.tensor(crowd)})


A, B, FAR = (0, 0, 10, 10), (20, 0, 40, 20), (45, 25, 55, 35)


def test_one_of_two_found():
    meter = InstanceMeter(["chair"])
    meter.update(objects(A, scores=[0.9]), objects(A, B))
    result = meter.compute()
    # precision 1 at the 51 recalls 0, 0.01, ..., 0.5 of 101
    assert result == {key: pytest.approx(100 * 51 / 101) for key in result}
    assert set(result) == {f"{kind}_{name}" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")}


def test_overlap_decides_at_each_threshold():
    meter = InstanceMeter(["chair"], ["box"])
    meter.update(objects((0, 0, 25, 18), scores=[0.9]), objects((0, 0, 25, 25)))  # IoU 0.72: right at 0.5, ..., 0.7
    assert meter.compute() == {"box_ap": pytest.approx(50), "box_ap50": pytest.approx(100), "box_ap75": 0}
    assert meter.per_class("box")["chair"] == {"ap": pytest.approx(50), "ap50": pytest.approx(100), "ap75": 0}
    for threshold, height in ((0.7, 1), (0.75, 0)):
        _, curves = meter.precision_recall("box", threshold)
        assert (curves["chair"] == height).all()


def test_false_positives_and_the_curve():
    meter = InstanceMeter(["chair", "lamp"], ["mask"])
    meter.update(objects(A, FAR, B, scores=[0.9, 0.8, 0.7]), objects(A, B))
    recall, curves = meter.precision_recall("mask")
    assert list(curves) == ["chair"]
    # right, wrong, right: precision 1 up to recall 1/2, then 2/3
    torch.testing.assert_close(curves["chair"], torch.where(recall <= 0.5, 1, 2 / 3).double())
    assert meter.compute()["mask_ap50"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert meter.per_class("mask")["lamp"] == {"ap": None, "ap50": None, "ap75": None}
    assert meter.per_class("mask")["chair"]["ap50"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    with pytest.raises(ValueError, match=r"no curve at an IoU of 0\.42"):
        meter.precision_recall("mask", 0.42)
    with pytest.raises(ValueError, match="box is not scored by this meter, only mask"):
        meter.precision_recall("box")


def test_nothing_found_is_zero_and_crowds_forgive():
    meter = InstanceMeter(["chair"])
    meter.update(objects(scores=[]), objects(A))
    assert set(meter.compute().values()) == {0.0}
    crowded = InstanceMeter(["chair"])
    found = objects(A, FAR, scores=[0.5, 0.9])
    crowded.update(found, objects(A, FAR, crowd=[False, True]))
    assert crowded.compute()["mask_ap"] == pytest.approx(100)
    uncrowded = InstanceMeter(["chair"])
    uncrowded.update(found, objects(A))
    assert uncrowded.compute()["mask_ap"] == pytest.approx(50)


def test_classes_are_averaged_and_processes_add_up():
    one, other = InstanceMeter(["chair", "lamp"]), InstanceMeter(["chair", "lamp"])
    one.update(objects(A, scores=[0.9], labels=[1]), objects(A))
    other.update(objects(scores=[]), objects(B, labels=[2]))
    assert one.compute()["box_ap"] == pytest.approx(100)
    one.merge(copy.deepcopy(other))
    assert one.compute()["box_ap"] == pytest.approx(50)
    with pytest.raises(ValueError, match="different settings"):
        one.merge(InstanceMeter(["chair"]))


def test_best_detections():
    kept = best_detections(objects(A, B, FAR, scores=[0.2, 0.9, 0.4]), 2, 0.3)
    torch.testing.assert_close(kept["scores"], torch.tensor([0.9, 0.4]))
    assert kept["boxes"].tolist() == [list(B), list(FAR)]


def test_reference(golden):
    folder = golden / "detection_map"
    expected = json.loads((folder / "meta.json").read_text())["coco"]
    truth = json.loads((folder / "annotations.json").read_text())
    results = json.loads((folder / "detections.json").read_text())
    meter = InstanceMeter([category["name"] for category in truth["categories"]])
    for picture in truth["images"]:
        size = (picture["height"], picture["width"])
        target = tensors([item for item in truth["annotations"] if item["image_id"] == picture["id"]], size)
        found = tensors([item for item in results if item["image_id"] == picture["id"]], size)
        meter.update(found, target)
    computed = meter.compute()
    for ours, theirs in (("box", "bbox"), ("mask", "segm")):
        for name in ("AP", "AP50", "AP75"):
            assert computed[f"{ours}_{name.lower()}"] / 100 == pytest.approx(expected[theirs][name], abs=1e-6)


def tensors(items, size):
    """COCO's dictionaries as tensors."""
    boxes = torch.tensor([item["bbox"] for item in items], dtype=torch.float64).view(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [torch.from_numpy(coder.decode(encoded(item["segmentation"], *size))) for item in items]
    made = {
        "boxes": boxes,
        "labels": torch.tensor([item["category_id"] for item in items], dtype=torch.int64),
        "masks": torch.stack(masks) if masks else torch.zeros(0, *size, dtype=torch.uint8),
    }
    if items and "score" in items[0]:
        return made | {"scores": torch.tensor([item["score"] for item in items], dtype=torch.float64)}
    return made | {"crowd": torch.tensor([bool(item.get("iscrowd")) for item in items])}


def encoded(segmentation, height, width):
    if isinstance(segmentation, list):
        return coder.merge(coder.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coder.frPyObjects(segmentation, height, width)
    return segmentation


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (objects(A, scores=[0.9], labels=[2]), "detection of class 2, but there are 1 classes, counted from 1"),
        (objects(A, scores=[np.nan]), "have to be finite"),
        ({**objects(A, scores=[0.9]), "masks": torch.ones(1, 1, 4, 4)}, r"are \(4, 4\), those of the frame \(40, 60\)"),
        ({key: value for key, value in objects(A, scores=[0.9]).items() if key != "masks"}, "masks .* are missing"),
    ],
    ids=["class", "nan", "size", "no masks"],
)
def test_refuses_what_does_not_fit(found, message):
    with pytest.raises(ValueError, match=message):
        InstanceMeter(["chair"]).update(found, objects(A))


def test_labels_count_from_one():
    with pytest.raises(ValueError, match="object of class 0"):
        InstanceMeter(["chair"]).update(objects(scores=[]), objects(A, labels=[0]))


def test_no_object_at_all_is_an_error():
    meter = InstanceMeter(["chair"])
    meter.update(objects(A, scores=[0.9]), objects())
    meter.update(objects(A, scores=[0.9]), objects(A, crowd=[True]))
    with pytest.raises(ValueError, match="no object of the 1 classes, or crowds alone, in any of 2 frames"):
        meter.compute()

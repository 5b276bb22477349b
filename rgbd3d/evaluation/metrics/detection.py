"""Detection and instance segmentation: COCO's AP, AP50 and AP75 of boxes and masks, and precision-recall curves.

The counting is that of `faster_coco_eval`, the COCO evaluator in C++: 101 recalls, IoU 0.5 to 0.95 in steps of 0.05,
the 100 best detections of a frame, crowds matched without being wanted (FACTS.md §7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rgbd3d.evaluation.metrics.base import Meter, check_mergeable
from rgbd3d.optional import need

Kind = Literal["box", "mask"]
Frame = Mapping[str, Tensor]
Record = dict[str, Any]

MAX_DETECTIONS = 100
"""Detections of a frame that are scored, the best ones."""
_IOU_TYPES: Mapping[Kind, str] = {"box": "bbox", "mask": "segm"}
_IN_MASK = 0.5
_UNUSED_SIZE = {"height": 0, "width": 0}  # has to be there; polygons alone would need it
_PURPOSE = "COCO's average precision"


def best_detections(detections: Frame, count: int = MAX_DETECTIONS, least_score: float = 0.0) -> Frame:
    """At most `count` of a frame's detections, none of a lower score than `least_score`, the best first."""
    scores = detections["scores"]
    order = scores.argsort(descending=True, stable=True)[:count]
    order = order[~(scores[order] < least_score)]  # NaN stays, to be refused
    return {key: detections[key][order] for key in ("boxes", "labels", "scores", "masks") if key in detections}


class InstanceMeter(Meter):
    """Detections and true objects of all frames; masks are kept run-length encoded.

    Args:
        classes: Their names; the label of the first one is 1.
        kinds: What is scored.
    """

    def __init__(self, classes: Sequence[str], kinds: Sequence[Kind] = ("box", "mask")) -> None:
        self.classes, self.kinds = tuple(classes), tuple(kinds)
        self.frames: list[tuple[list[Record], list[Record]]] = []
        """By frame: annotations and results in COCO's form, without ids."""
        self._evaluated: dict[Kind, Any] = {}

    def update(self, detections: Frame, target: Frame) -> None:
        """Adds a frame, in the form of torchvision's detectors.

        Args:
            detections: `boxes` float (N, 4), left, top, right, bottom in pixels; `labels` int (N,), from 1; `scores`
                float (N,); with "mask" also `masks` (N, 1, H, W) or (N, H, W), bool or probabilities.
            target: `boxes` and `labels` of the true objects, `masks` (N, H, W) of 0 and 1, and, if there are any,
                `crowd` bool (N,): groups of objects that were not told apart, where any number of detections is right.

        Raises:
            ValueError: A label outside the classes, boxes or scores that are not finite, or masks that are missing or
                have another size than those of the truth.
        """
        found = best_detections(detections)
        self._check(found, target)
        truth = self._records(target)
        if "crowd" in target:
            for record, crowd in zip(truth, target["crowd"].tolist(), strict=True):
                record["iscrowd"] = int(crowd)
        results = self._records(found)
        for record, score in zip(results, found["scores"].tolist(), strict=True):
            record["score"] = score
        self.frames.append((truth, results))
        self._evaluated.clear()

    def merge(self, other: InstanceMeter) -> None:
        """Adds the frames of another meter."""
        check_mergeable((self.classes, self.kinds), (other.classes, other.kinds))
        self.frames += other.frames
        self._evaluated.clear()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the results."""
        return tuple(f"{kind}_{name}" for kind in self.kinds for name in ("ap", "ap50", "ap75"))

    def compute(self) -> dict[str, float]:
        """box_ap, box_ap50, box_ap75 and the same of masks, in percent, over the classes that occur.

        Raises:
            ValueError: No frame has an object that counts: none at all, or crowds only.
        """
        results = {}
        for kind in self.kinds:
            precision = self._precision(kind)
            for name, part in (("ap", precision), ("ap50", precision[:1]), ("ap75", precision[5:6])):
                results[f"{kind}_{name}"] = 100 * float(part[part > -1].mean())
        return results

    def per_class(self, kind: Kind) -> dict[str, dict[str, float | None]]:
        """Class -> its ap, ap50 and ap75 in percent; None for classes that do not occur."""
        precision = self._precision(kind)
        table: dict[str, dict[str, float | None]] = {}
        for index, name in enumerate(self.classes):
            own = precision[:, :, index]
            parts = {"ap": own, "ap50": own[0], "ap75": own[5]}
            occurs = bool((own > -1).any())
            table[name] = {key: 100 * float(part.mean()) if occurs else None for key, part in parts.items()}
        return table

    def precision_recall(self, kind: Kind, iou: float = 0.5) -> tuple[Tensor, dict[str, Tensor]]:
        """The curves at one IoU.

        Returns:
            The 101 recalls, and class -> precision there (the best at this recall or a larger one; 0 where it is not
            reached); classes that do not occur are left out.

        Raises:
            ValueError: The IoU is none of those that are evaluated.
        """
        precision, parameters = self._precision(kind), self._evaluation(kind).params
        at = np.flatnonzero(np.isclose(parameters.iouThrs, iou))
        if not len(at):
            raise ValueError(f"no curve at an IoU of {iou}; there are {parameters.iouThrs.round(2).tolist()}")
        curves = {name: torch.from_numpy(precision[at[0], :, index].copy()) for index, name in enumerate(self.classes)}
        recalls = torch.from_numpy(np.array(parameters.recThrs))
        return recalls, {name: curve for name, curve in curves.items() if (curve > -1).any()}

    # ------------------------------------------------------------------------------------------------------- records

    def _check(self, found: Frame, target: Frame) -> None:
        for what, labels in (("detection", found["labels"]), ("object", target["labels"])):
            if labels.numel() and not 1 <= int(labels.min()) <= int(labels.max()) <= len(self.classes):
                raise ValueError(
                    f"{what} of class {int(labels.max())}, but there are {len(self.classes)} classes, counted from 1"
                )
        if not (found["boxes"].isfinite().all() and found["scores"].isfinite().all()):
            raise ValueError("boxes and scores of detections have to be finite")
        if "mask" in self.kinds and len(found["labels"]):
            size, expected = (
                tuple(frame["masks"].shape[-2:]) if "masks" in frame else None for frame in (found, target)
            )
            if size is None or size != expected:
                raise ValueError(f"masks of detections are {size or 'missing'}, those of the frame {expected}")

    def _records(self, objects: Frame) -> list[Record]:
        """One for each object; COCO's boxes are left, top, width, height."""
        corners = objects["boxes"].double().cpu()
        boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
        records: list[Record] = [
            {"category_id": label, "bbox": box, "area": box[2] * box[3]}
            for label, box in zip(objects["labels"].tolist(), boxes, strict=True)
        ]
        if "mask" in self.kinds and records:
            coder = need("faster_coco_eval.core.mask", _PURPOSE, "eval")
            pixels = (objects["masks"].flatten(0, -3) > _IN_MASK).to(torch.uint8).cpu().numpy()
            codes = coder.encode(np.asfortranarray(pixels.transpose(1, 2, 0)))
            for record, code, area in zip(records, codes, coder.area(codes), strict=True):
                record |= {"segmentation": code, "area": float(area)}
        return records

    def _precision(self, kind: Kind) -> np.ndarray:
        """(10 IoUs, 101 recalls, classes); -1 for classes that do not occur."""
        return self._evaluation(kind).eval["precision"][..., 0, -1]

    def _evaluation(self, kind: Kind) -> Any:
        if kind not in self.kinds:
            raise ValueError(f"{kind} is not scored by this meter, only {', '.join(self.kinds)}")
        if kind not in self._evaluated:
            self._evaluated[kind] = self._evaluate(kind)
        return self._evaluated[kind]

    def _evaluate(self, kind: Kind) -> Any:
        library = need("faster_coco_eval", _PURPOSE, "eval")
        annotations = _numbered(truth for truth, _ in self.frames)
        if all(annotation.get("iscrowd") for annotation in annotations):
            frames = f"{len(self.frames)} frames"
            raise ValueError(f"no object of the {len(self.classes)} classes, or crowds alone, in any of {frames}")
        dataset = {
            "images": [{"id": number, **_UNUSED_SIZE} for number in range(1, len(self.frames) + 1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.classes, 1)],
            "annotations": annotations,
        }
        truth = library.COCO(dataset)
        results = library.COCO({**dataset, "annotations": _numbered(found for _, found in self.frames)})
        evaluation = library.COCOeval_faster(truth, results, _IOU_TYPES[kind], print_function=_silent)
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation


def _numbered(frames: Any) -> list[Record]:
    """The records of all frames, each with the number of its frame and its own, from 1."""
    records = [record | {"image_id": number} for number, frame in enumerate(frames, 1) for record in frame]
    return [{"iscrowd": 0} | record | {"id": number} for number, record in enumerate(records, 1)]


def _silent(*_: object) -> None:
    """In place of the evaluator's prints."""

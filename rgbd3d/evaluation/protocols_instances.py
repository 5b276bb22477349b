"""Protocols of object detection and instance segmentation: COCO's average precision of boxes and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.manifest import OWN
from rgbd3d.evaluation.metrics.detection import Frame, InstanceMeter, best_detections
from rgbd3d.evaluation.protocols_base import Frames, Sample, ScoredProtocol
from rgbd3d.evaluation.protocols_data import NYUV2_TEST, SCANNET_VAL, frames
from rgbd3d.heads.mask_rcnn import targets_from_instances


@dataclass(frozen=True, kw_only=True)
class InstanceProtocol(ScoredProtocol[InstanceMeter]):
    """Objects of some classes.

    Attributes:
        class_ids: Train ids of the classes; the label of the first one is 1.
        smallest: Pixels; smaller objects are not there.
        least_score: Detections of a lower score are dropped.
        skip_empty: Whether frames without an object are left out, with what is detected in them.
        crowds: Whether pixels of a class that belong to no instance are a group of objects, where any number of
            detections is right.
    """

    class_ids: tuple[int, ...]
    smallest: int = 1
    least_score: float = 0.0
    skip_empty: bool = False
    crowds: bool = False

    task: ClassVar[str] = "instance-segmentation"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of `class_ids`."""
        assert self.frames.label_space is not None
        names = class_names(self.frames.label_space)
        return tuple(names[train_id] for train_id in self.class_ids)

    def meter(self) -> InstanceMeter:
        """An empty meter."""
        return InstanceMeter(self.classes)

    def predict(self, model: Callable[[Tensor], Sequence[Frame]], images: Tensor) -> Sequence[Frame]:
        """One pass over each frame."""
        return model(images)

    def add(self, meter: InstanceMeter, prediction: Sequence[Frame], samples: Sequence[Sample]) -> None:
        """Adds a batch.

        Args:
            meter: Of `meter`.
            prediction: One for each frame, as `InstanceMeter.update` takes it.
            samples: The frames.
        """
        for found, sample in zip(prediction, samples, strict=True):
            target = self.target(sample)
            if len(target["labels"]) or not self.skip_empty:
                meter.update(best_detections(found, least_score=self.least_score), target)

    def target(self, sample: Sample) -> Frame:
        """The true objects of a frame."""
        semantic, instance = sample["semantic"], sample["instance"]
        objects = targets_from_instances(instance, semantic, self.class_ids)
        large = objects["masks"].flatten(1).sum(1) >= self.smallest
        target = {key: objects[key][large] for key in ("boxes", "labels", "masks")}
        if not self.crowds:
            return target
        groups = targets_from_instances((instance == 0).int(), semantic, self.class_ids)
        crowd = torch.arange(len(target["labels"]) + len(groups["labels"])) >= len(target["labels"])
        return {key: torch.cat([target[key], groups[key]]) for key in target} | {"crowd": crowd}

    def facts(self) -> dict[str, str]:
        """What decides the numbers."""
        return self.frame_facts() | {
            "classes": str(len(self.class_ids)),
            "objects": (f"of {self.smallest} pixels or more" if self.smallest > 1 else "all")
            + (", pixels of a class without an instance as crowds" if self.crowds else ""),
            "detections": f"of score {self.least_score:g} or more" if self.least_score else "all",
            "counting": "COCO" + (", without frames that have no object" if self.skip_empty else ""),
            "augmentation": "none",
        }


def _without(label_space: str, *names: str) -> tuple[int, ...]:
    return tuple(index for index, name in enumerate(class_names(label_space)) if name not in names)


_LABELLED = ("image", "semantic", "instance")
_SCANNET = frames(SCANNET_VAL, _LABELLED, "scannet20")
_SCANNET18 = _without("scannet20", "wall", "floor")
_NYUV2 = frames(NYUV2_TEST, _LABELLED, "nyu13")
_NYUV2_9 = _without("nyu13", "ceiling", "floor", "objects", "wall")
_PRI3D_SMALLEST = 1000  # pixels
_PRI3D_SCORE = 0.5  # of its configurations; it lowers the average precision

INSTANCE_PROTOCOLS = (
    InstanceProtocol(
        name="scannet-instances/pri3d",
        description=(
            "Pri3D's 18 classes, without wall and floor (FACTS.md §1.3): objects of 1000 pixels or more, which are 245 "
            "at 640 x 480 instead of 1296 x 968; detections of score 0.5 or more; frames without objects left out."
        ),
        frames=replace(_SCANNET, size=(480, 640)),
        class_ids=_SCANNET18,
        smallest=_PRI3D_SMALLEST * 640 * 480 // (1296 * 968) + 1,
        least_score=_PRI3D_SCORE,
        skip_empty=True,
    ),
    InstanceProtocol(
        name="scannet-instances/18",
        description="ScanNet's 18 classes of objects, all objects and all detections.",
        frames=_SCANNET,
        class_ids=_SCANNET18,
    ),
    InstanceProtocol(
        name="nyuv2-instances/pri3d",
        description=(
            "Pri3D's 9 of the 13 classes: objects of 1000 pixels or more, detections of score 0.5 or more, frames "
            "without objects left out (FACTS.md §1.3)."
        ),
        frames=_NYUV2,
        class_ids=_NYUV2_9,
        smallest=_PRI3D_SMALLEST,
        least_score=_PRI3D_SCORE,
        skip_empty=True,
    ),
    InstanceProtocol(
        name="nyuv2-instances/9",
        description="The classes of Pri3D, all objects and all detections.",
        frames=_NYUV2,
        class_ids=_NYUV2_9,
    ),
    InstanceProtocol(
        name="cityscapes-instances/8",
        description="COCO's average precision, not the benchmark's own; its groups of objects are COCO's crowds.",
        frames=Frames(
            data_set="cityscapes",
            split="val",
            columns=_LABELLED,
            label_space="cityscapes19",
            count=500,
            size=(1024, 2048),
        ),
        class_ids=tuple(range(11, 19)),
        crowds=True,
    ),
    InstanceProtocol(
        name="synthrooms-instances/37",
        description="Rendered rooms that nothing is trained on; all classes but wall, floor and ceiling.",
        frames=Frames(data_set="synthrooms", split="test", columns=_LABELLED, label_space="nyu40"),
        class_ids=_without("nyu40", "wall", "floor", "ceiling"),
    ),
    InstanceProtocol(
        name="frames-instances/37",
        description="Your own frames; all classes but wall, floor and ceiling.",
        frames=Frames(data_set=OWN, split="test", columns=_LABELLED, label_space="nyu40"),
        class_ids=_without("nyu40", "wall", "floor", "ceiling"),
    ),
)
"""By name in `rgbd3d.evaluation.protocols_scored`."""

"""Protocols of semantic segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import InterpolationMode

from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.manifest import OWN
from rgbd3d.data.transforms import Compose, PadTo, Resize, ResizeWithin
from rgbd3d.evaluation.metrics.segmentation import BENCHMARK, PRESENT, PRI3D, Counting, SemanticMeter
from rgbd3d.evaluation.protocols_base import Frames, Sample, ScoredProtocol, View
from rgbd3d.evaluation.protocols_data import (
    HELD_OUT,
    NYUV2_TEST,
    NYUV2_TRAIN_HELD_OUT,
    SCANNET_VAL,
    SUNRGBD_TEST,
    frames,
)
from rgbd3d.types import IGNORE_LABEL


@dataclass(frozen=True, kw_only=True)
class SemanticProtocol(ScoredProtocol[SemanticMeter]):
    """Classes of pixels.

    Attributes:
        counting: See `rgbd3d.evaluation.metrics.segmentation`.
    """

    counting: Counting

    task: ClassVar[str] = "semantic-segmentation"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the train ids."""
        assert self.frames.label_space is not None
        return class_names(self.frames.label_space)

    def meter(self) -> SemanticMeter:
        """An empty meter."""
        return SemanticMeter(len(self.classes), self.counting)

    def predict(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """One pass over each frame."""
        return model(images)

    def add(self, meter: SemanticMeter, prediction: Tensor, samples: Sequence[Sample]) -> None:
        """Adds a batch.

        Args:
            meter: Of `meter`.
            prediction: float (B, C, h, w), logits of any resolution; they are resized bilinearly to that of the truth.
                A channel behind those of the classes stands for none of them.
            samples: The frames.

        Raises:
            ValueError: Another number of classes.
        """
        truth = torch.stack([sample["semantic"] for sample in samples]).to(prediction.device)
        meter.update(self.train_ids(prediction, (truth.shape[-2], truth.shape[-1])), truth)

    def train_ids(self, prediction: Tensor, size: tuple[int, int]) -> Tensor:
        """Predicted train ids, int64 (B, *size); 255 = none of the classes.

        Args:
            prediction: As `add` takes it.
            size: (height, width) of the truth.

        Raises:
            ValueError: Another number of classes.
        """
        count = len(self.classes)
        if prediction.shape[1] not in (count, count + 1):
            raise ValueError(
                f"the model predicts {prediction.shape[1]} classes, but {self.name} scores the {count} of "
                f"{self.frames.label_space}"
            )
        if tuple(prediction.shape[-2:]) != size:
            prediction = functional.interpolate(prediction.float(), size, mode="bilinear", align_corners=False)
        ids = prediction.argmax(1)
        return ids if prediction.shape[1] == count else ids.where(ids < count, IGNORE_LABEL)

    def facts(self) -> dict[str, str]:
        """What decides the numbers."""
        means = {"truth": "classes in the truth", "either": "classes that occur", "all": "all classes"}
        void = "a miss" if self.counting.void_is_miss else "not counted"
        return self.frame_facts() | {
            "counting": f"mean over {means[self.counting.mean_over]}; predicting none of them is {void}",
            "augmentation": "none",
        }


def _pri3d(height: int, width: int) -> View:
    resize = Resize((height, width), InterpolationMode.NEAREST)
    return View(f"{width} x {height}, colour and labels by nearest neighbour", resize)


_SCANNET_SIZE = View("640 x 480", Resize((480, 640)))
_MULTIMAE = View(
    "longer side 640, padded to 640 x 640 (not scored)",
    Compose([ResizeWithin((640, 640)), PadTo((640, 640), color=128)]),
)
_LABELLED = ("image", "semantic")

SEMANTIC_PROTOCOLS = (
    SemanticProtocol(
        name="scannet-semseg/official",
        description="ScanNet's 20 classes counted as by its benchmark script, at 640 x 480 as there (FACTS.md §7).",
        frames=frames(SCANNET_VAL, _LABELLED, "scannet20"),
        view=_SCANNET_SIZE,
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="scannet-semseg/pri3d",
        description="ScanNet's 20 classes as Pri3D, and so Mask3D and its successors, count them (FACTS.md §1.3).",
        frames=frames(SCANNET_VAL, _LABELLED, "scannet20"),
        view=_pri3d(240, 320),
        counting=PRI3D,
    ),
    SemanticProtocol(
        name="scannet-semseg/40",
        description="All 40 classes of NYU on ScanNet, with the formula of its benchmark (FACTS.md §7).",
        frames=frames(SCANNET_VAL, _LABELLED, "nyu40"),
        view=_SCANNET_SIZE,
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="nyuv2-semseg/40",
        description="MultiMAE's protocol, which M³3D and the two-stage paper follow (FACTS.md §6.1).",
        frames=frames(NYUV2_TEST, _LABELLED, "nyu40"),
        view=_MULTIMAE,
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="nyuv2-semseg/13",
        description="Pri3D's protocol, which Mask3D's numbers on NYUv2 follow (FACTS.md §1.3).",
        frames=replace(frames(NYUV2_TEST, _LABELLED, "nyu13"), size=None),
        view=_pri3d(240, 320),
        counting=PRI3D,
    ),
    SemanticProtocol(
        name="nyuv2-train795-semseg/40",
        description=HELD_OUT,
        frames=frames(NYUV2_TRAIN_HELD_OUT, _LABELLED, "nyu40"),
        counting=PRESENT,
    ),
    SemanticProtocol(
        name="nyuv2-train795-semseg/13",
        description=HELD_OUT,
        frames=frames(NYUV2_TRAIN_HELD_OUT, _LABELLED, "nyu13"),
        counting=PRESENT,
    ),
    SemanticProtocol(
        name="sunrgbd-semseg/37",
        description="mIoU and mean accuracy of the two-stage paper (Tables 2 and 4), at the size of its Table 14.",
        frames=frames(SUNRGBD_TEST, _LABELLED, "sunrgbd37"),
        view=_MULTIMAE,
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="cityscapes-semseg/19",
        description="The benchmark's pixel-level score on its validation split at full size.",
        frames=Frames(
            data_set="cityscapes",
            split="val",
            columns=_LABELLED,
            label_space="cityscapes19",
            count=500,
            size=(1024, 2048),
        ),
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="cityscapes-semseg/pri3d",
        description="Cityscapes as in Pri3D's script, at 360 x 180; Mask3D does not state the size of its Table 7.",
        frames=Frames(data_set="cityscapes", split="val", columns=_LABELLED, label_space="cityscapes19", count=500),
        view=_pri3d(180, 360),
        counting=PRI3D,
    ),
    SemanticProtocol(
        name="ade20k-semseg/150",
        description="The 2000 validation images of the scene parsing benchmark, counted as by mmsegmentation.",
        frames=Frames(data_set="ade20k", split="val", columns=_LABELLED, label_space="ade20k150", count=2000),
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="synthrooms-semseg/40",
        description="Rendered rooms that nothing is trained on.",
        frames=Frames(data_set="synthrooms", split="test", columns=_LABELLED, label_space="nyu40"),
        counting=BENCHMARK,
    ),
    SemanticProtocol(
        name="frames-semseg/40",
        description="Your own frames.",
        frames=Frames(data_set=OWN, split="test", columns=_LABELLED, label_space="nyu40"),
        counting=BENCHMARK,
    ),
)
"""By name in `rgbd3d.evaluation.protocols_scored`."""

"""Protocols of depth estimation. Predictions are metres; nothing is aligned to the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from rgbd3d.data.manifest import OWN
from rgbd3d.data.transforms import CenterCrop, Compose, ResizeToCover
from rgbd3d.evaluation.augmentation import predict_flipped, predict_in_windows, resize_prediction
from rgbd3d.evaluation.metrics.base import Meter
from rgbd3d.evaluation.metrics.depth import EIGEN_CROP, DepthMeter, Scoring, Window
from rgbd3d.evaluation.metrics.ibims import COLUMNS, TRUNCATED, V09, Boundaries, IbimsMeter
from rgbd3d.evaluation.protocols_base import Frames, Sample, ScoredProtocol, View
from rgbd3d.evaluation.protocols_data import HELD_OUT, NYUV2_TEST, NYUV2_TRAIN_HELD_OUT, frames

M = TypeVar("M", bound=Meter)

NYUV2_PICTURE = Window(7, 474, 7, 632)
"""What NYUv2's colour images show. The border that undistortion left white is black in BTS's copy of the set,
which MIM-Depth is tested on."""


@dataclass(frozen=True, kw_only=True)
class _MetricDepth(ScoredProtocol[M]):
    """Depth in metres.

    Attributes:
        flip: Whether predictions of mirror images are averaged in.
        windows: Number of square windows that predictions are averaged over, see `predict_in_windows`; 1 is none. The
            network sees squares.
        picture: Outside of it, colour is made black.
    """

    flip: bool = False
    windows: int = 1
    picture: Window | None = None

    task: ClassVar[str] = "depth-estimation"

    @property
    def input_size(self) -> Literal["height"] | None:
        """Windows are as high as the frame, so what the network sees of them is as high as the card's images."""
        return "height" if self.windows > 1 else None

    def predict(self, model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Depth at the size of the images, float (B, 1, H, W), metres.

        Args:
            model: uint8 (N, 3, H, W) -> float (N, 1, h, w), metres.
            images: uint8 (B, 3, H, W).

        Raises:
            ValueError: The model predicts something else.
        """
        if self.picture is not None:
            framed = torch.zeros_like(images)
            self.picture.of(framed).copy_(self.picture.of(images))
            images = framed
        run = partial(predict_flipped, model) if self.flip else model
        depth = predict_in_windows(run, images, self.windows) if self.windows > 1 else run(images)
        if depth.shape[:2] != (len(images), 1):
            raise ValueError(f"{self.name} needs depth ({len(images)}, 1, H, W); the model gives {tuple(depth.shape)}")
        return resize_prediction(depth, (images.shape[-2], images.shape[-1]))

    def depth_facts(self) -> dict[str, str]:
        """The part of `facts` on view and augmentation."""
        windows = [f"{self.windows} square windows"] if self.windows > 1 else []
        augmentation = " and ".join((["mirror image"] if self.flip else []) + windows) or "none"
        return self.frame_facts() | {"augmentation": augmentation}


@dataclass(frozen=True, kw_only=True)
class DepthProtocol(_MetricDepth[DepthMeter]):
    """The usual depth errors.

    Attributes:
        scoring: Which pixels count, and what is averaged.
    """

    scoring: Scoring

    def meter(self) -> DepthMeter:
        """An empty meter."""
        return DepthMeter(self.scoring)

    def add(self, meter: DepthMeter, prediction: Tensor, samples: Sequence[Sample]) -> None:
        """Adds float (B, 1, H, W), metres."""
        truth = torch.stack([sample["depth"] for sample in samples])
        meter.update(prediction, truth.to(prediction.device))

    def facts(self) -> dict[str, str]:
        """What decides the numbers."""
        window, far = self.scoring.window, self.scoring.far
        box = f"rows {window.top}:{window.bottom}, columns {window.left}:{window.right}" if window else "none"
        return self.depth_facts() | {
            "crop": box,
            "range": f"{self.scoring.near:g} to {far:g} m" if far < math.inf else "all measured",
            "average": "over pixels of an image, then images"
            if self.scoring.average == "images"
            else "over all pixels",
        }


@dataclass(frozen=True, kw_only=True)
class IbimsProtocol(_MetricDepth[IbimsMeter]):
    """The errors of iBims-1.

    Attributes:
        boundaries: Version of the depth boundary errors.
    """

    boundaries: Boundaries

    @property
    def input_size(self) -> Literal["height"] | None:
        """Planes and edges of a frame that is squeezed are others."""
        return "height"

    def meter(self) -> IbimsMeter:
        """An empty meter."""
        return IbimsMeter(self.boundaries)

    def add(self, meter: IbimsMeter, prediction: Tensor, samples: Sequence[Sample]) -> None:
        """Adds float (B, 1, H, W), metres."""
        for depth, sample in zip(prediction, samples, strict=True):
            meter.update(depth, sample)

    def facts(self) -> dict[str, str]:
        """What decides the numbers."""
        edges = f"edges at {self.boundaries.low:g} and {self.boundaries.high:g} of the range"
        return self.depth_facts() | {
            "crop": "none",
            "range": "all measured",
            "average": "over pixels of an image, then images; planes of all images",
            "boundaries": f"{self.boundaries.completeness} completeness, {edges}",
        }


_MULTIMAE = View("shorter side 256, centre 256 x 256", Compose([ResizeToCover((256, 256)), CenterCrop((256, 256))]))
_MEASURED = ("image", "depth")
_EIGEN_RANGE = (1e-3, 10.0)
_IBIMS = Frames(data_set="ibims1", split="test", columns=("image", *COLUMNS), count=100, size=(480, 640))

DEPTH_PROTOCOLS = (
    DepthProtocol(
        name="nyuv2-depth/eigen",
        description="The Eigen line with MIM-Depth's test, which MeSa follows (FACTS.md §5.2 and §7).",
        frames=frames(NYUV2_TEST, _MEASURED),
        scoring=Scoring(*_EIGEN_RANGE, EIGEN_CROP),
        flip=True,
        windows=2,
        picture=NYUV2_PICTURE,
    ),
    DepthProtocol(
        name="nyuv2-depth/multimae-crop",
        description=(
            "MultiMAE's fine-tuning, which M³3D and the two-stage paper report δ1 of (FACTS.md §6.2). It averages over "
            "the pixels of a batch, then over batches, of 100 images by default; here over all pixels of all 654."
        ),
        frames=frames(NYUV2_TEST, _MEASURED),
        view=_MULTIMAE,
        scoring=Scoring(average="pixels"),
    ),
    DepthProtocol(
        name="nyuv2-train795-depth/full",
        description=HELD_OUT,
        frames=frames(NYUV2_TRAIN_HELD_OUT, _MEASURED),
        scoring=Scoring(),
    ),
    IbimsProtocol(
        name="ibims-depth/v0.9",
        description="iBims-1 as in MeSa's Table 2: no alignment, boundary errors of the first version (FACTS.md §7).",
        frames=_IBIMS,
        boundaries=V09,
    ),
    IbimsProtocol(
        name="ibims-depth/truncated",
        description="iBims-1 with the boundary errors of the later version, never above 10 pixels (FACTS.md §7).",
        frames=_IBIMS,
        boundaries=TRUNCATED,
    ),
    DepthProtocol(
        name="synthrooms-depth/full",
        description="Rendered rooms that nothing is trained on, all pixels.",
        frames=Frames(data_set="synthrooms", split="test", columns=_MEASURED),
        scoring=Scoring(*_EIGEN_RANGE),
    ),
    DepthProtocol(
        name="frames-depth/full",
        description="Your own frames, all pixels.",
        frames=Frames(data_set=OWN, split="test", columns=_MEASURED),
        scoring=Scoring(),
    ),
)
"""By name in `rgbd3d.evaluation.protocols_scored`."""

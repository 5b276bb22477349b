"""The part of the demo that uses the fine-tuned models: metric depth and semantic labels of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rgbd3d import registry
from rgbd3d.data.inspection.colors import class_color, color_depth, color_labels, depth_legend, end_of_colors
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.resize import resize_color, resize_nearest
from rgbd3d.evaluation import pictures
from rgbd3d.evaluation.metrics import DepthMeter, SemanticMeter
from rgbd3d.report import Color, Picture, Report
from rgbd3d.types import IGNORE_LABEL, RGBDSample

DEPTH = "mask3d-vitt-synthrooms.depth-synthrooms"
SEMANTIC = "mask3d-vitt-synthrooms.semseg-synthrooms"
LABELS = "nyu40"
"""Label space of `SEMANTIC`."""

_SMALLEST_SHARE = 0.005  # of all pixels, for a class to be named in the legend


@dataclass(frozen=True)
class Predicted:
    """A frame with what the models say.

    Attributes:
        sample: The frame.
        depth: float32 (1, 1, H, W), metres.
        semantic: int64 (1, H, W), train ids of `LABELS`.
    """

    sample: RGBDSample
    depth: Tensor
    semantic: Tensor


def add_predictions(
    report: Report, samples: Sequence[RGBDSample], shown: Sequence[int], label_space: str | None, size: tuple[int, int]
) -> None:
    """Adds pictures of some frames, and the numbers of all.

    Args:
        report: Gets a section.
        samples: Frames with depth, which was measured somewhere in them.
        shown: Positions of those to show.
        label_space: That of their labels, if they have any.
        size: (height, width) of a picture.
    """
    depth: Any = registry.from_pretrained(DEPTH)
    semantic: Any = registry.from_pretrained(SEMANTIC)
    predicted = [_predict(depth, semantic, sample) for sample in samples]
    labelled = label_space == LABELS and any(bool((s["semantic"] != IGNORE_LABEL).any()) for s in samples)
    report.section(
        "Depth in metres, and labels",
        f"{DEPTH} and {SEMANTIC} see one colour image and nothing else. Both were trained on rendered rooms only.",
    )
    chosen = [predicted[index] for index in shown]
    far = end_of_colors(frame.sample["depth"].numpy() for frame in chosen)
    titles = ("image", "predicted depth", "true depth", "predicted labels", *(["true labels"] if labelled else []))
    report.picture(
        pictures.grid([_pictures(frame, far, labelled, size) for frame in chosen], titles),
        "Depth has one scale in all pictures; light grey: not measured, or without a label.",
    )
    report.legend(depth_legend(far))
    report.legend(_classes(chosen))
    report.table((f"on {len(samples)} frames", ""), _numbers(predicted, labelled))


@torch.inference_mode()
def _predict(depth: Any, semantic: Any, sample: RGBDSample) -> Predicted:
    image = sample["image"][None]
    return Predicted(sample, depth.predict(image), semantic.predict(image).argmax(1))


def _pictures(frame: Predicted, far: float, labelled: bool, size: tuple[int, int]) -> list[Picture]:
    sample = frame.sample
    depths = [
        color_depth(resize_nearest(depth, size)[0, 0].numpy(), far) for depth in (frame.depth, sample["depth"][None])
    ]
    labels = [frame.semantic, *([sample["semantic"][None]] if labelled else [])]
    return [
        pictures.color_image(resize_color(sample["image"], size)),
        *depths,
        *(color_labels(resize_nearest(train_ids, size)[0].numpy()) for train_ids in labels),
    ]


def _classes(frames: Sequence[Predicted]) -> list[tuple[Color, str, str]]:
    """The predicted classes that can be seen, the most frequent first."""
    names = class_names(LABELS)
    counts = sum(torch.bincount(frame.semantic.flatten(), minlength=len(names)) for frame in frames)
    assert isinstance(counts, Tensor)
    shares = counts / counts.sum()
    order = [index for index in shares.argsort(descending=True).tolist() if shares[index] >= _SMALLEST_SHARE]
    return [(class_color(index), names[index], f"{shares[index]:.1%} of the predicted pixels") for index in order]


def _numbers(frames: Sequence[Predicted], labelled: bool) -> list[tuple[str, float]]:
    depth, semantic = DepthMeter(), SemanticMeter(len(class_names(LABELS)))
    for frame in frames:
        depth.update(frame.depth, frame.sample["depth"][None])
        if labelled:
            semantic.update(frame.semantic, frame.sample["semantic"][None])
    errors = depth.compute()
    found = [
        ("depth within 25 % of the truth (%)", errors["delta1"]),
        ("mean relative error of depth", errors["abs_rel"]),
    ]
    return [*found, ("pixels with the right label (%)", semantic.compute()["pixel_accuracy"])] if labelled else found

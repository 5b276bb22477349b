"""The part of the demo that uses the fine-tuned models: metric depth and semantic labels of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbd3d import registry
from rgbd3d.data.inspection.colors import class_color, color_depth, color_labels, depth_color
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.resize import resize_color, resize_nearest
from rgbd3d.evaluation import pictures
from rgbd3d.evaluation.metrics import DepthMeter, SemanticMeter
from rgbd3d.report import Picture, Report
from rgbd3d.types import RGBDSample

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
        samples: Frames with depth.
        shown: Positions of those to show.
        label_space: That of their labels, if they have any.
        size: (height, width) of a picture.
    """
    depth: Any = registry.from_pretrained(DEPTH).eval()
    semantic: Any = registry.from_pretrained(SEMANTIC).eval()
    predicted = [_predict(depth, semantic, sample) for sample in samples]
    labelled = label_space == LABELS
    report.section(
        "Depth in metres, and labels",
        f"{DEPTH} and {SEMANTIC} see one colour image and nothing else. Both were trained on rendered rooms only.",
    )
    chosen = [predicted[index] for index in shown]
    far = _far(chosen)
    titles = ("image", "predicted depth", "true depth", "predicted labels", *(["true labels"] if labelled else []))
    report.picture(
        pictures.grid([_pictures(frame, far, labelled, size) for frame in chosen], titles),
        "Depth has one scale in all pictures; light grey: not measured, or without a label.",
    )
    report.legend([(depth_color(metres, far), f"{metres:.1f} m", "") for metres in np.linspace(far / 6, far, 6)])
    report.legend(_classes(chosen))
    report.table((f"on {len(samples)} frames", ""), _numbers(predicted, labelled))


@torch.inference_mode()
def _predict(depth: Any, semantic: Any, sample: RGBDSample) -> Predicted:
    image = sample["image"][None]
    return Predicted(sample, depth.predict(image), semantic.predict(image).argmax(1))


def _far(frames: Sequence[Predicted]) -> float:
    """Metres at which the colours end: most of the true depth is nearer."""
    depth = torch.cat([frame.sample["depth"].flatten() for frame in frames])
    valid = depth[depth > 0].numpy()
    return float(np.quantile(valid, 0.99)) if len(valid) else 10.0


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


def _classes(frames: Sequence[Predicted]) -> list[tuple[tuple[int, int, int], str, str]]:
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
    rows = [("depth within 25 % of the truth (%)", "delta1"), ("mean relative error of depth", "abs_rel")]
    found = [(title, depth.compute()[metric]) for title, metric in rows]
    return [*found, ("pixels with the right label (%)", semantic.compute()["pixel_accuracy"])] if labelled else found

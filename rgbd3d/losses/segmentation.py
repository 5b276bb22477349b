"""Loss of semantic segmentation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rgbd3d.types import IGNORE_LABEL


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy per labelled pixel of the whole batch.

    Args:
        logits: float (B, classes, H, W).
        target: Integers (B, H, W), train ids; 255 = ignore.

    Returns:
        float32 scalar; 0 with zero gradients where nothing is labelled.

    Raises:
        ValueError: The sizes differ, or a label is neither a class nor 255.
    """
    batch, classes, *size = logits.shape
    if target.shape != (batch, *size):
        raise ValueError(
            f"logits {tuple(logits.shape)} do not fit labels {tuple(target.shape)}: expected (B, classes, H, W) and "
            "(B, H, W) of one size; resize the logits"
        )
    require_labels(target, classes)
    counted = target != IGNORE_LABEL
    total = F.cross_entropy(logits.float(), target.long(), ignore_index=IGNORE_LABEL, reduction="sum")
    return total / counted.sum().clamp(min=1)


def require_labels(target: Tensor, classes: int) -> None:
    """Refuses labels that a model of so many classes cannot learn.

    Args:
        target: Integers, train ids; 255 = ignore.
        classes: Number of classes.

    Raises:
        ValueError: A label is neither a class nor `ignore_index`.
    """
    # On CUDA torch would end the whole process without saying which label it was.
    foreign = ((target < 0) | (target >= classes)) & (target != IGNORE_LABEL)
    if bool(foreign.any()):
        wrong = torch.unique(target[foreign]).tolist()
        raise ValueError(
            f"labels {', '.join(map(str, wrong[:5]))} do not fit {classes} classes (0 to {classes - 1}, {IGNORE_LABEL} "
            "= ignore): the data set's label space is not the model's"
        )

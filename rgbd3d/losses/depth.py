"""Losses of depth estimation over the measured pixels (FACTS.md §5.2, §6.2).

Each takes a prediction and a target of one shape, by default in metres with 0, NaN or infinity = not measured, and
gives a float32 scalar, also under autocast: 0 with zero gradients where nothing was measured. For targets in other
units, whose zeros mean something, say with `valid` what counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BERHU_FRACTION = 0.2
_BERHU_FLOOR = 1e-5
_SMALLEST_DEPTH = 1e-6
_VARIANCE_FOCUS = 0.5  # 1 would ignore a common factor of the prediction altogether


def l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute error.

    Args:
        prediction: float, any shape.
        target: float of that shape; 0, NaN or infinity = not measured. Pixels that do not count may hold anything.
        valid: bool of that shape, the pixels that count; the positive and finite ones if not given.

    Raises:
        ValueError: The shapes differ.
    """
    difference, count = _difference(prediction, target, valid)
    return difference.abs().sum() / count


def l2(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared error; arguments as `l1`."""
    difference, count = _difference(prediction, target, valid)
    return difference.square().sum() / count


def berhu(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Reverse Huber loss (Laina et al. 2016) as MultiMAE computes it; arguments as `l1`.

    |d| below c and (d² + c²) / 2c from there on, where c is a fifth of the largest |d| of the whole batch, at least
    1e-5, and taken for a constant by the gradient.
    """
    difference, count = _difference(prediction, target, valid)
    error = difference.abs()
    largest = error.detach().max() if error.numel() else error.new_zeros(())
    c = (_BERHU_FRACTION * largest).clamp(min=_BERHU_FLOOR)
    return torch.where(error < c, error, (error.square() + c**2) / (2 * c)).sum() / count


def silog(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Scale-invariant logarithmic loss (Eigen et al. 2014) over the pixels of the whole batch.

    sqrt(mean(d²) - mean(d)² / 2) with d = log target - log prediction. Arguments as `l1`.

    Args:
        prediction: Positive where it counts: values below 1e-6 count as 1e-6 and get no gradient.
        target: As in `l1`, positive where it counts.
        valid: As in `l1`.
    """
    valid = _check(prediction, target, valid)
    # Neutral values instead of a selection: no logarithm of what does not count, and no size that depends on the data.
    predicted = torch.where(valid, prediction.float(), 1.0).clamp(min=_SMALLEST_DEPTH)
    true = torch.where(valid, target.float(), 1.0)
    difference, count = true.log() - predicted.log(), valid.sum().clamp(min=1)
    squared = difference.square().sum() / count - _VARIANCE_FOCUS * (difference.sum() / count).square()
    # The root's slope at 0 is infinite: a perfect or an empty prediction would give NaN gradients.
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0 * squared)


def measured(depth: Tensor) -> Tensor:
    """Which pixels of metric depth are a measurement: positive and finite."""
    return (depth > 0) & depth.isfinite()


def _difference(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Prediction minus target with zeros where it does not count, and the number of pixels that do, at least 1."""
    valid = _check(prediction, target, valid)
    return torch.where(valid, prediction.float() - target.float(), 0.0), valid.sum().clamp(min=1)


def _check(prediction: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    valid = measured(target) if valid is None else valid
    # Without this (B, 1, H, W) and (B, H, W) would broadcast to all pairs of images.
    if not prediction.shape == target.shape == valid.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and valid {tuple(valid.shape)} "
            "should have one shape; resize the prediction, or add the channel axis to the target"
        )
    return valid

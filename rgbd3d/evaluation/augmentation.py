"""Test-time augmentation of dense predictions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def predict_flipped(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Mean of the predictions of images and of their mirror images, mirrored back.

    Args:
        model: (B, C, H, W) -> float (B, K, h, w).
        images: (B, C, H, W).

    Returns:
        float (B, K, h, w).
    """
    straight, mirrored = model(torch.cat([images, images.flip(-1)])).chunk(2)
    return (straight + mirrored.flip(-1)) / 2


def predict_in_windows(model: Callable[[Tensor], Tensor], images: Tensor, count: int) -> Tensor:
    """Predicts square windows that slide along wide images, and averages where they overlap.

    As in MIM-Depth's test (FACTS.md §5.2): the windows are as high as the image, the first at its left end, the last at
    its right end.

    Args:
        model: (N, C, H, H) -> float (N, K, h, w), resized to the window bilinearly if smaller.
        images: (B, C, H, W), W not less than H.
        count: Number of windows, at least 2.

    Returns:
        float (B, K, H, W).

    Raises:
        ValueError: The windows do not cover the images.
    """
    height, width = images.shape[-2:]
    if count < 2 or not height <= width <= count * height:
        raise ValueError(f"{count} windows of {height} x {height} pixels do not cover images of {width} x {height}")
    starts = [round(index * (width - height) / (count - 1)) for index in range(count)]
    windows = torch.cat([images[..., start : start + height] for start in starts])
    predictions = resize_prediction(model(windows), (height, height)).chunk(count)
    total = predictions[0].new_zeros(*predictions[0].shape[:2], height, width)
    times = predictions[0].new_zeros(width)
    for start, prediction in zip(starts, predictions, strict=True):
        total[..., start : start + height] += prediction
        times[start : start + height] += 1
    return total / times


def resize_prediction(prediction: Tensor, size: tuple[int, int]) -> Tensor:
    """A prediction (B, K, h, w) at another (height, width), bilinear, pixel centres kept."""
    if tuple(prediction.shape[-2:]) == size:
        return prediction
    return functional.interpolate(prediction.float(), size, mode="bilinear", align_corners=False)

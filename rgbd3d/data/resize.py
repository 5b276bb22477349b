"""Resizing: colour is averaged, depth and labels never are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def resize_color(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, H, W) -> (3, *size), bilinear with antialiasing."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    # The kernel for uint8 is a third faster on contiguous memory, the copy included.
    return F.interpolate(image.contiguous()[None], size, mode="bilinear", antialias=True)[0]


_ASPECT_TOLERANCE = 0.02  # ScanNet pairs 1296 x 968 colour with 640 x 480 depth


def same_shape(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether maps of two sizes, (height, width), can show the same view: their aspect ratios differ by 2 % at most."""
    (height, width), (rows, columns) = size, other
    return abs((columns / rows) / (width / height) - 1) <= _ASPECT_TOLERANCE


def resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., H, W) of any type -> (..., *size): each pixel takes the value under its centre."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    rows, columns = (_nearest(old, new) for old, new in zip(values.shape[-2:], size, strict=True))
    return values.index_select(-2, rows).index_select(-1, columns)


def _nearest(old: int, new: int) -> Tensor:
    """Index floor((i + 1/2) old / new), in integers."""
    return torch.from_numpy((2 * np.arange(new) + 1) * old // (2 * new))

"""Small image filters, written as sums of shifted images: several times faster than convolutions on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def box_blur(image: Tensor) -> Tensor:
    """Mean of the 3 x 3 neighbourhood of (C, H, W); border pixels are repeated."""
    for axis in (1, 2):
        length = image.shape[axis]
        padded = torch.cat([image.narrow(axis, 0, 1), image, image.narrow(axis, length - 1, 1)], axis)
        image = padded.narrow(axis, 0, length) + padded.narrow(axis, 1, length) + padded.narrow(axis, 2, length)
    return image * (1 / 9)


def following(values: Tensor, axis: int) -> Tensor:
    """The next value along an axis; the last one is repeated."""
    length = values.shape[axis]
    return torch.cat([values.narrow(axis, 1, length - 1), values.narrow(axis, length - 1, 1)], axis)


def interleave(even: Tensor, odd: Tensor, axis: int, length: int) -> Tensor:
    """Values of `even` and `odd` in turn along an axis, cut to `length`."""
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1).narrow(axis, 0, length)

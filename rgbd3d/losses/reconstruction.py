"""Reconstruction in patch space: what is compared, and over which pixels.

Patches are (B, N, patch * patch * channels) in raster order; inside a patch the channel changes fastest (MAE's order).
All statistics are float32, also under autocast.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

VARIANCE_EPS = 1e-6
"""Added to the variance of a patch (FACTS.md §1.2)."""


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """(B, C, H, W) to patches (B, N, patch * patch * C); H and W are multiples of the patch."""
    b, c, h, w = image.shape
    rows, columns = h // patch_size, w // patch_size
    blocks = image.reshape(b, c, rows, patch_size, columns, patch_size).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(b, rows * columns, patch_size * patch_size * c)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Inverse of `patchify` for a (rows, columns) grid: (B, N, patch * patch * C) to (B, C, H, W)."""
    b, (rows, columns) = patches.shape[0], grid
    blocks = patches.reshape(b, rows, columns, patch_size, patch_size, -1).permute(0, 5, 1, 3, 2, 4)
    return blocks.reshape(b, -1, rows * patch_size, columns * patch_size)


def patch_statistics(patches: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each patch over its valid values.

    The deviation is sqrt(unbiased variance + 1e-6), as in MAE. A patch without a valid value gets mean 0.

    Args:
        patches: (B, N, D).
        valid: bool (B, N, D); everything if not given.

    Returns:
        Two float32 tensors (B, N, 1).
    """
    patches = patches.float()
    if valid is None:
        variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return mean, (variance + VARIANCE_EPS).sqrt()
    count = valid.sum(dim=-1, keepdim=True)
    mean = torch.where(valid, patches, 0.0).sum(dim=-1, keepdim=True) / count.clamp(min=1)
    squares = torch.where(valid, patches - mean, 0.0).square().sum(dim=-1, keepdim=True)
    return mean, (squares / (count - 1).clamp(min=1) + VARIANCE_EPS).sqrt()


def standardize_patches(patches: Tensor, valid: Tensor | None = None) -> Tensor:
    """Each patch minus its mean over its deviation (`patch_statistics`); float32 (B, N, D)."""
    mean, deviation = patch_statistics(patches, valid)
    return (patches.float() - mean) / deviation


def patch_l2(prediction: Tensor, target: Tensor, *, valid: Tensor | None = None, where: Tensor | None = None) -> Tensor:
    """Mean squared error over the valid values of the selected patches.

    Args:
        prediction: (B, N, D).
        target: (B, N, D).
        valid: bool (B, N, D), False where the target was not measured; such values change nothing.
        where: bool (B, N), the patches that count; all if not given.

    Returns:
        float32 scalar; 0 with zero gradients where nothing is left to compare.
    """
    difference, count = _differences(prediction, target, valid, where)
    return difference.square().sum() / count


def patch_l1(prediction: Tensor, target: Tensor, *, valid: Tensor | None = None, where: Tensor | None = None) -> Tensor:
    """Mean absolute error; otherwise as `patch_l2`."""
    difference, count = _differences(prediction, target, valid, where)
    return difference.abs().sum() / count


def _differences(
    prediction: Tensor, target: Tensor, valid: Tensor | None, where: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Differences where they count and 0 elsewhere, and how many count, at least 1."""
    counts = torch.ones_like(target, dtype=torch.bool) if valid is None else valid
    if where is not None:
        counts = counts & where[..., None]
    return torch.where(counts, prediction.float() - target.float(), 0.0), counts.sum().clamp(min=1)


def patch_cross_entropy(logits: Tensor, labels: Tensor, *, ignore: int, where: Tensor | None = None) -> Tensor:
    """Mean cross-entropy per labelled pixel of the selected patches.

    Args:
        logits: (B, N, P * classes), the class changes fastest.
        labels: int64 (B, N, P).
        ignore: Label that does not count.
        where: bool (B, N), the patches that count; all if not given.

    Returns:
        float32 scalar; 0 with zero gradients where nothing is labelled.
    """
    if where is not None:
        labels = torch.where(where[..., None], labels, ignore)
    classes = logits.shape[-1] // labels.shape[-1]
    total = F.cross_entropy(logits.float().reshape(-1, classes), labels.flatten(), ignore_index=ignore, reduction="sum")
    return total / (labels != ignore).sum().clamp(min=1)

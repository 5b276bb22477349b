"""Samples -> the tensors of one training step: joint RGB-D augmentation, normalisation, depth standardisation.

Geometry is drawn per sample; colour and holes are applied to the whole batch at once. Invalid depth is never mixed into
valid depth: depth and labels are resized by nearest neighbour, and zeros stay zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rgbd3d.cards import Augment
from rgbd3d.data.codec import DataError
from rgbd3d.data.resize import resize_color, resize_nearest
from rgbd3d.types import RGBDSample

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MAPS = ("image", "depth", "semantic", "instance")
_TRUNCATED = 0.1
_EPS = 1e-6


def prepare(
    samples: Sequence[RGBDSample], augment: Augment, image_size: tuple[int, int], generator: Generator
) -> dict[str, Tensor]:
    """Collate, augment and normalise.

    Args:
        samples: Frames of any sizes, all with the same keys.
        augment: What to do at random.
        image_size: (height, width) of the result.
        generator: Source of every draw: equal generators and samples give equal batches.

    Returns:
        image: float32 (B, 3, h, w), ImageNet-normalised.
        depth: float32 (B, 1, h, w), standardised per image, 0 where invalid; only if the samples have depth.
        depth_metres: float32 (B, 1, h, w), 0 where invalid; only if the samples have depth.
        semantic: int64 (B, h, w); only if the samples have it.
        instance: int32 (B, h, w); only if the samples have it.

    Raises:
        DataError: Samples with different keys.
        ValueError: Holes over more than half of the depth.
    """
    maps = _crop_and_stack(samples, augment, image_size, generator)
    batch = {"image": normalise_image(_recolour(maps["image"].float().div_(255), augment, generator))}
    if "depth" in maps:
        batch["depth_metres"] = _punch_holes(maps["depth"], augment.depth_holes, generator)
        batch["depth"] = standardise_depth(batch["depth_metres"])
    return batch | {key: maps[key] for key in ("semantic", "instance") if key in maps}


def normalise_image(
    image: Tensor, mean: Sequence[float] = IMAGENET_MEAN, deviation: Sequence[float] = IMAGENET_STD
) -> Tensor:
    """(..., 3, H, W) in 0..1 -> zero mean and unit deviation over the data set that has these (of 3 each)."""
    shift, scale = (image.new_tensor(values).view(3, 1, 1) for values in (mean, deviation))
    return torch.addcmul(-shift / scale, image, 1 / scale)


def denormalise_image(image: Tensor) -> Tensor:
    """Inverse of `normalise_image` with ImageNet's mean and deviation."""
    mean, deviation = (image.new_tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.addcmul(mean, image, deviation)


def standardise_depth(depth: Tensor, truncated: float = _TRUNCATED) -> Tensor:
    """Truncated standardisation of each image over its valid pixels (FACTS.md §1.2, depth scaling for the encoder).

    Mean and unbiased variance are those of the sorted depths without the lowest and the highest ones.

    Args:
        depth: (B, 1, H, W) on the CPU, metres; 0 = invalid.
        truncated: Share of the depths that is left out at either end; 0 is plain standardisation.

    Returns:
        (depth - mean) / sqrt(variance + 1e-6), exactly 0 where invalid.
    """
    flat = depth.flatten(1).numpy()
    mean, deviation = np.zeros(len(flat), np.float32), np.ones(len(flat), np.float32)
    for index, pixels in enumerate(flat):
        # numpy's sort is vectorised: it takes a tenth of torch's time.
        ordered = np.sort(pixels[pixels > 0])
        kept = ordered[int(truncated * len(ordered)) : max(int((1 - truncated) * len(ordered)), 1)]
        if len(kept):
            mean[index] = kept.mean(dtype=np.float64)
            variance = kept.var(dtype=np.float64, ddof=1) if len(kept) > 1 else 0.0
            deviation[index] = np.sqrt(variance + _EPS)
    shape = (-1, 1, 1, 1)
    standardised = (depth - torch.from_numpy(mean).view(shape)) / torch.from_numpy(deviation).view(shape)
    return torch.where(depth > 0, standardised, 0.0)


# ---------------------------------------------------------------------------------------------------------- geometry


def _crop_and_stack(
    samples: Sequence[RGBDSample], augment: Augment, size: tuple[int, int], generator: Generator
) -> dict[str, Tensor]:
    """Random resized crop in the aspect ratio of the frame, then a random flip; the same for all maps of a sample."""
    draws = torch.rand(len(samples), 4, generator=generator)
    keys = [key for key in _MAPS if key in samples[0]]
    stacks: dict[str, list[Tensor]] = {key: [] for key in keys}
    low, high = augment.crop_scale
    for sample, (area, top, left, flip) in zip(samples, draws.tolist(), strict=True):
        maps = cast(dict[str, Any], sample)
        if lacking := [key for key in _MAPS if (key in maps) != (key in stacks)]:
            raise DataError(f"samples of one batch differ in having {lacking}: choose the columns of the source")
        height, width = maps["image"].shape[-2:]
        side = (low + (high - low) * area) ** 0.5
        rows, columns = max(round(height * side), 1), max(round(width * side), 1)
        y, x = int(top * (height - rows + 1)), int(left * (width - columns + 1))
        for key in keys:
            cropped = maps[key][..., y : y + rows, x : x + columns]
            resized = resize_color(cropped, size) if key == "image" else resize_nearest(cropped, size)
            if key == "depth" and augment.scale_depth:
                resized = resized * side
            stacks[key].append(resized.flip(-1) if flip < augment.flip else resized)
    return {key: torch.stack(stack) for key, stack in stacks.items()}


# ------------------------------------------------------------------------------------------------------------ colour


def _recolour(image: Tensor, augment: Augment, generator: Generator) -> Tensor:
    """Colour jitter and blur of (B, 3, H, W) in 0..1."""
    if augment.color_jitter > 0:
        image = _jitter(image, augment.color_jitter, generator)
    if augment.blur > 0:
        chosen = torch.rand(len(image), generator=generator) < augment.blur
        image[chosen] = F.avg_pool2d(F.pad(image[chosen], (1, 1, 1, 1), mode="replicate"), 3, 1)
    return image


def _jitter(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation and channel gain as one affine map of RGB per image, then gamma."""
    batch = len(image)
    draws = 2 * torch.rand(batch, 7, generator=generator) - 1
    brightness = torch.exp(0.6 * strength * draws[:, 0])
    contrast = 1 + 0.4 * strength * draws[:, 1]
    saturation = (1 + 0.5 * strength * draws[:, 2]).view(batch, 1, 1)
    gain = 1 + 0.2 * strength * draws[:, 3:6]
    mean = brightness * image.mean((1, 2, 3))
    grey_mix = saturation * torch.eye(3) + (1 - saturation) / 3
    matrix = gain[:, :, None] * grey_mix * (brightness * contrast).view(batch, 1, 1)
    offset = gain * ((1 - contrast) * mean)[:, None]
    recoloured = torch.baddbmm(offset[:, :, None], matrix, image.flatten(2)).view_as(image).clamp_(0, 1)
    chosen = torch.rand(batch, generator=generator) < 0.5 * strength
    gamma = torch.exp(0.4 * draws[chosen, 6]).view(-1, 1, 1, 1)
    recoloured[chosen] = recoloured[chosen] ** gamma
    return recoloured


# ------------------------------------------------------------------------------------------------------------- holes


def _punch_holes(depth: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Set soft-edged blobs of (B, 1, H, W) to 0: between 0 and twice the fraction of each image, evenly distributed."""
    if not 0 <= fraction <= 0.5:
        raise ValueError(f"augment.depth_holes is {fraction}: the expected fraction must be in 0..0.5")
    if fraction == 0:
        return depth
    batch, _, height, width = depth.shape
    coarse = torch.randn(batch, 1, max(height // 16, 2), max(width // 16, 2), generator=generator)
    field = F.interpolate(coarse, (height, width), mode="bilinear")
    field += 0.15 * torch.randn(field.shape, generator=generator)  # frays the edges
    hidden = 2 * fraction * torch.rand(batch, generator=generator)
    fields = field.flatten(1).numpy()[:, ::7]
    threshold = np.array([np.quantile(*pair) for pair in zip(fields, hidden.tolist(), strict=True)])
    return depth.masked_fill(field < torch.from_numpy(threshold).view(-1, 1, 1, 1), 0.0)

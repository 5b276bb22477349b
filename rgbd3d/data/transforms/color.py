"""Transforms of colour alone: they take uint8, and all but the last two give it. The frames of a clip change alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as F

from rgbd3d.data.batch import IMAGENET_MEAN, IMAGENET_STD, normalise_image
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms import draws
from rgbd3d.data.transforms.compose import Transform
from rgbd3d.data.transforms.draws import Range
from rgbd3d.data.transforms.joint import COLOR, Sample

# ---------------------------------------------------------------------------------------------------- as in torchvision


@dataclass(frozen=True)
class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue in random order.

    Attributes:
        brightness: (smallest, largest) factor of all channels.
        contrast: Factor of the distance to the mean grey.
        saturation: Factor of the distance to the pixel's grey.
        hue: Shift in turns of the colour circle, within -0.5..0.5.
    """

    brightness: Range
    contrast: Range
    saturation: Range
    hue: Range

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            draws.check_range(name, getattr(self, name), 0)
        draws.check_range("hue", self.hue, -0.5, 0.5)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        kernels = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        order = draws.order(generator, len(kernels))
        spans = (self.brightness, self.contrast, self.saturation, self.hue)
        amounts = [draws.uniform(generator, span) for span in spans]

        def jitter(color: Tensor) -> Tensor:
            for index in order:
                color = kernels[index](color, amounts[index])
            return color

        return _recolor(sample, jitter)


@dataclass(frozen=True)
class Grayscale(Transform):
    """Luma in all three channels."""

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _recolor(sample, lambda color: F.rgb_to_grayscale(color, num_output_channels=3))


@dataclass(frozen=True)
class GaussianBlur(Transform):
    """Blur of random width.

    Attributes:
        sigma: (smallest, largest) standard deviation in pixels; the kernel reaches three times the largest.
    """

    sigma: Range

    def __post_init__(self) -> None:
        draws.check_range("sigma", self.sigma, 1e-3)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        sigma, width = draws.uniform(generator, self.sigma), 2 * math.ceil(3 * self.sigma[1]) + 1
        return _recolor(sample, lambda color: F.gaussian_blur(color, [width, width], [sigma, sigma]))


@dataclass(frozen=True)
class RandomGamma(Transform):
    """Colour in 0..1 to a random power.

    Attributes:
        gamma: (smallest, largest) exponent.
    """

    gamma: Range

    def __post_init__(self) -> None:
        draws.check_range("gamma", self.gamma, 0)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        gamma = draws.uniform(generator, self.gamma)
        return _recolor(sample, lambda color: F.adjust_gamma(color, gamma))


# ------------------------------------------------------------------------------------------- what torchvision lacks


@dataclass(frozen=True)
class BrightnessContrast(Transform):
    """Colour in 0..1 times 1 + c, plus b: contrast is about black, unlike that of `ColorJitter`.

    Attributes:
        limit: b and c are drawn from -limit..limit.
    """

    limit: float

    def __post_init__(self) -> None:
        draws.check_within("limit", self.limit, 0, 1)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        contrast, brightness = (draws.uniform(generator, (-self.limit, self.limit)) for _ in range(2))
        return _recolor(sample, lambda color: _to_uint8((1 + contrast) * color / 255 + brightness))


@dataclass(frozen=True)
class HueSaturationValue(Transform):
    """Hue, saturation and value, each shifted by a random amount.

    Attributes:
        hue: Largest shift in degrees.
        saturation: Largest shift, where full saturation is 1.
        value: Largest shift, where white is 1.
    """

    hue: float
    saturation: float
    value: float

    def __post_init__(self) -> None:
        for name, most in (("hue", 180), ("saturation", 1), ("value", 1)):
            draws.check_within(name, getattr(self, name), 0, most)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        limits = (self.hue / 360, self.saturation, self.value)
        shift = torch.tensor([draws.uniform(generator, (-limit, limit)) for limit in limits]).view(3, 1, 1)
        return _recolor(sample, lambda color: _to_uint8(_from_hsv(_to_hsv(color / 255) + shift)))


def _to_hsv(color: Tensor) -> Tensor:
    """RGB (..., 3, H, W) in 0..1 -> hue in turns, saturation, value; the hue of grey is 0 (red)."""
    red, green, blue = color.unbind(-3)
    value, darkest = color.amax(-3), color.amin(-3)
    chroma = value - darkest
    divisor = torch.where(chroma > 0, chroma, 1)
    sector = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sector = torch.where(value == red, (green - blue) / divisor, sector)
    return torch.stack([sector / 6 % 1, chroma / torch.where(value > 0, value, 1), value], -3)


def _from_hsv(color: Tensor) -> Tensor:
    """Inverse of `_to_hsv`; hue may be any number of turns, saturation and value are clipped to 0..1."""
    hue, saturation, value = color.unbind(-3)
    saturation, value = saturation.clamp(0, 1), value.clamp(0, 1)
    distances = [(offset + 6 * hue) % 6 for offset in (5, 3, 1)]
    return torch.stack([value * (1 - saturation * torch.minimum(d, 4 - d).clamp(0, 1)) for d in distances], -3)


def _to_uint8(color: Tensor) -> Tensor:
    return (255 * color).round().clamp(0, 255).to(torch.uint8)


# ----------------------------------------------------------------------------------------------------------- last steps


@dataclass(frozen=True)
class ToFloat(Transform):
    """uint8 -> float32 in 0..1."""

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _recolor(sample, lambda color: color / 255)


@dataclass(frozen=True)
class Normalise(Transform):
    """uint8 -> float32 in 0..1, minus the mean, over the deviation.

    Attributes:
        mean: Of red, green, blue.
        deviation: Likewise.
    """

    mean: Sequence[float] = IMAGENET_MEAN
    deviation: Sequence[float] = IMAGENET_STD

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _recolor(sample, lambda color: normalise_image(color / 255, self.mean, self.deviation))


def _recolor(sample: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> Sample:
    keys = [key for key in COLOR if key in sample]
    if not keys:
        raise DataError(f"the sample has neither {' nor '.join(COLOR)}, only {sorted(sample)}")
    if wrong := [f"{key} {sample[key].dtype}" for key in keys if sample[key].dtype != torch.uint8]:
        raise DataError(f"colour should be uint8, not {', '.join(wrong)}: ToFloat or Normalise come last, and once")
    return {**sample, **{key: change(sample[key]) for key in keys}}

"""Transforms of the size: another resolution, another scale, padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Generator
from torchvision.transforms.v2 import InterpolationMode

from rgbd3d.data.transforms import draws, joint
from rgbd3d.data.transforms.compose import Transform
from rgbd3d.data.transforms.draws import Range
from rgbd3d.data.transforms.joint import Sample


@dataclass(frozen=True)
class Resize(Transform):
    """Another size, whatever the aspect ratio.

    Attributes:
        size: (height, width) of the result.
        interpolation: Of colour.
    """

    size: tuple[int, int]
    interpolation: InterpolationMode = InterpolationMode.BILINEAR

    def __post_init__(self) -> None:
        draws.check_size(self.size)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return joint.resize(sample, self.size, self.interpolation)


@dataclass(frozen=True)
class ResizeWithin(Transform):
    """The largest size of the same shape within a box: for a square box, the longer side gets its length.

    Attributes:
        size: (height, width) of the box.
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        draws.check_size(self.size)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _scale(sample, min(_ratios(sample, self.size)))


@dataclass(frozen=True)
class ResizeToCover(Transform):
    """The smallest size of the same shape that covers a box: for a square box, the shorter side gets its length.

    Attributes:
        size: (height, width) of the box.
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        draws.check_size(self.size)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _scale(sample, max(_ratios(sample, self.size)))


@dataclass(frozen=True)
class RandomScale(Transform):
    """A random size of the same shape; with a wide range, and `PadTo` and `RandomCrop` after it, large scale jitter.

    Attributes:
        scale: (smallest, largest) factor of both sides.
    """

    scale: Range

    def __post_init__(self) -> None:
        draws.check_range("scale", self.scale, 1e-3)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _scale(sample, draws.uniform(generator, self.scale))


@dataclass(frozen=True)
class PadTo(Transform):
    """Rows below and columns on the right up to a size; a sample that is larger stays as it is.

    There labels are 255 (ignore), depth 0 (invalid) and all other maps 0.

    Attributes:
        size: Smallest (height, width) of the result.
        color: Value of the three channels of the colour there, 0..255.
    """

    size: tuple[int, int]
    color: int

    def __post_init__(self) -> None:
        draws.check_size(self.size)
        draws.check_within("color", self.color, 0, 255)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        bottom, right = (max(new - old, 0) for new, old in zip(self.size, joint.size_of(sample), strict=True))
        return joint.pad(sample, bottom, right, self.color)


def _ratios(sample: Mapping[str, Any], size: tuple[int, int]) -> tuple[float, float]:
    """Size / size of the sample, down and across."""
    height, width = joint.size_of(sample)
    return size[0] / height, size[1] / width


def _scale(sample: Mapping[str, Any], factor: float) -> Sample:
    """Both sides times a factor, rounded, at least 1 pixel."""
    height, width = joint.size_of(sample)
    return joint.resize(sample, (max(round(height * factor), 1), max(round(width * factor), 1)))

"""Transforms that show another part of the frame, and its mirror image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator
from torchvision.transforms.v2 import InterpolationMode

from rgbd3d.data.transforms import draws, joint
from rgbd3d.data.transforms.compose import Transform
from rgbd3d.data.transforms.draws import Range
from rgbd3d.data.transforms.joint import Sample

_TRIALS = 10  # as in torchvision: after as many boxes that do not fit, the central one is taken


@dataclass(frozen=True)
class CenterCrop(Transform):
    """The middle of a sample that is at least as large.

    Attributes:
        size: (height, width).
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        draws.check_size(self.size)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        top, left = (round(rest / 2) for rest in _rest(sample, self.size))
        return joint.crop(sample, top, left, self.size)


@dataclass(frozen=True)
class RandomCrop(Transform):
    """A box anywhere in a sample that is at least as large.

    Attributes:
        size: (height, width).
    """

    size: tuple[int, int]

    def __post_init__(self) -> None:
        draws.check_size(self.size)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        # Where the sample is too small nothing is drawn, and the crop says so.
        top, left = (draws.below(generator, rest + 1) if rest > 0 else 0 for rest in _rest(sample, self.size))
        return joint.crop(sample, top, left, self.size)


@dataclass(frozen=True)
class RandomResizedCrop(Transform):
    """A box of random area and aspect ratio, resized.

    Attributes:
        size: (height, width) of the result.
        scale: (smallest, largest) area as a fraction of the sample.
        ratio: (smallest, largest) width / height, drawn evenly in its logarithm.
        interpolation: Of colour.
    """

    size: tuple[int, int]
    scale: Range
    ratio: Range
    interpolation: InterpolationMode = InterpolationMode.BILINEAR

    def __post_init__(self) -> None:
        draws.check_size(self.size)
        draws.check_range("scale", self.scale, 1e-6, 1)
        draws.check_range("ratio", self.ratio, 1e-3)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        top, left, box = self._box(joint.size_of(sample), generator)
        return joint.resize(joint.crop(sample, top, left, box), self.size, self.interpolation)

    def _box(self, size: tuple[int, int], generator: Generator | None) -> tuple[int, int, tuple[int, int]]:
        """Top, left and (height, width)."""
        height, width = size
        low, high = torch.tensor(self.ratio).log().tolist()
        for _ in range(_TRIALS):
            area = height * width * draws.uniform(generator, self.scale)
            ratio = math.exp(draws.uniform(generator, (low, high)))
            columns, rows = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < columns <= width and 0 < rows <= height:
                top = draws.below(generator, height - rows + 1)
                return top, draws.below(generator, width - columns + 1), (rows, columns)
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
        return (height - rows) // 2, (width - columns) // 2, (rows, columns)


@dataclass(frozen=True)
class RandomZoom(Transform):
    """Enlarges width and height by a random factor each, and crops the old size anywhere out of it.

    Attributes:
        largest: Largest factor; the smallest is 1.
    """

    largest: float

    def __post_init__(self) -> None:
        draws.check_within("largest", self.largest, 1)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        height, width = size = joint.size_of(sample)
        across, down = (draws.uniform(generator, (1, self.largest)) for _ in range(2))
        return RandomCrop(size)(joint.resize(sample, (int(height * down), int(width * across))), generator)


@dataclass(frozen=True)
class HorizontalFlip(Transform):
    """Left and right exchanged; `rgbd3d.geometry.flip_pose` says what the pose then means."""

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return joint.flip(sample)


def _rest(sample: Mapping[str, Any], size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the sample beyond a size; negative where there are too few."""
    height, width = joint.size_of(sample)
    return height - size[0], width - size[1]

"""Transforms of depth: pasted into colour, or brought to the scale of a network. 0 stays 0 where it is invalid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from rgbd3d.data.batch import standardise_depth
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms import draws, joint
from rgbd3d.data.transforms.compose import Transform
from rgbd3d.data.transforms.joint import Sample

_DEPTH = {"image": "depth", "frames": "depth_frames"}
"""The depth that belongs to a colour."""


@dataclass(frozen=True)
class CutDepth(Transform):
    """Vertical CutDepth: over the full height of a random strip, colour shows the depth.

    With α and β drawn evenly from 0..1, the strip begins at column αW and is (1 - α) β `widest` W wide, at least 1.

    Attributes:
        widest: Largest share of what lies to the right of the strip's beginning.
        values_per_metre: Grey values per metre of depth, modulo 256.
    """

    widest: float
    values_per_metre: float

    def __post_init__(self) -> None:
        draws.check_within("widest", self.widest, 0, 1)
        draws.check_within("values_per_metre", self.values_per_metre, 1e-3)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        depth_keys = _need_depth(sample)
        width = joint.size_of(sample)[1]
        start, share = (draws.uniform(generator, (0, 1)) for _ in range(2))
        left = int(start * width)
        right = left + max(int((1 - start) * width * share * self.widest), 1)
        result = dict(sample)
        for color_key, depth_key in _DEPTH.items():
            if depth_key in depth_keys:
                if color_key not in sample or sample[color_key].dtype != torch.uint8:
                    raise DataError(f"CutDepth needs {color_key} in uint8 beside {depth_key}")
                grey = (sample[depth_key][..., left:right] * self.values_per_metre).round() % 256
                result[color_key] = sample[color_key].clone()
                result[color_key][..., left:right] = grey.to(torch.uint8)
        return result


@dataclass(frozen=True)
class StandardiseDepth(Transform):
    """Depth minus its mean over its deviation, by the valid pixels of the frame, or of all frames of a clip.

    The metres stay as `depth_metres` (`depth_frames_metres`).

    Attributes:
        truncated: Share of the depths left out of mean and deviation at either end; 0 is plain standardisation.
        required: Whether a sample without depth is refused; else it passes.
    """

    truncated: float
    required: bool = True

    def __post_init__(self) -> None:
        draws.check_within("truncated", self.truncated, 0, 0.49)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        if not self.required and not _depth_keys(sample):
            return dict(sample)
        return _rescale(sample, self._standardise)

    def _standardise(self, depth: Tensor) -> Tensor:
        return standardise_depth(depth.reshape(1, 1, 1, -1), self.truncated).view_as(depth)


@dataclass(frozen=True)
class NormaliseDepth(Transform):
    """Depth minus a given mean over a given deviation; the metres stay as `depth_metres` (`depth_frames_metres`).

    Attributes:
        mean: Metres.
        deviation: Metres.
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        draws.check_within("deviation", self.deviation, 1e-6)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return _rescale(sample, lambda depth: torch.where(depth > 0, (depth - self.mean) / self.deviation, 0.0))


def _rescale(sample: Mapping[str, Any], change: Callable[[Tensor], Tensor]) -> Sample:
    result = dict(sample)
    for key in _need_depth(sample):
        if f"{key}_metres" in sample:
            raise DataError(f"{key} is no longer in metres: it can be rescaled once, as the last step")
        result[f"{key}_metres"] = sample[key]
        result[key] = change(sample[key])
    return result


def _need_depth(sample: Mapping[str, Any]) -> list[str]:
    if keys := _depth_keys(sample):
        return keys
    raise DataError(f"the sample has neither {' nor '.join(_DEPTH.values())}, only {sorted(sample)}")


def _depth_keys(sample: Mapping[str, Any]) -> list[str]:
    return [key for key in _DEPTH.values() if key in sample]

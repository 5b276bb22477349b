"""Whether poses fit depth: a frame, moved into another one by their poses, should have the depth that is seen there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rgbd3d.geometry import relative_pose, reproject, sample
from rgbd3d.types import RGBDSample

_LEAST_OVERLAP = 0.1
_GOOD_ERROR = 0.05
_CLEARLY = 0.7
_MOST_PIXELS = 320 * 240


@dataclass(frozen=True)
class PoseCheck:
    """Errors over pairs of frames.

    Attributes:
        gap: Rows from one frame of a pair to the other.
        pairs: How many pairs see enough of each other; the other values are medians over these.
        error: |depth moved by the poses - depth seen| / depth seen, the median over the pixels of a pair.
        inverted_error: The same if the poses were world to camera.
        unmoved_error: The same if the camera had not moved.
        overlap: Share of the measured pixels of one frame that the other one has measured too.
    """

    gap: int
    pairs: int
    error: float
    inverted_error: float
    unmoved_error: float
    overlap: float

    @property
    def verdict(self) -> str:
        """What the errors say, in a few words."""
        if not self.pairs:
            return "no two frames see enough of each other"
        if self.inverted_error < _CLEARLY * self.error:
            return "INVERTED? world to camera fits better"
        if self.error > _GOOD_ERROR or self.unmoved_error < _CLEARLY * self.error:
            return "WRONG? depth and poses do not fit"
        return "poses fit"


class PairErrors(NamedTuple):
    """Of one pair of frames: the attributes of `PoseCheck` of the same names; infinite without enough overlap."""

    error: float
    inverted_error: float
    unmoved_error: float
    overlap: float


def pair_errors(first: RGBDSample, second: RGBDSample) -> PairErrors:
    """Moves one frame into another of the same scene; both have depth, intrinsics and finite poses."""
    given = relative_pose(first["pose"], second["pose"])
    inverted = relative_pose(torch.linalg.inv(first["pose"]), torch.linalg.inv(second["pose"]))
    (error, overlap), *others = (_error(first, second, motion) for motion in (given, inverted, torch.eye(4)))
    return PairErrors(error, others[0][0], others[1][0], overlap)


def check_poses(gap: int, errors: Iterable[PairErrors]) -> PoseCheck:
    """Sums up pairs of frames that are `gap` rows apart."""
    rows = np.array(list(errors), np.float64).reshape(-1, 4)
    # Poses that leave nothing to compare are wrong where another motion brings the frames together.
    rows = rows[np.isfinite(rows[:, 0]) | (rows[:, 1:3] < _GOOD_ERROR).any(1)]
    middle = np.median(rows, 0) if len(rows) else np.full(4, np.nan)
    return PoseCheck(gap, len(rows), *middle.tolist())


def _error(first: RGBDSample, second: RGBDSample, motion: Tensor) -> tuple[float, float]:
    pixels, moved = reproject(first["depth"], first["intrinsics"], motion, second["intrinsics"])
    step = max(1, round((pixels[0].numel() / _MOST_PIXELS) ** 0.5))
    pixels, moved = pixels[None, :, ::step, ::step], moved[..., ::step, ::step]
    seen, _ = sample(second["depth"][None], pixels, mode="nearest")
    measured = first["depth"][..., ::step, ::step] > 0
    both = measured & (seen[0] > 0)
    overlap = float(both.sum() / measured.sum().clamp(min=1))
    if overlap < _LEAST_OVERLAP:
        return float("inf"), overlap
    return float(((moved - seen[0]).abs() / seen[0])[both].median()), overlap

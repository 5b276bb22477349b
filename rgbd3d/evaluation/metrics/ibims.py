"""iBims-1 (Koch et al., ECCV Workshops 2018): planarity, depth boundary and directed depth errors (FACTS.md §7).

As in the authors' evaluation script, two versions of which are in use: they differ in the completeness of boundaries
and in the thresholds of the edge detector. Depth is scored as predicted, without alignment, but in planes, which are
scaled to the median of the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rgbd3d.evaluation.metrics.base import Meter, check_mergeable
from rgbd3d.evaluation.metrics.depth import METRICS, errors, pixel_sums
from rgbd3d.geometry import unproject
from rgbd3d.optional import need

COLUMNS = ("depth", "depth_edges", "planes", "plane_normals", "intrinsics")
"""What `IbimsMeter` needs of a frame."""

_SMALLEST_PLANE = 0.05  # of the frame
_LONGEST = 10.0  # pixels between an edge and its partner
_NEAR_FAR = 3.0  # metres
_CANNY_SIGMA = math.sqrt(2)

_GLOBAL = ("abs_rel", "sq_rel", "rmse", "log10", "delta1", "delta2", "delta3")
_DIRECTED = ("dde_0", "dde_minus", "dde_plus")
_BOUNDARY = ("dbe_acc", "dbe_comp")
_PLANES = ("pe_plan", "pe_orie")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Boundaries:
    """A version of the depth boundary errors.

    Attributes:
        completeness: "directed": mean distance of the true edges to the nearest predicted one, which may be large
            (version 0.9). "symmetric": mean of the distances both ways, none counted as more than 10 pixels.
        low: Lower threshold of the edge detector, of the range of the predicted depth.
        high: Upper threshold.
    """

    completeness: Literal["directed", "symmetric"]
    low: float
    high: float


V09 = Boundaries("directed", 0.1, 0.2)
"""The first version; only it gives completeness beyond 10 pixels, as MeSa's Table 2 has it."""
TRUNCATED = Boundaries("symmetric", 0.15, 0.3)
"""The later version."""


class IbimsMeter(Meter):
    """Errors of single frames, averaged over frames, and of planes, averaged over all planes.

    Args:
        boundaries: Version of the depth boundary errors.
    """

    def __init__(self, boundaries: Boundaries = V09) -> None:
        self.boundaries = boundaries
        self.values: dict[str, list[float]] = {name: [] for name in (*_GLOBAL, *_PLANES, *_BOUNDARY, *_DIRECTED)}

    def update(self, prediction: Tensor, frame: Mapping[str, Any]) -> None:
        """Adds a frame.

        Args:
            prediction: float (1, H, W), metres, positive.
            frame: `COLUMNS` of an `RGBDSample`.

        Raises:
            ValueError: A column is missing, the size differs, or a prediction is not positive and finite.
        """
        if missing := [name for name in COLUMNS if name not in frame]:
            raise ValueError(f"iBims-1 metrics need {', '.join(COLUMNS)}; there is no {', '.join(missing)}")
        if prediction.shape != frame["depth"].shape:
            raise ValueError(f"prediction {tuple(prediction.shape)}, but depth is {tuple(frame['depth'].shape)}")
        prediction, depth = prediction.double().cpu(), frame["depth"].double()
        if not ((prediction > 0) & prediction.isfinite()).all():
            raise ValueError("predictions are not positive and finite everywhere: metric depth in metres is expected")
        valid = depth > 0
        if valid.any():
            self._add_global(prediction, depth, valid)
            self._add(_DIRECTED, _directed_errors(prediction[valid], depth[valid]))
        if frame["depth_edges"].any():
            edges = frame["depth_edges"].numpy().astype(bool)
            self._add(_BOUNDARY, _boundary_errors(prediction[0].numpy(), edges, self.boundaries))
        for plane in _plane_errors(prediction, depth, frame):
            self._add(_PLANES, plane)

    def merge(self, other: IbimsMeter) -> None:
        """Adds the frames of another meter."""
        check_mergeable(self.boundaries, other.boundaries)
        for name, values in other.values.items():
            self.values[name] += values

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the results."""
        return tuple(self.values)

    def compute(self) -> dict[str, float]:
        """The means.

        Returns:
            The usual depth errors; pe_plan, centimetres from the fitted plane; pe_orie, degrees between its normal and
            the true one; dbe_acc and dbe_comp, pixels; dde_0, dde_minus and dde_plus, percent of the pixels on the
            right side of 3 m, wrongly before and wrongly behind it. NaN where no frame has planes or edges.

        Raises:
            ValueError: No frame has valid depth.
        """
        if not self.values["abs_rel"]:
            raise ValueError("no valid depth was evaluated: every target pixel is 0 (no measurement)")
        return {name: float(np.mean(values)) if values else math.nan for name, values in self.values.items()}

    def _add_global(self, prediction: Tensor, depth: Tensor, valid: Tensor) -> None:
        means = errors(pixel_sums(prediction[None], depth[None], valid[None]))[0]
        named = dict(zip(METRICS, means.tolist(), strict=True))
        self._add(_GLOBAL, tuple(named[name] for name in _GLOBAL))

    def _add(self, names: tuple[str, ...], values: tuple[float, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            self.values[name].append(value)


def _directed_errors(prediction: Tensor, depth: Tensor) -> tuple[float, float, float]:
    """Percent of pixels on the right side of 3 m, wrongly before and wrongly behind it."""
    guess, truth = prediction <= _NEAR_FAR, depth <= _NEAR_FAR
    before = 100 * (guess & ~truth).double().mean().item()
    behind = 100 * (~guess & truth).double().mean().item()
    return 100 * (guess == truth).double().mean().item(), before, behind


def _boundary_errors(prediction: Array, edges: Array, version: Boundaries) -> tuple[float, float]:
    """Accuracy and completeness in pixels; `edges` is bool (H, W), not empty."""
    feature = need("skimage.feature", "the depth boundary error", "eval")
    ndimage = need("scipy.ndimage", "the depth boundary error", "eval")
    scaled = prediction.astype(np.float32)
    scaled -= scaled.min()
    scaled /= max(scaled.max(), np.finfo(np.float32).tiny)  # of flat depth, which has no edges
    found = feature.canny(scaled, sigma=_CANNY_SIGMA, low_threshold=version.low, high_threshold=version.high)
    to_true = ndimage.distance_transform_edt(~edges)
    close = found & (to_true < _LONGEST)
    if not close.any():
        return _LONGEST, _LONGEST
    from_true = ndimage.distance_transform_edt(~found)[edges]
    if version.completeness == "directed":
        return to_true[close].mean(), from_true.mean()
    both = np.concatenate([to_true[found], from_true])
    return to_true[close].mean(), np.minimum(both, _LONGEST).mean()


def _plane_errors(prediction: Tensor, depth: Tensor, frame: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Centimetres and degrees of each plane that covers 5 % of the frame."""
    planes, numbered = frame["planes"], frame["plane_normals"].double()
    points = unproject(prediction, frame["intrinsics"].double())
    for code, normal in zip(numbered[:, 0], functional.normalize(numbered[:, 1:], dim=1), strict=True):
        inside = (planes == code) & (depth[0] > 0)
        if inside.sum() < _SMALLEST_PLANE * inside.numel():
            continue
        scale = np.median(depth[0][inside].numpy()) / np.median(prediction[0][inside].numpy())
        cloud = scale * points[:, inside]
        spread, directions = torch.linalg.eigh(torch.cov(cloud, correction=0))
        fitted = directions[:, 0]
        angle = math.atan2(torch.linalg.cross(fitted, normal).norm().item(), (fitted @ normal).abs().item())
        yield 100 * spread[0].clamp(min=0).sqrt().item(), math.degrees(angle)

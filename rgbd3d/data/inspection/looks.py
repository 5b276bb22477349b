"""What rows of each kind tell about their data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from torch import Tensor

from rgbd3d.data.base import Source
from rgbd3d.data.inspection.pose_check import PairErrors, PoseCheck, check_poses, pair_errors
from rgbd3d.data.inspection.sampling import GAPS
from rgbd3d.data.inspection.statistics import ClassCounts, DepthStatistics
from rgbd3d.data.inspection.tiles import Tile, clip_tile, cloud_tile, frame_tile
from rgbd3d.types import IGNORE_LABEL, ClipSample, Kind, PointSample, RGBDSample

_MOST_SIZES = 4
_SMALLEST_DETERMINANT = 1e-6


class Look:
    """Gathers what rows tell, one by one.

    Args:
        source: That they are from.
        depth: Column with depth.
        labels: Columns with train ids; the first that is there counts.
        classes_of: What `semantic` labels.

    Attributes:
        depth: Of all rows so far; None without depth.
        classes: Likewise of labels.
        classes_of: What these label.
    """

    def __init__(self, source: Source, depth: str | None, labels: tuple[str, ...], classes_of: str) -> None:
        self.depth = DepthStatistics() if depth in source.columns else None
        self._label = next((label for label in labels if label in source.columns), None)
        ignore = None if self._label == "class_id" else IGNORE_LABEL
        self.classes = ClassCounts(source.label_space, ignore) if self._label else None
        self.classes_of = source.kind if self._label == "class_id" else classes_of
        self._depth_column = depth
        self._scenes: set[str] = set()

    def add(self, row: int, sample: Any) -> None:
        """Looks at a row; rows come in ascending order."""
        if self.depth is not None:
            self.depth.add(sample[self._depth_column])
        if self.classes is not None:
            self.classes.add(np.asarray(sample[self._label]))
        if "scene_id" in sample:
            self._scenes.add(sample["scene_id"])

    def facts(self) -> dict[str, str]:
        """For a table, by name."""
        return {"scenes": f"{len(self._scenes)} among the rows looked at"} if self._scenes else {}

    def poses(self) -> list[PoseCheck]:
        """One check for each distance of rows that there were pairs of."""
        return []

    def tile(self, sample: Any) -> Tile:
        """Pictures of a row."""
        raise NotImplementedError

    def class_name(self, sample: Any) -> str | None:
        """Class of a whole row; None if only its parts have labels."""
        if self.classes is None or self._label != "class_id":
            return None
        return self.classes.name(sample["class_id"])


class FrameLook(Look):
    """Looks at frames, and compares those of a scene by their poses."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, "depth", ("semantic", "class_id"), "pixels")
        self._stride = source.stride
        self._sizes: Counter[str] = Counter()
        self._has_geometry = {"depth", "intrinsics", "pose"} <= set(source.columns)
        self._recent: dict[int, RGBDSample] = {}
        self._errors: dict[int, list[PairErrors]] = {gap: [] for gap in GAPS}
        self._lost = 0

    def add(self, row: int, sample: RGBDSample) -> None:
        """Looks at a row; rows come in ascending order."""
        super().add(row, sample)
        first = next((sample[key] for key in ("image", "depth", "semantic") if key in sample), None)
        if first is not None:
            self._sizes[f"{first.shape[-1]} x {first.shape[-2]}"] += 1
        if self._has_geometry:
            self._compare(row, sample)

    def _compare(self, row: int, sample: RGBDSample) -> None:
        """Pairs the frame with earlier ones of its scene; no more of them are held than the largest gap needs."""
        if not all(_is_invertible(sample[key]) for key in ("pose", "intrinsics")):
            self._lost += 1
            return
        for gap in GAPS:
            before = self._recent.get(row - gap)
            if before is not None and before.get("scene_id") == sample.get("scene_id"):
                self._errors[gap].append(pair_errors(before, sample))
        self._recent = {other: frame for other, frame in self._recent.items() if other > row - max(GAPS)}
        keys = ("depth", "intrinsics", "pose", "scene_id")
        self._recent[row] = cast(RGBDSample, {key: value for key, value in sample.items() if key in keys})

    def facts(self) -> dict[str, str]:
        """For a table, by name."""
        sizes = ", ".join(f"{size}" for size, _ in self._sizes.most_common(_MOST_SIZES))
        more = f" and {len(self._sizes) - _MOST_SIZES} more" if len(self._sizes) > _MOST_SIZES else ""
        lost = {"bad poses": f"{self._lost} of the rows looked at have none, or no intrinsics"} if self._lost else {}
        stride = f"{self._stride} (data.every is 1 or a multiple of it)"
        return {"size": f"{sizes}{more} (width x height)", "stride": stride} | super().facts() | lost

    def poses(self) -> list[PoseCheck]:
        """One check for each distance of rows that there were pairs of."""
        return [check_poses(gap, errors) for gap, errors in self._errors.items() if errors]

    def tile(self, sample: RGBDSample) -> Tile:
        """Pictures of a row."""
        return frame_tile(sample, self.class_name(sample))


class CloudLook(Look):
    """Looks at point clouds."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, None, ("semantic",), "points")
        self._points: list[int] = []
        self._extents: list[list[float]] = []
        self._instances: list[int] = []

    def add(self, row: int, sample: PointSample) -> None:
        """Looks at a row; rows come in ascending order."""
        super().add(row, sample)
        position = sample["position"]
        self._points.append(len(position))
        self._extents.append((position.amax(0) - position.amin(0)).tolist() if len(position) else [0, 0, 0])
        if "instance" in sample:
            ids = sample["instance"].unique()
            self._instances.append(int((ids > 0).sum()))

    def facts(self) -> dict[str, str]:
        """For a table, by name."""
        extent = " x ".join(f"{value:.1f}" for value in np.median(self._extents, 0))
        instances = {"instances": _range(self._instances)} if self._instances else {}
        return {"size": f"{_range(self._points)} points", "extent": f"{extent} m, median"} | instances | super().facts()

    def tile(self, sample: PointSample) -> Tile:
        """Pictures of a row."""
        return cloud_tile(sample)


class ClipLook(Look):
    """Looks at video clips."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, "depth_frames", ("class_id",), "clips")
        self._sizes: Counter[str] = Counter()

    def add(self, row: int, sample: ClipSample) -> None:
        """Looks at a row; rows come in ascending order."""
        super().add(row, sample)
        frames = sample["frames"] if "frames" in sample else sample["depth_frames"]
        self._sizes[f"{len(frames)} frames of {frames.shape[-1]} x {frames.shape[-2]}"] += 1

    def facts(self) -> dict[str, str]:
        """For a table, by name."""
        return {"size": ", ".join(size for size, _ in self._sizes.most_common(_MOST_SIZES))} | super().facts()

    def tile(self, sample: ClipSample) -> Tile:
        """Pictures of a row."""
        return clip_tile(sample, self.class_name(sample))


def _is_invertible(matrix: Tensor) -> bool:
    return bool(matrix.isfinite().all()) and float(matrix.det().abs()) > _SMALLEST_DETERMINANT


def _range(values: list[int]) -> str:
    return str(values[0]) if min(values) == max(values) else f"{min(values)} to {max(values)}"


LOOKS: dict[Kind, Callable[[Source], Look]] = {"frames": FrameLook, "clouds": CloudLook, "clips": ClipLook}
"""By kind of data set."""

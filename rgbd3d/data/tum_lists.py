"""The lists of a TUM RGB-D sequence: pictures and poses by time stamp, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import check_name
from rgbd3d.data.readers.bounded import read_text

POSES = "groundtruth.txt"
"""List of poses, which a sequence may lack."""
UNITS_PER_METRE = 5000.0
"""Of the depth files."""
TOLERANCE = 0.02
"""Seconds between the parts of a frame; the default of the benchmark's own tools."""


@dataclass(frozen=True)
class TumFrame:
    """Colour, depth and pose of nearly the same time.

    Attributes:
        number: Of the image among those of rgb.txt, from 0.
        color: Image file; whether it exists has not been looked at.
        depth: Depth file, likewise.
        pose: float32 (4, 4), camera to world; None if the sequence has no groundtruth.txt.
    """

    number: int
    color: Path
    depth: Path
    pose: npt.NDArray[np.float32] | None


def read_sequence(folder: Path) -> list[TumFrame]:
    """Frames of the lists rgb.txt, depth.txt and, if there is one, groundtruth.txt.

    Args:
        folder: Of the lists; the files that they name lie below it.

    Returns:
        Frames by time; images without depth, or without a pose where there are some, are left out. Never empty.

    Raises:
        DataError: Lists that cannot be read, name files outside the folder, or share no time.
    """
    color_times, colors = _read_list(folder / "rgb.txt")
    depth_times, depths = _read_list(folder / "depth.txt")
    pairs = associate(color_times, depth_times)
    poses: dict[int, npt.NDArray[np.float32]] = {}
    if tracked := (folder / POSES).is_file():
        poses = _poses(folder / POSES, color_times)
        pairs = [(first, second) for first, second in pairs if first in poses]
    if not pairs:
        lists = f"depth.txt and a pose of {POSES}" if tracked else "depth.txt"
        raise DataError(f"{folder}: no image of rgb.txt has depth of {lists} within {TOLERANCE} s")
    return [
        TumFrame(
            number=first,
            color=_below(folder, colors[first], "rgb.txt"),
            depth=_below(folder, depths[second], "depth.txt"),
            pose=poses[first] if tracked else None,
        )
        for first, second in pairs
    ]


def associate(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of times within `TOLERANCE`, the closest pair chosen first and each time used once.

    Args:
        first: Seconds, ascending.
        second: Seconds, ascending; only the neighbours before and after a time are looked at.

    Returns:
        Pairs of indices, ordered by the first.
    """
    if not len(first) or not len(second):
        return []
    after = np.searchsorted(second, first)
    partners = np.stack([after - 1, after], -1)
    gaps = np.abs(second[partners.clip(0, len(second) - 1)] - first[:, None])
    gaps[(partners < 0) | (partners >= len(second))] = np.inf
    pairs: dict[int, int] = {}
    taken = set()
    for flat in np.argsort(gaps, axis=None, kind="stable").tolist():
        index, partner = flat // 2, int(partners.flat[flat])
        if gaps.flat[flat] > TOLERANCE:
            break
        if index not in pairs and partner not in taken:
            pairs[index] = partner
            taken.add(partner)
    return sorted(pairs.items())


def _poses(file: Path, times: npt.NDArray[np.float64]) -> dict[int, npt.NDArray[np.float32]]:
    """The pose nearest to each time, if there is one within `TOLERANCE`; a pose may serve several times."""
    pose_times, rows = _read_list(file)
    if not len(rows):
        return {}
    after = np.searchsorted(pose_times, times).clip(max=len(rows) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(np.abs(pose_times[before] - times) <= np.abs(pose_times[after] - times), before, after)
    near = np.flatnonzero(np.abs(pose_times[nearest] - times) <= TOLERANCE)
    return {int(index): _pose(rows[nearest[index]], file) for index in near}


def _pose(row: list[str], file: Path) -> npt.NDArray[np.float32]:
    try:
        translation, quaternion = np.array(row[:3], np.float64), np.array(row[3:7], np.float64)
        length = np.linalg.norm(quaternion)
        if len(quaternion) != 4 or not 0.5 < length < 2:
            raise ValueError(f"its quaternion has length {length:g}")
        x, y, z, w = quaternion / length
    except ValueError as error:
        raise DataError(f"{file}: 'time tx ty tz qx qy qz qw' is expected, not {row} ({error})") from error
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = translation
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return pose


def _read_list(file: Path) -> tuple[npt.NDArray[np.float64], list[list[str]]]:
    """Times and the rest of each line, ordered by time."""
    lines = [line.split() for line in read_text(file).splitlines() if line.strip() and not line.startswith("#")]
    try:
        times = np.array([float(time) for time, _, *_ in lines])
    except ValueError as error:
        raise DataError(f"{file}: lines of a time in seconds and a value are expected ({error})") from error
    if not np.isfinite(times).all():
        raise DataError(f"{file}: has times that are not finite")
    order = np.argsort(times, kind="stable")
    return times[order], [lines[index][1:] for index in order]


def _below(folder: Path, row: list[str], name: str) -> Path:
    path = PurePosixPath(row[0])
    for part in path.parts:  # the root of an absolute path is no plain name either
        check_name(part, folder / name)
    return folder / path

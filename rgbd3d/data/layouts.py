"""Which files of a folder make up its frames.

| layout | color | depth | poses (camera to world) |
| --- | --- | --- | --- |
| plain | color/ID.jpg or .png | depth_reg/ID.png or depth/ID.png | poses_color.txt or poses.txt |
| ScanNet export | color/0.jpg | depth/0.png | pose/0.txt |
| 7-Scenes | frame-000000.color.png | frame-000000.depth.png | frame-000000.pose.txt |
| TUM RGB-D | rgb.txt | depth.txt | groundtruth.txt |

`depth_reg` (depth registered to colour) is preferred to `depth`, and then the files of the colour camera
(intrinsics_color.txt, poses_color.txt) to the others. Intrinsics are 9 or 16 numbers in intrinsics.txt,
intrinsics_color.txt, camera-intrinsics.txt or intrinsic/intrinsic_color.txt, in the folder or the one above.
`poses.txt` has a line per frame: ID and 16 numbers, row by row. Labels are optional: label40/ID.png or label13/ID.png
(NYU classes from 1, 0 = unlabelled) and instance/ID.png. 7-Scenes and ScanNet frames as published have colour and depth
of two cameras that differ slightly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbd3d.data.codec import DataError

_TUM_UNITS_PER_METRE = 5000.0
_TUM_SECONDS = 0.02
_LABEL_FOLDERS = {"label40": "nyu40", "label13": "nyu13"}


@dataclass(frozen=True)
class Frame:
    """Files and facts of one frame.

    Attributes:
        color: Image file.
        scene_id: Name of the segment.
        frame_id: The last number in the file's name, or its position.
        depth: 16-bit PNG.
        semantic: Class ids from 1, 0 = unlabelled.
        instance: Instance ids, 0 = none.
        label_space: Of `semantic`.
        intrinsics: float32 (3, 3).
        pose: float32 (4, 4), or the file that holds it.
        units_per_metre: Of the depth file, where the layout fixes it.
    """

    color: Path
    scene_id: str
    frame_id: int
    depth: Path | None = None
    semantic: Path | None = None
    instance: Path | None = None
    label_space: str | None = None
    intrinsics: np.ndarray | None = None
    pose: np.ndarray | Path | None = None
    units_per_metre: float | None = None


def find_frames(folder: Path) -> dict[str, list[Frame]]:
    """Frames of a folder, or of each of its sub-folders that has some, in order.

    Args:
        folder: One segment, or a folder of segments.

    Returns:
        Segment -> its frames; never empty.

    Raises:
        DataError: No frames, or colour and depth that don't pair up.
    """
    if frames := _segment(folder):
        return {folder.name: frames}
    segments = {sub.name: frames for sub in sorted(folder.iterdir()) if sub.is_dir() and (frames := _segment(sub))}
    if not segments:
        raise DataError(
            f"{folder}: neither Parquet files nor frames found, here or one folder down; frames are color/ID.jpg + "
            "depth/ID.png, frame-ID.color.png + frame-ID.depth.png (7-Scenes), or rgb.txt + depth.txt (TUM)"
        )
    return segments


def read_matrix(file: Path, side: int) -> np.ndarray:
    """Square matrix in a text file of whitespace- or comma-separated numbers.

    Args:
        file: With side * side numbers; a 4x4 matrix is cut where side is 3.
        side: Of the result.

    Returns:
        float32 (side, side).

    Raises:
        DataError: Not such a matrix.
    """
    try:
        numbers = np.array(file.read_text().replace(",", " ").split(), np.float32)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a matrix of numbers ({error})") from error
    if numbers.size == side * side:
        return numbers.reshape(side, side)
    if numbers.size == 16 and side == 3:
        return numbers.reshape(4, 4)[:3, :3].copy()
    raise DataError(f"{file}: {numbers.size} numbers, a {side}x{side} matrix is expected")


def _segment(folder: Path) -> list[Frame]:
    if (folder / "color").is_dir():
        return _plain(folder)
    if (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file():
        return _tum(folder)
    if any(folder.glob("frame-*.color.*")):
        return _seven_scenes(folder)
    return []


# ----------------------------------------------------------------------------------------------- plain and ScanNet


def _plain(folder: Path) -> list[Frame]:
    color = {file.stem: file for file in sorted(_images(folder / "color"), key=_order)}
    if not color:
        raise DataError(f"{folder / 'color'}: no .jpg or .png files")
    registered = (folder / "depth_reg").is_dir()
    depth = _beside(color, folder / ("depth_reg" if registered else "depth"))
    if not depth:
        raise DataError(f"{folder}: color/ but neither depth_reg/ nor depth/")
    labels = next((name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)
    semantic = _beside(color, folder / labels) if labels else {}
    instance = _beside(color, folder / "instance")
    intrinsics = _intrinsics(folder, of_color=registered)
    poses = _poses(folder, color, of_color=registered)
    return [
        Frame(
            color=file,
            scene_id=folder.name,
            frame_id=_number(stem, position),
            depth=depth[stem],
            semantic=semantic.get(stem),
            instance=instance.get(stem),
            label_space=_LABEL_FOLDERS[labels] if labels else None,
            intrinsics=intrinsics,
            pose=poses.get(stem),
        )
        for position, (stem, file) in enumerate(color.items())
    ]


def _beside(color: dict[str, Path], folder: Path) -> dict[str, Path]:
    """PNG files of the same names; empty without the folder."""
    if not folder.is_dir():
        return {}
    files = {file.stem: file for file in _images(folder)}
    _check_same_names(color, files, folder)
    return files


def _check_same_names(color: dict[str, Path], others: dict[str, Path], where: Path) -> None:
    if lacking := sorted(color.keys() ^ others.keys()):
        side = f"no partner in {where}" if lacking[0] in color else f"only in {where}"
        raise DataError(
            f"{where.parent}: {len(color)} colour images but {len(others)} files in {where.name}; "
            f"{lacking[0]!r} is the first of {len(lacking)} without a pair ({side})"
        )


def _poses(folder: Path, color: dict[str, Path], of_color: bool) -> dict[str, np.ndarray | Path]:
    names = ("poses_color.txt", "poses.txt") if of_color else ("poses.txt", "poses_color.txt")
    if listed := next((folder / name for name in names if (folder / name).is_file()), None):
        poses: dict[str, np.ndarray | Path] = dict(_pose_list(listed))
    elif (folder / "pose").is_dir():
        poses = {file.stem: file for file in (folder / "pose").glob("*.txt")}
    else:
        return {}
    if missing := [stem for stem in color if stem not in poses]:
        raise DataError(f"{folder}: {len(missing)} frames without a pose, the first is {missing[0]!r}")
    return poses


def _pose_list(file: Path) -> dict[str, np.ndarray]:
    poses = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        name, *values = line.split() or [""]
        if not name or name.startswith("#"):
            continue
        try:
            poses[name] = np.array(values, np.float32).reshape(4, 4)
        except ValueError as error:
            raise DataError(f"{file}:{number}: an ID and 16 numbers are expected ({error})") from error
    return poses


def _intrinsics(folder: Path, of_color: bool) -> np.ndarray | None:
    names = ["intrinsics.txt", "camera-intrinsics.txt", "intrinsics_color.txt", "intrinsic/intrinsic_color.txt"]
    if of_color:
        names.sort(key=lambda name: "color" not in name)
    for file in [place / name for place in (folder, folder.parent) for name in names]:
        if file.is_file():
            return read_matrix(file, 3)
    return None


# --------------------------------------------------------------------------------------------------------- 7-Scenes


def _seven_scenes(folder: Path) -> list[Frame]:
    color = {file.name.split(".")[0]: file for file in sorted(folder.glob("frame-*.color.*"))}
    depth = {file.name.split(".")[0]: file for file in folder.glob("frame-*.depth.png")}
    poses = {file.name.split(".")[0]: file for file in folder.glob("frame-*.pose.txt")}
    _check_same_names(color, depth, folder / "frame-*.depth.png")
    if poses:
        _check_same_names(color, poses, folder / "frame-*.pose.txt")
    intrinsics = _intrinsics(folder, of_color=False)
    return [
        Frame(
            color=file,
            scene_id=folder.name,
            frame_id=_number(stem, position),
            depth=depth[stem],
            intrinsics=intrinsics,
            pose=poses.get(stem),
        )
        for position, (stem, file) in enumerate(color.items())
    ]


# -------------------------------------------------------------------------------------------------------------- TUM


def _tum(folder: Path) -> list[Frame]:
    color_times, color_rows = _tum_list(folder / "rgb.txt")
    depth_times, depth_rows = _tum_list(folder / "depth.txt")
    pairs = _associate(color_times, depth_times)
    poses: list[np.ndarray | None] = [None] * len(pairs)
    if (folder / "groundtruth.txt").is_file():
        pose_times, pose_rows = _tum_list(folder / "groundtruth.txt")
        at = dict(_associate(color_times[[first for first, _ in pairs]], pose_times, unique=False))
        pairs = [pair for position, pair in enumerate(pairs) if position in at]
        poses = [_tum_pose(pose_rows[index], folder / "groundtruth.txt") for _, index in sorted(at.items())]
    if not pairs:
        raise DataError(f"{folder}: no colour image has depth (and a pose) within {_TUM_SECONDS} s")
    intrinsics = _intrinsics(folder, of_color=False)
    frames = [
        Frame(
            color=folder / color_rows[first][0],
            scene_id=folder.name,
            frame_id=first,
            depth=folder / depth_rows[second][0],
            intrinsics=intrinsics,
            pose=pose,
            units_per_metre=_TUM_UNITS_PER_METRE,
        )
        for (first, second), pose in zip(pairs, poses, strict=True)
    ]
    for frame in frames:
        for file in (frame.color, frame.depth):
            if file is not None and not file.is_file():
                raise DataError(f"{folder}: rgb.txt and depth.txt name {file}, which does not exist")
    return frames


def _tum_list(file: Path) -> tuple[np.ndarray, list[list[str]]]:
    """Times and the rest of each line, ordered by time."""
    lines = [line.split() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    try:
        lines.sort(key=lambda line: float(line[0]))
        return np.array([float(time) for time, _, *_ in lines]), [rest for _, *rest in lines]
    except ValueError as error:
        raise DataError(f"{file}: lines of a time in seconds and a value are expected ({error})") from error


def _associate(first: np.ndarray, second: np.ndarray, unique: bool = True) -> list[tuple[int, int]]:
    """Pairs of indices of the nearest times within 0.02 s, each `second` used once if `unique`, ordered by `first`."""
    if not len(first) or not len(second):
        return []
    after = np.searchsorted(second, first).clip(max=len(second) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(np.abs(second[before] - first) <= np.abs(second[after] - first), before, after)
    gap = np.abs(second[nearest] - first)
    pairs, taken = [], set()
    for index in np.argsort(gap, kind="stable").tolist():  # the closest pair chooses first
        partner = int(nearest[index])
        if gap[index] <= _TUM_SECONDS and not (unique and partner in taken):
            pairs.append((index, partner))
            taken.add(partner)
    return sorted(pairs)


def _tum_pose(row: list[str], file: Path) -> np.ndarray:
    try:
        translation, quaternion = np.array(row[:3], np.float64), np.array(row[3:7], np.float64)
        x, y, z, w = quaternion / np.linalg.norm(quaternion)
    except ValueError as error:
        raise DataError(f"{file}: 'time tx ty tz qx qy qz qw' is expected, not {row}") from error
    pose = np.eye(4, dtype=np.float32)
    pose[:3, 3] = translation
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return pose


# ------------------------------------------------------------------------------------------------------------ names


def _images(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix.lower() in (".jpg", ".jpeg", ".png")]


def _order(file: Path) -> tuple[int, str]:
    return _number(file.stem, 0), file.stem


def _number(stem: str, otherwise: int) -> int:
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else otherwise

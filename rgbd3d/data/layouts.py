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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbd3d.data import tum_lists
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.bounded import check_intrinsics, list_folder, read_text

_LABEL_FOLDERS = {"label40": "nyu40", "label13": "nyu13"}
_MATRIX_BYTES = 4096
_LARGEST_NUMBER = 2**63 - 1  # that a column of frame ids holds
LABEL_SPACES = tuple(_LABEL_FOLDERS.values())
"""Label spaces that a folder of frames may have, the preferred one first."""
NO_FRAMES = (
    "neither Parquet files nor frames found, here or one folder down; frames are color/ID.jpg + depth/ID.png, "
    "frame-ID.color.png + frame-ID.depth.png (7-Scenes), or rgb.txt + depth.txt (TUM)"
)
"""What is wrong with a folder without segments."""


@dataclass(frozen=True)
class Frame:
    """Files and facts of one frame.

    Attributes:
        color: Image file.
        scene_id: Name of the segment.
        frame_id: The last number in the file's name, or its position where there is none of 64 bits.
        depth: 16-bit PNG.
        semantic: Class ids from 1, 0 = unlabelled.
        instance: Instance ids, 0 = none.
        label_space: Of `semantic`.
        intrinsics: float32 (3, 3).
        pose: float32 (4, 4), or the file that holds it alone.
        pose_list: File that lists `pose` among others.
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
    pose_list: Path | None = None
    units_per_metre: float | None = None


def find_frames(folder: Path, label_space: str | None = None) -> dict[str, list[Frame]]:
    """Frames of a folder, or of each of its sub-folders that has some, in order.

    Args:
        folder: One segment, or a folder of segments.
        label_space: Of the labels where a segment has several; None is the first of `LABEL_SPACES` that is there.

    Returns:
        Segment -> its frames; never empty.

    Raises:
        DataError: No frames, or colour and depth that don't pair up.
    """
    segments = find_segments(folder)
    if not segments:
        raise MissingDataError(f"{folder}: {NO_FRAMES}")
    return {scene_name(segment): segment_frames(segment, label_space) for segment in segments}


def find_segments(folder: Path) -> list[Path]:
    """The folder itself if it has frames, otherwise those of its sub-folders that have some; frames are not listed."""
    if _layout(folder) is not None:
        return [folder]
    return [sub for sub in list_folder(folder) if sub.is_dir() and _layout(sub) is not None]


def segment_frames(segment: Path, label_space: str | None = None) -> list[Frame]:
    """Frames of one of the folders that `find_segments` gives, as `find_frames` orders them.

    Raises:
        DataError: As for `find_frames`.
    """
    match _layout(segment):
        case "plain":
            return _plain(segment, label_space)
        case "tum":
            return _tum(segment)
        case "7-scenes":
            return _seven_scenes(segment)
    raise MissingDataError(f"{segment}: no frames found")


def scene_name(folder: Path) -> str:
    """Name of a segment: that of its folder, also where that is written '.'."""
    return folder.absolute().name


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
    text = read_text(file, _MATRIX_BYTES)
    try:
        numbers = np.array(text.replace(",", " ").split(), np.float32)
    except ValueError as error:
        raise DataError(f"{file}: not a matrix of numbers ({error})") from error
    if numbers.size == side * side:
        return numbers.reshape(side, side)
    if numbers.size == 16 and side == 3:
        return numbers.reshape(4, 4)[:3, :3].copy()
    raise DataError(f"{file}: {numbers.size} numbers, a {side}x{side} matrix is expected")


def _layout(folder: Path) -> str | None:
    if (folder / "color").is_dir():
        return "plain"
    if (folder / "rgb.txt").is_file() and (folder / "depth.txt").is_file():
        return "tum"
    if any(folder.glob("frame-*.color.*")):
        return "7-scenes"
    return None


# ----------------------------------------------------------------------------------------------- plain and ScanNet


def _plain(folder: Path, label_space: str | None) -> list[Frame]:
    color = {file.stem: file for file in sorted(_images(folder / "color"), key=_order)}
    if not color:
        raise DataError(f"{folder / 'color'}: no .jpg or .png files")
    registered = (folder / "depth_reg").is_dir()
    depth = _beside(color, folder / ("depth_reg" if registered else "depth"))
    if not depth:
        raise DataError(f"{folder}: color/ but neither depth_reg/ nor depth/")
    wanted = [name for name, space in _LABEL_FOLDERS.items() if label_space in (None, space)]
    labels = next((name for name in wanted if (folder / name).is_dir()), None)
    semantic = _beside(color, folder / labels) if labels else {}
    instance = _beside(color, folder / "instance")
    intrinsics = read_intrinsics(folder, of_color=registered)
    pose_list, poses = _poses(folder, color, of_color=registered)
    return [
        Frame(
            color=file,
            scene_id=scene_name(folder),
            frame_id=_number(stem, position),
            depth=depth[stem],
            semantic=semantic.get(stem),
            instance=instance.get(stem),
            label_space=_LABEL_FOLDERS[labels] if labels else None,
            intrinsics=intrinsics,
            pose=poses.get(stem),
            pose_list=pose_list,
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


def _poses(
    folder: Path, color: dict[str, Path], of_color: bool
) -> tuple[Path | None, Mapping[str, np.ndarray] | Mapping[str, Path]]:
    """The list of poses, if there is one, and the poses or their files by name."""
    names = ("poses_color.txt", "poses.txt") if of_color else ("poses.txt", "poses_color.txt")
    if listed := next((folder / name for name in names if (folder / name).is_file()), None):
        poses: Mapping[str, np.ndarray] | Mapping[str, Path] = _pose_list(listed)
    elif (folder / "pose").is_dir():
        poses = {file.stem: file for file in (folder / "pose").glob("*.txt")}
    else:
        return None, {}
    if missing := [stem for stem in color if stem not in poses]:
        where = listed or folder / "pose"
        raise DataError(f"{where}: {len(missing)} frames without a pose, the first is {missing[0]!r}")
    return listed, poses


def _pose_list(file: Path) -> dict[str, np.ndarray]:
    poses = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name, *values = line.split() or [""]
        if not name or name.startswith("#"):
            continue
        try:
            poses[name] = np.array(values, np.float32).reshape(4, 4)
        except ValueError as error:
            raise DataError(f"{file}:{number}: an ID and 16 numbers are expected ({error})") from error
    return poses


def read_intrinsics(folder: Path, of_color: bool) -> np.ndarray | None:
    """Intrinsics that lie beside the frames of a folder or one folder up; None if there are none.

    Args:
        folder: Of one segment.
        of_color: Whether the files of the colour camera are preferred to the others.

    Raises:
        DataError: A file that holds no pinhole camera.
    """
    names = ["intrinsics.txt", "camera-intrinsics.txt", "intrinsics_color.txt", "intrinsic/intrinsic_color.txt"]
    if of_color:
        names.sort(key=lambda name: "color" not in name)
    for file in [place / name for place in (folder, folder.parent) for name in names]:
        if file.is_file():
            return check_intrinsics(read_matrix(file, 3), str(file))
    return None


# --------------------------------------------------------------------------------------------------------- 7-Scenes


def _seven_scenes(folder: Path) -> list[Frame]:
    color = {file.name.split(".")[0]: file for file in sorted(folder.glob("frame-*.color.*"))}
    depth = {file.name.split(".")[0]: file for file in folder.glob("frame-*.depth.png")}
    poses = {file.name.split(".")[0]: file for file in folder.glob("frame-*.pose.txt")}
    _check_same_names(color, depth, folder / "frame-*.depth.png")
    if poses:
        _check_same_names(color, poses, folder / "frame-*.pose.txt")
    intrinsics = read_intrinsics(folder, of_color=False)
    return [
        Frame(
            color=file,
            scene_id=scene_name(folder),
            frame_id=_number(stem, position),
            depth=depth[stem],
            intrinsics=intrinsics,
            pose=poses.get(stem),
        )
        for position, (stem, file) in enumerate(color.items())
    ]


# -------------------------------------------------------------------------------------------------------------- TUM


def tum_frames(folder: Path, intrinsics: np.ndarray | None) -> list[Frame]:
    """Frames of a sequence in the layout of the TUM RGB-D benchmark, whether their files are there or not."""
    return [
        Frame(
            color=frame.color,
            scene_id=scene_name(folder),
            frame_id=frame.number,
            depth=frame.depth,
            intrinsics=intrinsics,
            pose=frame.pose,
            pose_list=None if frame.pose is None else folder / tum_lists.POSES,
            units_per_metre=tum_lists.UNITS_PER_METRE,
        )
        for frame in tum_lists.read_sequence(folder)
    ]


def _tum(folder: Path) -> list[Frame]:
    frames = tum_frames(folder, read_intrinsics(folder, of_color=False))
    for frame in frames:
        for file in (frame.color, frame.depth):
            if file is not None and not file.is_file():
                raise DataError(f"{folder}: rgb.txt and depth.txt name {file}, which does not exist")
    return frames


# ------------------------------------------------------------------------------------------------------------ names


def _images(folder: Path) -> list[Path]:
    return [file for file in list_folder(folder) if file.suffix.lower() in (".jpg", ".jpeg", ".png")]


def _order(file: Path) -> tuple[int, str]:
    return _number(file.stem, 0), file.stem


def _number(stem: str, otherwise: int) -> int:
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers and int(numbers[-1]) <= _LARGEST_NUMBER else otherwise

"""SUN3D (Xiao et al., ICCV 2013) as its authors publish it, and in the form of 3DMatch (Zeng et al., CVPR 2017).

    raw/                                        or one PLACE, SCENE or SEQUENCE
        hotel_umd/maryland_hotel3/              SUN3D: PLACE/SEQUENCE
            image/0000001-000000000000.jpg      640 x 480, NUMBER-MICROSECONDS
            depth/0000001-000000020369.png      16 bits, millimetres rotated left by 3 bits, 0 = none
            intrinsics.txt                      3 x 3
            extrinsics/20130512130736.txt       3 x 4 per image, camera to world, metres; the last file counts
        sun3d-hotel_umd-maryland_hotel3/        3DMatch: SCENE
            camera-intrinsics.txt               3 x 3
            seq-01/frame-000000.color.png       and .depth.png (millimetres), .pose.txt (4 x 4, camera to world)

Depth is registered to colour, except in 3DMatch's scenes from 7-Scenes ("7-scenes-*"), which are registered as
`rgbd3d.data.readers.seven_scenes` does it. An image of SUN3D gets the depth nearest in time, as in the authors' reader,
if that is less than 0.1 s away, and is left out otherwise.
The eight test scenes of 3DMatch's geometric registration benchmark are "test" in either form, all other sequences
"train": SUN3D itself has no split of its sequences.

Seen as real files: frames of a 3DMatch fragment, re-encoded at half size. Bit rotation: SUN RGB-D files of the same
authors. The trees, and all of SUN3D's own form, were built from the authors' reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.frame_folder import SATURATED
from rgbd3d.data.layouts import Frame, read_intrinsics, scene_name
from rgbd3d.data.readers.base import Row
from rgbd3d.data.readers.bounded import list_folder, read_file, read_text
from rgbd3d.data.readers.rotated_depth import decode_rotated_depth
from rgbd3d.data.readers.sequences import FrameSequence, SequenceReader, checked_pose, posed_frames
from rgbd3d.data.readers.seven_scenes import COLOR_CAMERA, to_color_camera

TEST_SCENES = frozenset({
    "7-scenes-redkitchen",
    "sun3d-home_at-home_at_scan1_2013_jan_1",
    "sun3d-home_md-home_md_scan9_2012_sep_30",
    "sun3d-hotel_uc-scan3",
    "sun3d-hotel_umd-maryland_hotel1",
    "sun3d-hotel_umd-maryland_hotel3",
    "sun3d-mit_76_studyroom-76-1studyroom2",
    "sun3d-mit_lab_hj-lab_hj_tea_nov_2_2012_scan1_erika",
})  # fmt: skip
"""Of 3DMatch's geometric registration benchmark, as their folders are called."""

_UNREGISTERED = "7-scenes-"
_POSE_BYTES = 512  # of one pose, generously
_DEPTH_MICROSECONDS = 100_000  # three frames of the camera


class Sun3dReader(SequenceReader):
    """Reads SUN3D and 3DMatch sequences.

    Raises:
        DataError: No sequence, sequences without intrinsics, or files that don't pair up.
    """

    def sequences(self) -> Iterator[FrameSequence]:
        """All sequences, those of "train" first."""
        found = [(_split(folder), _sequence_name(folder), folder) for folder in self._folders(self.raw, levels=2)]
        if not found:
            raise MissingDataError(
                f"{self.raw}: neither SCENE/seq-01/frame-000000.color.png (3DMatch) nor PLACE/SEQUENCE/image and depth "
                "(SUN3D)"
            )
        for split, name, folder in sorted(found, key=lambda item: (item[0] == "test", item[1])):
            yield FrameSequence(name, split, folder)

    def frames(self, folder: Path) -> list[Frame]:
        """Frames of one sequence, in either form."""
        intrinsics = read_intrinsics(folder, of_color=True)
        if intrinsics is None:
            raise MissingDataError(
                f"{folder}: no intrinsics.txt in it, and no camera-intrinsics.txt in the folder above"
            )
        if _is_original(folder):
            return _original_frames(folder, intrinsics)
        return [replace(frame, intrinsics=intrinsics) for frame in posed_frames(folder, _sequence_name(folder))]

    def row(self, frame: Frame) -> Row:
        """A frame; depth as it is, if that is in millimetres already."""
        assert frame.depth is not None, "every image has depth"
        row: dict[str, Any] = {
            "image": read_file(frame.color),
            "intrinsics": torch.tensor(frame.intrinsics),
            "pose": checked_pose(frame),
            "scene_id": frame.scene_id,
            "frame_id": frame.frame_id,
        }
        data, where = read_file(frame.depth), str(frame.depth)
        if not frame.depth.name.endswith(".depth.png"):
            return {**row, "depth": decode_rotated_depth(data, where)}
        depth = codec.decode_depth(data, where, saturated=SATURATED)
        if frame.scene_id.startswith(_UNREGISTERED):
            depth, pose = to_color_camera(depth, row["pose"], where)
            return {**row, "depth": depth, "pose": pose, "intrinsics": COLOR_CAMERA}
        return {**row, "depth": depth}

    def _folders(self, folder: Path, levels: int) -> list[Path]:
        """Sequences in a folder and down to `levels` below it; a sequence is not looked into."""
        if _is_original(folder) or next(folder.glob("frame-*.color.*"), None):
            return [folder]
        below = [sub for sub in list_folder(folder) if sub.is_dir()] if levels else []
        return [sequence for sub in below for sequence in self._folders(sub, levels - 1)]


def _is_original(folder: Path) -> bool:
    return (folder / "image").is_dir() and (folder / "depth").is_dir()


def _split(folder: Path) -> str:
    place, sequence = folder.absolute().parent.name, folder.absolute().name
    return "test" if TEST_SCENES & {sequence, place, f"sun3d-{place}-{sequence}"} else "train"


def _sequence_name(folder: Path) -> str:
    """Place or scene, and sequence: the latter's name alone need not be unique."""
    return f"{folder.absolute().parent.name}-{scene_name(folder)}"


# ------------------------------------------------------------------------------------------------ SUN3D's own form


def _original_frames(folder: Path, intrinsics: npt.NDArray[np.float32]) -> list[Frame]:
    colors, color_times = _timed_files(folder / "image", ".jpg")
    depths, depth_times = _timed_files(folder / "depth", ".png")
    trajectory, poses = _extrinsics(folder / "extrinsics", len(colors))
    order = np.argsort(depth_times, kind="stable")
    after = np.searchsorted(depth_times[order], color_times).clip(max=len(order) - 1)
    candidates = order[np.stack([(after - 1).clip(min=0), after])]
    gaps = np.abs(depth_times[candidates] - color_times)
    nearest = candidates[gaps.argmin(0), np.arange(len(colors))]
    near = gaps.min(0) <= _DEPTH_MICROSECONDS
    if not near.any():
        raise DataError(f"{folder}: no image has depth within {_DEPTH_MICROSECONDS / 1e6:g} s")
    return [
        Frame(
            color=color,
            scene_id=_sequence_name(folder),
            frame_id=int(color.stem.partition("-")[0]),
            depth=depths[nearest[number]],
            intrinsics=intrinsics,
            pose=poses[number],
            pose_list=trajectory,
        )
        for number, color in enumerate(colors)
        if near[number]
    ]


def _timed_files(folder: Path, suffix: str) -> tuple[list[Path], npt.NDArray[np.int64]]:
    """Files NUMBER-MICROSECONDS by number, and the microseconds."""
    files = [file for file in list_folder(folder) if file.suffix == suffix]
    names = [re.fullmatch(r"(\d{1,12})-(\d{1,18})", file.stem, re.ASCII) for file in files]
    for file, name in zip(files, names, strict=True):
        if not name:
            raise DataError(f"{file}: names like 0000001-000000033369{suffix} are expected")
    if not files:
        raise DataError(f"{folder}: no {suffix} files")
    return files, np.array([int(name[2]) for name in names if name], np.int64)


def _extrinsics(folder: Path, count: int) -> tuple[Path, npt.NDArray[np.float32]]:
    """The newest file, whose name is its date, and its poses (count, 4, 4)."""
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise DataError(f"{folder}: no .txt file with the poses")
    text = read_text(files[-1], _POSE_BYTES * count)
    try:
        rows = np.array(text.split(), np.float32)
    except ValueError as error:
        raise DataError(f"{files[-1]}: not a list of numbers ({error})") from error
    if rows.size != 12 * count:
        raise DataError(f"{files[-1]}: {rows.size} numbers, 12 for each of {count} images are expected")
    poses = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    poses[:, :3] = rows.reshape(count, 3, 4)
    return files[-1], poses

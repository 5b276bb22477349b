"""ARKitScenes: low-resolution colour and depth of tablet videos with their trajectories.

Raw layout, as the official `download_data.py` leaves it; the raw folder is the one with `Training` and `Validation`:

    Training/VIDEO/, Validation/VIDEO/
        lowres_wide.traj                                 10 poses per second
        lowres_wide/VIDEO_TIMESTAMP.png                  colour, 256 x 192
        lowres_depth/VIDEO_TIMESTAMP.png                 16-bit, millimetres, 0 = no measurement, 256 x 192
        lowres_wide_intrinsics/VIDEO_TIMESTAMP.pincam    width height fx fy cx cy
        VIDEO_3dod_mesh.ply                              see `arkitscenes_scenes`

That is the download "raw"; in "3dod" everything but the mesh lies in `VIDEO/VIDEO_frames/`, which is found as well.

Conventions: a line of the trajectory is a timestamp in seconds, a rotation as axis times angle and a translation in
metres, from world to camera; `pose` is its inverse. The world's z axis points up. Frames are those with colour, depth
and a pose within 5 ms, the tolerance of the official loader: about one in six of "raw", which has 60 per second.
`frame_id` is the timestamp in milliseconds. Depth of low confidence stays, as in the official loader. Videos without a
trajectory (24 of the published ones) are left out. Pictures stay as the sensor stored them, so many lie on their side:
`sky_direction` of the published `metadata.csv` is one direction per video although tablets are turned within a video,
and users report wrong ones. `pose` tells where up is.

Split: `Training` is train, `Validation` is val.

No original file was at hand: written from the official documentation and loader (apple/ARKitScenes, DATA.md and
tenFpsDataLoader.py), tested on other real frames stored in this layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from rgbd3d.data.codec import DataError, MissingDataError, decode_depth
from rgbd3d.data.readers.base import LazyRow, Reader, Row, Unit, check_name
from rgbd3d.data.readers.bounded import check_intrinsics, check_pose, list_folder, read_file, read_text

SPLITS = {"Training": "train", "Validation": "val"}

_TRAJECTORY = "lowres_wide.traj"
_FRAME = re.compile(r"(?P<video>\w+)_(?P<time>\d{1,9}(\.\d{1,9})?)\.png")
_POSE_TOLERANCE = 0.005
_CLOCK_TOLERANCE = 0.001
"""Seconds by which the name of a frame's intrinsics may differ from its own."""


class ARKitScenesReader(Reader):
    """Frames of ARKitScenes with intrinsics and poses; one unit per video."""

    default_stride = 10

    def units(self) -> list[Unit]:
        """One unit per video with a trajectory."""
        units = [
            Unit(video.name, split, str(video.relative_to(self.raw)), _count_poses(path, self.stride))
            for split, video in videos(self.raw)
            if (path := _frames_folder(video) / _TRAJECTORY).is_file()
        ]
        if not units:
            raise MissingDataError(f"{self.raw}: no video has a {_TRAJECTORY}; download this asset too")
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Every k-th frame that has a pose."""
        folder = _frames_folder(self.raw / unit.source)
        times, poses = _read_trajectory(folder / _TRAJECTORY)
        frames = []
        for time, name in _list_frames(folder):
            nearest = int(np.abs(times - time).argmin())
            if abs(times[nearest] - time) <= _POSE_TOLERANCE:
                frames.append((time, name, poses[nearest]))
        if not frames:
            raise DataError(f"{folder}: no timestamp has colour, depth and a pose within {_POSE_TOLERANCE} s")
        for time, name, pose in frames[:: self.stride]:
            yield partial(_read_frame, unit.name, folder, name, time, pose)


def videos(raw: Path) -> list[tuple[str, Path]]:
    """Split and folder of each video, train first, in the order of their names.

    Raises:
        DataError: The folder is not laid out as above.
    """
    found = [
        (split, folder)
        for name, split in SPLITS.items()
        if (raw / name).is_dir()
        for folder in list_folder(raw / name)
        if folder.is_dir() and check_name(folder.name, raw / name)
    ]
    if not found:
        raise MissingDataError(
            f"{raw}: no folder 'Training' or 'Validation' with videos; pass the folder that holds them"
        )
    return found


def _frames_folder(video: Path) -> Path:
    nested = video / f"{video.name}_frames"
    return nested if nested.is_dir() else video


def _count_poses(path: Path, stride: int) -> int:
    try:
        return -(-len(read_text(path).splitlines()) // stride)
    except DataError:
        return 1  # `read` reports it, and other videos can be used


def _list_frames(folder: Path) -> list[tuple[float, str]]:
    """Time and file name of each pair of colour and depth, in the order of time."""
    pairs = set.intersection(*(_file_names(folder / asset) for asset in ("lowres_wide", "lowres_depth")))
    return sorted((float(match["time"]), name) for name in pairs if (match := _FRAME.fullmatch(name)))


def _file_names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        raise MissingDataError(f"{folder}: cannot be listed ({error}); download this asset too") from error


def _read_trajectory(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Times (N,) in seconds, and (N, 6): axis times angle, translation; from world to camera."""
    try:
        table = np.loadtxt(read_text(path).splitlines(), dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path}: not a trajectory ({error})") from error
    if not len(table) or table.shape[1] != 7:
        raise DataError(f"{path}: a table of {table.shape}, 7 numbers per line are expected: time, rotation, position")
    if not np.isfinite(table[:, 0]).all():
        raise DataError(f"{path}: line {np.flatnonzero(~np.isfinite(table[:, 0]))[0] + 1} has no finite time")
    return table[:, 0], table[:, 1:]


def _read_frame(scene: str, folder: Path, name: str, time: float, world_to_camera: npt.NDArray[np.float64]) -> Row:
    depth_file = folder / "lowres_depth" / name
    depth = read_file(depth_file)
    height, width = decode_depth(depth, str(depth_file)).shape[-2:]
    return {
        "image": read_file(folder / "lowres_wide" / name),
        "depth": depth,
        "intrinsics": torch.from_numpy(_read_intrinsics(_find_intrinsics(folder, name, time), (height, width))),
        "pose": torch.from_numpy(
            check_pose(_camera_to_world(world_to_camera), f"{folder / _TRAJECTORY}, near {time:.3f} s")
        ),
        "scene_id": scene,
        "frame_id": round(time * 1000),
    }


def _find_intrinsics(folder: Path, name: str, time: float) -> Path:
    folder = folder / "lowres_wide_intrinsics"
    video = name.rpartition("_")[0]
    for shift in (0, -_CLOCK_TOLERANCE, _CLOCK_TOLERANCE):
        if (path := folder / f"{video}_{time + shift:.3f}.pincam").is_file():
            return path
    raise DataError(f"{folder / f'{video}_{time:.3f}.pincam'}: no such file, nor one {_CLOCK_TOLERANCE} s beside it")


def _read_intrinsics(path: Path, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    try:
        width, height, fx, fy, cx, cy = (float(token) for token in read_text(path).split())
    except ValueError as error:
        raise DataError(f"{path}: 6 numbers are expected: width height fx fy cx cy ({error})") from error
    if (height, width) != size:
        raise DataError(f"{path}: intrinsics of {width:g} x {height:g} pixels for images of {size[1]} x {size[0]}")
    return check_intrinsics([fx, 0, cx, 0, fy, cy, 0, 0, 1], str(path))


def _camera_to_world(world_to_camera: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    (x, y, z), translation = world_to_camera[:3], world_to_camera[3:]
    rotation = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ translation
    return pose

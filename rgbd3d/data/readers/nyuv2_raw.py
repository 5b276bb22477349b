"""NYU Depth V2, raw videos (Silberman et al., ECCV 2012): 407 024 unlabelled frames, as the Kinect gave them.

    raw/                            or one SCENE
        SCENE/                      bedroom_0001, living_room_0001a, ...
            r-TIME-COUNT.ppm        640 x 480 colour
            d-TIME-COUNT.pgm        640 x 480, 16 bits, disparity of 11 bits, 2047 = none
            a-TIME-COUNT.dump       accelerometer, not read
        [nyu_depth_v2_labeled.mat  splits.mat]

Colour and depth come from two cameras and are not synchronised. As `get_synched_frames.m` of the authors' toolbox does,
every depth frame gets the colour frame nearest in time; unlike there, it is left out if that is more than 0.1 s away.
Colour is undistorted, disparity becomes depth of the undistorted colour camera
(`rgbd3d.data.readers.nyuv2_camera`), and `frame_id` counts the depth frames of a scene that were not left out.

The samples of disparity are little-endian, against the PGM standard (the toolbox swaps them after reading); files that
keep to the standard are recognised, as only one of the two orders gives 11 bits.

There is no official split of the videos. If the labelled set lies beside the scenes, those that a labelled test frame
was taken from, and their other parts (living_room_0001b), are "test"; without it, everything is "train".

No raw file of the set was seen: all of this was built from the toolbox and the description of the set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.layouts import Frame
from rgbd3d.data.readers.base import Row, check_name
from rgbd3d.data.readers.bounded import list_folder
from rgbd3d.data.readers.matfile73 import MatFile73
from rgbd3d.data.readers.netpbm import read_netpbm
from rgbd3d.data.readers.nyuv2 import LABELED, SPLITS, official_split
from rgbd3d.data.readers.nyuv2_camera import COLOR_CAMERA, SIZE, is_disparity, register_disparity, undistort_color
from rgbd3d.data.readers.sequences import FrameSequence, SequenceReader

_LONGEST_GAP_SECONDS = 0.1
_NAME = re.compile(r"[rd]-(\d{1,12}\.\d{1,9})-\d{1,12}\.p[pg]m")
_PART = re.compile(r"(?<=\d)[a-z]$")


class NyuV2RawReader(SequenceReader):
    """Reads the raw videos with their depth registered to the colour camera.

    Raises:
        DataError: No scene, or a scene without colour.
    """

    default_stride = 10

    def sequences(self) -> Iterator[FrameSequence]:
        """The scenes, those for training first."""
        scenes = [self.raw] if _is_scene(self.raw) else [sub for sub in list_folder(self.raw) if _is_scene(sub)]
        if not scenes:
            raise MissingDataError(f"{self.raw}: no d-*.pgm files, and none in a folder below")
        for split in ("train", "test"):
            for scene in scenes:
                if (_room(scene.name) in self._test_rooms) == (split == "test"):
                    yield FrameSequence(check_name(scene.resolve().name, scene), split, scene)

    def frames(self, folder: Path) -> list[Frame]:
        """Pairs of depth and colour files of one scene."""
        name = folder.resolve().name
        pairs = synchronised(_timed(folder, "d-*.pgm"), _timed(folder, "r-*.ppm"))
        if not pairs:
            raise DataError(f"{folder}: no r-*.ppm within {_LONGEST_GAP_SECONDS} s of a d-*.pgm; is it complete?")
        return [Frame(color, name, number, depth) for number, (depth, color) in enumerate(pairs)]

    def row(self, frame: Frame) -> Row:
        """A frame of the undistorted colour camera."""
        assert frame.depth is not None, "colour and depth are paired"
        color, values = read_netpbm(frame.color), read_netpbm(frame.depth)
        if color.shape != (*SIZE, 3) or color.dtype != "uint8":
            raise DataError(f"{frame.color}: {color.dtype} {color.shape}; 8-bit colour of 640 x 480 is expected")
        if values.shape != SIZE or values.dtype != "uint16":
            raise DataError(f"{frame.depth}: {values.dtype} {values.shape}; 16 bits of 640 x 480 are expected")
        disparity = values.byteswap() if is_disparity(values.byteswap()) else values
        if not is_disparity(disparity):
            raise DataError(f"{frame.depth}: values beyond 11 bits: damaged, or not the disparity of a Kinect")
        return {
            "image": undistort_color(torch.from_numpy(color).permute(2, 0, 1)),
            "depth": register_disparity(disparity),
            "intrinsics": COLOR_CAMERA.matrix,
            "scene_id": frame.scene_id,
            "frame_id": frame.frame_id,
        }

    @cached_property
    def _test_rooms(self) -> set[str]:
        """Rooms of the labelled test frames."""
        if not (self.raw / LABELED).is_file():
            return set()
        numbers = official_split(self.raw)["test"]
        with MatFile73(self.raw / LABELED) as file:
            sources = file.texts("rawDepthFilenames")  # SCENE/d-TIME-COUNT.pgm
        if max(numbers) > len(sources):
            raise DataError(f"{self.raw / SPLITS}: frame {max(numbers)} of {len(sources)} in {LABELED}")
        return {_room(sources[number - 1].split("/")[0]) for number in numbers}


def synchronised(depths: list[tuple[float, Path]], colors: list[tuple[float, Path]]) -> list[tuple[Path, Path]]:
    """Depth files with the colour file nearest in time, as `get_synched_frames.m` pairs them.

    Args:
        depths: Seconds and file.
        colors: Seconds and file.

    Returns:
        (depth, colour) in order of time; without the depth files that have no colour file within 0.1 s.
    """
    pairs, depths, colors, nearest = [], sorted(depths), sorted(colors), 0
    for time, depth in depths if colors else []:
        while nearest + 1 < len(colors) and abs(colors[nearest + 1][0] - time) <= abs(colors[nearest][0] - time):
            nearest += 1
        if abs(colors[nearest][0] - time) <= _LONGEST_GAP_SECONDS:
            pairs.append((depth, colors[nearest][1]))
    return pairs


def _timed(folder: Path, pattern: str) -> list[tuple[float, Path]]:
    """Files of a scene and the seconds in their names."""
    files = []
    for path in folder.glob(pattern):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise DataError(f"{path}: the name should be {pattern.replace('*', 'SECONDS-COUNT')}")
        files.append((float(name[1]), path))
    return files


def _is_scene(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("d-*.pgm"), None) is not None


def _room(scene: str) -> str:
    """Name of a room, whose video may be in several parts with a letter each."""
    return _PART.sub("", scene)

"""7-Scenes (Shotton et al., CVPR 2013; Glocker et al., ISMAR 2013): seven rooms, tracked with KinectFusion.

    raw/                            or one SCENE
        redkitchen/                 chess fire heads office pumpkin redkitchen stairs
            TrainSplit.txt          lines "sequence1", "sequence2", ...; TestSplit.txt likewise
            seq-01/                 unpacked from seq-01.zip
                frame-000000.color.png   640 x 480
                frame-000000.depth.png   640 x 480, 16 bits, millimetres; 65535 = no measurement
                frame-000000.pose.txt    4 x 4, camera to world, metres, of the depth camera

The published colour and depth come from two cameras and are not registered. Depth (f = 585) is moved into the colour
camera (f = 525, 25 mm beside it) with a z-buffer, and the pose with it; intrinsics and pose of a row are those of the
colour camera. Focal length and offset of the colour camera are not published: they were found by aligning the edges of
depth and colour of RedKitchen, where 525..530 and 22..28 mm fit best. Pixels that no measurement lands on are 0: a
border of about 20 pixels and shadows beside objects. The official splits of each scene are used.

Seen as real files: RedKitchen's frames re-encoded at half size, and six of its full-size frames in another container.
The folder tree and the split lists were built from their documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.frame_folder import SATURATED
from rgbd3d.data.layouts import Frame
from rgbd3d.data.readers.base import Row
from rgbd3d.data.readers.bounded import list_folder, read_file, read_text
from rgbd3d.data.readers.sequences import FrameSequence, SequenceReader, checked_pose, posed_frames
from rgbd3d.geometry import register_depth

SIZE = (480, 640)
"""Height and width of colour and depth."""
DEPTH_CAMERA = torch.tensor([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
"""Intrinsics of the depth camera, as its authors state them."""
COLOR_CAMERA = torch.tensor([[525.0, 0, 320], [0, 525, 240], [0, 0, 1]])
"""Intrinsics of the colour camera, as estimated."""
DEPTH_TO_COLOR = torch.tensor([[1.0, 0, 0, -0.025], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""From the axes of the depth camera to those of the colour camera, metres, as estimated."""

_SPLIT_LISTS = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}


class SevenScenesReader(SequenceReader):
    """Reads 7-Scenes with its depth registered to the colour camera.

    Raises:
        DataError: No scene, a scene without split lists, or a listed sequence that is missing or still packed.
    """

    def sequences(self) -> Iterator[FrameSequence]:
        """The sequences that the scenes' lists name: those of all "train" lists first."""
        scenes = [self.raw] if _is_scene(self.raw) else [sub for sub in list_folder(self.raw) if _is_scene(sub)]
        if not scenes:
            raise MissingDataError(f"{self.raw}: no TrainSplit.txt or TestSplit.txt, here or one folder down: no scene")
        for split, name in _SPLIT_LISTS.items():
            for scene in scenes:
                if not (scene / name).is_file():
                    raise MissingDataError(f"{scene / name}: missing; it says which sequences are of split {split!r}")
                for sequence in _listed_sequences(scene / name):
                    yield FrameSequence(_scene_id(scene / sequence), split, scene / sequence)

    def frames(self, folder: Path) -> list[Frame]:
        """Frames of one sequence."""
        if not folder.is_dir():
            packed = folder.with_suffix(".zip").is_file()
            raise MissingDataError(f"{folder}: no such folder{f'; unpack {folder.name}.zip there' if packed else ''}")
        return posed_frames(folder, _scene_id(folder))

    def row(self, frame: Frame) -> Row:
        """A frame of the colour camera."""
        assert frame.depth is not None, "the layout pairs each image with depth"
        depth = codec.decode_depth(read_file(frame.depth), str(frame.depth), saturated=SATURATED)
        depth, pose = to_color_camera(depth, checked_pose(frame), str(frame.depth))
        return {
            "image": read_file(frame.color),
            "depth": depth,
            "intrinsics": COLOR_CAMERA,
            "pose": pose,
            "scene_id": frame.scene_id,
            "frame_id": frame.frame_id,
        }


def to_color_camera(depth: Tensor, pose: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """Depth and pose of the depth camera as those of the colour camera.

    Args:
        depth: (1, 480, 640), metres.
        pose: (4, 4), camera to world.
        where: Names the depth file in errors.

    Raises:
        DataError: Depth of another size, for which the cameras are not known.
    """
    if tuple(depth.shape[-2:]) != SIZE:
        height, width = depth.shape[-2:]
        raise DataError(f"{where}: {width} x {height} pixels; the cameras of 7-Scenes are known for 640 x 480 only")
    registered = register_depth(depth, DEPTH_CAMERA, DEPTH_TO_COLOR, COLOR_CAMERA)
    return registered, pose @ torch.linalg.inv(DEPTH_TO_COLOR)


def _is_scene(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SPLIT_LISTS.values())


def _listed_sequences(file: Path) -> list[str]:
    """Folder names of lines "sequence1"."""
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    numbers = [re.fullmatch(r"sequence(\d{1,3})", line, re.ASCII) for line in lines]
    for line, number in zip(lines, numbers, strict=True):
        if not number:
            raise DataError(f"{file}: lines like 'sequence1' are expected, not {line[:80]!r}")
    return [f"seq-{int(number[1]):02d}" for number in numbers if number]


def _scene_id(folder: Path) -> str:
    """Name of the scene and the sequence: sequences have the same names in each scene."""
    return f"{folder.absolute().parent.name}-{folder.name}"

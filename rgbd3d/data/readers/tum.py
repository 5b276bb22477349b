"""TUM RGB-D benchmark (Sturm et al., IROS 2012): Kinect sequences with the trajectory of a motion-capture system.

    raw/                                    or one SEQUENCE
        rgbd_dataset_freiburg1_desk/
            rgb.txt  depth.txt              lines "time file"; # begins a comment
            groundtruth.txt                 lines "time tx ty tz qx qy qz qw": colour camera to world, metres
            rgb/TIME.png                    640 x 480
            depth/TIME.png                  640 x 480, 16 bits, 5000 units per metre, 0 = none, registered to colour
            [intrinsics.txt]                3 x 3; not part of the benchmark, goes before what the name says

The three streams have clocks of their own. An image is paired with the nearest depth within 20 ms, the closest pairs
first and every file once, as the benchmark's tools do it, and given the nearest pose within 20 ms; images without are
left out. Intrinsics are those of the benchmark's calibration of the colour cameras, chosen by "freiburg1", "2" or "3"
in the sequence's name. The lens distortion of freiburg1 and 2 is not taken out of their images. Prepared depth is
rounded to millimetres. The benchmark has no training split: all is "train". If one of the sequences has no ground
truth, as those for validation, no row has a pose.

Seen as real files: lists and one frame of a RealSense recording that follows the layout (millimetres, no trajectory).
Lists with ground truth were built from their documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgbd3d.data import codec, tum_lists
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.layouts import Frame, read_intrinsics, scene_name, tum_frames
from rgbd3d.data.readers.base import Row
from rgbd3d.data.readers.bounded import list_folder, read_file
from rgbd3d.data.readers.sequences import FrameSequence, SequenceReader, checked_pose

# "Intrinsic camera calibration of the Kinect" on the benchmark's page of file formats: fx, fy, cx, cy.
_COLOR_CAMERAS = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}


class TumReader(SequenceReader):
    """Reads TUM RGB-D sequences.

    Raises:
        DataError: No sequence, lists that cannot be read, or a sequence whose camera is not known.
    """

    def sequences(self) -> Iterator[FrameSequence]:
        """All sequences, by name."""
        for folder in self._folders:
            yield FrameSequence(scene_name(folder), "train", folder)

    def frames(self, folder: Path) -> list[Frame]:
        """Frames that have depth, and a pose where there are some."""
        return tum_frames(folder, _intrinsics(folder))

    def row(self, frame: Frame) -> Row:
        """A frame; its files may be missing although they are listed."""
        assert frame.depth is not None, "images without depth are left out"
        row: dict[str, Any] = {
            "image": read_file(frame.color),
            "depth": codec.decode_depth(read_file(frame.depth), str(frame.depth), tum_lists.UNITS_PER_METRE),
            "intrinsics": torch.tensor(frame.intrinsics),
            "scene_id": frame.scene_id,
            "frame_id": frame.frame_id,
        }
        if self._all_tracked and frame.pose is not None:
            row["pose"] = checked_pose(frame)
        return row

    @cached_property
    def _folders(self) -> list[Path]:
        folders = [folder for folder in (self.raw, *list_folder(self.raw)) if (folder / "rgb.txt").is_file()]
        if not folders:
            raise MissingDataError(
                f"{self.raw}: no rgb.txt, here or one folder down; unpack the sequences' .tgz files there"
            )
        return folders

    @cached_property
    def _all_tracked(self) -> bool:
        return all((folder / tum_lists.POSES).is_file() for folder in self._folders)


def _intrinsics(folder: Path) -> np.ndarray:
    own = read_intrinsics(folder, of_color=True)
    if own is not None:
        return own
    camera = re.search(r"freiburg[123]", scene_name(folder))
    if not camera:
        raise DataError(
            f"{folder}: neither intrinsics.txt (3 x 3) nor 'freiburg1', '2' or '3' in its name: the camera is not known"
        )
    fx, fy, cx, cy = _COLOR_CAMERAS[camera[0]]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)

"""UCF-101: 13,320 videos of 101 actions, 320x240 at 25 or 30 frames a second.

    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    ucfTrainTestlist/trainlist01.txt      ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    ucfTrainTestlist/testlist01.txt       ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi

The first of the three official splits is used, as VideoMAE does; it has no validation part. The class is the folder in
the list, not the name of the video: folder HandstandPushups holds v_HandStandPushups_*.avi.

Seen as a real file: one video of the data set's format (mpeg4 in AVI). The lists were built from their documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.bounded import read_text
from rgbd3d.data.readers.video_list import Video, VideoListReader, inside

_VIDEOS, _LISTS = "UCF-101", "ucfTrainTestlist"


class UCF101Reader(VideoListReader):
    """Reads UCF-101, split 1."""

    label_spaces: ClassVar[tuple[str, ...]] = ("ucf101",)

    def listed(self) -> Iterator[Video]:
        """The videos of trainlist01.txt, then those of testlist01.txt."""
        ids = {name: index for index, name in enumerate(class_names("ucf101"))}
        for split in ("train", "test"):
            path = self.raw / _LISTS / f"{split}list01.txt"
            for number, line in enumerate(read_text(path).splitlines(), start=1):
                if line.strip():
                    yield self._video(split, line.split(), ids, f"{path} line {number}")

    def _video(self, split: str, fields: list[str], ids: dict[str, int], where: str) -> Video:
        """A line is the path of a video and, in lists for training, the number of its class from 1."""
        video = PurePosixPath(inside(self.raw, fields[0], where))
        if len(video.parts) != 2 or video.parts[0] not in ids:
            raise DataError(f"{where}: {fields[0][:200]!r} is not CLASS/VIDEO.avi with one of the 101 classes")
        class_id = ids[video.parts[0]]
        if len(fields) > 1 and fields[1:] != [str(class_id + 1)]:
            raise DataError(f"{where}: {video.parts[0]} is class {class_id + 1}, the list says {' '.join(fields[1:])}")
        return Video(split, video.stem, f"{_VIDEOS}/{video}", class_id)

"""Operating-room videos with workflow phases, laid out like OR-AR of the M3D paper (section 4.1).

That data set (820 full videos of two operating rooms from time-of-flight cameras, nine phases) is private and has no
public layout; this one is ours, for videos of the same kind:

    train.txt  val.txt  test.txt          the name of a video per line; at least one of the lists
    videos/NAME.mp4
    phases/NAME.csv                       start_frame,end_frame,phase
                                          0,1830,1
                                          1830,4100,2
    depth/NAME/000000.png                 optional: one for each frame of the video

Frames count from 0, `end_frame` belongs to the phase behind it, phases are numbered 1 to 9 (train ids 0 to 8) and stand
in order of time; frames outside all of them are left out. No clip contains a change of phase. Depth is a 16-bit PNG in
millimetres, 0 = no measurement, registered to the video and of its size.

Nothing of OR-AR was seen; tests use this layout with other videos.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.label_spaces import lookup
from rgbd3d.data.readers.base import Options, Row, check_name
from rgbd3d.data.readers.bounded import read_file, read_text
from rgbd3d.data.readers.clips import VIDEO_SUFFIXES, Clip, Stretch
from rgbd3d.data.readers.video_list import SPLITS, Video, VideoListReader
from rgbd3d.types import IGNORE_LABEL

_HEADER = "start_frame,end_frame,phase"


class ORARReader(VideoListReader):
    """Reads operating-room videos in the layout of this module; a unit is a whole video."""

    label_spaces: ClassVar[tuple[str, ...]] = ("or_ar9",)

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._has_depth = (raw / "depth").is_dir()

    def listed(self) -> Iterator[Video]:
        """The videos of train.txt, val.txt and test.txt."""
        lists = {split: path for split in SPLITS if (path := self.raw / f"{split}.txt").is_file()}
        if not lists:
            raise MissingDataError(f"{self.raw}: none of train.txt, val.txt and test.txt, which name the videos")
        for split, path in lists.items():
            for line in filter(None, map(str.strip, read_text(path).splitlines())):
                yield Video(split, check_name(line, path), self._source(line, path))

    def stretches(self, video: Video) -> tuple[Stretch, ...]:
        """The phases of a video."""
        path = self.raw / "phases" / f"{video.name}.csv"
        header, *lines = [line.strip() for line in read_text(path).splitlines()] or [""]
        if header != _HEADER or not any(lines):
            raise DataError(f"{path}: the line {_HEADER!r} and one or more phases below it are expected")
        phases = [_phase(line, f"{path} line {number}") for number, line in enumerate(lines, start=2) if line]
        for before, after in pairwise(phases):
            if before.stop is None or after.start < before.stop:
                raise DataError(f"{path}: a phase starts at {after.start}, before the one in front of it ends")
        return tuple(phases)

    def row(self, video: Video, clip: Clip) -> Row:
        """Frames, the phase as `class_id` and, if the data have it, `depth_frames`."""
        row = super().row(video, clip)
        return {**row, "depth_frames": self._depth(video, clip, row["frames"])} if self._has_depth else row

    def _source(self, name: str, where: Path) -> str:
        for suffix in sorted(VIDEO_SUFFIXES):
            if (self.raw / "videos" / f"{name}{suffix}").is_file():
                return f"videos/{name}{suffix}"
        raise MissingDataError(f"{where}: there is no video videos/{name}{{{','.join(sorted(VIDEO_SUFFIXES))}}}")

    def _depth(self, video: Video, clip: Clip, frames: Tensor) -> Tensor:
        maps = []
        for number in clip.numbers:
            path = self.raw / "depth" / video.name / f"{number:06d}.png"
            depth = codec.decode_depth(read_file(path), str(path))
            if depth.shape[-2:] != frames.shape[-2:]:
                raise DataError(
                    f"{path}: {tuple(depth.shape[-2:])} pixels, but the video has {tuple(frames.shape[-2:])}: "
                    "register the depth to the video first"
                )
            maps.append(depth)
        return torch.stack(maps)


def _phase(line: str, where: str) -> Stretch:
    table = lookup("or_ar9", "or_ar9")
    try:
        start, stop, phase = map(int, line.split(","))
    except ValueError as error:
        raise DataError(f"{where}: {line[:200]!r} are not three whole numbers") from error
    if not 0 <= start < stop:
        raise DataError(f"{where}: frames {start} to {stop} are no stretch of a video")
    if not 0 <= phase < len(table) or table[phase] == IGNORE_LABEL:
        raise DataError(f"{where}: phase {phase}; phases are numbered 1 to {len(table) - 1}")
    return Stretch(start, stop, int(table[phase]))

"""What readers of frames in sequences share: a unit is a stretch of a sequence, listed when it is needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rgbd3d.data.codec import DataError
from rgbd3d.data.layouts import Frame, find_frames, read_matrix, scene_name
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, numbered_rows
from rgbd3d.data.readers.bounded import check_pose

UNIT_ROWS = 256
"""Rows of a unit: few enough to repeat after an interruption, many enough to be worth a process."""


@dataclass(frozen=True)
class FrameSequence:
    """A folder with one sequence of frames.

    Attributes:
        name: Unique within the split; what its scene_id begins with, or is.
        split: "train", "val" or "test".
        folder: Below the raw folder, or that itself.
    """

    name: str
    split: str
    folder: Path


class SequenceReader(Reader):
    """Frames that lie in folders, each a sequence; `stride` counts within each of them."""

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        if not raw.is_dir():
            raise DataError(f"{raw}: a folder is expected")
        self._listed: tuple[str, list[Frame]] = ("", [])

    @abstractmethod
    def sequences(self) -> Iterator[FrameSequence]:
        """All sequences, of the first split first.

        Raises:
            DataError: A listing that contradicts the files.
        """

    @abstractmethod
    def frames(self, folder: Path) -> list[Frame]:
        """Frames of a sequence in order, from listings alone.

        Raises:
            DataError: Files that don't pair up.
        """

    @abstractmethod
    def row(self, frame: Frame) -> Row:
        """Reads a frame.

        Raises:
            DataError: A file that is missing or unusable.
        """

    def units(self) -> list[Unit]:
        """Stretches of at most `UNIT_ROWS` kept frames; a single unit, whose `read` says why, where listing fails.

        Raises:
            DataError: None of the sequences can be listed.
        """
        units: list[Unit] = []
        errors = []
        for sequence in self.sequences():
            try:
                units += self._units_of(sequence)
            except DataError as error:
                errors.append(error)
                units.append(Unit(sequence.name, sequence.split, self._source(sequence), rows=1))
        if len(errors) == len(units):
            raise errors[0] if errors else DataError(f"{self.raw}: no frames found, here or below")
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Rows of a unit."""
        frames = self._kept(unit.source)
        if not 0 < unit.stop <= len(frames):
            raise DataError(f"{self.raw / unit.source}: {len(frames)} frames, but {unit.stop} were there when listed")
        return numbered_rows(unit.start, unit.stop, lambda index: self.row(frames[index]))

    def _units_of(self, sequence: FrameSequence) -> Iterator[Unit]:
        source = self._source(sequence)
        count = len(self._kept(source))
        for start in range(0, count, UNIT_ROWS):
            name = sequence.name if count <= UNIT_ROWS else f"{sequence.name}-{start:06d}"
            stop = min(start + UNIT_ROWS, count)
            yield Unit(name, sequence.split, source, stop - start, start, stop)

    def _source(self, sequence: FrameSequence) -> str:
        return sequence.folder.relative_to(self.raw).as_posix()

    def _kept(self, source: str) -> list[Frame]:
        """Every k-th frame; the last listing is remembered, as units of one sequence follow each other."""
        if self._listed[0] != source:
            self._listed = (source, self.frames(self.raw / source)[:: self.stride])
        return self._listed[1]


def checked_pose(frame: Frame) -> Tensor:
    """Pose of a frame that has one, float32 (4, 4).

    Raises:
        DataError: A file that holds none, or one that is no rigid motion.
    """
    assert frame.pose is not None, "asked for where there are poses"
    if isinstance(frame.pose, Path):
        return torch.from_numpy(check_pose(read_matrix(frame.pose, 4), str(frame.pose)))
    return torch.from_numpy(check_pose(frame.pose, f"{frame.pose_list}, for {frame.color.name}"))


def posed_frames(folder: Path, scene_id: str) -> list[Frame]:
    """Frames frame-ID.color.png with depth and pose files of the same names.

    Args:
        folder: That holds them.
        scene_id: Of the frames.

    Raises:
        DataError: None there, or some without depth or pose.
    """
    frames = find_frames(folder).get(scene_name(folder), [])
    if not frames or any(frame.pose is None for frame in frames):
        raise DataError(f"{folder}: files frame-ID.color.png, .depth.png and .pose.txt are expected")
    return [replace(frame, scene_id=scene_id) for frame in frames]

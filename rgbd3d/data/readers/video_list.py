"""What readers of labelled videos share: a list of files, each of them one unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, check_name
from rgbd3d.data.readers.clips import Clip, Stretch, read_clips
from rgbd3d.types import Kind

SPLITS = ("train", "val", "test")
_BYTES_PER_FRAME = 2500  # of UCF-101, and of Kinetics at a height of 256


@dataclass(frozen=True)
class Video:
    """A video of a list.

    Attributes:
        split: "train", "val" or "test".
        name: Unique within the split; becomes `scene_id`.
        source: Its file, relative to the raw folder.
        class_id: Train id of its class, if all of it belongs to one.
    """

    split: str
    name: str
    source: str
    class_id: int | None = None


class VideoListReader(Reader):
    """Clips of listed videos; a subclass says which videos there are.

    A video of the list that is missing is an error of its unit, since many copies of Kinetics have gaps; a list without
    any existing file is refused at once.
    """

    kind: ClassVar[Kind] = "clips"
    default_stride: ClassVar[int] = 4  # as VideoMAE for UCF-101 and Kinetics

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._videos: dict[tuple[str, str], Video] = {}
        for video in self.listed():
            if (video.split, video.name) in self._videos:
                raise DataError(f"{raw}: two videos of the split {video.split} are called {video.name}")
            self._videos[video.split, video.name] = video
        if not any((raw / video.source).is_file() for video in self._videos.values()):
            first = next((raw / video.source for video in self._videos.values()), "nothing is listed")
            raise MissingDataError(f"{raw}: none of its {len(self._videos)} listed videos exists ({first})")

    @abstractmethod
    def listed(self) -> Iterator[Video]:
        """All videos, in the order of the units.

        Raises:
            DataError: A list that is missing or cannot be understood.
        """

    def stretches(self, video: Video) -> tuple[Stretch, ...]:
        """What clips are cut from; none of them reaches from one stretch into the next."""
        return (Stretch(class_id=video.class_id),)

    def row(self, video: Video, clip: Clip) -> Row:
        """The `ClipSample` of a clip."""
        row: dict[str, Any] = {"frames": clip.rgb(), "scene_id": video.name, "frame_id": clip.numbers[0]}
        return row if clip.stretch.class_id is None else {**row, "class_id": clip.stretch.class_id}

    def units(self) -> list[Unit]:
        """A unit for each video; the number of its rows is an estimate."""
        return [
            Unit(video.name, video.split, video.source, self._expected_rows(video)) for video in self._videos.values()
        ]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Clips of a video, in order of time."""
        video = self._videos[unit.split, unit.name]
        for clip in read_clips(self.raw / video.source, self.clip_frames, self.stride, self.stretches(video)):
            yield lambda clip=clip: self.row(video, clip)  # type: ignore[misc]

    def _expected_rows(self, video: Video) -> int:
        path, window = self.raw / video.source, self.clip_frames * self.stride
        size = path.stat().st_size if path.is_file() else 0
        return sum(
            max(1, (size // _BYTES_PER_FRAME if stretch.stop is None else stretch.stop - stretch.start) // window)
            for stretch in self.stretches(video)
        )


def inside(raw: Path, text: str, where: str) -> Path:
    """A path out of a list, relative to the raw folder.

    Args:
        raw: Raw folder.
        text: Relative to it, or absolute.
        where: List and line, for errors.

    Raises:
        DataError: It leads out of the raw folder, or has a name that no sane data set uses.
    """
    try:
        path = (raw.absolute() / text).relative_to(raw.absolute())
    except ValueError as error:
        raise DataError(f"{where}: {text[:200]!r} is not below {raw}; write paths relative to that folder") from error
    for part in path.parts:
        check_name(part, where)
    return path

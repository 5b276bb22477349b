"""Kinetics-400, or any videos in one of its two usual layouts.

Lists as VideoMAE reads them, a path and the number of its class from 0 in alphabetical order:

    train.csv  val.csv  test.csv          clips/9kdkn.mp4 6          (blank or comma; paths below the raw folder)

or, without lists, a folder for each class:

    train/arm wrestling/9kdkn_000001_000011.mp4                      (also val, test; underscores for blanks are fine)

Kinetics is published as YouTube addresses with official train, validation and test splits; what a copy holds depends on
who made it. Videos of other classes can be read from lists without numbers, and then have no `class_id`.

Seen as real files: two videos of the data set (H.264 in MP4). Lists were built from VideoMAE's documentation.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.bounded import read_text
from rgbd3d.data.readers.clips import VIDEO_SUFFIXES
from rgbd3d.data.readers.video_list import SPLITS, Video, VideoListReader, inside

_LIST_BYTES = 2**27
_LABEL_DIGITS = 6
_BETWEEN = string.whitespace + ","  # a path and the number of its class


class KineticsReader(VideoListReader):
    """Reads Kinetics-400, or unlabelled videos."""

    label_spaces: ClassVar[tuple[str, ...]] = ("kinetics400",)

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        labelled = {video.class_id is not None for video in self._videos.values()}
        if len(labelled) > 1:
            raise DataError(f"{raw}: some of the listed videos have a class and some have none")
        if labelled == {False}:
            self.label_space = None

    def listed(self) -> Iterator[Video]:
        """The videos of the lists or, if there is none, of the folders."""
        lists = {split: path for split in SPLITS if (path := self.raw / f"{split}.csv").is_file()}
        for split, path in lists.items():
            for number, line in enumerate(read_text(path, _LIST_BYTES).splitlines(), start=1):
                if line.strip():
                    yield self._from_line(split, line.strip(), f"{path} line {number}")
        if lists:
            return
        folders = {split: path for split in SPLITS if (path := self.raw / split).is_dir()}
        if not folders:
            raise MissingDataError(f"{self.raw}: none of train.csv, val.csv, test.csv and no folder train, val or test")
        for split, path in folders.items():
            yield from self._from_folder(split, path)

    def _from_line(self, split: str, line: str, where: str) -> Video:
        name, label = _split_label(line)
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            raise DataError(f"{where}: {line[:200]!r} is not the path of a video and the number of a class")
        path = inside(self.raw, name, where)
        if not label:
            return _video(split, path, None)
        if (class_id := int(label)) >= len(class_names("kinetics400")):
            raise DataError(
                f"{where}: class {class_id}, but Kinetics-400 ends at 399; leave the numbers of other classes out"
            )
        return _video(split, path, class_id)

    def _from_folder(self, split: str, folder: Path) -> Iterator[Video]:
        ids = {_letters(name): index for index, name in enumerate(class_names("kinetics400"))}
        for path in sorted(folder.glob("*/*")):
            if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith("."):
                continue
            class_id = ids.get(_letters(path.parent.name))
            if class_id is None:
                raise DataError(
                    f"{path.parent}: no class of Kinetics-400; name videos of other classes in {split}.csv, one a line"
                )
            yield _video(split, path.relative_to(self.raw), class_id)


def _split_label(line: str) -> tuple[str, str]:
    """Path and number of a line; the number is "" if there is none."""
    start = line.rstrip(string.digits)
    label, path = line[len(start) :], start.rstrip(_BETWEEN)
    return (path, label) if 0 < len(label) <= _LABEL_DIGITS and path != start else (line, "")


def _video(split: str, path: Path, class_id: int | None) -> Video:
    return Video(split, "--".join(path.with_suffix("").parts), path.as_posix(), class_id)


def _letters(name: str) -> str:
    """What stays of a class name when blanks, brackets and apostrophes are written in another way."""
    return "".join(filter(str.isalnum, name.lower()))

"""What a reader of a raw data set offers: its units, and the rows of each.

A unit is what one process reads in one go: a `.sens` file, a scene folder, a range of frames of a `.mat` file. A row is
a sample before it is encoded, with one addition: the value of `image`, `depth` or a member of `frames` may be the bytes
of the original file, which are then stored untouched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.bounded import list_folder
from rgbd3d.types import Kind

Row = Mapping[str, Any]
LazyRow = Callable[[], Row]
"""Decodes one row when called, which has to happen before the next one is asked for."""

SPLIT_FOLDERS = MappingProxyType({"train": "train", "val": "val", "validation": "val", "test": "test"})
"""Split by the name of a folder."""

_LONGEST_NAME = 128


@dataclass(frozen=True)
class Unit:
    """A part of a raw data set.

    Attributes:
        name: Unique within the split, for example "scene0000_00" or "labeled-0064"; never path-like.
        split: "train", "val" or "test".
        source: File or folder that it is read from, relative to the raw folder.
        rows: How many rows it is expected to give, for the progress bar and for balancing; need not be exact.
        start, stop: Range of items within the source, for a source of several units.
    """

    name: str
    split: str
    source: str
    rows: int
    start: int = 0
    stop: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, self.source)


@dataclass(frozen=True)
class Options:
    """What a user may choose about reading.

    Attributes:
        stride: Keep every k-th frame of a sequence; for clips, the step between their frames. None is the reader's own.
        label_space: One of the reader's label spaces; None is its first.
        clip_frames: Frames of a clip.
    """

    stride: int | None = None
    label_space: str | None = None
    clip_frames: int = 16

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride is {self.stride}, it must be 1 or more")
        if self.clip_frames < 1:
            raise ValueError(f"clip_frames is {self.clip_frames}, it must be 1 or more")


class Reader(ABC):
    """A raw data set on disk. Opening one lists what is there; pixels are read by `read` alone.

    Args:
        raw: Folder (or file) of the raw data.
        options: What the user chose.

    Attributes:
        kind: What its rows are: frames, point clouds or video clips.
        label_spaces: Names of the classes it can give, the usual one first; empty without labels.
        default_stride: Used where `Options.stride` is None.
        version: Raised whenever the rows that it gives change; prepared data name it.
        raw, stride, label_space, clip_frames: What this instance reads, and how.

    Raises:
        DataError: The folder does not hold this data set; says what is missing and where it was looked for.
        ValueError: A label space that it does not have.
    """

    kind: ClassVar[Kind] = "frames"
    label_spaces: ClassVar[tuple[str, ...]] = ()
    default_stride: ClassVar[int] = 1
    version: ClassVar[int] = 1

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        options = options or Options()
        self.check_raw(raw)
        if options.label_space is not None and options.label_space not in self.label_spaces:
            raise ValueError(
                f"label space {options.label_space!r} is not offered; choose from {list(self.label_spaces)}"
                if self.label_spaces
                else f"label space {options.label_space!r} was asked for, but this data set has no labels"
            )
        self.raw = raw
        self.stride = options.stride or self.default_stride
        self.label_space = options.label_space or next(iter(self.label_spaces), None)
        self.clip_frames = options.clip_frames

    def check_raw(self, raw: Path) -> None:
        """Refuses raw data that is not there; a reader of what lies elsewhere overrides this."""
        if not raw.exists():
            raise MissingDataError(f"{raw}: no such file or folder; it should hold the raw data")

    @abstractmethod
    def units(self) -> list[Unit]:
        """All units in a fixed order that depends on the raw data only; never empty.

        Raises:
            DataError: Nothing to read, or a listing that contradicts the files.
        """

    @abstractmethod
    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Rows of a unit, in order, holding no more than a few of them in memory.

        A `DataError` raised by a row concerns that row; one raised by the iteration, the rest of the unit.
        """


def check_name(name: str, where: object) -> str:
    """Refuses a scene or file name that could point outside a folder, or that no sane data set uses.

    Raises:
        DataError: Empty, too long, hidden, not Unicode, or with a separator or control character.
    """
    bad = any(character < " " or "\ud800" <= character <= "\udfff" or character in '/\\:*?"<>|' for character in name)
    if not name or len(name) > _LONGEST_NAME or name.startswith(".") or bad:
        raise DataError(f"{where}: the name {name[:_LONGEST_NAME]!r} is not a plain name")
    return name


def split_folders(root: Path, has_data: Callable[[Path], bool]) -> dict[str, Path]:
    """Folder of each split, train first; empty where no folder is named after one.

    Args:
        root: That holds them.
        has_data: Whether another folder has data of the kind that is looked for, so that it must not be passed over.

    Raises:
        DataError: Two folders of one split, or folders with data beside those of the splits.
    """
    found: dict[str, Path] = {}
    for name, split in SPLIT_FOLDERS.items():
        if (root / name).is_dir() and (other := found.setdefault(split, root / name)).name != name:
            raise DataError(f"{root}: {other.name!r} and {name!r} are the same split; put all of it into one of them")
    siblings = [path for path in list_folder(root) if path.is_dir() and path.name not in SPLIT_FOLDERS] if found else []
    if unknown := [path.name for path in siblings if has_data(path)]:
        raise DataError(
            f"{root}: {unknown} beside {[path.name for path in found.values()]}: of which split? Move them into "
            f"folders named {list(SPLIT_FOLDERS)}, or out of here"
        )
    return found


def numbered_rows(start: int, stop: int, row: Callable[[int], Row]) -> Iterator[LazyRow]:
    """Rows of items that are read by index."""
    for index in range(start, stop):
        yield lambda index=index: row(index)  # type: ignore[misc]

"""A scene of ScanNet v2 in each of its two layouts, both described in `scannet`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.codec import DataError, decode_color, decode_depth, decode_labels
from rgbd3d.data.label_spaces import train_ids
from rgbd3d.data.readers.archives import open_zip, read_member
from rgbd3d.data.readers.base import LazyRow, Row
from rgbd3d.data.readers.bounded import check_intrinsics, check_pose, read_file, read_text
from rgbd3d.data.readers.scannet_release import nyu40_table, raw_table
from rgbd3d.data.readers.sens import SensFrame, SensHeader, read_sens, read_sens_header
from rgbd3d.data.resize import resize_color, resize_nearest, same_shape

KINDS = ("semantic", "instance")
"""Labels that a scene may have, by their names in a row."""

_MEMBERS = {"semantic": "label-filt", "instance": "instance-filt"}
_FOLDERS = {"semantic": "label", "instance": "instance"}
_INSTANCES_PER_CLASS = 1000
_LONGEST_NUMBER = 9

_Table = npt.NDArray[np.uint8]


class Scene(ABC):
    """A scene's folder in one of the two layouts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    @abstractmethod
    def table(raw: Path, space: str) -> _Table:
        """Train ids of the ids in the label maps."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the folder has this layout."""

    @abstractmethod
    def label_kinds(self) -> list[str]:
        """Those of `KINDS` that the scene has."""

    @abstractmethod
    def count(self, stride: int) -> int:
        """Frames that `rows` will give at most."""

    @abstractmethod
    def rows(self, stride: int, kinds: Sequence[str], table: _Table) -> Iterator[LazyRow]:
        """Frames with these kinds of labels."""


class StreamedScene(Scene):
    """Frames in a `.sens` file, labels in ZIP archives."""

    table = staticmethod(raw_table)

    def exists(self) -> bool:
        """Whether the folder has this layout."""
        return self._sens.is_file()

    def label_kinds(self) -> list[str]:
        """Those of `KINDS` that the scene has."""
        return [kind for kind in KINDS if self._archive(kind).is_file()]

    def count(self, stride: int) -> int:
        """Frames that `rows` will give at most."""
        try:
            return -(-read_sens_header(self._sens).frames // stride)
        except DataError:
            return 1  # `rows` reports it, and other scenes can be used

    def rows(self, stride: int, kinds: Sequence[str], table: _Table) -> Iterator[LazyRow]:
        """Frames with these kinds of labels."""
        with ExitStack() as stack:
            archives = {kind: stack.enter_context(open_zip(self._archive(kind))) for kind in kinds}
            for header, frame in read_sens(self._sens, stride):
                if not _is_lost(frame.pose):
                    yield partial(self._row, header, frame, archives, table)

    @property
    def _sens(self) -> Path:
        return self.folder / f"{self.folder.name}.sens"

    def _archive(self, kind: str) -> Path:
        return self.folder / f"{self.folder.name}_2d-{_MEMBERS[kind]}.zip"

    def _row(self, header: SensHeader, frame: SensFrame, archives: Mapping[str, ZipFile], table: _Table) -> Row:
        row: dict[str, Any] = {
            "image": _image(frame.color, header.depth_size, f"{frame.where}, colour"),
            "depth": frame.decode_depth(header),
            "intrinsics": torch.from_numpy(header.intrinsics),
            "pose": torch.from_numpy(check_pose(frame.pose, frame.where)),
            "scene_id": self.folder.name,
            "frame_id": frame.index,
        }
        for kind, archive in archives.items():
            name = f"{_MEMBERS[kind]}/{frame.index}.png"
            where = f"{archive.filename}, member {name!r}"
            labels = _labels(read_member(archive, name), header.depth_size, where)
            row[kind] = train_ids(labels, table, where) if kind == "semantic" else _instances(labels)
        return row


class ExportedScene(Scene):
    """Frames and labels in folders of pictures."""

    @staticmethod
    def table(raw: Path, space: str) -> _Table:
        """Train ids of NYU40 ids."""
        return nyu40_table(space)

    def exists(self) -> bool:
        """Whether the folder has this layout."""
        return (self.folder / "color").is_dir()

    def label_kinds(self) -> list[str]:
        """Those of `KINDS` that the scene has."""
        return [kind for kind in KINDS if (self.folder / _FOLDERS[kind]).is_dir()]

    def count(self, stride: int) -> int:
        """Frames that `rows` will give at most."""
        return len(self._numbers(stride))

    def rows(self, stride: int, kinds: Sequence[str], table: _Table) -> Iterator[LazyRow]:
        """Frames with these kinds of labels."""
        intrinsics = check_intrinsics(*_read_matrix(self.folder / "intrinsics_depth.txt"))
        for number in self._numbers(stride):
            if not self._is_lost(number):
                yield partial(self._row, number, intrinsics, kinds, table)

    def _numbers(self, stride: int) -> list[str]:
        """Numbers of the frames as their files spell them, in order."""
        stems = [path.stem for path in (self.folder / "color").glob("*.jpg")]
        numbers = [stem for stem in stems if stem.isdecimal() and len(stem) <= _LONGEST_NUMBER]
        return sorted((number for number in numbers if int(number) % stride == 0), key=int)

    def _pose(self, number: str) -> tuple[npt.NDArray[np.float64], str]:
        return _read_matrix(self.folder / "pose" / f"{number}.txt")

    def _is_lost(self, number: str) -> bool:
        try:
            return _is_lost(self._pose(number)[0])
        except DataError:
            return False  # the row reports it

    def _row(self, number: str, intrinsics: npt.NDArray[np.float32], kinds: Sequence[str], table: _Table) -> Row:
        color, depth = self.folder / "color" / f"{number}.jpg", self.folder / "depth" / f"{number}.png"
        depth_file = read_file(depth)
        height, width = decode_depth(depth_file, str(depth)).shape[-2:]
        row: dict[str, Any] = {
            "image": _image(read_file(color), (height, width), str(color)),
            "depth": depth_file,
            "intrinsics": torch.from_numpy(intrinsics),
            "pose": torch.from_numpy(check_pose(*self._pose(number))),
            "scene_id": self.folder.name,
            "frame_id": int(number),
        }
        for kind in kinds:
            path = self.folder / _FOLDERS[kind] / f"{number}.png"
            labels = _labels(read_file(path), (height, width), str(path))
            if kind == "semantic":
                row[kind] = train_ids(labels, table, str(path))
            else:
                # Pixels without a label are numbered, too: as if they were objects of class 0.
                row[kind] = _instances(np.where(labels < _INSTANCES_PER_CLASS, 0, labels))
        return row


def _read_matrix(path: Path) -> tuple[npt.NDArray[np.float64], str]:
    """Numbers of a text file, and its name for errors."""
    try:
        return np.array(read_text(path, limit=2**16).split(), np.float64), str(path)
    except ValueError as error:
        raise DataError(f"{path}: not a matrix of numbers ({error})") from error


def _is_lost(pose: npt.NDArray[Any]) -> bool:
    return bool(np.isneginf(pose).all())


def _image(data: bytes, size: tuple[int, int], where: str) -> bytes | Tensor:
    """The picture in the size of the depth map; its file, if it has that size."""
    picture = decode_color(data, where)
    _check_view(picture.shape[-2:], size, where)
    return data if tuple(picture.shape[-2:]) == size else resize_color(picture, size)


def _labels(data: bytes, size: tuple[int, int], where: str) -> npt.NDArray[np.integer]:
    """A label map in the size of the depth map."""
    labels = decode_labels(data, where)
    _check_view(labels.shape, size, where)
    return resize_nearest(torch.from_numpy(labels.astype(np.int32)), size).numpy()


def _instances(labels: npt.NDArray[np.integer]) -> Tensor:
    return torch.from_numpy(labels.astype(np.int32))


def _check_view(size: tuple[int, ...], depth_size: tuple[int, int], where: str) -> None:
    if not same_shape(tuple(size), depth_size):
        raise DataError(f"{where}: of (height, width) {tuple(size)}: another view than depth of {depth_size}")

"""Folders of frames as a source; `rgbd3d.data.layouts` finds the files."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from rgbd3d.data import codec, schema
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import lookup, train_ids
from rgbd3d.data.layouts import Frame, find_frames, read_matrix
from rgbd3d.data.readers.bounded import read_file
from rgbd3d.data.resize import resize_nearest, same_shape
from rgbd3d.types import MILLIMETRES_PER_METRE, RGBDSample

SATURATED = 65535
"""Depth value that 7-Scenes and others write where the sensor saw nothing."""


class FrameFolder(Source):
    """Frames in a folder, or in its sub-folders of one segment each (layouts: `rgbd3d.data.layouts`).

    Depth is in millimetres unless the layout or the caller says otherwise; 0 and 65535 mean no measurement. Where depth
    or labels have another size than the image but the same shape, they are resized to it by nearest neighbour, with a
    warning. The first frame is decoded at once, so that a wrong unit or type shows when the folder is opened. Poses are
    handed over as they are (ScanNet writes -inf where tracking was lost).

    Args:
        folder: Of frames or of segments.
        every: Keep every k-th frame of each segment.
        columns: What to decode; None decodes all that every frame has.
        units_per_metre: Of the depth files; None is 5000 for the TUM layout and otherwise 1000.

    Raises:
        DataError: No frames, colour and depth that don't pair up, missing columns, or an unusable first frame.
    """

    def __init__(
        self,
        folder: Path,
        every: int = 1,
        columns: Iterable[str] | None = None,
        units_per_metre: float | None = None,
    ) -> None:
        self.name = str(folder)
        segments = find_frames(folder)
        self._frames = [frame for frames in segments.values() for frame in frames[::every]]
        self._units_per_metre = units_per_metre
        common = set.intersection(*(columns_of(frame) for frame in self._frames))
        self.columns = schema.check_columns(common if columns is None else columns)
        if missing := set(self.columns) - common:
            frame = next(frame for frame in self._frames if missing - columns_of(frame))
            raise DataError(f"{folder}: no {sorted(missing)} beside {frame.color}; every frame has {sorted(common)}")
        spaces = {frame.label_space for frame in self._frames} if "semantic" in common else {None}
        if len(spaces) > 1:
            raise DataError(f"{folder}: segments with different label spaces {spaces}")
        self.label_space = spaces.pop()
        self[0]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RGBDSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} of {len(self)} frames")
        return decode_frame(self._frames[index], self.columns, self._units_per_metre)

    def row_groups(self) -> tuple[int, ...]:
        """Every frame is its own file: any order is cheap."""
        return (1,) * len(self)

    def digest(self) -> str:
        """Fingerprint of the names and sizes of the files, and of the depth unit."""
        state = hashlib.sha256(f"units per metre {self._units_per_metre}".encode())
        for frame in self._frames:
            for file in (frame.color, frame.depth, frame.semantic, frame.instance):
                if file is not None:
                    state.update(f"\n{frame.scene_id}/{file.parent.name}/{file.name} {file.stat().st_size}".encode())
        return state.hexdigest()


def decode_frame(frame: Frame, columns: Iterable[str], units_per_metre: float | None = None) -> RGBDSample:
    """Sample of one frame.

    Args:
        frame: Has what the columns need.
        columns: Keys of the sample.
        units_per_metre: Of the depth file; None is that of the layout.

    Returns:
        Depth and labels have the size of the image, if that is among the columns.

    Raises:
        DataError: A file that is missing or unusable, or a map of another shape than the image.
    """
    sample = {column: _decode(frame, column, units_per_metre) for column in columns}
    maps = [column for column in ("image", "depth", "semantic", "instance") if column in sample]
    for column in maps[1:]:
        sample[column] = _fit(sample[column], sample[maps[0]].shape[-2:], column, frame)
    return cast(RGBDSample, sample)


def _decode(frame: Frame, column: str, units_per_metre: float | None) -> Any:
    match column:
        case "image":
            return codec.decode_color(_read(frame.color), str(frame.color))
        case "depth":
            units = units_per_metre or frame.units_per_metre or MILLIMETRES_PER_METRE
            return codec.decode_depth(_read(frame.depth), str(frame.depth), units, SATURATED)
        case "semantic":
            return _train_ids(codec.decode_labels(_read(frame.semantic), str(frame.semantic)), frame)
        case "instance":
            labels = codec.decode_labels(_read(frame.instance), str(frame.instance))
            return torch.from_numpy(labels.astype(np.int32))
        case "pose":
            return torch.tensor(read_matrix(frame.pose, 4) if isinstance(frame.pose, Path) else frame.pose)
        case "intrinsics":
            return torch.tensor(frame.intrinsics)
        case _:
            return getattr(frame, column)


def columns_of(frame: Frame) -> set[str]:
    """Keys of a sample that a frame has files or facts for."""
    has = {
        "depth": frame.depth,
        "semantic": frame.semantic,
        "instance": frame.instance,
        "intrinsics": frame.intrinsics,
        "pose": frame.pose,
    }
    return {"image", "scene_id", "frame_id", *(column for column, value in has.items() if value is not None)}


def _read(file: Path | None) -> bytes:
    assert file is not None, "a column is only decoded where every frame has it"
    return read_file(file)


def _train_ids(labels: np.ndarray, frame: Frame) -> Tensor:
    """Class ids 1..n with 0 = unlabelled -> train ids 0..n-1 with 255 = ignore."""
    assert frame.label_space is not None, "layouts with labels say which"
    return train_ids(labels, lookup(frame.label_space, frame.label_space), str(frame.semantic))


def _fit(values: Tensor, size: tuple[int, ...], column: str, frame: Frame) -> Tensor:
    (height, width), (rows, columns) = size, values.shape[-2:]
    if (rows, columns) == (height, width):
        return values
    sizes = f"{column} is {columns} x {rows} but the image is {width} x {height} pixels"
    if not same_shape(size, (rows, columns)):
        raise DataError(
            f"{frame.color}: {sizes}: another shape, so they cannot be registered; crop or re-project first"
        )
    warnings.warn(f"{sizes}: resized to the image by nearest neighbour", stacklevel=2)
    return resize_nearest(values, (height, width))

"""NYU Depth V2, labelled set (Silberman et al., ECCV 2012): 1449 frames of 464 rooms, by a Kinect.

    raw/                            or the .mat file itself
        nyu_depth_v2_labeled.mat    MATLAB 7.3; arrays as HDF5 has them, axes in reverse:
            images     (N, 3, 640, 480) uint8
            depths     (N, 640, 480) float32, metres, holes filled in by the authors
            rawDepths  (N, 640, 480) float32, metres, as measured and moved to the colour camera; 0 = none
            labels     (N, 640, 480) uint16, 894 classes from 1 (`names`), 0 = unlabelled
            instances  (N, 640, 480) uint8, counts the instances of each class from 1
            scenes     (1, N) cell array of strings
        splits.mat                  trainNdxs (795), testNdxs (654), from 1

`depth` is `rawDepths` and `depth_filled` is `depths`; in a file without `rawDepths`, `depth` is `depths`. Raw depth
that reaches 10 m is set to 0: the authors' tools clip there and take it for noise. `instance` counts the pairs (label,
instance) of a frame, so ids are unique over its classes. `frame_id` is the official number, from 1. The official split
is used. Images have a white border, where undistortion left nothing. The intrinsics are those of the colour camera in
the authors' toolbox (`rgbd3d.data.readers.nyuv2_camera`).

Seen as real files: splits.mat, the class maps, and the pixels of the training frames. The container was built from its
documentation, without knowing how the original is chunked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.label_spaces import lookup
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, check_name
from rgbd3d.data.readers.hdf5_rows import Rows
from rgbd3d.data.readers.matfile import load_mat
from rgbd3d.data.readers.matfile73 import MatFile73
from rgbd3d.data.readers.nyuv2_camera import COLOR_CAMERA, FARTHEST_METRES, SIZE
from rgbd3d.data.readers.pictures import numbered_units

LABELED = "nyu_depth_v2_labeled.mat"
SPLITS = "splits.mat"

_FRAMES_OF_A_UNIT = 64
_ARRAYS = {"images": "u", "depths": "f", "labels": "u", "rawDepths": "f", "instances": "u"}
_REQUIRED = ("images", "depths", "labels")
_WHERE_TO_GET = "get it from the data set's page (https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html)"


class NyuV2Reader(Reader):
    """Reads the labelled set.

    Raises:
        DataError: The `.mat` file or splits.mat is missing, lacks variables, or they don't fit each other.
    """

    label_spaces = ("nyu40", "nyu13")

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._path = raw / LABELED if raw.is_dir() else raw
        if not self._path.is_file():
            raise MissingDataError(f"{self._path}: missing; {_WHERE_TO_GET}")

    def units(self) -> list[Unit]:
        """Stretches of at most 64 frames of the training split, then of the test split."""
        return [
            unit
            for split, numbers in self._kept.items()
            for unit in numbered_units("labeled", split, self._path.name, len(numbers), _FRAMES_OF_A_UNIT)
        ]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Rows of a unit."""
        with MatFile73(self._path) as file:
            arrays = _open_arrays(file)
            scenes = file.texts("scenes") if "scenes" in file else None
            if scenes is not None and len(scenes) != len(arrays["images"]):
                raise DataError(f"{self._path}: {len(scenes)} scenes of {len(arrays['images'])} frames")
            for number in self._kept[unit.split][unit.start : unit.stop]:
                scene = f"frame_{number:04d}" if scenes is None else check_name(scenes[number - 1], self._path)
                yield lambda number=number, scene=scene: self._row(arrays, number, scene)  # type: ignore[misc]

    @cached_property
    def _kept(self) -> dict[str, list[int]]:
        """Official numbers of every k-th frame of each split."""
        split = official_split(self._path.parent)
        with MatFile73(self._path) as file:
            there = len(_open_arrays(file)["images"])
        largest = max(max(numbers) for numbers in split.values())
        if largest > there:
            raise DataError(f"{self._path}: {there} frames, but {SPLITS} beside it lists frame {largest}")
        return {name: numbers[:: self.stride] for name, numbers in split.items()}

    def _row(self, arrays: Mapping[str, Rows], number: int, scene: str) -> Row:
        where = f"{self._path}, frame {number}"
        maps = {name: rows[number - 1].swapaxes(-1, -2) for name, rows in arrays.items()}
        row: dict[str, Any] = {
            "image": torch.from_numpy(np.ascontiguousarray(maps["images"])),
            "depth": _depth(maps["depths"], where),
            "semantic": self._semantic(maps["labels"], where),
            "intrinsics": COLOR_CAMERA.matrix,
            "scene_id": scene,
            "frame_id": number,
        }
        if "rawDepths" in maps:
            measured = _depth(maps["rawDepths"], where)
            row |= {"depth": measured * (measured < FARTHEST_METRES), "depth_filled": row["depth"]}
        if "instances" in maps:
            row["instance"] = _instances(maps["labels"], maps["instances"])
        return row

    def _semantic(self, labels: npt.NDArray[np.integer[Any]], where: str) -> torch.Tensor:
        assert self.label_space is not None, "this reader has label spaces"
        table = lookup(self.label_space, "nyu894")
        if labels.max() >= len(table):
            raise DataError(f"{where}: label {labels.max()}, they end at {len(table) - 1}")
        return torch.from_numpy(table[labels].astype(np.int64))


def official_split(folder: Path) -> dict[str, list[int]]:
    """Numbers of the labelled frames, from 1, of "train" and "test".

    Args:
        folder: Where splits.mat lies.

    Raises:
        DataError: It is missing or damaged.
    """
    path = folder / SPLITS
    if not path.is_file():
        raise MissingDataError(f"{path}: missing; it says which frames are for training; {_WHERE_TO_GET}")
    variables = load_mat(path, ("trainNdxs", "testNdxs"))
    split = {name: np.atleast_1d(variables[f"{name}Ndxs"]) for name in ("train", "test")}
    numbers = np.concatenate(list(split.values()))
    if numbers.dtype.kind not in "ui" or numbers.ndim != 1 or not numbers.size or numbers.min() < 1:
        raise DataError(f"{path}: trainNdxs and testNdxs should be frame numbers from 1")
    if any(not part.size for part in split.values()) or len(np.unique(numbers)) != numbers.size:
        raise DataError(f"{path}: an empty split, or a frame that is listed twice")
    return {name: sorted(part.tolist()) for name, part in split.items()}


def _open_arrays(file: MatFile73) -> dict[str, Rows]:
    arrays = {name: file.array(name, kinds) for name, kinds in _ARRAYS.items() if name in _REQUIRED or name in file}
    frames = len(arrays["images"])
    for name, rows in arrays.items():
        expected = (frames, 3, *SIZE[::-1]) if name == "images" else (frames, *SIZE[::-1])
        if rows.shape != expected:
            raise DataError(f"{file.path}, variable {name!r}: shape {rows.shape} instead of {expected}")
    return arrays


def _depth(metres: npt.NDArray[Any], where: str) -> torch.Tensor:
    if not np.isfinite(metres).all() or metres.min() < 0 or np.median(metres) > 5 * FARTHEST_METRES:
        raise DataError(f"{where}: depth from {metres.min()} to {metres.max()}; metres are expected")
    return torch.from_numpy(np.ascontiguousarray(metres, np.float32))[None]


def _instances(labels: npt.NDArray[np.integer[Any]], instances: npt.NDArray[np.integer[Any]]) -> torch.Tensor:
    """Ids 1, 2, ... of the pairs of label and instance, in their order; 0 where either is 0, as in the toolbox."""
    pairs = np.where((labels > 0) & (instances > 0), labels.astype(np.int64) << 8 | instances, 0)
    found, ids = np.unique(np.append(pairs.ravel(), 0), return_inverse=True)
    assert found[0] == 0, "0 was appended"
    return torch.from_numpy(ids[:-1].reshape(pairs.shape).astype(np.int32))

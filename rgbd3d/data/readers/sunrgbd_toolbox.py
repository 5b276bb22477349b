"""Metadata of SUN RGB-D's toolbox: the official split, the order of the scenes, the label maps.

Scenes are named by their path below the folder SUNRGBD; the files hold it as it was on their authors' disk, with
doubled and final separators here and there: "/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.label_spaces import lookup, train_ids
from rgbd3d.data.readers.matfile import load_mat
from rgbd3d.data.readers.matfile73 import MatFile73

_ROOT = "SUNRGBD"


class Toolbox:
    """The folder SUNRGBDtoolbox.

    Args:
        folder: That folder.

    Raises:
        DataError: It lacks one of the three files.
    """

    def __init__(self, folder: Path) -> None:
        self._split = folder / "traintestSUNRGBD" / "allsplit.mat"
        self._order = folder / "Metadata" / "SUNRGBDMeta.mat"
        self._labels = folder / "Metadata" / "SUNRGBD2Dseg.mat"
        for path in (self._split, self._order, self._labels):
            if not path.is_file():
                raise MissingDataError(f"{path}: no such file; SUNRGBDtoolbox.zip has it")

    def read_split(self) -> dict[str, str]:
        """Scene -> "train" or "test".

        Raises:
            DataError: A file that is missing or not as expected, or a scene in both.
        """
        lists = load_mat(self._split, ["alltrain", "alltest"])
        train, test = (_scenes(lists[name], self._split) for name in ("alltrain", "alltest"))
        if both := set(train) & set(test):
            raise DataError(f"{self._split}: {min(both)} is in both alltrain and alltest")
        return dict.fromkeys(train, "train") | dict.fromkeys(test, "test")

    def read_order(self) -> dict[str, int]:
        """Scene -> place of its label map.

        Raises:
            DataError: As for `read_split`.
        """
        entries = load_mat(self._order, ["SUNRGBDMeta"])["SUNRGBDMeta"]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{self._order}: SUNRGBDMeta is no array of structs")
        scenes = _scenes([entry.get("rgbpath") for entry in entries], self._order, below=2)
        return {scene: place for place, scene in enumerate(scenes)}

    @contextmanager
    def open_labels(self) -> Iterator[Callable[[str], Tensor]]:
        """Scene -> int64 (H, W), train ids of "sunrgbd37", 255 = ignore; until the context ends.

        Raises:
            DataError: As for `read_split`; from the function: no label map of this scene, or a damaged one.
        """
        with MatFile73(self._labels) as file:
            label_maps = file.cells("SUNRGBD2Dseg/seglabel")
            if len(label_maps) != len(self._places):
                raise DataError(f"{self._labels}: {len(label_maps)} label maps, {self._order} has {len(self._places)}")

            def labels_of(scene: str) -> Tensor:
                if scene not in self._places:
                    raise DataError(f"{self._order}: does not mention {scene}, so its label map is not known")
                place = self._places[scene]
                where = f"{self._labels}, seglabel {place + 1} of {scene}"
                return train_ids(_whole_numbers(label_maps[place].T, where), lookup("sunrgbd37", "sunrgbd37"), where)

            yield labels_of

    @cached_property
    def _places(self) -> dict[str, int]:
        return self.read_order()


def _whole_numbers(values: npt.NDArray[Any], where: str) -> npt.NDArray[np.int64]:
    """A label map (H, W) of integers, which MATLAB may have stored as floating point."""
    whole = np.nan_to_num(values, nan=-1).clip(-1, 2**16).astype(np.int64)
    if values.ndim != 2 or (whole != values).any():
        raise DataError(f"{where}: {values.dtype} of shape {values.shape}, or its values, are no label map")
    return whole


def _scenes(paths: object, where: Path, below: int = 0) -> list[str]:
    """Scenes that paths lead to, or to something `below` levels deeper."""
    if isinstance(paths, str):
        paths = [paths]  # that is how a cell array of one string arrives
    elif isinstance(paths, np.ndarray):
        paths = paths.ravel().tolist()
    if not isinstance(paths, list):
        raise DataError(f"{where}: a {type(paths).__name__} instead of a list of paths")
    scenes = []
    for path in paths:
        parts = [part for part in path.split("/") if part] if isinstance(path, str) else []
        scene = parts[parts.index(_ROOT) + 1 : len(parts) - below] if _ROOT in parts else []
        if not scene:
            raise DataError(f"{where}: {str(path)[:100]!r} is no path of a scene below {_ROOT}")
        scenes.append("/".join(scene))
    return scenes

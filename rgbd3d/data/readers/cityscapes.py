"""Cityscapes: street scenes with 19 classes, instances, and depth of a stereo camera.

Raw layout, as the official packages unpack; only the first is needed:

    leftImg8bit/SPLIT/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png     colour, 2048 x 1024
    gtFine/SPLIT/CITY/..._gtFine_labelIds.png                      8-bit, ids of the official label list
    gtFine/SPLIT/CITY/..._gtFine_instanceIds.png                   16-bit, 1000 * labelId + number where there is one
    camera/SPLIT/CITY/..._camera.json                              intrinsics in pixels, baseline in metres
    disparity/SPLIT/CITY/..._disparity.png                         16-bit, disparity = (p - 1) / 256 pixels, 0 = none

Conventions: `semantic` has the 19 classes of the benchmark; `instance` is the instance id where it is 1000 or more and
otherwise 0 (stuff, and groups whose members were not told apart). Depth is baseline * fx / disparity, which needs both
`camera` and `disparity`; beyond the 65.535 m that can be stored it counts as not measured. The disparities are those of
the authors' stereo matching: not every value is right, least of all at the left border and on the car's bonnet.

Splits: the official train (2975), val (500) and test (1525). The labels of test are not public: its label files mark
the own car and the borders alone, so all of it is 255. A package that is there has to be there for every frame.

Seen as real files: four frames at half size with labels and instances. The layout, the cameras and disparities are
written from the documentation of mcordts/cityscapesScripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.codec import MAX_DEPTH_METRES, DataError, MissingDataError, decode_labels
from rgbd3d.data.label_spaces import lookup, train_ids
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit
from rgbd3d.data.readers.bounded import check_intrinsics, read_file, read_json
from rgbd3d.data.readers.pictures import list_folders, list_pictures, numbered_units

SPLITS = ("train", "val", "test")

_IMAGES, _LABELS, _CAMERAS, _DISPARITIES = "leftImg8bit", "gtFine", "camera", "disparity"
_OPTIONAL = (_LABELS, _CAMERAS, _DISPARITIES)
_NAME = re.compile(r"(?P<stem>(?P<scene>[\w-]+_\d{1,9})_(?P<frame>\d{1,9}))_leftImg8bit\.png")
_FIRST_INSTANCE = 1000
_DISPARITY_STEPS = 256
_LONGEST_BASELINE = 10.0


class CityscapesReader(Reader):
    """Frames of Cityscapes; units of one city."""

    label_spaces = ("cityscapes19",)

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._packages = {package for package in _OPTIONAL if (raw / package).is_dir()}
        if _LABELS not in self._packages:
            self.label_space = None
        if self._packages & {_CAMERAS, _DISPARITIES} == {_DISPARITIES}:
            raise MissingDataError(
                f"{raw / _CAMERAS}: no such folder; the disparities beside it are of no use without cameras"
            )

    def units(self) -> list[Unit]:
        """The cities of each split."""
        images = self.raw / _IMAGES
        units = [
            unit
            for split in SPLITS
            if (images / split).is_dir()
            for city in list_folders(images / split)
            for source in [f"{_IMAGES}/{split}/{city}"]
            for unit in numbered_units(city, split, source, len(self._frames(source)))
        ]
        if not units:
            raise MissingDataError(
                f"{images}: no pictures in {'/'.join(SPLITS)}/CITY; unpack leftImg8bit_trainvaltest.zip"
            )
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Frames of a city."""
        for match in self._frames(unit.source)[unit.start : unit.stop]:
            yield partial(self._row, unit, match)

    def _frames(self, source: str) -> list[re.Match[str]]:
        folder = self.raw / source
        frames = []
        for name in list_pictures(folder):
            if (match := _NAME.fullmatch(name)) is None:
                raise DataError(f"{folder / name}: not named like CITY_SEQUENCE_FRAME_leftImg8bit.png")
            frames.append(match)
        return frames[:: self.stride]

    def _row(self, unit: Unit, match: re.Match[str]) -> Row:
        city = unit.source.removeprefix(_IMAGES + "/")

        def path(package: str, ending: str) -> Path:
            return self.raw / package / city / f"{match['stem']}_{ending}"

        row: dict[str, Any] = {"image": read_file(self.raw / unit.source / match.string)}
        if _LABELS in self._packages:
            row["semantic"] = _read_semantic(path(_LABELS, "gtFine_labelIds.png"))
            row["instance"] = _read_instances(path(_LABELS, "gtFine_instanceIds.png"))
        if _CAMERAS in self._packages:
            intrinsics, baseline = _read_camera(path(_CAMERAS, "camera.json"))
            row["intrinsics"] = torch.from_numpy(intrinsics)
            if _DISPARITIES in self._packages:
                scale = baseline * float(intrinsics[0, 0])
                row["depth"] = _read_depth(path(_DISPARITIES, "disparity.png"), scale)
        return row | {"scene_id": match["scene"], "frame_id": int(match["frame"])}


def _read_semantic(path: Path) -> Tensor:
    return train_ids(decode_labels(read_file(path), str(path)), lookup("cityscapes19", "cityscapes"), str(path))


def _read_instances(path: Path) -> Tensor:
    ids = decode_labels(read_file(path), str(path)).astype(np.int32)
    return torch.from_numpy(np.where(ids >= _FIRST_INSTANCE, ids, 0))


def _read_camera(path: Path) -> tuple[npt.NDArray[np.float32], float]:
    """Camera matrix, and the distance of the two cameras in metres."""
    content = read_json(path)
    try:
        fx, fy, cx, cy = (float(content["intrinsic"][key]) for key in ("fx", "fy", "u0", "v0"))
        baseline = float(content["extrinsic"]["baseline"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path}: not a camera with intrinsic fx, fy, u0, v0 and extrinsic baseline ({error})"
        ) from error
    if not 0 < baseline < _LONGEST_BASELINE:
        raise DataError(f"{path}: a baseline of {baseline:g} m")
    return check_intrinsics([fx, 0, cx, 0, fy, cy, 0, 0, 1], str(path)), baseline


def _read_depth(path: Path, scale: float) -> Tensor:
    """Depth (1, H, W) in metres; `scale` is baseline times focal length."""
    steps = decode_labels(read_file(path), str(path))
    if steps.dtype == np.uint8:
        raise DataError(f"{path}: an 8-bit picture; the disparities of the package are 16-bit")
    disparity = (steps.astype(np.float32) - 1) / _DISPARITY_STEPS
    depth = np.divide(scale, disparity, out=np.zeros_like(disparity), where=disparity > 0)
    depth[depth > MAX_DEPTH_METRES] = 0
    return torch.from_numpy(depth)[None]

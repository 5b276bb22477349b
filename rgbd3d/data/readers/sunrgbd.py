"""SUN RGB-D (Song et al., CVPR 2015): single frames of four sensors, densely labelled.

Raw layout, as SUNRGBD.zip and SUNRGBDtoolbox.zip unpack side by side:

    SUNRGBD/{kv1,kv2,realsense,xtion}/COLLECTION/.../SCENE/
        image/*.jpg         colour, for example 561 x 427 (kv1) or 730 x 530 (kv2)
        depth/*.png         16-bit, millimetres with the bits rotated, 0 = no measurement, registered to the colour
        depth_bfx/*.png     the same with the holes filled by the authors
        intrinsics.txt      3 x 3, of these images
    SUNRGBDtoolbox/
        Metadata/SUNRGBDMeta.mat                which scene an entry of the next file is of
        Metadata/SUNRGBD2Dseg.mat               37 classes for each of the 10335 scenes, 0 = none
        traintestSUNRGBD/allsplit.mat           the official split: 5285 train, 5050 test

Every scene folder is one frame: `scene_id` is its path below SUNRGBD with "-" for "/", `frame_id` 0. `depth` is the
measurement with pixels beyond 8 m as 0; `depth_filled` is depth_bfx, cut off at 8 m as in the toolbox's read3dPoints.
ESANet, for example, trains on depth_bfx. Intrinsics are as stored; the toolbox applies them to pixels counted from 1.
The file in `extrinsics` only turns gravity upright, there are no poses. `seg.mat` in a scene has free-text names whose
translation to the 37 classes is not published, so it is not read. Without SUNRGBDtoolbox there are no labels and every
frame is "train".

Seen as real files: one scene of kv1 and one of kv2, without labels. The toolbox's files were built after public code
that reads them (ESANet, VoteNet).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, check_name
from rgbd3d.data.readers.bounded import check_intrinsics, read_file, read_text
from rgbd3d.data.readers.pictures import numbered_units
from rgbd3d.data.readers.rotated_depth import decode_rotated_depth
from rgbd3d.data.readers.sunrgbd_toolbox import Toolbox

SENSORS = ("kv1", "kv2", "realsense", "xtion")
MAX_DEPTH_METRES = 8.0

_TREE = "SUNRGBD"
_TOOLBOX = "SUNRGBDtoolbox"


class SunRgbdReader(Reader):
    """Frames of SUN RGB-D; stretches of the scenes of a split, in the order of their paths.

    Attributes:
        label_space: None without the toolbox.

    Raises:
        DataError: No scenes, or labels were asked for without the toolbox.
    """

    label_spaces = ("sunrgbd37",)

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        if not any((raw / _TREE / sensor).is_dir() for sensor in SENSORS):
            raise MissingDataError(
                f"{raw / _TREE}: no folder {' or '.join(SENSORS)} in it; unpack SUNRGBD.zip in {raw}"
            )
        self._toolbox = Toolbox(raw / _TOOLBOX) if (raw / _TOOLBOX).is_dir() else None
        if self._toolbox is None:
            if options is not None and options.label_space is not None:
                raise MissingDataError(
                    f"{raw / _TOOLBOX}: no such folder; the labels are in it: unpack SUNRGBDtoolbox.zip"
                )
            self.label_space = None

    def units(self) -> list[Unit]:
        """Stretches of the kept scenes, train first."""
        return [
            unit for split, scenes in self._scenes.items() for unit in numbered_units(split, split, _TREE, len(scenes))
        ]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """A row per scene."""
        scenes = self._scenes.get(unit.split, [])[unit.start : unit.stop]
        if len(scenes) < unit.rows:
            raise DataError(f"{self.raw / unit.source}: {unit.rows - len(scenes)} scenes fewer than when it was listed")
        with self._toolbox.open_labels() if self._toolbox else nullcontext() as labels_of:
            for scene in scenes:
                yield partial(_read_scene, self.raw / _TREE, scene, labels_of)

    @cached_property
    def _scenes(self) -> dict[str, list[str]]:
        """Every k-th scene by split."""
        scenes = sorted(_find_scenes(self.raw / _TREE))
        if not scenes:
            raise MissingDataError(f"{self.raw / _TREE}: no scene, a folder with 'image' and 'depth', in it or below")
        split_of = self._toolbox.read_split() if self._toolbox else dict.fromkeys(scenes, "train")
        if unknown := [scene for scene in scenes if scene not in split_of]:
            raise DataError(
                f"{self.raw / _TREE / unknown[0]}: not in allsplit.mat of the toolbox ({len(unknown)} such)"
            )
        by_split = {name: [s for s in scenes if split_of[s] == name][:: self.stride] for name in ("train", "test")}
        return {name: kept for name, kept in by_split.items() if kept}


def _find_scenes(tree: Path) -> Iterator[str]:
    """Paths of the scenes below a folder, with "/"."""
    for sensor in SENSORS:
        for folder, below, _ in os.walk(tree / sensor):
            if "image" in below and "depth" in below:
                below.clear()
                yield Path(folder).relative_to(tree).as_posix()


def _read_scene(tree: Path, scene: str, labels_of: Callable[[str], Tensor] | None) -> Row:
    folder = tree / scene
    row: dict[str, Any] = {
        "image": read_file(_only_file(folder / "image", ".jpg")),
        "depth": _read_depth(folder / "depth", filled=False),
        "depth_filled": _read_depth(folder / "depth_bfx", filled=True),
        "intrinsics": _read_intrinsics(folder / "intrinsics.txt"),
        "scene_id": check_name(scene.replace("/", "-"), tree),
        "frame_id": 0,
    }
    if labels_of is not None:
        row["semantic"] = labels_of(scene)
    sizes = {key: tuple(row[key].shape[-2:]) for key in ("depth", "depth_filled", "semantic") if key in row}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{folder}: maps differ in (height, width): {sizes}")
    return row


def _only_file(folder: Path, suffix: str) -> Path:
    names = sorted(path.name for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if len(names) != 1:
        raise DataError(f"{folder}: one {suffix} file is expected, there are {names[:4] or 'none'}")
    return folder / names[0]


def _read_depth(folder: Path, *, filled: bool) -> Tensor:
    path = _only_file(folder, ".png")
    depth = decode_rotated_depth(read_file(path), str(path))
    too_far = depth > MAX_DEPTH_METRES
    if 2 * int(too_far.sum()) > int((depth > 0).sum()):
        raise DataError(
            f"{path}: most of it would be beyond {MAX_DEPTH_METRES:g} m: these are plain millimetres, not the original "
            "files, whose bits are rotated"
        )
    return torch.where(too_far, MAX_DEPTH_METRES if filled else 0.0, depth)


def _read_intrinsics(path: Path) -> Tensor:
    try:
        numbers = [float(token) for token in read_text(path).split()]
    except ValueError as error:
        raise DataError(f"{path}: not numbers ({error})") from error
    return torch.from_numpy(check_intrinsics(numbers, str(path)))

"""ScanNet v2, scenes: the vertices of the cleaned mesh as point clouds with labels and instances.

Raw layout, as the official download script leaves it; the raw folder is the one with `scans`, or `scans` itself:

    scans/sceneNNNN_NN/
        sceneNNNN_NN_vh_clean_2.ply
        sceneNNNN_NN_vh_clean_2.0.010000.segs.json    segment of each vertex
        sceneNNNN_NN.aggregation.json                 category and segments of each object
        sceneNNNN_NN_vh_clean_2.labels.ply            NYU40 id of each vertex, read in place of the two JSON files
    scans_test/sceneNNNN_NN/                          the mesh alone
    scannetv2-labels.combined.tsv                     needed with the JSON files
    scannetv2_train.txt, scannetv2_val.txt            see `scannet_release`

Conventions: metres, z up, in the frame of the camera poses. The `axisAlignment` of `sceneNNNN_NN.txt` is not applied,
as in Pointcept. Normals are computed from the faces, weighted by area. Of overlapping objects the last one counts. What
the tsv or the label space lacks is ignored but keeps its instance, which is objectId + 1.

If one scene of a split has labels, the others have to have them, too; `labels.ply` counts where no scene of a split has
the JSON files, and gives neither instances nor scannet200.

Of real files the vertices of two scenes with labels and instances were at hand, without faces; the JSON files are
written from the official documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import train_ids
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit
from rgbd3d.data.readers.bounded import read_json
from rgbd3d.data.readers.mesh import read_mesh
from rgbd3d.data.readers.ply import read_ply
from rgbd3d.data.readers.scannet_release import check_labelled, find_scenes, nyu40_table, raw_ids, raw_table
from rgbd3d.types import IGNORE_LABEL

_MESH = "_vh_clean_2.ply"
_SEGMENTS = "_vh_clean_2.0.010000.segs.json"
_OBJECTS = ".aggregation.json"
_LABELS = "_vh_clean_2.labels.ply"
_LONGEST_JSON = 2**25
_MOST_OBJECTS = 2**16 - 1

_Annotation = Literal["objects", "labels"]


class ScanNetScenesReader(Reader):
    """Point clouds of ScanNet v2; one unit, of one row, per scene."""

    kind = "clouds"
    label_spaces = ("scannet20", "nyu40", "scannet200")

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._scenes = find_scenes(raw, lambda scene: _file(scene, _MESH).is_file(), f"a mesh sceneNNNN_NN{_MESH}")
        self._annotations = {split: self._annotation(split) for split in ("train", "val", "test")}
        kinds = set(self._annotations.values())
        if "labels" in kinds and self.label_space == "scannet200":
            raise DataError(f"{raw}: scannet200 needs *{_SEGMENTS} and *{_OBJECTS}; a split has only *{_LABELS}")
        if "objects" in kinds:
            self._table, self._raw_ids = raw_table(raw, str(self.label_space)), raw_ids(raw)
        if kinds == {None}:
            check_labelled(raw, options, f"*{_SEGMENTS} and *{_OBJECTS}, or *{_LABELS}")
            self.label_space = None

    def units(self) -> list[Unit]:
        """One unit per scene."""
        return [Unit(scene.name, split, str(scene.relative_to(self.raw)), 1) for split, scene in self._scenes]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """The point cloud of a scene."""
        yield partial(self._row, self.raw / unit.source, self._annotations[unit.split])

    def _annotation(self, split: str) -> _Annotation | None:
        """The richest annotation of any scene of the split."""
        scenes = [path for name, path in self._scenes if name == split]
        if any(_file(scene, _OBJECTS).is_file() for scene in scenes):
            return "objects"
        return "labels" if any(_file(scene, _LABELS).is_file() for scene in scenes) else None

    def _row(self, scene: Path, annotation: _Annotation | None) -> Row:
        points = read_mesh(_file(scene, _MESH))
        count = len(points["position"])
        row: dict[str, Any] = {**points, "scene_id": scene.name}
        if annotation == "objects":
            row["semantic"], row["instance"] = self._read_objects(scene, count)
        elif annotation == "labels":
            row["semantic"] = self._read_labels(_file(scene, _LABELS), count)
        return row

    def _read_labels(self, path: Path, count: int) -> Tensor:
        labels = read_ply(path).get("vertex", {}).get("label")
        if labels is None or labels.dtype.kind not in "iu" or labels.shape != (count,):
            raise DataError(f"{path}: no integer property 'label' for {count} vertices, as the mesh has")
        return train_ids(labels, nyu40_table(str(self.label_space)), str(path))

    def _read_objects(self, scene: Path, count: int) -> tuple[Tensor, Tensor]:
        """Train id and instance of each vertex."""
        ids, segments = np.unique(_read_segments(_file(scene, _SEGMENTS), count), return_inverse=True)
        place = {segment: index for index, segment in enumerate(ids.tolist())}
        semantic = np.full(len(ids), IGNORE_LABEL, np.int64)
        instance = np.zeros(len(ids), np.int32)
        for number, category, parts in _read_groups(_file(scene, _OBJECTS)):
            chosen = [place[part] for part in parts if part in place]
            raw_id = self._raw_ids.get(category)
            semantic[chosen] = IGNORE_LABEL if raw_id is None else self._table[raw_id]
            instance[chosen] = number + 1
        return torch.from_numpy(semantic[segments]), torch.from_numpy(instance[segments])


def _file(scene: Path, ending: str) -> Path:
    return scene / f"{scene.name}{ending}"


def _read_segments(path: Path, count: int) -> npt.NDArray[np.int64]:
    """Segment of each vertex, (count,)."""
    segments = _read_list(path, "segIndices")
    if len(segments) != count or not all(type(segment) is int and abs(segment) < 2**62 for segment in segments):
        raise DataError(f"{path}: segIndices has {len(segments)} entries, {count} integers are expected, as vertices")
    return np.array(segments, np.int64)


def _read_groups(path: Path) -> Iterator[tuple[int, str, list[int]]]:
    """(Number, category, segments) of each object."""
    for index, group in enumerate(_read_list(path, "segGroups")):
        match group:
            case {"objectId": int(number), "label": str(category), "segments": list(parts)} if (
                0 <= number < _MOST_OBJECTS and all(type(part) is int for part in parts)
            ):
                yield number, category, parts
            case _:
                raise DataError(f"{path}: entry {index} of segGroups has no valid objectId, label and segments")


def _read_list(path: Path, key: str) -> list[Any]:
    """A list in a JSON object."""
    content = read_json(path, _LONGEST_JSON)
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise DataError(f"{path}: no list {key!r}")
    return content[key]

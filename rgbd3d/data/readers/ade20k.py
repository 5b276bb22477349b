"""ADE20K: scenes of all kinds with the 150 classes of the scene parsing benchmark.

Raw layout, either that of the benchmark, the raw folder being `ADEChallengeData2016`:

    images/{training,validation}/ADE_{train,val}_NUMBER.jpg
    annotations/{training,validation}/..._NUMBER.png             8-bit, 0 = other, 1 to 150
    annotations_instance/{training,validation}/..._NUMBER.png    optional; R: class of 100, G: number within the class

or that of the full release, the raw folder being `ADE20K_2021_17_01`:

    images/ADE/{training,validation}/KIND/SCENE/ADE_{train,val}_NUMBER{.jpg,_seg.png,.json}

where a pixel of `_seg.png` has the class R // 10 * 256 + G among some 3000, and the object B within the image; the JSON
file names the classes that occur.

Conventions: `semantic` is 0 to 149. `instance` is 256 * R + G in the benchmark, B in the full release, where regions of
sky or road are objects too. Classes of the full release become those of the 150 whose name they have; failing that,
those with their first synonym, if only one has it ("double door" is a door). That is our mapping by name, not the
one that the benchmark was made with, and the benchmark's images are smaller: use the benchmark to compare results.

Splits: training (20210 in the benchmark) is train, validation (2000) is val.

Seen as real files: one image of the full release. The benchmark's layout is written from the documentation of
CSAILVision/sceneparsing, that of its instances from what public code reads from them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbd3d.data.codec import DataError, MissingDataError, decode_color, decode_labels
from rgbd3d.data.label_spaces import lookup, synonyms, train_ids
from rgbd3d.data.readers.base import LazyRow, Reader, Row, Unit
from rgbd3d.data.readers.bounded import read_file, read_json
from rgbd3d.data.readers.pictures import list_folders, list_pictures, numbered_units
from rgbd3d.types import IGNORE_LABEL

SPLITS = {"training": "train", "validation": "val"}

_SPACE = "ade20k150"
_IMAGES, _LABELS, _INSTANCES, _FULL = "images", "annotations", "annotations_instance", "images/ADE"
_FULL_CLASSES = 26 * 256
"""All that R // 10 * 256 + G can say."""
_NAME = re.compile(r"(?P<stem>ADE_\w+?_(?P<number>\d{1,9}))\.jpg")


class ADE20KReader(Reader):
    """Images of ADE20K; units of one folder."""

    label_spaces = (_SPACE,)

    def units(self) -> list[Unit]:
        """The images of each split; of the full release, each kind of scene."""
        units = [
            unit
            for name, split in SPLITS.items()
            for folder in self._folders(name)
            for unit in numbered_units(folder.replace("/", "-"), split, folder, len(self._images(folder)))
        ]
        if not units:
            raise MissingDataError(
                f"{self.raw}: no images in images/training or images/ADE/training; pass the folder "
                "ADEChallengeData2016 or ADE20K_2021_17_01"
            )
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Images of a folder."""
        read = self._full_row if unit.source.startswith(f"{_FULL}/") else self._row
        for match in self._images(unit.source)[unit.start : unit.stop]:
            yield partial(read, unit.source, match)

    def _folders(self, name: str) -> list[str]:
        if (self.raw / _FULL).is_dir():
            top = f"{_FULL}/{name}"
            kinds = list_folders(self.raw / top) if (self.raw / top).is_dir() else []
            return [f"{top}/{kind}/{scene}" for kind in kinds for scene in list_folders(self.raw / top / kind)]
        return [f"{_IMAGES}/{name}"] if (self.raw / _IMAGES / name).is_dir() else []

    def _images(self, folder: str) -> list[re.Match[str]]:
        found = [match for name in list_pictures(self.raw / folder) if (match := _NAME.fullmatch(name))]
        return found[:: self.stride]

    def _row(self, folder: str, match: re.Match[str]) -> Row:
        split = folder.rpartition("/")[2]
        row = self._unlabelled(folder, match, split)
        path = self.raw / _LABELS / split / f"{match['stem']}.png"
        row["semantic"] = train_ids(decode_labels(read_file(path), str(path)), lookup(_SPACE, _SPACE), str(path))
        if (self.raw / _INSTANCES).is_dir():
            path = self.raw / _INSTANCES / split / f"{match['stem']}.png"
            kind, number, _ = decode_color(read_file(path), str(path)).to(torch.int32)
            row["instance"] = torch.where((kind > 0) & (number > 0), 256 * kind + number, 0)
        return row

    def _full_row(self, folder: str, match: re.Match[str]) -> Row:
        row = self._unlabelled(folder, match, folder.rpartition("/")[2])
        stem = self.raw / folder / match["stem"]
        path = stem.with_name(f"{stem.name}_seg.png")
        red, green, blue = decode_color(read_file(path), str(path)).to(torch.int32)
        row["semantic"] = _to_benchmark(red // 10 * 256 + green, _class_names(stem.with_name(f"{stem.name}.json")))
        row["instance"] = blue
        return row

    def _unlabelled(self, folder: str, match: re.Match[str], scene: str) -> dict[str, Any]:
        image = read_file(self.raw / folder / match.string)
        return {"image": image, "scene_id": scene, "frame_id": int(match["number"])}


def _class_names(path: Path) -> dict[int, str]:
    """Names of the classes that occur in an image of the full release, by their number."""
    content = read_json(path)
    try:
        names = {entry["name_ndx"]: entry["name"] for entry in content["annotation"]["object"]}
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: no list of objects with name_ndx and name ({error!r})") from error
    if not all(isinstance(number, int) and isinstance(name, str) for number, name in names.items()):
        raise DataError(f"{path}: name_ndx must be a whole number and name a text")
    return names


def _to_benchmark(classes: Tensor, names: dict[int, str]) -> Tensor:
    """Train ids (H, W) of classes (H, W) of the full release."""
    table = torch.full((_FULL_CLASSES,), IGNORE_LABEL)
    for number, name in names.items():
        if 0 <= number < _FULL_CLASSES:
            table[number] = _class_of(name)
    return table[classes]


def _class_of(name: str) -> int:
    exact, by_synonym = _name_tables()
    return exact.get(name, by_synonym.get(name.split(",")[0].strip(), IGNORE_LABEL))


@cache
def _name_tables() -> tuple[dict[str, int], dict[str, int]]:
    """Train ids by full name, and by each synonym that a single class has; first synonyms come before others."""
    classes = synonyms(_SPACE)
    count = Counter(word for words in classes for word in words)
    unique = {word: index for index, words in enumerate(classes) for word in words if count[word] == 1}
    first = {words[0]: index for index, words in enumerate(classes)}
    return {", ".join(words): index for index, words in enumerate(classes)}, unique | first

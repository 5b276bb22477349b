"""LSUN: millions of pictures of scenes and objects.

Raw layout, as `data.py export` of the official repository fyu/lsun leaves it, one folder per downloaded database:

    CATEGORY_train/, CATEGORY_val/       for example bedroom_train
        K/E/Y/S/T/A/KEYSTA....webp       folders of the first six letters of the key, or all in one with --flat
    test/                                without categories

The files are called `.webp` whatever they hold; JPEG and PNG are kept as they are, WebP is decoded.

The LMDB databases themselves are not read: the LMDB library maps a file into memory and trusts it, and one changed byte
in it may end the process (SIGBUS), which no reader can turn into an error.

Conventions: `class_id` is the place of the category among those there in alphabetical order, so that all ten scene
categories have to be there for the usual ids; `scene_id` is the unit, `frame_id` the place of the file within its
folder. Units are the folders two letters deep, whose content is listed only when they are read. Leave --flat out: a
folder of millions of files is listed again for every unit.

Splits: by the names of the folders.

No original file was at hand: written from the official export script, tested on other real pictures in this layout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from rgbd3d.data.codec import MissingDataError
from rgbd3d.data.readers.base import LazyRow, Reader, Row, Unit, check_name
from rgbd3d.data.readers.bounded import read_file
from rgbd3d.data.readers.pictures import SUFFIXES, UNIT_ROWS, as_stored, list_folders, list_pictures, numbered_units

_FOLDER = re.compile(r"(?P<category>[A-Za-z]\w*)_(?P<split>train|val)|test")
_UNIT_DEPTH = 2


class LSUNReader(Reader):
    """Pictures of LSUN; units of two letters of the key, or of a range of files."""

    def units(self) -> list[Unit]:
        """The categories of each split."""
        units = [
            unit
            for split in ("train", "val", "test")
            for name, (_, of_split) in self._databases.items()
            if of_split == split
            for unit in self._units_of(name, split)
        ]
        if not units:
            raise MissingDataError(
                f"{self.raw}: no pictures in folders like bedroom_train or bedroom_val; export the databases with "
                "`python data.py export DATABASE --out_dir FOLDER` of github.com/fyu/lsun"
            )
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Pictures of a unit; those of a nested one are listed folder by folder."""
        folder = self.raw / unit.source
        if unit.stop:
            paths = iter([folder / name for name in list_pictures(folder)[unit.start : unit.stop]])
        else:
            paths = _walk(folder)
        category, _ = self._databases[unit.source.partition("/")[0]]
        for index, path in enumerate(paths, unit.start):
            if index % self.stride == 0:
                yield partial(self._row, unit.name, category, path, index)

    @cached_property
    def _databases(self) -> dict[str, tuple[str | None, str]]:
        """Category and split of each folder."""
        found = {name: match for name in list_folders(self.raw) if (match := _FOLDER.fullmatch(name))}
        return {name: (match["category"], match["split"] or "test") for name, match in found.items()}

    @cached_property
    def _class_ids(self) -> dict[str, int]:
        categories = {category for category, _ in self._databases.values() if category is not None}
        return {category: index for index, category in enumerate(sorted(categories))}

    def _units_of(self, folder: str, split: str, depth: int = 0) -> Iterator[Unit]:
        name = folder.replace("/", "-")
        if depth == _UNIT_DEPTH:
            yield Unit(name, split, folder, UNIT_ROWS)
            return
        yield from numbered_units(name, split, folder, len(list_pictures(self.raw / folder)))
        for below in list_folders(self.raw / folder):
            yield from self._units_of(f"{folder}/{below}", split, depth + 1)

    def _row(self, scene_id: str, category: str | None, path: Path, index: int) -> Row:
        row: dict[str, object] = {
            "image": as_stored(read_file(path), str(path)),
            "scene_id": scene_id,
            "frame_id": index,
        }
        return row if category is None else row | {"class_id": self._class_ids[category]}


def _walk(folder: Path) -> Iterator[Path]:
    """All pictures below a folder, in a fixed order; links to folders are not followed."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(top) / check_name(name, top) for name in sorted(names) if name.lower().endswith(SUFFIXES))

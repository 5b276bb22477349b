"""ImageNet-1k, the ILSVRC 2012 classification set: photographs of 1000 classes.

Raw layout, as the archive on Kaggle unpacks (the raw folder holds `ILSVRC`, or is `ILSVRC` or `CLS-LOC`):

    ILSVRC/Data/CLS-LOC/train/WNID/*.JPEG
    ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_NUMBER.JPEG      or val/WNID/*.JPEG, as many tools sort them
    ILSVRC/Data/CLS-LOC/test/*.JPEG                         100,000 without labels
    LOC_val_solution.csv                                    classes of val: ImageId,PredictionString

or simply `train` and `val` with a folder per class.

Conventions: `class_id` is the place of the WordNet id among the class folders in alphabetical order, the usual order of
the 1000 classes. Files are kept as they are; the official set has a PNG and some CMYK pictures under the name `.JPEG`.

Splits: the official train (1,281,167), val (50,000) and test, which has no labels.

No original file was at hand: written from the documentation, tested on other real pictures stored in this layout.
"""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.bounded import read_text
from rgbd3d.data.readers.image_folder import ImageFolderReader
from rgbd3d.data.readers.pictures import list_folders

_ROOTS = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", ".")
_SOLUTION = "LOC_val_solution.csv"
_DEPTH = 3
"""Folders from `CLS-LOC` up to the one with the solution."""


class ImageNetReader(ImageFolderReader):
    """Photographs of ImageNet-1k; units of one class."""

    def find_root(self) -> Path:
        """The folder with `train`."""
        for candidate in _ROOTS:
            if (self.raw / candidate / "train").is_dir():
                return self.raw / candidate
        raise MissingDataError(
            f"{self.raw}: no 'train' in it nor in {' or '.join(_ROOTS[:2])}; pass the folder of ILSVRC"
        )

    def class_of(self, split: str, path: Path) -> int | None:
        """Class by folder; that of a flat `val` by the official solution."""
        if split != "val" or path.parent.name in self.class_ids:
            return super().class_of(split, path)
        if (wnid := self._solution.get(path.stem)) is None:
            raise DataError(f"{path}: not listed in {_SOLUTION}")
        if wnid not in self.class_ids:
            raise DataError(f"{path}: {_SOLUTION} gives it the class {wnid!r}, of which train has no folder")
        return self.class_ids[wnid]

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """Class by WordNet id: the folders of train."""
        return {name: index for index, name in enumerate(list_folders(self.root / "train"))}

    @cached_property
    def _solution(self) -> dict[str, str]:
        """WordNet id by name of a picture of val."""
        for folder in (self.raw, *list(self.raw.absolute().parents)[:_DEPTH]):
            if (path := folder / _SOLUTION).is_file():
                try:
                    rows = list(csv.reader(read_text(path).splitlines()))
                except csv.Error as error:
                    raise DataError(f"{path}: not a table of comma-separated values ({error})") from error
                return {row[0]: row[1].partition(" ")[0] for row in rows if len(row) == 2}
        raise MissingDataError(
            f"{self.root / 'val'}: no class folders, and no {_SOLUTION} in {self.raw} to tell the classes"
        )

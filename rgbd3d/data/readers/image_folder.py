"""Any pictures in folders, with or without classes.

Raw layout, any of

    SPLIT/CLASS/*.jpg        SPLIT out of train, val, validation, test
    SPLIT/*.jpg
    CLASS/*.jpg              all of it is train
    *.jpg

with JPEG, PNG or WebP files. A folder has either pictures or classes; what lies below a class is not looked at. Where
there are splits, no other folder with pictures may lie beside them.

Conventions: `class_id` is the place of the class among the names of all class folders in alphabetical order, as with
torchvision's `ImageFolder` for the training split; `scene_id` is the name of the folder, `frame_id` the place of the
file within it. WebP pictures are decoded, the others kept as they are.

There is no official form of this; it was tested with pictures of other data sets in such folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, split_folders
from rgbd3d.data.readers.bounded import read_file
from rgbd3d.data.readers.pictures import as_stored, list_folders, list_pictures, numbered_units


class ImageFolderReader(Reader):
    """Pictures in folders; units of one folder.

    Attributes:
        root: Folder with the splits, or with all there is.
    """

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self.root = self.find_root()
        if not self.root.is_dir():
            raise DataError(f"{self.root}: not a folder of pictures")

    def find_root(self) -> Path:
        """Folder with the splits; data sets that bury it override this."""
        return self.raw

    def units(self) -> list[Unit]:
        """The folders of each split."""
        units = [
            unit
            for split, folder in self._folders
            for unit in numbered_units(folder.name, split, self._source(folder), len(self._names(folder)))
        ]
        if not units:
            raise MissingDataError(
                f"{self.root}: no .jpg, .jpeg, .png or .webp files, nor in folders of a split or a class"
            )
        return units

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Pictures of a folder."""
        folder = self.raw / unit.source
        for index, name in enumerate(self._names(folder)[unit.start : unit.stop], unit.start):
            yield partial(self._row, unit.split, folder / name, index)

    @cached_property
    def class_ids(self) -> dict[str, int]:
        """Class by name of its folder."""
        names = {folder.name for split, folder in self._folders if folder not in self._split_folders.values()}
        return {name: index for index, name in enumerate(sorted(names))}

    def class_of(self, split: str, path: Path) -> int | None:
        """Class of a picture, or None; data sets that state it in another way override this."""
        return self.class_ids.get(path.parent.name)

    def _row(self, split: str, path: Path, index: int) -> Row:
        image = as_stored(read_file(path), str(path))
        row: dict[str, object] = {"image": image, "scene_id": path.parent.name, "frame_id": index * self.stride}
        label = self.class_of(split, path)
        return row if label is None else row | {"class_id": label}

    @cached_property
    def _split_folders(self) -> dict[str, Path]:
        return split_folders(self.root, _has_pictures) or {"train": self.root}

    @cached_property
    def _folders(self) -> list[tuple[str, Path]]:
        """Split and path of each folder with pictures."""
        found: list[tuple[str, Path]] = []
        for split, top in self._split_folders.items():
            classes = list_folders(top)
            if classes and list_pictures(top):
                raise DataError(f"{top}: holds pictures and folders ({classes[0]!r}); which are the classes? Sort them")
            found += [(split, top / name) for name in classes] or [(split, top)]
        return found

    def _source(self, folder: Path) -> str:
        return folder.relative_to(self.raw).as_posix()

    def _names(self, folder: Path) -> list[str]:
        return list_pictures(folder)[:: self.stride]


def _has_pictures(folder: Path) -> bool:
    """Whether there are pictures in a folder or its classes."""
    return any(list_pictures(place) for place in (folder, *(folder / name for name in list_folders(folder))))

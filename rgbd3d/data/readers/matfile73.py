"""MATLAB files of version 7.3, which are HDF5: one row of a large array at a time, in bounded memory.

HDF5 parses the structure, `rgbd3d.data.readers.hdf5_rows` reads the values. Links into other files are refused.

MATLAB stores columns first: an array of 480 x 640 x 3 x N is (N, 3, 640, 480) in the file, and here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.readers.hdf5_rows import Rows, hdf5_errors
from rgbd3d.optional import need

_LONGEST_TEXT = 4096
_CHUNK_ITEMS = 2**20
_STORED_BYTES = 2**17  # of texts and references, which HDF5 inflates itself, by a factor of 1032 at most


class MatFile73:
    """A file of version 7.3, opened for reading.

    Args:
        path: The file.

    Raises:
        DataError: Missing, or not a file of version 7.3.
        MissingLibraryError: h5py is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._h5py = need("h5py", "reading MATLAB 7.3 files", "readers")
        if not path.is_file():
            raise MissingDataError(f"{path}: no such file")
        with hdf5_errors(f"{path}, which should be of MATLAB 7.3"):
            self._file = self._h5py.File(path, "r")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        with hdf5_errors(self._where(name)):
            return self._file.get(name, getlink=True) is not None

    def array(self, name: str, kinds: str = "fui") -> Rows:
        """A numeric array, read row by row.

        Args:
            name: Of the variable.
            kinds: As for `Rows`.

        Raises:
            DataError: Missing, in another file, or not readable as `Rows`.
        """
        with hdf5_errors(self._where(name)):
            dataset = self._dataset(name)
        return Rows(dataset, self._where(name), kinds)

    def cells(self, name: str, most: int = 100_000) -> Cells:
        """A cell array of numeric arrays, or the field "STRUCT/FIELD" of a struct array, one array at a time.

        Args:
            name: Of the variable.
            most: Arrays that it may have.

        Raises:
            DataError: Missing, not such an array, or larger than stated here.
        """
        with hdf5_errors(self._where(name)):
            return Cells(self._checked, self._references(name, most), self._where(name))

    def texts(self, name: str, most: int = 100_000) -> list[str]:
        """A cell array of strings, in MATLAB's order.

        Args:
            name: Of the variable.
            most: Strings that it may have.

        Raises:
            DataError: Missing, not such a cell array, or larger than stated here.
        """
        with hdf5_errors(self._where(name)):
            return [self._text(reference) for reference in self._references(name, most)]

    def _where(self, name: str) -> str:
        return f"{self.path}, variable {name!r}"

    def _references(self, name: str, most: int) -> list[Any]:
        cells = self._dataset(name)
        if self._h5py.check_ref_dtype(cells.dtype) is not self._h5py.Reference or cells.size > most:
            raise DataError(f"{cells.size} items of {cells.dtype}; up to {most} cells are expected")
        return list(_small(cells).flat)

    def _text(self, reference: Any) -> str:
        characters = self._checked(reference)
        if "MATLAB_empty" in characters.attrs:
            return ""
        if characters.dtype != np.uint16 or characters.size > _LONGEST_TEXT:
            raise DataError(f"a cell holds {characters.size} items of {characters.dtype}, not text")
        return _small(characters).tobytes().decode("utf-16-le")

    def _dataset(self, name: str) -> Any:
        for path in itertools.accumulate(name.split("/"), "{}/{}".format):
            link = self._file.get(path, getlink=True)  # without following it, as it may point into another file
            if link is None:
                raise DataError("missing; is it the right file, and complete?")
            if not isinstance(link, self._h5py.HardLink):
                raise DataError("a link, which is not followed")
        return self._checked(name)

    def _checked(self, key: Any) -> Any:
        """The array of a name or reference."""
        item = self._file[key]
        if not isinstance(item, self._h5py.Dataset):
            raise DataError("a group, not an array")
        return item


class Cells:
    """Numeric arrays of a `MatFile73`, each read as a whole; their axes are MATLAB's in reverse order."""

    def __init__(self, open_array: Callable[[Any], Any], references: list[Any], where: str) -> None:
        self._open, self._references, self._where = open_array, references, where

    def __len__(self) -> int:
        return len(self._references)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        """Array `index`.

        Raises:
            DataError: There is none, it is empty or no numbers, or `Rows` cannot read it.
        """
        where = f"{self._where}, cell {index}"
        with hdf5_errors(where):
            if not 0 <= index < len(self):
                raise DataError(f"there are {len(self)} cells")
            array = self._open(self._references[index])
            if "MATLAB_empty" in array.attrs:
                raise DataError("empty")
        return Rows(array, where).whole()


def _small(dataset: Any) -> npt.NDArray[Any]:
    """All values of an array of text or references."""
    if dataset.is_virtual or dataset.external:
        raise DataError("its values lie in another file, which is not followed")
    if (stored := dataset.id.get_storage_size()) > _STORED_BYTES:
        raise DataError(f"{stored} bytes of text or references are stored, at most {_STORED_BYTES} are read")
    if math.prod(dataset.chunks or ()) > _CHUNK_ITEMS:
        raise DataError(f"chunks of {dataset.chunks} are not read for text or references")
    return np.asarray(dataset[()])

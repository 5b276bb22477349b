"""Rows of an HDF5 array in bounded memory.

Chunks are inflated here, because HDF5's own filter grows its buffer for as long as data comes. Values that lie in other
files (external storage, virtual data sets) are refused, and so are filters other than deflate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.bounded import inflate

MAX_ROW_BYTES = 64 * 2**20
MAX_CHUNK_BYTES = 64 * 2**20

_DEFLATE = 1
_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, OverflowError)


@contextmanager
def hdf5_errors(where: str) -> Iterator[None]:
    """Turns what h5py raises on damaged files into a `DataError`, and puts `where` in front."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except _ERRORS as error:
        raise DataError(f"{where}: cannot be read as HDF5 ({error})") from error


class Rows:
    """An array that is read along its first axis.

    Args:
        dataset: Of h5py, in its own file.
        where: Names it in errors.
        kinds: What NumPy's `dtype.kind` may be: "f" floating point, "u" and "i" integers.

    Attributes:
        shape: As in the file.

    Raises:
        DataError: Of another type, stored elsewhere, or with rows, chunks or filters that are not read.
    """

    def __init__(self, dataset: Any, where: str, kinds: str = "fui") -> None:
        self._dataset, self._where = dataset, where
        with hdf5_errors(where):
            self.shape: tuple[int, ...] = dataset.shape
            self._dtype: np.dtype[Any] = dataset.dtype
            self._chunks: tuple[int, ...] | None = dataset.chunks
            self._check(kinds)
            self._slab: dict[tuple[int, ...], npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        """Row `index`, of `shape[1:]`.

        Raises:
            DataError: Outside the array, or damaged.
        """
        with hdf5_errors(f"{self._where}, row {index}"):
            if not 0 <= index < len(self):
                raise DataError(f"there are {len(self)} rows")
            if self._chunks is None:
                return np.asarray(self._dataset[index])
            return self._assemble(index, self._chunks)

    def whole(self) -> npt.NDArray[Any]:
        """All rows.

        Raises:
            DataError: They take more than `MAX_ROW_BYTES`, or one is damaged.
        """
        if math.prod(self.shape) * self._dtype.itemsize > MAX_ROW_BYTES:
            raise DataError(f"{self._where}: shape {self.shape} is not read at once, {MAX_ROW_BYTES >> 20} MiB are")
        rows = np.empty(self.shape, self._dtype)
        for index in range(len(self)):
            rows[index] = self[index]
        return rows

    def _check(self, kinds: str) -> None:
        dataset = self._dataset
        if self._dtype.kind not in kinds or dataset.id.get_type().get_size() != self._dtype.itemsize:
            raise DataError(f"holds {self._dtype}, not numbers of kind {kinds!r}")
        if dataset.is_virtual or dataset.external:
            raise DataError("its values lie in another file, which is not followed")
        row_bytes = math.prod(self.shape[1:]) * self._dtype.itemsize
        if not self.shape or row_bytes > MAX_ROW_BYTES:
            raise DataError(f"shape {self.shape} is not read: a row may take {MAX_ROW_BYTES >> 20} MiB")
        if self._chunks is None:
            return
        if math.prod(self._chunks) * self._dtype.itemsize > MAX_CHUNK_BYTES:
            raise DataError(f"chunks of {self._chunks} are not read: one may take {MAX_CHUNK_BYTES >> 20} MiB")
        filters = dataset.id.get_create_plist()
        self._deflated = filters.get_nfilters() == 1
        if filters.get_nfilters() > 1 or (self._deflated and filters.get_filter(0)[0] != _DEFLATE):
            raise DataError("it is stored with filters other than deflate, which is MATLAB's only one")
        # Chunks of several rows are inflated once for all of them.
        self._keeps_slab = self._chunks[0] > 1 and self._chunks[0] * row_bytes <= MAX_CHUNK_BYTES

    def _assemble(self, index: int, chunks: tuple[int, ...]) -> npt.NDArray[Any]:
        first = index - index % chunks[0]
        if any(offset[0] != first for offset in self._slab):
            self._slab.clear()
        row = np.empty(self.shape[1:], self._dtype)
        starts = (range(0, length, step) for length, step in zip(row.shape, chunks[1:], strict=True))
        for corner in itertools.product(*starts):
            offset = (first, *corner)
            chunk = self._slab[offset] if offset in self._slab else self._chunk(offset, chunks)
            if self._keeps_slab:
                self._slab[offset] = chunk
            place = tuple(slice(start, start + step) for start, step in zip(corner, chunks[1:], strict=True))
            inside = tuple(slice(0, length) for length in row[place].shape)
            row[place] = chunk[index - first][inside]
        return row

    def _chunk(self, offset: tuple[int, ...], chunks: tuple[int, ...]) -> npt.NDArray[Any]:
        size = math.prod(chunks) * self._dtype.itemsize
        stored = self._dataset.id.get_chunk_info_by_coord(offset)
        # Incompressible data grow by less than this in deflate's stored blocks.
        if stored.byte_offset is None or stored.size > size + size // 1000 + 1024:
            raise DataError(f"the chunk at {offset} is missing, or larger than its values")
        skipped, data = self._dataset.id.read_direct_chunk(offset)  # bit n of `skipped`: without filter n
        if self._deflated and not skipped & 1:
            data = inflate(data, size, f"chunk at {offset}")
        if len(data) != size:
            raise DataError(f"the chunk at {offset} has {len(data)} bytes instead of {size}")
        return np.frombuffer(data, self._dtype).reshape(chunks)

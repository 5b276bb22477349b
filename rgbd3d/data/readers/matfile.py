"""MATLAB files up to version 7 (level 5 MAT-files), checked before SciPy sees them.

SciPy allocates what a file's headers promise, and a compressed variable can promise a thousandfold of its file. So only
the wanted variables are inflated, to exactly the size that they state, and their headers are walked: every size has to
fit the bytes that are there. SciPy then reads a copy without compression. Files of version 7.3 are HDF5:
`rgbd3d.data.readers.matfile73` reads them.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.bounded import inflate, read_file
from rgbd3d.optional import need

MAX_BYTES = 512 * 2**20
"""Memory that the wanted variables of a file may take."""

_HEADER_BYTES = 128
_PEEK_BYTES = 512  # enough for the flags, dimensions and name of a variable
_DEEPEST = 16
_OBJECT_BYTES = 256  # a small array in a cell or field, roughly

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # by data type, numbers only
_TEXT_TYPES = {1, 2, 3, 4, 16, 17, 18}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBER_BYTES = {6: 8, 7: 4, 8: 1, 9: 1, 10: 2, 11: 2, 12: 4, 13: 4, 14: 8, 15: 8}  # by array class
_COMPLEX = 0x800


class _Head(NamedTuple):
    kind: int
    parts: int
    numel: int
    name: str


def load_mat(path: Path, names: Collection[str]) -> dict[str, Any]:
    """Variables of a file.

    Args:
        path: A `.mat` file of version 5, 6 or 7.
        names: Variables that it must have; others are passed over.

    Returns:
        Name -> value as of `scipy.io.loadmat(..., simplify_cells=True)`: structs are dictionaries, cells are lists or
        object arrays, dimensions of length 1 are dropped.

    Raises:
        DataError: Unreadable, of version 7.3 or 4, damaged, larger than `MAX_BYTES` in memory, a missing variable, or
            one that holds functions, objects or sparse matrices.
        MissingLibraryError: SciPy is missing.
    """
    scipy_io = need("scipy.io", "reading MATLAB files", "readers")
    data = read_file(path)
    plain = _without_compression(data, names, str(path))
    try:
        variables = scipy_io.loadmat(io.BytesIO(plain), simplify_cells=True)
    except Exception as error:  # SciPy documents none; what passed the walk and fails here is still a bad file
        raise DataError(f"{path}: damaged MATLAB file ({type(error).__name__}: {error})") from error
    return {name: variables[name] for name in names}


def _without_compression(data: bytes, names: Collection[str], where: str) -> bytes:
    """A MAT-file with the wanted variables alone, all of whose sizes were checked."""
    walk = _Walk(data, _byte_order(data, where), where, start=_HEADER_BYTES)
    found: dict[str, bytes] = {}
    budget = MAX_BYTES
    while walk.left >= 8:
        kind, content = walk.element(padded=False)
        # MATLAB compresses each variable; `save -v6` compresses none.
        start = content if kind == _MATRIX else _peek(kind, content, walk)
        name = walk.inside(start).head().name
        if name in names and name not in found:
            matrix = content if kind == _MATRIX else _inflate_matrix(content, budget, walk, name)
            budget -= walk.inside(matrix, f"{where}, variable {name!r}").check_matrix(budget)
            found[name] = struct.pack(f"{walk.order}II", _MATRIX, len(matrix)) + matrix
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{where}: no variable {missing[0]!r}; is it the right file, and complete?")
    return data[:_HEADER_BYTES] + b"".join(found.values())


def _byte_order(data: bytes, where: str) -> str:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise DataError(f"{where}: not a MATLAB file of version 5 or later")
    (version,) = struct.unpack_from(f"{order}H", data, 124)
    if version == 0x200:
        raise DataError(f"{where}: a file of version 7.3; one of version 7 or earlier is expected here")
    if version != 0x100:
        raise DataError(f"{where}: unknown MATLAB version {version:#x}")
    return order


def _peek(kind: int, content: bytes, walk: _Walk) -> bytes:
    """The first bytes of a compressed variable, after its tag."""
    if kind != _COMPRESSED:
        raise walk.error(f"data type {kind} where a variable should begin")
    try:
        return zlib.decompressobj().decompress(content, _PEEK_BYTES)[8:]
    except zlib.error as error:
        raise walk.error(f"a compressed variable is damaged ({error})") from error


def _inflate_matrix(content: bytes, budget: int, walk: _Walk, name: str) -> bytes:
    tag = zlib.decompressobj().decompress(content, 8)
    kind, size = struct.unpack(f"{walk.order}II", tag)
    if kind != _MATRIX or size > budget:
        raise walk.error(f"variable {name!r} states {size} bytes of type {kind}; up to {budget} of a matrix are read")
    return inflate(content, size + 8, f"{walk.where}, variable {name!r}")[8:]


class _Walk:
    """Steps through the elements of a file or of one matrix."""

    def __init__(self, data: bytes, order: str, where: str, start: int = 0, depth: int = 0) -> None:
        self.order, self.where = order, where
        self._data, self._at, self._depth = data, start, depth

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def error(self, message: str) -> DataError:
        return DataError(f"{self.where} at byte {self._at}: {message}")

    def inside(self, content: bytes, where: str | None = None) -> _Walk:
        return _Walk(content, self.order, where or self.where, depth=self._depth + 1)

    def element(self, padded: bool = True) -> tuple[int, bytes]:
        """Data type and content of the next element."""
        if self.left < 8:
            raise self.error("truncated")
        kind, size = struct.unpack_from(f"{self.order}II", self._data, self._at)
        start = self._at + 8
        if kind >> 16:  # up to 4 bytes of data share the tag's 8
            kind, size, start = kind & 0xFFFF, kind >> 16, self._at + 4
            if size > 4:
                raise self.error(f"{size} bytes in a small element")
        if size > len(self._data) - start:
            raise self.error(f"an element of {size} bytes, {len(self._data) - start} are left: truncated or corrupted")
        self._at = start + size
        if padded:
            self._at += -self._at % 8
        return kind, self._data[start : start + size]

    def head(self) -> _Head:
        """What precedes the values of a matrix."""
        flags = self._expect(_UINT32, "array flags")
        dims = self._expect(_INT32, "dimensions")
        name = self._expect(_INT8, "name").decode("latin-1")
        if len(flags) != 8 or len(dims) % 4 or not 8 <= len(dims) <= 128:
            raise self.error("array flags or dimensions of a wrong size")
        (flag, _) = struct.unpack(f"{self.order}II", flags)
        shape = struct.unpack(f"{self.order}{len(dims) // 4}i", dims)
        if min(shape) < 0:
            raise self.error(f"negative dimensions {shape}")
        return _Head(flag & 0xFF, 2 if flag & _COMPLEX else 1, math.prod(shape), name)

    def check_matrix(self, budget: int) -> int:
        """Bytes of memory that this matrix takes, at most `budget`; all sizes inside it fit each other."""
        if self._depth > _DEEPEST:
            raise self.error("cells or structs are nested too deeply")
        if not self._data:
            return _OBJECT_BYTES  # MATLAB's way to write []
        head = self.head()
        if head.kind in _NUMBER_BYTES:
            used = self._check_numbers(head, budget)
        elif head.kind == _CHAR:
            used = self._check_text(head, budget)
        elif head.kind in (_CELL, _STRUCT):
            used = self._check_members(head, budget)
        else:
            raise self.error(f"an array of class {head.kind} (function, object or sparse matrix) is not read")
        return used

    def _check_numbers(self, head: _Head, budget: int) -> int:
        used = self._within(head.parts * head.numel * _NUMBER_BYTES[head.kind] + _OBJECT_BYTES, budget)
        for _ in range(head.parts):
            kind, values = self.element()
            # SciPy crashes on types that it does not know, even if there are no values.
            if kind not in _ITEM_BYTES or len(values) != head.numel * _ITEM_BYTES[kind]:
                raise self.error(f"{len(values)} bytes of type {kind} for {head.numel} numbers")
        return used

    def _check_text(self, head: _Head, budget: int) -> int:
        kind, text = self.element()
        if kind not in _TEXT_TYPES or (text and head.numel > len(text)):  # blanks are stored as nothing at all
            raise self.error(f"{len(text)} bytes of type {kind} for {head.numel} characters")
        return self._within(4 * head.numel + _OBJECT_BYTES, budget)

    def _check_members(self, head: _Head, budget: int) -> int:
        members = head.numel
        if head.kind == _STRUCT:
            length, fields = self._expect(_INT32, "length of field names"), self._expect(_INT8, "field names")
            stride = struct.unpack(f"{self.order}i", length)[0] if len(length) == 4 else 0
            if stride < 1 or len(fields) % stride:
                raise self.error(f"{len(fields)} bytes of field names")
            members *= len(fields) // stride
        if members > self.left // 8:
            raise self.error(f"{members} cells or fields in {self.left} bytes")
        used = self._within(_OBJECT_BYTES * (1 + max(members, head.numel)), budget)
        for _ in range(members):
            kind, content = self.element()
            if kind != _MATRIX:
                raise self.error(f"data type {kind} where a cell or field should begin")
            used += self.inside(content).check_matrix(budget - used)
        return used

    def _within(self, used: int, budget: int) -> int:
        if used > budget:
            raise self.error(f"needs more than the {MAX_BYTES / 2**20:.0f} MiB of memory that are allowed")
        return used

    def _expect(self, kind: int, what: str) -> bytes:
        actual, content = self.element()
        if actual != kind:
            raise self.error(f"data type {actual} instead of {kind} for the {what}")
        return content

"""Binary PLY files: point clouds and triangle meshes.

Own code, because the common library is under the GPL and, given a false header, allocates what the header claims.
ASCII files and faces with more than three corners are refused: no data set read here has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.bounded import BinaryFile

_LONGEST_HEADER = 2**16
_MAX_BYTES = 100 * 2**20  # a mesh takes up to four times its file
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
}
_CORNERS = 3
_LENGTH = " length"  # no name in a header has a space


@dataclass
class _Element:
    name: str
    count: int
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = field(default_factory=list)


def read_ply(path: Path) -> dict[str, dict[str, npt.NDArray]]:
    """Elements of a binary PLY file.

    Args:
        path: The file.

    Returns:
        Element -> property -> (count,) array of the type in the file; a list, such as the corners of faces, is
        (count, 3).

    Raises:
        DataError: Not a binary PLY file, damaged, over 100 MiB, or with lists of another length than three.
    """
    with BinaryFile(path) as file:
        if file.size > _MAX_BYTES:
            raise DataError(f"{path}: {file.size / 2**20:.0f} MiB, at most {_MAX_BYTES >> 20} MiB are expected")
        lines, length = _header_lines(file.take(min(file.size, _LONGEST_HEADER), "the header"), path)
    byte_order, elements = _parse(lines, path)
    with BinaryFile(path) as file:
        file.skip(length, "the header")
        return {element.name: _read_element(file, element, byte_order) for element in elements}


def _header_lines(start: bytes, path: Path) -> tuple[list[list[str]], int]:
    """Words of the header's lines, and its length in bytes."""
    newline = next((end for end in (b"\r\n", b"\n", b"\r") if start.startswith(b"ply" + end)), None)
    if newline is None:
        raise DataError(f"{path} at byte 0: not a PLY file: it does not begin with 'ply'")
    header, end, _ = start.partition(newline + b"end_header" + newline)
    if not end:
        raise DataError(f"{path}: no end of the header within its first {len(start)} bytes: truncated or corrupted")
    lines = header.decode("ascii", "replace").split(newline.decode())[1:]
    return [words for line in lines if (words := line.split())], len(header) + len(end)


def _parse(lines: list[list[str]], path: Path) -> tuple[str, list[_Element]]:
    """Byte order and elements that a header declares."""
    order, elements = "", list[_Element]()
    for words in lines:
        match words:
            case ["comment" | "obj_info", *_]:
                continue
            case ["format", name, "1.0"] if name in _BYTE_ORDERS:
                order = _BYTE_ORDERS[name]
            case ["format", *_]:
                raise DataError(f"{path}: PLY {' '.join(words)!r}; only binary files are read: save it as binary")
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                elements.append(_Element(name, int(count)))
            case ["property", *declaration] if elements and (fields := list(_fields(declaration))):
                elements[-1].fields += fields
            case _:
                raise DataError(f"{path}: the header has an invalid line {' '.join(words)[:80]!r}")
    if not order:
        raise DataError(f"{path}: the header names no format")
    for names in [[e.name for e in elements], *([f[0] for f in e.fields] for e in elements)]:
        if len(set(names)) < len(names):
            raise DataError(f"{path}: the header declares a name twice, of {names[:20]}")
    return order, elements


def _fields(declaration: list[str]) -> Iterator[tuple[str, str] | tuple[str, str, tuple[int]]]:
    """Fields of a structured array for a property; none if the declaration is invalid."""
    match declaration:
        case ["list", length, kind, name] if length in _TYPES and kind in _TYPES:
            yield name + _LENGTH, _TYPES[length]
            yield name, _TYPES[kind], (_CORNERS,)
        case [kind, name] if kind in _TYPES:
            yield name, _TYPES[kind]


def _read_element(file: BinaryFile, element: _Element, order: str) -> dict[str, npt.NDArray]:
    layout = np.dtype([(name, order + kind, *shape) for name, kind, *shape in element.fields])
    start = file.offset
    data = file.take(element.count * layout.itemsize, f"element {element.name!r} of {element.count} entries")
    rows = np.frombuffer(data, layout) if layout.itemsize else np.empty(0, layout)
    arrays = {}
    for name in layout.names or ():
        if not name.endswith(_LENGTH):
            arrays[name] = rows[name].astype(rows[name].dtype.newbyteorder("="))
        elif (wrong := np.flatnonzero(rows[name] != _CORNERS)).size:
            at, length = start + int(wrong[0]) * layout.itemsize, rows[name][wrong[0]]
            raise DataError(
                f"{file.path} at byte {at}: a list {name.removesuffix(_LENGTH)!r} of {length} numbers, only triangles "
                "are read: corrupted, or a mesh that has to be triangulated"
            )
    return arrays

"""Members of a ZIP archive, read one by one; a bomb is refused before it is opened."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.bounded import BinaryFile

_MAX_ARCHIVE_BYTES = 2**32
_MAX_DIRECTORY_BYTES = 2**24
_MAX_MEMBER_BYTES = 2**25
_END, _ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LONGEST_COMMENT = 22, 2**16
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1


def open_zip(path: Path) -> zipfile.ZipFile:
    """Opens an archive, to be used in a `with` statement.

    Raises:
        DataError: Not a ZIP file, or one with a directory of an absurd size, which would be held in memory.
    """
    with BinaryFile(path) as file:
        if file.size > _MAX_ARCHIVE_BYTES:
            raise DataError(f"{path}: {file.size / 2**20:.0f} MiB, at most {_MAX_ARCHIVE_BYTES >> 20} MiB are expected")
        file.skip(max(0, file.size - _END_BYTES - _LONGEST_COMMENT), "the archive")
        _check_directory(file.take(file.left, "its end"), path)
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise DataError(f"{path}: not a readable ZIP archive ({error})") from error


def read_member(archive: zipfile.ZipFile, name: str, limit: int = _MAX_MEMBER_BYTES) -> bytes:
    """Content of one member.

    Raises:
        DataError: It is missing, damaged, encrypted, or larger than `limit` bytes.
    """
    where = f"{archive.filename}, member {name!r}"
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise DataError(f"{where}: not in the archive") from None
    if info.file_size > limit:
        raise DataError(f"{where}: {info.file_size} bytes when unpacked, at most {limit} are expected")
    if info.compress_type not in _PLAIN or info.flag_bits & _ENCRYPTED:
        raise DataError(f"{where}: encrypted, or compressed in another way than by deflate")
    try:
        with archive.open(info) as file:
            data = file.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, EOFError, struct.error, OSError) as error:
        raise DataError(f"{where}, at byte {info.header_offset}: damaged ({error})") from error
    if len(data) > limit:
        raise DataError(f"{where}: more than the {limit} bytes expected")
    return data


def _check_directory(end: bytes, path: Path) -> None:
    # Whatever could be taken for the end record is checked, since it depends on the rest which of them is.
    at = end.find(_END)
    while at >= 0:
        (size,) = struct.unpack("<I", end[at + 12 : at + 16].ljust(4, b"\0"))
        if size > _MAX_DIRECTORY_BYTES or _ZIP64 in end[max(0, at - 20) : at]:
            raise DataError(f"{path}: a directory of {size} bytes, or in the ZIP64 format: damaged or hostile")
        at = end.find(_END, at + 1)

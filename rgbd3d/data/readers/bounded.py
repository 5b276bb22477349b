"""Files of unknown origin: sizes are checked before memory is taken, and errors name file and offset."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import MAX_FILE_BYTES, DataError, FileBytes, MissingDataError

_RIGID_TOLERANCE = 0.02
_FARTHEST_METRES = 1e5
_LARGEST_SKEW = 0.01  # of the focal length


def read_file(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Content of a file.

    Raises:
        DataError: It is missing, no regular file, or larger than `limit` bytes.
    """
    try:
        if not path.is_file():
            raise MissingDataError(f"{path}: no such file")
        if (size := path.stat().st_size) > limit:
            raise DataError(f"{path}: {size / 2**20:.0f} MiB, at most {limit / 2**20:.0f} MiB are expected")
        return FileBytes(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_text(path: Path, limit: int = 2**24) -> str:
    """Content of a UTF-8 text file.

    Raises:
        DataError: As for `read_file`, or not UTF-8.
    """
    try:
        return read_file(path, limit).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} at byte {error.start}: not a text file") from error


def read_json(path: Path, limit: int = 2**24) -> Any:
    """Content of a JSON file.

    Raises:
        DataError: As for `read_text`, or not JSON.
    """
    text = read_text(path, limit)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error


def list_folder(path: Path) -> list[Path]:
    """What lies in a folder, sorted by name.

    Raises:
        DataError: It cannot be listed.
    """
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise MissingDataError(f"{path}: cannot be listed ({error})") from error


class BinaryFile:
    """A binary file that is read from the front; asking for more than it holds is an error before it is an allocation.

    Args:
        path: The file.

    Raises:
        DataError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def offset(self) -> int:
        """Bytes from the start of the file."""
        return self._file.tell()

    @property
    def left(self) -> int:
        """Bytes up to its end."""
        return self.size - self.offset

    def error(self, message: str) -> DataError:
        """An error that names file and offset, to be raised by the caller."""
        return DataError(f"{self.path} at byte {self.offset}: {message}")

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes, which hold `what`.

        Raises:
            DataError: A negative count, or fewer bytes left.
        """
        self._check(count, what)
        data = self._file.read(count)
        if len(data) != count:
            raise self.error(f"the file ended within {what}")
        return data

    def skip(self, count: int, what: str) -> None:
        """Passes over `count` bytes.

        Raises:
            DataError: As for `take`.
        """
        self._check(count, what)
        self._file.seek(count, 1)

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """The next values, in the notation of `struct`.

        Raises:
            DataError: As for `take`.
        """
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def _check(self, count: int, what: str) -> None:
        if not 0 <= count <= self.left:
            raise self.error(f"{what} would need {count} bytes, {self.left} are left: truncated or corrupted")


def inflate(data: bytes, size: int, where: str) -> bytes:
    """Decompresses zlib data that must hold exactly `size` bytes; inflates at most one more.

    Raises:
        DataError: Not zlib, or another size.
    """
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(data, size + 1)  # zlib takes a limit of 0 for none
    except zlib.error as error:
        raise DataError(f"{where}: not zlib data ({error})") from error
    if len(result) != size:
        raise DataError(f"{where}: holds {'more' if len(result) > size else 'fewer'} than the {size} bytes expected")
    return result


def check_pose(pose: npt.ArrayLike, where: str) -> npt.NDArray[np.float32]:
    """A camera pose.

    Args:
        pose: (4, 4) or its 16 numbers.
        where: Names it in errors.

    Returns:
        float32 (4, 4).

    Raises:
        DataError: Not 16 finite numbers, not a rigid motion, or farther than 100 km from the origin.
    """
    matrix = np.asarray(pose, np.float64)
    if matrix.size != 16:
        raise DataError(f"{where}: {matrix.size} numbers, a 4x4 camera pose is expected")
    matrix = matrix.reshape(4, 4)
    if not np.isfinite(matrix).all():
        raise DataError(f"{where}: the pose has NaN or infinite entries")
    rotation = matrix[:3, :3]
    rigid = np.abs(rotation @ rotation.T - np.eye(3)).max() < _RIGID_TOLERANCE and np.linalg.det(rotation) > 0
    if not rigid or np.abs(matrix[3] - [0, 0, 0, 1]).max() > 1e-4 or np.abs(matrix[:3, 3]).max() > _FARTHEST_METRES:
        raise DataError(f"{where}: the pose is no rigid motion: {matrix.round(4).tolist()}")
    return matrix.astype(np.float32)


def check_intrinsics(matrix: npt.ArrayLike, where: str) -> npt.NDArray[np.float32]:
    """A pinhole camera matrix.

    Args:
        matrix: (3, 3) or (4, 4), or its 9 or 16 numbers.
        where: Names it in errors.

    Returns:
        float32 (3, 3), pixels.

    Raises:
        DataError: Another number of entries, entries that are not finite in float32, focal lengths that are not
            positive, a skew beyond 1 % of the focal length, or a matrix that is transposed or no camera's.
    """
    with np.errstate(over="ignore"):  # infinite then, and refused below
        values = np.asarray(matrix, np.float64).astype(np.float32)
    if values.size not in (9, 16):
        raise DataError(f"{where}: {values.size} numbers, a 3x3 or 4x4 camera matrix is expected")
    values = values.reshape(3, 3) if values.size == 9 else values.reshape(4, 4)[:3, :3]
    pinhole = np.isfinite(values).all() and values[1, 0] == 0 and np.abs(values[2] - [0, 0, 1]).max() < 1e-6
    if not pinhole or min(values[0, 0], values[1, 1]) <= 0 or abs(values[0, 1]) > _LARGEST_SKEW * values[0, 0]:
        raise DataError(f"{where}: not a pinhole camera: {values.tolist()}")
    return values

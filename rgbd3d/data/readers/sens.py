"""The `.sens` container of ScanNet, version 4: header, then per frame a pose, a JPEG and zlib-compressed 16-bit depth.

All numbers are little-endian. The header: version (uint32), name of the sensor (uint64 length, characters), colour
intrinsics, colour extrinsics, depth intrinsics and depth extrinsics (16 float32 each), codecs of colour and depth
(int32), width and height of colour and of depth (uint32), depth units per metre (float32), number of frames (uint64).
A frame: camera-to-world pose (16 float32), two timestamps, sizes of colour and depth in bytes (uint64 each), the bytes.
The IMU records that follow are not read, nor are the extrinsics: in ScanNet they are the identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rgbd3d.data.codec import MAX_PIXELS, DataError, depth_of_pixels
from rgbd3d.data.readers.bounded import BinaryFile, check_intrinsics, inflate

_VERSION = 4
_JPEG, _ZLIB = 2, 1
_LONGEST_SENSOR_NAME = 1024
_MATRIX_BYTES = 64
_FRAME_HEAD = "<16f4Q"
_FRAME_HEAD_BYTES = 96
_LARGEST_PICTURE = 2**26


@dataclass(frozen=True)
class SensHeader:
    """What holds for all frames of a file.

    Attributes:
        color_size: (height, width) of the pictures.
        depth_size: (height, width) of the depth maps.
        intrinsics: float32 (3, 3) of the depth camera, pixels.
        units_per_metre: Depth in the file is metres times this; 1000 in ScanNet.
        frames: How many follow.
    """

    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    intrinsics: npt.NDArray[np.float32]
    units_per_metre: float
    frames: int


@dataclass(frozen=True)
class SensFrame:
    """One frame as it is stored.

    Attributes:
        index: Its number in the file, from 0.
        pose: float32 (4, 4), camera to world; unchecked.
        color: A JPEG file.
        depth: zlib data of uint16 (H, W).
        where: Names file and offset in errors.
    """

    index: int
    pose: npt.NDArray[np.float32]
    color: bytes
    depth: bytes
    where: str

    def decode_depth(self, header: SensHeader) -> Tensor:
        """Depth as float32 (1, H, W), metres; 0 = no measurement.

        Raises:
            DataError: Not zlib, another number of pixels, or a median beyond 50 m.
        """
        height, width = header.depth_size
        pixels = np.frombuffer(inflate(self.depth, 2 * height * width, f"{self.where}, depth"), "<u2")
        return depth_of_pixels(pixels.reshape(height, width), self.where, header.units_per_metre)


def read_sens_header(path: Path) -> SensHeader:
    """Header of a file.

    Raises:
        DataError: Not a `.sens` file of version 4, or one that cannot hold what it claims.
    """
    with BinaryFile(path) as file:
        return _read_header(file)


def read_sens(path: Path, stride: int = 1) -> Iterator[tuple[SensHeader, SensFrame]]:
    """Every `stride`-th frame, each with the header; one at a time is in memory, and others are passed over unread.

    Raises:
        DataError: As for `read_sens_header`; or a frame that is truncated or of an absurd size, after which there is no
            way to find the next one.
    """
    with BinaryFile(path) as file:
        header = _read_header(file)
        for index in range(header.frames):
            where = f"{path} at byte {file.offset}, frame {index}"
            *pose, _, _, color_bytes, depth_bytes = file.unpack(_FRAME_HEAD, f"the head of frame {index}")
            if max(color_bytes, depth_bytes) > _LARGEST_PICTURE:
                raise DataError(f"{where}: colour of {color_bytes} and depth of {depth_bytes} bytes: corrupted")
            if index % stride:
                file.skip(color_bytes + depth_bytes, f"frame {index}")
                continue
            color = file.take(color_bytes, f"colour of frame {index}")
            depth = file.take(depth_bytes, f"depth of frame {index}")
            yield header, SensFrame(index, np.array(pose, np.float32).reshape(4, 4), color, depth, where)


def _read_header(file: BinaryFile) -> SensHeader:
    (version,) = file.unpack("<I", "the version")
    if version != _VERSION:
        raise file.error(f"version {version}, only version {_VERSION} of .sens files is read: another kind of file?")
    (length,) = file.unpack("<Q", "the length of the sensor's name")
    if length > _LONGEST_SENSOR_NAME:
        raise file.error(f"a sensor's name of {length} bytes: corrupted")
    file.skip(length + 2 * _MATRIX_BYTES, "the sensor's name and the colour camera")
    intrinsics = check_intrinsics(file.unpack("<16f", "the intrinsics"), f"{file.path} at byte {file.offset}, depth")
    file.skip(_MATRIX_BYTES, "the depth extrinsics")
    codecs = file.unpack("<2i", "the codecs")
    if codecs != (_JPEG, _ZLIB):
        raise file.error(f"colour and depth codecs {codecs}, only JPEG and zlib {(_JPEG, _ZLIB)} are read")
    width, height, columns, rows, scale = file.unpack("<4If", "the sizes")
    for size in ((height, width), (rows, columns)):
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise file.error(f"pictures of {size[1]} x {size[0]} pixels, the limit is {MAX_PIXELS}: corrupted")
    if not (np.isfinite(scale) and scale > 0):
        raise file.error(f"{scale} depth units per metre: corrupted")
    (frames,) = file.unpack("<Q", "the number of frames")
    if not 0 < frames <= file.left // _FRAME_HEAD_BYTES:
        raise file.error(f"{frames} frames cannot be in the {file.left} bytes that are left: truncated or corrupted")
    return SensHeader((height, width), (rows, columns), intrinsics, scale, frames)

"""Binary PGM and PPM images, as they are: Pillow would rescale those whose largest value is not 255 or 65535."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import MAX_PIXELS, DataError
from rgbd3d.data.readers.bounded import read_file

_HEADER_BYTES = 512
_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d{1,6})" + _GAP + rb"(\d{1,6})" + _GAP + rb"(\d{1,5})\s")


def read_netpbm(path: Path) -> npt.NDArray[Any]:
    """Pixels of a file.

    Args:
        path: A binary PGM (P5) or PPM (P6) file.

    Returns:
        uint8, or uint16 of the big-endian values that the format prescribes; (H, W) of PGM, (H, W, 3) of PPM.

    Raises:
        DataError: Missing, another format, too many pixels, or another number of bytes than the header states.
    """
    data = read_file(path)
    header = _HEADER.match(data[:_HEADER_BYTES])
    if header is None:
        raise DataError(f"{path}: not a binary PGM or PPM file")
    width, height, largest = (int(number) for number in header.groups()[1:])
    if not 0 < width * height <= MAX_PIXELS or not 0 < largest < 2**16:
        raise DataError(f"{path}: {width} x {height} pixels up to {largest}; the limit is {MAX_PIXELS} of 16 bits")
    shape = (height, width) if header[1] == b"5" else (height, width, 3)
    dtype = np.dtype(np.uint8 if largest < 256 else ">u2")
    expected, actual = math.prod(shape) * dtype.itemsize, len(data) - header.end()
    if actual != expected:
        raise DataError(f"{path} at byte {header.end()}: {actual} bytes of pixels instead of {expected}")
    return np.frombuffer(data, dtype, offset=header.end()).reshape(shape).astype(dtype.newbyteorder("="))

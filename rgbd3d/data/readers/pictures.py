"""Folders of picture files: in which order, in which units, and what of a file is stored."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rgbd3d.data.codec import MAX_PIXELS, DataError, FileBytes, MissingDataError
from rgbd3d.data.readers.base import Unit, check_name

UNIT_ROWS = 500
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

_AS_IT_IS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def list_pictures(folder: Path) -> list[str]:
    """Names of the pictures of a folder in alphabetical order; hidden files and other kinds are passed over.

    Raises:
        DataError: It cannot be listed, or a name is not plain.
    """
    return [check_name(name, folder) for name in _list(folder, folders=False) if name.lower().endswith(SUFFIXES)]


def list_folders(folder: Path) -> list[str]:
    """Names of the folders within a folder in alphabetical order, but for hidden ones.

    Raises:
        DataError: It cannot be listed, or a name is not plain.
    """
    return [check_name(name, folder) for name in _list(folder, folders=True)]


def _list(folder: Path, folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir() == folders
            )
    except OSError as error:
        raise MissingDataError(f"{folder}: cannot be listed ({error})") from error


def numbered_units(name: str, split: str, source: str, count: int, rows: int = UNIT_ROWS) -> list[Unit]:
    """Units of at most `rows` that share `count` items of one source."""
    return [
        Unit(f"{name}-{start:07d}", split, source, stop - start, start, stop)
        for start in range(0, count, rows)
        for stop in [min(start + rows, count)]
    ]


def as_stored(data: bytes, where: str) -> bytes | Tensor:
    """What a row holds of a picture: JPEG and PNG files as they are, WebP decoded.

    Args:
        data: Content of the file.
        where: Names it in errors.

    Returns:
        The same bytes, or uint8 (3, H, W).

    Raises:
        DataError: None of the three, or a WebP file that is damaged or too large. JPEG and PNG are not looked into.
    """
    if data.startswith(_AS_IT_IS):
        return FileBytes(data, where)
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise DataError(f"{where}: neither JPEG nor PNG nor WebP; convert it")
    try:
        picture = Image.open(io.BytesIO(data), formats=("WEBP",))
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(f"{where}: {picture.width} x {picture.height} pixels, the limit is {MAX_PIXELS}")
        pixels = np.array(picture.convert("RGB"))
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: far more than {MAX_PIXELS} pixels, which is the limit; make it smaller") from error
    except (OSError, SyntaxError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: not a readable WebP image ({error})") from error
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

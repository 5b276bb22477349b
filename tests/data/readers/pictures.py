"""Picture files for the tests of readers: real ones in other formats, small ones, hostile ones."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def as_file(pixels: np.ndarray | Path, kind: str, **options: Any) -> bytes:
    """A file of format `kind` with these pixels (H, W) or (H, W, 3), or with those of another file."""
    buffer = io.BytesIO()
    picture = Image.open(pixels) if isinstance(pixels, Path) else Image.fromarray(pixels)
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


def noise(seed: int, kind: str = "JPEG", size: tuple[int, int] = (12, 16)) -> bytes:
    """A small picture, different for each seed."""
    return as_file(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8), kind)


def bomb(width: int = 100_000, height: int = 100_000, color: int = 2) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def put(path: Path, data: bytes | str) -> Path:
    """Writes a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path

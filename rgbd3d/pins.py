"""Pins of files: the size and sha256 that a card promises."""

from __future__ import annotations

from pathlib import Path

from rgbd3d.cards import WeightFile
from rgbd3d.files import sha256


def pin(path: Path) -> WeightFile:
    """Size and sha256 of a file, as a card pins it."""
    return WeightFile(sha256=sha256(path), bytes=path.stat().st_size)


def check_pin(path: Path, name: str, expected: WeightFile) -> None:
    """Compares a file with its pin.

    Raises:
        ValueError: Its size or sha256 differs.
    """
    size = path.stat().st_size
    if size != expected.bytes:
        raise ValueError(f"{name} has {size} bytes instead of {expected.bytes}")
    found = pin(path)
    if found.sha256 != expected.sha256:
        raise ValueError(f"{name} has sha256 {found.sha256} instead of {expected.sha256}")

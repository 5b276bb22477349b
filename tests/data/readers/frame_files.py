"""Small frames as files, and all rows of a reader."""

from pathlib import Path

import numpy as np
from PIL import Image

from rgbd3d.data.readers.base import Reader, Row, Unit


def rows_of(reader: Reader, unit: Unit) -> list[Row]:
    return [row() for row in reader.read(unit)]


def all_rows(reader: Reader) -> list[Row]:
    return [row for unit in reader.units() for row in rows_of(reader, unit)]


def save_posed(stem: Path, depth: np.ndarray, color: np.ndarray | None = None, pose: np.ndarray | None = None) -> None:
    """Writes STEM.color.png, STEM.depth.png (uint16, as given) and STEM.pose.txt."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    color = np.full((*depth.shape, 3), 77, np.uint8) if color is None else color
    Image.fromarray(color).save(f"{stem}.color.png", compress_level=1)
    Image.fromarray(depth).save(f"{stem}.depth.png", compress_level=1)
    Path(f"{stem}.pose.txt").write_text(matrix_text(np.eye(4) if pose is None else pose))


def matrix_text(matrix: np.ndarray) -> str:
    return "\n".join(" ".join(repr(float(value)) for value in row) for row in np.asarray(matrix)) + "\n"


def png(path: Path) -> np.ndarray:
    return np.array(Image.open(path))

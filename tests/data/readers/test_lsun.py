"""LSUN as its official script exports it, with pictures of other data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import as_file, noise, put

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.lsun import LSUNReader

KEYS = ["0a1b2cd0", "0a1b2cd1", "0a9b2cd2", "f01234d3"]


def rows(reader: LSUNReader) -> list[Any]:
    return [(unit.split, lazy()) for unit in reader.units() for lazy in reader.read(unit)]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two categories, train nested and val flat, and a flat test."""
    for category in ("tower", "bedroom"):
        for key in KEYS:
            put(tmp_path / f"{category}_train" / "/".join(key[:6]) / f"{key}.webp", noise(1))
        put(tmp_path / f"{category}_val" / "00.webp", noise(2))
    put(tmp_path / "test/00.webp", noise(3))
    return tmp_path


def test_export(raw: Path):
    reader = LSUNReader(raw)
    assert [(unit.name, unit.split) for unit in reader.units()] == [
        ("bedroom_train-0-a", "train"),
        ("bedroom_train-f-0", "train"),
        ("tower_train-0-a", "train"),
        ("tower_train-f-0", "train"),
        ("bedroom_val-0000000", "val"),
        ("tower_val-0000000", "val"),
        ("test-0000000", "test"),
    ]
    found = [(split, row["scene_id"], row["frame_id"], row.get("class_id")) for split, row in rows(reader)]
    nested = [("0-a", 0), ("0-a", 1), ("0-a", 2), ("f-0", 0)]
    assert found == [
        *(("train", f"bedroom_train-{unit}", index, 0) for unit, index in nested),
        *(("train", f"tower_train-{unit}", index, 1) for unit, index in nested),
        ("val", "bedroom_val-0000000", 0, 0),
        ("val", "tower_val-0000000", 0, 1),
        ("test", "test-0000000", 0, None),
    ]
    assert len({row[:3] for row in found}) == len(found)
    assert len(rows(LSUNReader(raw, Options(stride=2)))) == 2 * 3 + 3


def test_what_is_really_webp_is_decoded(raw: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    put(raw / "test/00.webp", as_file(pixels, "WEBP", lossless=True))
    *_, (_, row) = rows(LSUNReader(raw))
    assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), pixels)


def test_databases_are_not_read(tmp_path: Path):
    put(tmp_path / "bedroom_train_lmdb/data.mdb", b"")
    with pytest.raises(DataError, match=r"no pictures in folders like .* export the databases with `python data\.py"):
        LSUNReader(tmp_path).units()


def test_links_are_not_followed(raw: Path):
    (raw / "tower_train/f/0/loop").symlink_to(raw, target_is_directory=True)
    assert len(rows(LSUNReader(raw))) == 11

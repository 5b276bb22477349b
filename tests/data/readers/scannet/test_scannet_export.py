"""Frames of ScanNet's exported folders."""

from pathlib import Path

import numpy as np
import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.scannet import ScanNetReader
from tests.data.readers.frame_files import matrix_text, png, rows_of
from tests.data.readers.scannet.real_frames import FRAMES, INTRINSICS, LOST, SIZE, TRAIN, VAL, pose, train_ids
from tests.data.readers.scannet_files import png_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


@pytest.mark.parametrize("space", ["nyu40", "scannet20"])
def test_an_export_gives_its_original_files(export: Path, nyu: Path, golden: Path, space: str) -> None:
    reader = ScanNetReader(export, Options(label_space=space))
    units = reader.units()
    assert [(unit.name, unit.split, unit.rows) for unit in units] == [(TRAIN, "train", 3), (VAL, "val", 3)]
    for number, (row, name) in enumerate(zip(rows_of(reader, units[1]), FRAMES, strict=True)):
        assert row["image"] == (nyu / f"color/{name:04d}.jpg").read_bytes()
        assert row["depth"] == (nyu / f"depth/{name:04d}.png").read_bytes()
        np.testing.assert_array_equal(row["intrinsics"].numpy(), INTRINSICS)
        np.testing.assert_allclose(row["pose"].numpy(), pose(number), atol=1e-6)
        assert (row["scene_id"], row["frame_id"]) == (VAL, 100 * number)
        np.testing.assert_array_equal(row["semantic"].numpy(), train_ids(nyu, name, space, golden))
        labels = png(nyu / f"label40/{name:04d}.png").astype(int)
        side = 1 + (np.arange(SIZE[1]) >= SIZE[1] // 2)
        np.testing.assert_array_equal(row["instance"].numpy(), np.where(labels > 0, 1000 * labels + side, 0))


@pytest.mark.parametrize(("stride", "frames"), [(25, [0, 100, 200]), (100, [0, 100, 200]), (200, [0, 200])])
def test_the_stride_of_an_export_counts_frames_of_the_stream(export: Path, stride: int, frames: list[int]) -> None:
    reader = ScanNetReader(export, Options(stride=stride))
    assert [row["frame_id"] for row in rows_of(reader, reader.units()[0])] == frames


def test_frames_of_an_export_without_tracking_are_left_out(export: Path) -> None:
    (export / TRAIN / "pose" / "000100.txt").write_text(matrix_text(LOST))
    reader = ScanNetReader(export)
    assert [row["frame_id"] for row in rows_of(reader, reader.units()[0])] == [0, 200]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pose/000100.txt", b"1 0 0", "000100.txt: 3 numbers"),
        ("pose/000100.txt", b"one two", "000100.txt: not a matrix of numbers"),
        ("pose/000100.txt", b"nan " * 16, "000100.txt: the pose has NaN"),
        ("color/000100.jpg", b"", "000100.jpg: not a readable"),
        ("depth/000100.png", png_bytes(np.zeros(SIZE, np.uint8)), "000100.png: depth must be a 16-bit"),
        ("label/000100.png", png_bytes(np.full(SIZE, 41, np.uint8)), "000100.png: labels from 41 to 41"),
        ("instance/000100.png", None, "000100.png: no such file"),
    ],
)
def test_an_unusable_file_concerns_its_row(export: Path, file: str, content: bytes | None, message: str) -> None:
    path = export / TRAIN / file
    path.unlink() if content is None else path.write_bytes(content)
    reader = ScanNetReader(export)
    first, second, third = list(reader.read(reader.units()[0]))
    with pytest.raises(DataError, match=message):
        second()
    assert (first()["frame_id"], third()["frame_id"]) == (0, 200)

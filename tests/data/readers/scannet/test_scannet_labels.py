"""Label maps beside ScanNet's streams."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.scannet import ScanNetReader
from tests.data.readers.frame_files import rows_of
from tests.data.readers.mutations import assert_survives
from tests.data.readers.scannet.real_frames import INTRINSICS, SIZE, TRAIN, VAL, write_stream
from tests.data.readers.scannet_files import SPARE_ID, png_bytes, raw_ids, sens_bytes, write_tsv, write_zip

pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


def replace_labels(release: Path, members: dict[str, bytes]) -> ScanNetReader:
    write_zip(release / "scans" / VAL / f"{VAL}_2d-label-filt.zip", members)
    return ScanNetReader(release)


def test_ids_without_a_class_are_ignored(release: Path) -> None:
    labels = np.full(SIZE, SPARE_ID, np.uint16)
    labels[0, 0] = raw_ids(np.array(5))
    reader = replace_labels(release, {"label-filt/0.png": png_bytes(labels)})
    (row,) = rows_of(reader, reader.units()[1])
    assert row["semantic"][0, :2].tolist() == [class_names("nyu40").index("chair"), 255]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "not in the archive"),
        ({"label-filt/0.png": b"\x89PNG"}, "not a readable JPEG or PNG"),
        ({"label-filt/0.png": bytes(2**25 + 1)}, "33554433 bytes when unpacked, at most"),
        ({"label-filt/0.png": png_bytes(np.full(SIZE, 60_000, np.uint16))}, "labels from 60000 to 60000"),
        ({"label-filt/0.png": png_bytes(np.zeros((100, 100), np.uint16))}, "another view than depth"),
    ],
)
def test_unusable_label_maps_are_refused(release: Path, members: dict[str, bytes], message: str) -> None:
    reader = replace_labels(release, members)
    with pytest.raises(DataError, match=rf"2d-label-filt.zip, member 'label-filt/0.png'.*{message}"):
        rows_of(reader, reader.units()[1])


def test_a_label_archive_with_an_absurd_directory_is_refused(release: Path) -> None:
    path = release / "scans" / VAL / f"{VAL}_2d-label-filt.zip"
    data = bytearray(path.read_bytes())
    data[-10:-6] = (2**30).to_bytes(4, "little")
    path.write_bytes(data)
    reader = ScanNetReader(release)
    with pytest.raises(DataError, match=r"2d-label-filt.zip: a directory of 1073741824 bytes"):
        rows_of(reader, reader.units()[1])


def test_a_member_that_holds_more_than_it_says_is_refused(release: Path) -> None:
    """A bomb with a false size in the directory and in the member's own header."""
    path = release / "scans" / VAL / f"{VAL}_2d-label-filt.zip"
    write_zip(path, {"label-filt/0.png": bytes(2**25 + 1)})
    path.write_bytes(path.read_bytes().replace((2**25 + 1).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    reader = ScanNetReader(release)
    with pytest.raises(DataError, match=r"2d-label-filt.zip, member 'label-filt/0.png'"):
        rows_of(reader, reader.units()[1])


def test_labels_need_the_tsv(release: Path) -> None:
    (release / "scannetv2-labels.combined.tsv").unlink()
    with pytest.raises(DataError, match=r"no scannetv2-labels.combined.tsv; it comes with the ScanNet download"):
        ScanNetReader(release)


@pytest.mark.parametrize("text", ["", "id\tnyu40id\n1\t1\n", "id\traw_category\tnyu40id\n1\twall\tfour\n"])
def test_a_damaged_tsv_is_refused(release: Path, text: str) -> None:
    (release / "scannetv2-labels.combined.tsv").write_text(text)
    with pytest.raises(DataError, match=r"scannetv2-labels.combined.tsv"):
        ScanNetReader(release)


def test_a_scene_that_lacks_the_labels_of_its_split_is_refused(release: Path, nyu: Path) -> None:
    write_stream(release / "scans" / "scene0001_00", nyu, labelled=False)
    reader = ScanNetReader(release)
    train, bare, *_ = reader.units()
    assert rows_of(reader, train)
    with pytest.raises(DataError, match="scene0001_00: no semantic and no instance labels, which other scenes"):
        rows_of(reader, bare)


def read_scene(path: Path) -> None:
    """Rows of the scene whose file was damaged."""
    reader = ScanNetReader(path.parents[2], Options(stride=1))
    for row in reader.read(reader.units()[0]):
        row()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A release of one small frame; the label archive is not compressed well, so its structure is hit often."""
    raw = tmp_path / "small"
    folder = raw / "scans" / TRAIN
    folder.mkdir(parents=True)
    labels = np.random.default_rng(0).integers(0, 41, (12, 16)).astype(np.uint16)
    color = codec.encode_color(torch.full((3, 12, 16), 99, dtype=torch.uint8))
    depth = np.full((12, 16), 2000, np.uint16)
    (folder / f"{TRAIN}.sens").write_bytes(sens_bytes([(np.eye(4), color, depth)], (12, 16), INTRINSICS))
    write_zip(folder / f"{TRAIN}_2d-label-filt.zip", {"label-filt/0.png": png_bytes(raw_ids(labels))})
    write_tsv(raw)
    return raw


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_label_archives_are_read_or_refused(small: Path, count: int) -> None:
    folder = small / "scans" / TRAIN
    original = small / f"{TRAIN}_2d-label-filt.zip"
    shutil.move(folder / original.name, original)
    assert zipfile.is_zipfile(original)
    assert_survives(original, count, read_scene, folder, seed=count)

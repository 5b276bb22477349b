"""Folders of pictures, and ImageNet as one of them; the pictures are real ones of another data set."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mutations import assert_survives
from pictures import as_file, bomb, noise, put
from PIL import Image
from torchvision.datasets import ImageFolder

from rgbd3d.data.codec import DataError, decode_color
from rgbd3d.data.readers.base import Options, Reader
from rgbd3d.data.readers.image_folder import ImageFolderReader
from rgbd3d.data.readers.imagenet import ImageNetReader
from rgbd3d.data.readers.pictures import UNIT_ROWS, as_stored
from rgbd3d.data.schema import decode_row, encode_sample

WNIDS = ["n01440764", "n01443537", "n15075141"]


def rows(reader: Reader) -> list[Any]:
    return [lazy() for unit in reader.units() for lazy in reader.read(unit)]


@pytest.fixture
def imagenet(rgbd_frames: Path, tmp_path: Path) -> Path:
    """The layout of Kaggle with two pictures per class of train, three of val, and two of test."""
    photographs = sorted((rgbd_frames / "labelled/nyuv2_train795/color").glob("*.jpg"))
    data = tmp_path / "raw/ILSVRC/Data/CLS-LOC"
    for index, wnid in enumerate(WNIDS):
        for number in range(2):
            put(data / f"train/{wnid}/{wnid}_{number}.JPEG", photographs[2 * index + number].read_bytes())
        put(data / f"val/ILSVRC2012_val_{index + 1:08d}.JPEG", photographs[10 + index].read_bytes())
    for number in range(2):
        put(data / f"test/ILSVRC2012_test_{number + 1:08d}.JPEG", photographs[20 + number].read_bytes())
    lines = [f"ILSVRC2012_val_{index + 1:08d},{wnid} 1 2 3 4 " for index, wnid in enumerate(reversed(WNIDS))]
    put(tmp_path / "raw/LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *lines]))
    return tmp_path / "raw"


def test_imagenet(imagenet: Path):
    reader = ImageNetReader(imagenet)
    assert [(unit.name, unit.split, unit.rows) for unit in reader.units()] == [
        *((f"{wnid}-0000000", "train", 2) for wnid in WNIDS),
        ("val-0000000", "val", 3),
        ("test-0000000", "test", 2),
    ]
    found = rows(reader)
    assert [row.get("class_id") for row in found] == [0, 0, 1, 1, 2, 2, 2, 1, 0, None, None]
    assert [(row["scene_id"], row["frame_id"]) for row in found[:3]] == [(WNIDS[0], 0), (WNIDS[0], 1), (WNIDS[1], 0)]
    assert found[1]["image"] == (imagenet / f"ILSVRC/Data/CLS-LOC/train/{WNIDS[0]}/{WNIDS[0]}_1.JPEG").read_bytes()
    stored = decode_row(encode_sample(found[1]))
    assert torch.equal(stored["image"], decode_color(found[1]["image"], ""))
    assert stored["class_id"] == 0


def test_imagenet_classes_are_those_of_torchvision(imagenet: Path):
    theirs = ImageFolder(imagenet / "ILSVRC/Data/CLS-LOC/train").samples
    ours = [row["class_id"] for row in rows(ImageNetReader(imagenet)) if row["scene_id"] in WNIDS]
    assert ours == [label for _, label in theirs]


@pytest.mark.parametrize("part", ["ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_from_further_down(imagenet: Path, part: str):
    reader = ImageNetReader(imagenet / part)
    assert [row["class_id"] for row in rows(reader) if row["scene_id"] == "val"] == [2, 1, 0]


def test_imagenet_with_sorted_val(imagenet: Path):
    (imagenet / "LOC_val_solution.csv").unlink()
    val = imagenet / "ILSVRC/Data/CLS-LOC/val"
    for number, wnid in enumerate(WNIDS, 1):
        path = val / f"ILSVRC2012_val_{number:08d}.JPEG"
        put(val / wnid / path.name, path.read_bytes())
        path.unlink()
    found = [row for row in rows(ImageNetReader(imagenet)) if row["scene_id"] != "test"][6:]
    assert [(row["class_id"], row["scene_id"]) for row in found] == list(enumerate(WNIDS))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"val: no class folders, and no LOC_val_solution\.csv"),
        ("ImageId,PredictionString", r"ILSVRC2012_val_00000001\.JPEG: not listed in LOC_val_solution\.csv"),
        ("ILSVRC2012_val_00000001,n99999999 1", "the class 'n99999999', of which train has no folder"),
        ('"' + "a" * 200_000, r"LOC_val_solution\.csv: not a table"),
    ],
)
def test_bad_solution(imagenet: Path, text: str | None, message: str):
    path = imagenet / "LOC_val_solution.csv"
    path.unlink() if text is None else put(path, text)
    with pytest.raises(DataError, match=message):
        rows(ImageNetReader(imagenet))


def test_not_imagenet(tmp_path: Path):
    with pytest.raises(DataError, match="no 'train' in it nor in ILSVRC/Data/CLS-LOC or Data/CLS-LOC; pass the folder"):
        ImageNetReader(tmp_path)


# ---------------------------------------------------------------------------------------------------------- any folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["b.jpg", "a.png"], [("train", "raw", 0, None), ("train", "raw", 1, None)]),
        (["cat/1.jpg", "ant/1.JPEG"], [("train", "ant", 0, 0), ("train", "cat", 0, 1)]),
        (
            ["train/cat/1.jpg", "train/ant/1.jpg", "validation/cat/5.jpg"],
            [("train", "ant", 0, 0), ("train", "cat", 0, 1), ("val", "cat", 0, 1)],
        ),
        (["train/1.jpg", "test/1.jpg"], [("train", "train", 0, None), ("test", "test", 0, None)]),
        ([".hidden/1.jpg", "cat/.1.jpg", "cat/1.jpg", "cat/notes.txt", "cat/deeper/2.jpg"], [("train", "cat", 0, 0)]),
    ],
)
def test_layouts(tmp_path: Path, files: list[str], expected: list[Any]):
    for number, name in enumerate(files):
        put(tmp_path / "raw" / name, noise(number, "PNG" if name.endswith("png") else "JPEG"))
    reader = ImageFolderReader(tmp_path / "raw")
    found = [(unit.split, lazy()) for unit in reader.units() for lazy in reader.read(unit)]
    assert [(split, row["scene_id"], row["frame_id"], row.get("class_id")) for split, row in found] == expected


def test_units_of_a_large_folder(tmp_path: Path):
    for number in range(2 * UNIT_ROWS + 1):
        put(tmp_path / f"{number:05d}.jpg", b"")
    reader = ImageFolderReader(tmp_path)
    units = reader.units()
    assert [(unit.start, unit.stop) for unit in units] == [(0, 500), (500, 1000), (1000, 1001)]
    assert sum(len(list(reader.read(unit))) for unit in units) == 2 * UNIT_ROWS + 1
    assert [unit.rows for unit in ImageFolderReader(tmp_path, Options(stride=3)).units()] == [334]


def test_webp_is_decoded(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    put(tmp_path / "a.webp", as_file(pixels, "WEBP", lossless=True))
    (row,) = rows(ImageFolderReader(tmp_path))
    assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), pixels)
    assert torch.equal(decode_row(encode_sample(row, quality=None))["image"], row["image"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither JPEG nor PNG nor WebP"),
        (b"GIF89a", "neither JPEG nor PNG nor WebP"),
        (as_file(np.zeros((9, 7, 3), np.uint8), "WEBP")[:-20], "not a readable WebP image"),
        (b"RIFF\x10\0\0\0WEBPVP8L", "not a readable WebP image"),
        # 16384 x 16384 in the header of a canvas with a small picture.
        (b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0", "WebP image|far more than"),
    ],
)
def test_bad_pictures(data: bytes, message: str):
    with pytest.raises(DataError, match=rf"a\.webp: .*({message})"):
        as_stored(data, "a.webp")


def test_bomb(tmp_path: Path):
    put(tmp_path / "a.png", bomb())
    with pytest.raises(DataError, match="far more than 67108864 pixels"):
        encode_sample(rows(ImageFolderReader(tmp_path))[0])


def test_want_of_memory_is_no_bad_picture(monkeypatch: pytest.MonkeyPatch):
    def fail(*_args: object, **_kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(MemoryError):
        as_stored(b"RIFF\0\0\0\0WEBP", "a.webp")


def test_bad_folders(tmp_path: Path):
    with pytest.raises(DataError, match=r"no \.jpg, \.jpeg, \.png or \.webp files"):
        ImageFolderReader(tmp_path).units()
    put(tmp_path / "a.jpg", noise(0))
    put(tmp_path / "cat/a.jpg", noise(0))
    with pytest.raises(DataError, match=r"holds pictures and folders \('cat'\)"):
        ImageFolderReader(tmp_path).units()
    (tmp_path / "a.jpg").rename(tmp_path / "cat/a\n.jpg")
    with pytest.raises(DataError, match=r"cat: the name 'a\\n\.jpg' is not a plain name"):
        ImageFolderReader(tmp_path).units()
    with pytest.raises(DataError, match="not a folder of pictures"):
        ImageFolderReader(tmp_path / "cat/a\n.jpg")


def test_no_folder_beside_the_splits_vanishes(tmp_path: Path):
    for name in ("train/cat/a.jpg", "validation/cat/a.jpg", "more/cat/a.jpg"):
        put(tmp_path / name, noise(0))
    put(tmp_path / "notes/readme.txt", "no picture")
    with pytest.raises(DataError, match=r"\['more'\] beside \['train', 'validation'\]: of which split"):
        ImageFolderReader(tmp_path).units()
    (tmp_path / "more").rename(tmp_path / "val")
    with pytest.raises(DataError, match="'val' and 'validation' are the same split"):
        ImageFolderReader(tmp_path).units()


def test_names_that_are_not_unicode_are_refused(tmp_path: Path):
    put(tmp_path / os.fsdecode(b"cat\xff") / "a.jpg", noise(0))
    with pytest.raises(DataError, match=r"the name 'cat\\udcff' is not a plain name"):
        ImageFolderReader(tmp_path).units()


def survive(tmp_path: Path, count: int) -> None:
    """Damaged WebP files, the only ones that are decoded here."""
    original = put(tmp_path / "original/a.webp", as_file(np.zeros((64, 64, 3), np.uint8), "WEBP", lossless=True))
    assert_survives(original, count, lambda path: as_stored(path.read_bytes(), str(path)), tmp_path)


def test_mutations(tmp_path: Path):
    survive(tmp_path, 100)


@pytest.mark.slow
def test_many_mutations(tmp_path: Path):
    survive(tmp_path, 2500)

"""ADE20K: a real image of the full release, and the same one in the benchmark's layout."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import as_file, bomb, put
from PIL import Image

from rgbd3d.data.codec import DataError, decode_color
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.ade20k import ADE20KReader, _class_of
from rgbd3d.data.readers.base import Options
from rgbd3d.data.schema import encode_sample

STEM = "ADE_train_00016869"
NAMES = class_names("ade20k150")


@pytest.fixture(scope="module")
def sample(rgbd_frames: Path) -> Path:
    return rgbd_frames / "labelled/ade20k"


@pytest.fixture
def full(sample: Path, tmp_path: Path) -> Path:
    """The full release, with one image."""
    folder = tmp_path / "ADE20K_2021_17_01/images/ADE/training/urban/street"
    folder.mkdir(parents=True)
    for path in sample.iterdir():
        shutil.copyfile(path, folder / path.name)
    return tmp_path / "ADE20K_2021_17_01"


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """The benchmark, with two images of train and one of val."""
    raw = tmp_path / "ADEChallengeData2016"
    rng = np.random.default_rng(0)
    for split, number in (("training", 1), ("training", 20210), ("validation", 7)):
        stem = f"{split}/ADE_{'val' if split == 'validation' else 'train'}_{number:08d}"
        put(raw / f"images/{stem}.jpg", as_file(rng.integers(0, 256, (30, 40, 3), np.uint8), "JPEG"))
        put(raw / f"annotations/{stem}.png", as_file(rng.integers(0, 151, (30, 40), np.uint8), "PNG"))
    return raw


def rows(reader: ADE20KReader) -> list[Any]:
    return [lazy() for unit in reader.units() for lazy in reader.read(unit)]


def stored_labels(raw: Path, stem: str, folder: str = "annotations") -> np.ndarray:
    return np.array(Image.open(raw / folder / f"{stem}.png"))


def test_full_release(full: Path, sample: Path):
    reader = ADE20KReader(full)
    (unit,) = reader.units()
    assert (unit.name, unit.split, unit.rows) == ("images-ADE-training-urban-street-0000000", "train", 1)
    (row,) = rows(reader)
    assert (row["scene_id"], row["frame_id"]) == ("street", 16869)
    assert row["image"] == (sample / f"{STEM}.jpg").read_bytes()
    red, green, blue = np.array(Image.open(sample / f"{STEM}_seg.png")).astype(int).transpose(2, 0, 1)
    assert np.array_equal(row["instance"].numpy(), blue)
    # The numbers of the classes in the JSON file are an independent statement about the pixels.
    numbers = red // 10 * 256 + green
    objects = json.loads((sample / f"{STEM}.json").read_text())["annotation"]["object"]
    semantic = row["semantic"].numpy()
    for name, number in {(entry["name"], entry["name_ndx"]) for entry in objects if not entry["parts"]["part_level"]}:
        first = name.split(", ")[0]
        expected = {NAMES.index(first)} if first in NAMES else {255}
        assert set(semantic[numbers == number].tolist()) == expected, name
    assert {NAMES[index] for index in np.unique(semantic) if index != 255} == {
        "ashcan", "building", "car", "minibike", "person", "road", "sidewalk", "signboard", "sky", "streetlight",
        "traffic light", "tree",
    }  # fmt: skip
    assert (semantic[numbers == 0] == 255).all()
    # So are the polygons of the cars, though something else stands before the middle of some.
    cars = [entry["polygon"] for entry in objects if entry["name"].startswith("car,")]
    hits = [semantic[int(np.mean(car["y"])), int(np.mean(car["x"]))] == NAMES.index("car") for car in cars]
    assert np.mean(hits) > 0.6


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("door", "door"),
        ("double door", "door"),
        ("window", "windowpane"),
        ("windowpane, window", "windowpane"),
        ("television receiver, television, television set, tv", "television"),
        ("counter", "counter"),
        ("screen", "screen"),
        ("central reservation", None),
        ("", None),
    ],
)
def test_names_of_the_full_release(name: str, expected: str | None):
    assert _class_of(name) == (255 if expected is None else NAMES.index(expected))


def test_benchmark(benchmark: Path):
    reader = ADE20KReader(benchmark)
    assert [(unit.name, unit.split, unit.rows) for unit in reader.units()] == [
        ("images-training-0000000", "train", 2),
        ("images-validation-0000000", "val", 1),
    ]
    found = rows(reader)
    assert [(row["scene_id"], row["frame_id"]) for row in found] == [
        ("training", 1),
        ("training", 20210),
        ("validation", 7),
    ]
    stored = stored_labels(benchmark, "training/ADE_train_00000001")
    assert np.array_equal(found[0]["semantic"].numpy(), np.where(stored == 0, 255, stored.astype(int) - 1))
    assert "instance" not in found[0]
    assert len(rows(ADE20KReader(benchmark, Options(stride=2)))) == 2


def test_instances_of_the_benchmark(benchmark: Path):
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:10, :, :2], pixels[10:20, :, :2], pixels[20:25, :, :2] = (13, 1), (13, 2), (0, 5)
    for path in (benchmark / "images").glob("*/*.jpg"):
        put(benchmark / "annotations_instance" / path.parent.name / f"{path.stem}.png", as_file(pixels, "PNG"))
    instance = rows(ADE20KReader(benchmark))[0]["instance"].numpy()
    assert np.array_equal(instance[:, 0], [13 * 256 + 1] * 10 + [13 * 256 + 2] * 10 + [0] * 10)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_empty(tmp_path: Path):
    with pytest.raises(DataError, match="no images in images/training or images/ADE/training; pass the folder"):
        ADE20KReader(tmp_path).units()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (as_file(np.full((30, 40), 151, np.uint8), "PNG"), "labels from 151 to 151, but .* ends at 150"),
        (bomb(color=0), "far more than 67108864 pixels"),
        (b"", "not a readable"),
    ],
)
def test_bad_labels(benchmark: Path, data: bytes, message: str):
    put(benchmark / "annotations/training/ADE_train_00000001.png", data)
    with pytest.raises(DataError, match=rf"ADE_train_00000001\.png: .*{message}"):
        rows(ADE20KReader(benchmark))


def test_missing_labels(benchmark: Path):
    (benchmark / "annotations/validation/ADE_val_00000007.png").unlink()
    with pytest.raises(DataError, match=r"ADE_val_00000007\.png: no such file"):
        rows(ADE20KReader(benchmark))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON file"),
        ('{"annotation": {"object": [{}]}}', "no list of objects"),
        ('{"annotation": null}', "no list of objects"),
        ('{"annotation": {"object": [{"name_ndx": [1], "name": "a"}]}}', "no list of objects"),
        ('{"annotation": {"object": [{"name_ndx": "1", "name": "a"}]}}', "must be a whole number"),
    ],
)
def test_bad_json(full: Path, text: str, message: str):
    put(full / f"images/ADE/training/urban/street/{STEM}.json", text)
    with pytest.raises(DataError, match=rf"{STEM}\.json: .*{message}"):
        rows(ADE20KReader(full))


def test_bomb_as_segmentation(full: Path):
    put(full / f"images/ADE/training/urban/street/{STEM}_seg.png", bomb())
    with pytest.raises(DataError, match=rf"{STEM}_seg\.png: .*far more than 67108864 pixels"):
        rows(ADE20KReader(full))


def test_sizes_have_to_agree(full: Path):
    path = full / f"images/ADE/training/urban/street/{STEM}.jpg"
    small = decode_color(path.read_bytes(), "").permute(1, 2, 0)[::2].contiguous().numpy()
    put(path, as_file(small, "JPEG"))
    with pytest.raises(DataError, match="maps differ"):
        encode_sample(rows(ADE20KReader(full))[0])

"""Cityscapes: four real frames at half size in the official layout, with cameras and disparities made up."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import as_file, bomb, put
from PIL import Image

from rgbd3d.data.codec import DataError, decode_color
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.cityscapes import CityscapesReader
from rgbd3d.data.schema import decode_row, encode_sample

STEMS = [f"aachen_{number:06d}_000019" for number in range(4)]
FX, BASELINE = 1131.26, 0.209313
CAMERA = {
    "extrinsic": {"baseline": BASELINE, "pitch": 0.03, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": -0.02, "z": 1.22},
    "intrinsic": {"fx": FX, "fy": 1132.65, "u0": 548.49, "v0": 256.57},
}
CAR, ROAD = 26, 7


@pytest.fixture(scope="module")
def sample(rgbd_frames: Path) -> Path:
    return rgbd_frames / "labelled/cityscapes"


@pytest.fixture(scope="module")
def original(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of train, one of val; no cameras."""
    folder = tmp_path_factory.mktemp("cityscapes")
    for number, stem in enumerate(STEMS):
        place = Path("val/frankfurt" if number == 3 else "train/aachen")
        name = stem.replace("aachen", place.name)
        colour = as_file(sample / f"{stem}_leftImg8bit.jpg", "PNG", compress_level=1)
        put(folder / "leftImg8bit" / place / f"{name}_leftImg8bit.png", colour)
        for kind in ("labelIds", "instanceIds"):
            label = folder / "gtFine" / place / f"{name}_gtFine_{kind}.png"
            label.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample / f"{stem}_gtFine_{kind}.png", label)
    return folder


@pytest.fixture
def raw(original: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(shutil.copytree(original, tmp_path / "cityscapes"))


def with_stereo(raw: Path, steps: np.ndarray) -> None:
    """The other two packages: all frames get the same camera and disparities."""
    disparity = as_file(steps, "PNG")
    for path in (raw / "leftImg8bit").glob("*/*/*.png"):
        place = path.parent.relative_to(raw / "leftImg8bit")
        stem = path.name.removesuffix("_leftImg8bit.png")
        put(raw / "camera" / place / f"{stem}_camera.json", json.dumps(CAMERA))
        put(raw / "disparity" / place / f"{stem}_disparity.png", disparity)


def rows(reader: CityscapesReader) -> list:
    return [lazy() for unit in reader.units() for lazy in reader.read(unit)]


def test_units(raw: Path):
    units = CityscapesReader(raw).units()
    assert [(unit.name, unit.split, unit.rows) for unit in units] == [
        ("aachen-0000000", "train", 3),
        ("frankfurt-0000000", "val", 1),
    ]
    assert all((raw / unit.source).is_dir() for unit in units)
    assert [unit.rows for unit in CityscapesReader(raw, Options(stride=2)).units()] == [2, 1]


def test_real_frames(raw: Path, sample: Path):
    frames = rows(CityscapesReader(raw))
    assert [(row["scene_id"], row["frame_id"]) for row in frames] == [
        ("aachen_000000", 19),
        ("aachen_000001", 19),
        ("aachen_000002", 19),
        ("frankfurt_000003", 19),
    ]
    names = class_names("cityscapes19")
    for row, stem in zip(frames, STEMS, strict=True):
        colour = np.array(Image.open(sample / f"{stem}_leftImg8bit.jpg"))
        assert np.array_equal(decode_color(row["image"], stem).permute(1, 2, 0).numpy(), colour)
        raw_ids = np.array(Image.open(sample / f"{stem}_gtFine_labelIds.png"))
        semantic, instance = row["semantic"].numpy(), row["instance"].numpy()
        assert semantic.dtype == np.int64
        assert instance.dtype == np.int32
        assert np.array_equal(semantic == names.index("car"), raw_ids == CAR)
        assert np.array_equal(semantic == names.index("road"), raw_ids == ROAD)
        assert (semantic[raw_ids <= 3] == 255).all()  # unlabelled, ego vehicle, rectification border, out of roi
        # The two official files agree: an instance's id begins with its label.
        assert np.array_equal(instance[instance > 0] // 1000, raw_ids[instance > 0])
    stored = decode_row(encode_sample(frames[0]))
    assert torch.equal(stored["instance"], frames[0]["instance"])


def test_stereo(raw: Path):
    steps = np.random.default_rng(0).integers(0, 2**15, (512, 1024)).astype(np.uint16)
    steps[0, :4] = [0, 1, 2, 257 + 256 * 9]
    with_stereo(raw, steps)
    train, *_ = rows(CityscapesReader(raw))
    depth = train["depth"][0].numpy()
    assert depth[0, :3].tolist() == [0, 0, 0]  # not measured, infinitely far, 6 km
    assert depth[0, 3] == pytest.approx(BASELINE * FX / 10)
    there = depth > 0
    metres = BASELINE * FX / ((steps[there].astype(np.float64) - 1) / 256)
    np.testing.assert_allclose(depth[there], metres, rtol=1e-5)
    assert depth.max() < 65.536
    assert torch.equal(train["intrinsics"], torch.tensor([[FX, 0, 548.49], [0, 1132.65, 256.57], [0, 0, 1]]))
    encode_sample(train)


def test_pictures_alone(raw: Path):
    shutil.rmtree(raw / "gtFine")
    reader = CityscapesReader(raw)
    assert reader.label_space is None
    assert all(row.keys() == {"image", "scene_id", "frame_id"} for row in rows(reader))


def test_labels_of_test_say_nothing(raw: Path):
    for package in ("leftImg8bit", "gtFine"):
        (raw / package / "val").rename(raw / package / "test")
    for kind in ("labelIds", "instanceIds"):
        path = next((raw / "gtFine/test").rglob(f"*{kind}.png"))
        pixels = np.array(Image.open(path))
        put(path, as_file(np.where(pixels <= 3, pixels, 0).astype(pixels.dtype), "PNG"))
    *_, last = rows(CityscapesReader(raw))
    assert (last["semantic"] == 255).all()
    assert (last["instance"] == 0).all()


# ----------------------------------------------------------------------------------------------------------- bad input


def first(raw: Path):
    reader = CityscapesReader(raw)
    return next(iter(reader.read(reader.units()[0])))()


def test_empty(tmp_path: Path):
    with pytest.raises(DataError, match=r"leftImg8bit: no pictures in train/val/test/CITY; unpack"):
        CityscapesReader(tmp_path).units()


def test_another_name(raw: Path):
    put(raw / "leftImg8bit/train/aachen/aachen.png", b"")
    with pytest.raises(DataError, match=r"aachen\.png: not named like"):
        CityscapesReader(raw).units()


def test_missing_label(raw: Path):
    next((raw / "gtFine/train/aachen").glob("*000000_000019*instanceIds.png")).unlink()
    with pytest.raises(DataError, match=r"aachen_000000_000019_gtFine_instanceIds\.png: no such file"):
        first(raw)


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("labelIds", as_file(np.full((512, 1024), 34, np.uint8), "PNG"), "labels from 34 to 34, but .* ends at 33"),
        ("labelIds", as_file(np.zeros((4, 4, 3), np.uint8), "PNG"), "single-channel"),
        ("labelIds", bomb(color=0), "far more than 67108864 pixels"),
        ("instanceIds", b"\x89PNG\r\n\x1a\n", "not a readable"),
    ],
)
def test_bad_labels(raw: Path, kind: str, data: bytes, message: str):
    put(raw / f"gtFine/train/aachen/aachen_000000_000019_gtFine_{kind}.png", data)
    with pytest.raises(DataError, match=rf"aachen_000000_000019_gtFine_{kind}\.png: .*{message}"):
        first(raw)


def test_bomb_as_picture(raw: Path):
    put(raw / "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png", bomb())
    with pytest.raises(DataError, match="far more than 67108864 pixels"):
        encode_sample(first(raw))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ('{"intrinsic": []}', "not a camera"),
        ("[]", "not a camera"),
        (json.dumps(CAMERA).replace("1131.26", "9" * 4000), "not a camera"),
        (json.dumps(CAMERA).replace("1131.26", "9" * 5000), "not a JSON file"),
        (json.dumps(CAMERA).replace("1131.26", "NaN"), "not a pinhole camera"),
        (json.dumps(CAMERA).replace("1131.26", "-1"), "not a pinhole camera"),
        (json.dumps(CAMERA).replace("0.209313", "NaN"), "a baseline of nan m"),
        (json.dumps(CAMERA).replace("0.209313", "209.313"), "a baseline of 209.313 m"),
    ],
)
def test_bad_camera(raw: Path, text: str, message: str):
    with_stereo(raw, np.full((512, 1024), 9, np.uint16))
    put(raw / "camera/train/aachen/aachen_000000_000019_camera.json", text)
    with pytest.raises(DataError, match=rf"aachen_000000_000019_camera\.json: {message}"):
        first(raw)


def test_disparities_without_cameras(raw: Path):
    (raw / "disparity").mkdir()
    with pytest.raises(DataError, match="camera: no such folder; the disparities beside it"):
        CityscapesReader(raw)


def test_bad_disparity(raw: Path):
    with_stereo(raw, np.full((512, 1024), 9, np.uint8))
    with pytest.raises(DataError, match=r"disparity\.png: an 8-bit picture"):
        first(raw)

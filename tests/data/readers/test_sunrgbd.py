"""SUN RGB-D: two real scenes; the toolbox's files are built around them."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from rgbd3d.data.codec import DataError, decode_color
from rgbd3d.data.readers.base import Options, Row
from rgbd3d.data.readers.sunrgbd import SunRgbdReader
from rgbd3d.data.readers.sunrgbd_toolbox import Toolbox
from tests.data.readers.mutations import assert_survives

KV1, KV2 = "kv1/b3dodata/img_0063", "kv2/align_kv2/2014-12-18_11-31-54_260595134347"
FIELDS = (
    *("sequenceName", "groundtruth3DBB", "Rtilt", "K", "depthpath", "rgbpath"),
    *("depthname", "rgbname", "sensorType", "valid"),
)


@pytest.fixture(scope="session")
def samples(rgbd_frames: Path) -> Path:
    return rgbd_frames / "formats" / "sunrgbd_scene"


@pytest.fixture
def raw(tmp_path: Path, samples: Path) -> Path:
    for scene in (KV1, KV2):
        shutil.copytree(samples / Path(scene).name, tmp_path / "raw" / "SUNRGBD" / scene)
    return tmp_path / "raw"


def label_map(scene: str, samples: Path) -> np.ndarray:
    """Stands in for real labels: 0 to 37 by the brightness of the real image."""
    (image,) = (samples / Path(scene).name / "image").iterdir()
    return (np.array(Image.open(image).convert("L")) * (37 / 255)).round().astype(np.uint8)


@pytest.fixture
def toolbox(raw: Path, samples: Path) -> Path:
    """Metadata as the original files have them: three scenes, the middle one not on disk; a split of the three."""
    folder = raw / "SUNRGBDtoolbox"
    (folder / "Metadata").mkdir(parents=True)
    (folder / "traintestSUNRGBD").mkdir()
    scenes = [KV2, "kv1/NYUdata/NYU0001", KV1]
    entries = np.zeros((1, len(scenes)), [(field, object) for field in FIELDS])
    for index, scene in enumerate(scenes):
        # Paths of NYUdata have a doubled separator in the original.
        image = f"/n/fs/sun3d/data/SUNRGBD/{scene}{'/' * (1 + ('NYU' in scene))}image/{index:07d}.jpg"
        boxes = np.zeros((1, 2), [("centroid", object), ("classname", object)])
        boxes["centroid"][0] = [np.ones((1, 3))] * 2
        boxes["classname"][0] = ["chair", "desk"]
        entries[0, index] = (
            *(f"SUNRGBD/{scene}", boxes, np.eye(3), np.eye(3), image.replace("jpg", "png"), image),
            *(f"{index:07d}.png", f"{index:07d}.jpg", scene[:3], True),
        )
    scipy.io.savemat(folder / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": entries}, do_compression=True)
    with h5py.File(folder / "Metadata" / "SUNRGBD2Dseg.mat", "w", userblock_size=512) as file:
        references = file.create_dataset("SUNRGBD2Dseg/seglabel", (len(scenes), 1), h5py.ref_dtype)
        for index, scene in enumerate(scenes):
            labels = label_map(scene, samples) if "NYU" not in scene else np.zeros((4, 5), np.uint8)
            labels = labels.astype(np.float64) if scene == KV2 else labels
            references[index, 0] = file.create_dataset(f"#refs#/{index}", data=labels.T, compression="gzip").ref
    with (folder / "Metadata" / "SUNRGBD2Dseg.mat").open("r+b") as raw_file:
        raw_file.write(
            b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Apr 13 10:00:00 2015 HDF5 schema 1.00 ."
        )
    prefix = "/n/fs/sun3d/data/SUNRGBD/"
    split = {"alltrain": cell([prefix + KV1, f"{prefix}kv1/NYUdata/NYU0001/"]), "alltest": cell([prefix + KV2])}
    scipy.io.savemat(folder / "traintestSUNRGBD" / "allsplit.mat", split)
    return folder


def cell(texts: list[str]) -> np.ndarray:
    array = np.empty((1, len(texts)), object)
    array[0] = texts
    return array


def read(raw: Path, **options: int | str) -> dict[str, Row]:
    reader = SunRgbdReader(raw, Options(**options))  # type: ignore[arg-type]
    rows = [row() for unit in reader.units() for row in reader.read(unit)]
    return {row["scene_id"]: row for row in rows}


# ------------------------------------------------------------------------------------------------------- what is read


def test_real_depth_is_decoded_as_the_toolbox_does(raw: Path) -> None:
    rows = read(raw)
    assert list(rows) == [KV1.replace("/", "-"), KV2.replace("/", "-")]
    for scene, median, filled_median in ((KV1, 1.963, 1.958), (KV2, 2.397, 2.378)):
        row = rows[scene.replace("/", "-")]
        for key, folder, expected in (("depth", "depth", median), ("depth_filled", "depth_bfx", filled_median)):
            (path,) = (raw / "SUNRGBD" / scene / folder).iterdir()
            stored = np.array(Image.open(path)).astype(np.int64)
            millimetres = stored // 8 + stored % 8 * 8192
            np.testing.assert_array_equal(row[key][0], (millimetres / 1000).astype(np.float32))
            assert float(row[key][row[key] > 0].median()) == pytest.approx(expected, abs=6e-4)
        assert row["depth"].min() == 0
        assert row["depth_filled"].min() > 0


def test_real_images_and_intrinsics_are_those_of_the_files(raw: Path) -> None:
    rows = read(raw)
    for scene, size, k in (
        (KV1, (427, 561), [[520.532, 0, 277.9258], [0, 520.7444, 215.115], [0, 0, 1]]),
        (KV2, (530, 730), [[529.5, 0, 365], [0, 529.5, 265], [0, 0, 1]]),
    ):
        row = rows[scene.replace("/", "-")]
        (image,) = (raw / "SUNRGBD" / scene / "image").iterdir()
        assert row["image"] == image.read_bytes()
        assert decode_color(row["image"], "").shape[1:] == row["depth"].shape[1:] == size
        torch.testing.assert_close(row["intrinsics"], torch.tensor(k))
        assert row["frame_id"] == 0


def test_without_the_toolbox_there_are_no_labels_and_no_split(raw: Path) -> None:
    reader = SunRgbdReader(raw)
    assert [(unit.name, unit.split, unit.rows) for unit in reader.units()] == [("train-0000000", "train", 2)]
    assert reader.label_space is None
    assert all("semantic" not in row for row in read(raw).values())
    with pytest.raises(DataError, match="SUNRGBDtoolbox: no such folder; the labels are in it"):
        SunRgbdReader(raw, Options(label_space="sunrgbd37"))


@pytest.mark.usefixtures("toolbox")
def test_labels_and_split_are_those_of_the_toolbox(raw: Path, samples: Path) -> None:
    reader = SunRgbdReader(raw)
    assert [(unit.split, unit.rows) for unit in reader.units()] == [("train", 1), ("test", 1)]
    assert reader.label_space == "sunrgbd37"
    for scene in (KV1, KV2):
        row = read(raw)[scene.replace("/", "-")]
        ids = label_map(scene, samples).astype(np.int64)
        np.testing.assert_array_equal(row["semantic"], np.where(ids == 0, 255, ids - 1))
        assert row["semantic"].dtype == torch.int64


def test_stride_keeps_every_kth_scene(raw: Path) -> None:
    assert list(read(raw, stride=2)) == [KV1.replace("/", "-")]


@pytest.mark.parametrize(("folder", "key", "far"), [("depth", "depth", 0.0), ("depth_bfx", "depth_filled", 8.0)])
def test_beyond_eight_metres_nothing_is_measured(raw: Path, folder: str, key: str, far: float) -> None:
    (path,) = (raw / "SUNRGBD" / KV1 / folder).iterdir()
    pixels = np.array(Image.open(path))
    pixels[0, :3] = [8000 << 3, (8001 << 3) & 0xFFFF | 8001 >> 13, 9000 << 3 & 0xFFFF | 9000 >> 13]
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read(raw)[KV1.replace("/", "-")][key][0, 0, :3], [8, far, far])


# ----------------------------------------------------------------------------------------------------------- bad input


def test_another_folder_is_refused(raw: Path) -> None:
    with pytest.raises(DataError, match=r"SUNRGBD/SUNRGBD: no folder kv1 or kv2 .* unpack SUNRGBD\.zip in"):
        SunRgbdReader(raw / "SUNRGBD")
    shutil.rmtree(raw / "SUNRGBD")
    (raw / "SUNRGBD" / "kv1").mkdir(parents=True)
    with pytest.raises(DataError, match=r"raw/SUNRGBD: no scene"):
        SunRgbdReader(raw).units()


def test_plain_millimetres_are_noticed(raw: Path) -> None:
    (path,) = (raw / "SUNRGBD" / KV1 / "depth").iterdir()
    stored = np.array(Image.open(path))
    Image.fromarray(stored >> 3 | stored << 13).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: .*(plain millimetres|another unit)"):
        read(raw)


@pytest.mark.parametrize("folder", ["depth", "depth_bfx", "image"])
def test_a_missing_file_and_one_too_many_are_refused(raw: Path, folder: str) -> None:
    (path,) = (raw / "SUNRGBD" / KV1 / folder).iterdir()
    shutil.copy(path, path.with_stem("another"))
    with pytest.raises(DataError, match=rf"img_0063/{folder}: one {path.suffix} file is expected, there are .*another"):
        read(raw)
    path.unlink()
    path.with_stem("another").unlink()
    with pytest.raises(DataError, match=rf"img_0063/{folder}: one {path.suffix} file is expected, there are none"):
        read(raw)


@pytest.mark.parametrize(
    ("text", "message"), [("1 0 0 0 1 0", "6 numbers"), ("f 0 0", "not numbers"), ("0 0 9 0 9 9 0 0 1", "pinhole")]
)
def test_damaged_intrinsics_are_refused(raw: Path, text: str, message: str) -> None:
    (raw / "SUNRGBD" / KV1 / "intrinsics.txt").write_text(text)
    with pytest.raises(DataError, match=rf"img_0063/intrinsics\.txt: .*{message}"):
        read(raw)


def test_a_picture_for_looking_at_is_no_depth(raw: Path) -> None:
    (path,) = (raw / "SUNRGBD" / KV1 / "depth").iterdir()
    Image.new("L", (561, 427), 9).save(path)
    with pytest.raises(DataError, match=rf"{path.name}: depth must be a 16-bit"):
        read(raw)


@pytest.mark.parametrize(
    "name", ["Metadata/SUNRGBDMeta.mat", "Metadata/SUNRGBD2Dseg.mat", "traintestSUNRGBD/allsplit.mat"]
)
def test_a_part_of_the_toolbox_that_is_missing_is_named(raw: Path, toolbox: Path, name: str) -> None:
    (toolbox / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: no such file"):
        read(raw)


def test_a_scene_without_split_is_refused(raw: Path, toolbox: Path) -> None:
    lists = {"alltrain": cell([f"/data/SUNRGBD/{KV1}"]), "alltest": cell(["/data/SUNRGBD/kv1/NYUdata/NYU0001"])}
    scipy.io.savemat(toolbox / "traintestSUNRGBD" / "allsplit.mat", lists)
    with pytest.raises(DataError, match=rf"{KV2}: not in allsplit\.mat"):
        read(raw)
    lists["alltest"] = lists["alltrain"]
    scipy.io.savemat(toolbox / "traintestSUNRGBD" / "allsplit.mat", lists)
    with pytest.raises(DataError, match=rf"allsplit\.mat: {KV1} is in both"):
        read(raw)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((561, 427), 38, np.uint8), "ends at 37"),
        (np.full((427, 561), 1, np.uint8), r"maps differ in \(height, width\)"),
        (np.full((561, 427), 1.5), "no label map"),
        (np.full((561, 427), np.nan), "no label map"),
        (np.full((561, 427), 1e300), "no label map"),
        (np.full(561, 1, np.uint8), "no label map"),
    ],
)
def test_label_maps_that_do_not_fit_are_refused(raw: Path, toolbox: Path, labels: np.ndarray, message: str) -> None:
    path = toolbox / "Metadata" / "SUNRGBD2Dseg.mat"
    with h5py.File(path, "r+") as file:
        del file["#refs#/2"]
        file["SUNRGBD2Dseg/seglabel"][2, 0] = file.create_dataset("#refs#/2", data=labels).ref
    with pytest.raises(DataError, match=rf"(SUNRGBD2Dseg\.mat, seglabel 3 of )?{KV1}: .*{message}"):
        read(raw)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", ["Metadata/SUNRGBDMeta.mat", "Metadata/SUNRGBD2Dseg.mat", "traintestSUNRGBD/allsplit.mat"]
)
def test_damaged_metadata_are_refused_or_read(toolbox: Path, tmp_path: Path, name: str, count: int) -> None:
    def read(_: Path) -> None:
        damaged = Toolbox(toolbox)
        if "split" in name:
            damaged.read_split()
            return
        with damaged.open_labels() as labels_of:
            assert labels_of(KV1).ndim == 2

    undamaged = shutil.copy(toolbox / name, tmp_path)
    assert_survives(Path(undamaged), count, read, (toolbox / name).parent)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_depth_is_refused_or_read(raw: Path, tmp_path: Path, count: int) -> None:
    (path,) = (raw / "SUNRGBD" / KV1 / "depth").iterdir()
    undamaged = shutil.copy(path, tmp_path)
    shutil.rmtree(raw / "SUNRGBD" / "kv2")
    assert_survives(Path(undamaged), count, lambda _: read(raw), path.parent)

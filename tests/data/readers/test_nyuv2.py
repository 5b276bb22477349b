"""The labelled set of NYUv2: real pixels in a container as MATLAB's, against the same frames prepared by others."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from nyuv2_files import REAL_NUMBERS, SCENES, real_frames, write_labeled, write_mat73, write_splits
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names, lookup
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.nyuv2 import NyuV2Reader, official_split
from rgbd3d.data.schema import encode_sample


@pytest.fixture(scope="module")
def arrays(rgbd_frames: Path) -> dict[str, np.ndarray]:
    return real_frames(rgbd_frames)


@pytest.fixture(scope="module")
def labeled(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole set of three frames."""
    folder = tmp_path_factory.mktemp("nyuv2")
    write_labeled(folder, arrays)
    return folder


def rows_of(reader: NyuV2Reader) -> list[dict]:
    return [row() for unit in reader.units() for row in reader.read(unit)]


def test_units_follow_the_official_split(labeled: Path) -> None:
    units = NyuV2Reader(labeled).units()
    assert [(unit.split, unit.name, unit.rows, unit.source) for unit in units] == [
        ("train", "labeled-0000000", 2, "nyu_depth_v2_labeled.mat"),
        ("test", "labeled-0000000", 1, "nyu_depth_v2_labeled.mat"),
    ]
    assert NyuV2Reader(labeled / "nyu_depth_v2_labeled.mat").units() == units


def test_units_are_short(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file.create_dataset("images", (1449, 3, 640, 480), "u1", chunks=(1, 3, 640, 480))
        file.create_dataset("depths", (1449, 640, 480), "f4", chunks=(1, 640, 480))
        file.create_dataset("labels", (1449, 640, 480), "u2", chunks=(1, 640, 480))
    write_splits(tmp_path, range(1, 796), range(796, 1450))
    units = NyuV2Reader(tmp_path).units()
    assert {split: sum(unit.rows for unit in units if unit.split == split) for split in ("train", "test")} == {
        "train": 795,
        "test": 654,
    }
    assert max(unit.rows for unit in units) == 64
    assert len({(unit.split, unit.name) for unit in units}) == len(units) == 24


def test_rows_have_everything(labeled: Path) -> None:
    rows = rows_of(NyuV2Reader(labeled))
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == list(zip(SCENES, (1, 2, 3), strict=True))
    for row in rows:
        encode_sample(row)
        assert set(row) == {
            "image", "depth", "depth_filled", "semantic", "instance", "intrinsics", "scene_id", "frame_id",
        }  # fmt: skip


def test_values_are_those_of_others(rgbd_frames: Path, labeled: Path) -> None:
    """Against the same frames as somebody else extracted them from the original file, at half the size."""
    folder = rgbd_frames / "labelled/nyuv2_train795"
    for row, number in zip(rows_of(NyuV2Reader(labeled)), REAL_NUMBERS, strict=True):
        color = np.array(Image.open(folder / f"color/{number:04d}.jpg").convert("RGB")).astype(int)
        ours = np.array(Image.fromarray(row["image"].permute(1, 2, 0).numpy()).resize((320, 240), Image.Resampling.BOX))
        assert np.abs(ours - color).mean() < 4
        depth = np.array(Image.open(folder / f"depth/{number:04d}.png")).astype(float) / 1000
        apart = np.abs(row["depth_filled"][0, ::2, ::2].numpy() - depth)
        assert np.quantile(apart, 0.95) < 0.06  # their depth has steps of 39 mm
        labels = np.array(Image.open(folder / f"label40/{number:04d}.png")).astype(int)
        same = row["semantic"][::2, ::2].numpy() == np.where(labels == 0, 255, labels - 1)
        assert same.mean() > 0.97
        assert (row["semantic"] == 255).any()


def test_13_classes_are_those_of_others(rgbd_frames: Path, labeled: Path) -> None:
    folder = rgbd_frames / "labelled/nyuv2_train795"
    rows = rows_of(NyuV2Reader(labeled, Options(label_space="nyu13")))
    for row, number in zip(rows, REAL_NUMBERS, strict=True):
        labels = np.array(Image.open(folder / f"label13/{number:04d}.png")).astype(int)
        same = row["semantic"][::2, ::2].numpy() == np.where(labels == 0, 255, labels - 1)
        assert same.mean() > 0.97
        assert row["semantic"][row["semantic"] != 255].max() < 13


def test_axes_are_turned(arrays: dict[str, np.ndarray], labeled: Path) -> None:
    row = rows_of(NyuV2Reader(labeled))[1]
    assert row["image"].shape == (3, 480, 640)
    assert row["image"].dtype == torch.uint8
    assert row["image"][:, 7, 300].tolist() == arrays["images"][1, :, 300, 7].tolist()
    assert row["depth_filled"][0, 7, 300] == arrays["depths"][1, 300, 7]


def test_measured_depth_has_holes_and_no_clipped_readings(arrays: dict[str, np.ndarray], labeled: Path) -> None:
    row = rows_of(NyuV2Reader(labeled))[0]
    measured = arrays["rawDepths"][0].T
    expected = np.where(measured == 10, 0, measured)
    assert (expected == 0).sum() > (measured == 0).sum() > 0
    np.testing.assert_array_equal(row["depth"][0].numpy(), expected)
    assert row["depth_filled"].min() > 0


def test_instances_are_pairs_of_label_and_instance(arrays: dict[str, np.ndarray], labeled: Path) -> None:
    """As get_instance_masks.m of the toolbox lists them: unique pairs in order, without those that have a zero."""
    row = rows_of(NyuV2Reader(labeled))[0]
    labels, instances = arrays["labels"][0].T, arrays["instances"][0].T
    pairs = sorted(
        {pair for pair in zip(labels.ravel().tolist(), instances.ravel().tolist(), strict=True) if all(pair)}
    )
    assert len(pairs) > 10
    assert row["instance"].max() == len(pairs)
    for index, (label, instance) in enumerate(pairs, 1):
        expected = (labels == label) & (instances == instance)
        np.testing.assert_array_equal(row["instance"].numpy() == index, expected)


def test_no_instance_where_all_is_unlabelled(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    write_labeled(tmp_path, {**arrays, "labels": np.zeros_like(arrays["labels"])})
    for row in rows_of(NyuV2Reader(tmp_path)):
        assert not row["instance"].any()
        assert (row["semantic"] == 255).all()


def test_a_file_without_raw_depth_gives_the_filled_one(rgbd_frames: Path, tmp_path: Path) -> None:
    """The constructed sample: three variables only, labels that are not the 894."""
    source = rgbd_frames / "formats/constructed/nyu_depth_v2_labeled_3frames.mat"
    (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(source)
    write_splits(tmp_path, [3, 1], [2])
    rows = rows_of(NyuV2Reader(tmp_path))
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == [
        ("frame_0001", 1),
        ("frame_0003", 3),
        ("frame_0002", 2),
    ]
    with h5py.File(source) as file:
        np.testing.assert_array_equal(rows[1]["depth"][0].numpy(), file["depths"][2].T)
    assert not {"depth_filled", "instance"} & set(rows[0])


@pytest.mark.parametrize("storage", [{"chunks": (2, 3, 100, 50), "compression": "gzip"}, {"chunks": None}])
def test_the_layout_of_the_file_does_not_matter(arrays, labeled: Path, tmp_path: Path, storage: dict) -> None:
    write_labeled(tmp_path, arrays)
    write_mat73(tmp_path / "nyu_depth_v2_labeled.mat", {"images": arrays["images"]}, {}, **storage)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "a") as file:
        for name in ("depths", "labels"):
            file[name] = arrays[name]
    for row, expected in zip(rows_of(NyuV2Reader(tmp_path)), rows_of(NyuV2Reader(labeled)), strict=True):
        assert torch.equal(row["image"], expected["image"])
        assert torch.equal(row["semantic"], expected["semantic"])


def test_stride_keeps_every_kth_frame_of_a_split(labeled: Path) -> None:
    reader = NyuV2Reader(labeled, Options(stride=2))
    assert [row["frame_id"] for row in rows_of(reader)] == [1, 3]


# ------------------------------------------------------------------------------------------------------------- tables


def test_official_split(rgbd_frames: Path, golden: Path) -> None:
    split = official_split(rgbd_frames / "formats/nyuv2_meta")
    assert {name: len(numbers) for name, numbers in split.items()} == {"train": 795, "test": 654}
    assert sorted(split["train"] + split["test"]) == list(range(1, 1450))
    prepared = {int(path.stem) for path in (rgbd_frames / "labelled/nyuv2_train795/color").iterdir()}
    assert prepared == set(split["train"])
    maps = json.dumps(json.loads((golden / "label_maps.json").read_text()))
    assert json.dumps(split["train"]) in maps or json.dumps([number - 1 for number in split["train"]]) in maps


def test_40_classes_are_those_of_the_class_map(rgbd_frames: Path) -> None:
    mapping = scipy.io.loadmat(rgbd_frames / "formats/nyuv2_meta/classMapping40.mat", simplify_cells=True)
    assert class_names("nyu40") == tuple(mapping["className"])
    table = lookup("nyu40", "nyu894")
    assert table[0] == 255
    np.testing.assert_array_equal(table[1:], mapping["mapClass"] - 1)


def test_13_classes_are_those_of_the_class_map(rgbd_frames: Path) -> None:
    mapping = scipy.io.loadmat(rgbd_frames / "formats/nyuv2_meta/class13Mapping.mat", simplify_cells=True)[
        "classMapping13"
    ]
    assert [name.lower() for name in class_names("nyu13")] == [name.lower() for name in mapping["classNames"]]
    of_40 = scipy.io.loadmat(rgbd_frames / "formats/nyuv2_meta/classMapping40.mat")["mapClass"].ravel()
    np.testing.assert_array_equal(lookup("nyu13", "nyu894")[1:], mapping["labels13"][of_40 - 1] - 1)


# ---------------------------------------------------------------------------------------------------------- bad input


def test_missing_files(tmp_path: Path, labeled: Path) -> None:
    with pytest.raises(DataError, match=r"nyu_depth_v2_labeled\.mat: missing; get it from"):
        NyuV2Reader(tmp_path)
    (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(labeled / "nyu_depth_v2_labeled.mat")
    with pytest.raises(DataError, match=r"splits\.mat: missing; it says which frames are for training; get it from"):
        NyuV2Reader(tmp_path).units()


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([1, 2], [3, 4], "lists frame 4"),
        ([0, 1], [2], "frame numbers from 1"),
        ([1, 2], [2, 3], "listed twice"),
        ([1, 2, 3], [], "empty split"),
    ],
)
def test_splits_that_do_not_fit(tmp_path: Path, labeled: Path, train: list, test: list, message: str) -> None:
    (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(labeled / "nyu_depth_v2_labeled.mat")
    write_splits(tmp_path, train, test)
    with pytest.raises(DataError, match=rf"splits\.mat.*{message}"):
        NyuV2Reader(tmp_path).units()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", None, "missing"),
        ("depths", lambda a: a[:, :320], r"shape \(3, 320, 480\) instead of"),
        ("labels", lambda a: a[:2], r"shape \(2, 640, 480\) instead of"),
        ("images", lambda a: a.astype("f4"), "float32, not numbers of kind 'u'"),
        ("labels", lambda a: a + np.uint16(900), "frame 1: label .*, they end at 894"),
        ("depths", lambda a: a * 1000, "frame 1: depth from .*metres are expected"),
        ("rawDepths", lambda a: np.where(a == 0, np.float32("nan"), a), "frame 1: depth from nan"),
        ("rawDepths", lambda a: -a, "frame 1: depth from -"),
    ],
)
def test_contents_that_do_not_fit(arrays, tmp_path: Path, name: str, change, message: str) -> None:
    kept = {key: values for key, values in arrays.items() if key != name}
    write_labeled(tmp_path, kept if change is None else {**kept, name: change(arrays[name])}, chunks=None)
    with pytest.raises(DataError, match=rf"nyu_depth_v2_labeled\.mat.*{message}"):
        rows_of(NyuV2Reader(tmp_path))


def test_path_like_scenes_are_refused(arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nyuv2_files.SCENES", ("bedroom", "../../etc", "office"))
    write_labeled(tmp_path, arrays, chunks=None)
    with pytest.raises(DataError, match="not a plain name"):
        rows_of(NyuV2Reader(tmp_path))

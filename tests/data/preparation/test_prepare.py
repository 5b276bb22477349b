"""What preparing a data set gives, and which arguments it refuses."""

import json

import datasets
import pyarrow.parquet as pq
import pytest
import torch
from raw_frames import FRAMES, SCENES, hashes

from rgbd3d.data import prepare as preparation
from rgbd3d.data.catalog import find
from rgbd3d.data.codec import DataError
from rgbd3d.data.prepare import group_units, prepare
from rgbd3d.data.readers.base import Options, Unit
from rgbd3d.data.sources import open_source


@pytest.mark.parametrize("split", ["train", "val"])
def test_prepared_frames_are_those_of_the_folder_bit_by_bit(raw, whole, split):
    folder, prepared = open_source(raw, split), open_source(whole, split)
    assert len(prepared) == len(folder) == (FRAMES if split == "val" else 6 * FRAMES)
    assert prepared.columns == folder.columns
    assert prepared.label_space == "nyu40"
    for index in range(len(folder)):
        expected, sample = folder[index], prepared[index]
        for key in folder.columns:
            same = (
                torch.equal(sample[key], expected[key])
                if torch.is_tensor(sample[key])
                else sample[key] == expected[key]
            )
            assert same, (index, key)


def test_manifest_lists_every_file_with_its_hash(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["rows"] == {"train": 6 * FRAMES, "val": FRAMES}
    assert manifest["skipped"] == []
    assert {file["file"]: file["sha256"] for file in manifest["files"]} == {
        name: digest for name, digest in hashes(whole).items() if name.endswith(".parquet")
    }
    assert sum(file["rows"] for file in manifest["files"]) == SCENES * FRAMES
    assert all(pq.read_metadata(whole / file["file"]).num_rows == file["rows"] for file in manifest["files"])
    assert manifest["settings"]["data_set"] == "frames"
    assert manifest["settings"]["reader_version"] >= 1


def test_plain_datasets_reads_the_splits_by_the_card(whole):
    loaded = datasets.load_dataset(str(whole), streaming=True)
    assert set(loaded) == {"train", "val"}
    row = next(iter(loaded["val"]))
    assert row["image"].size == (32, 24)
    assert row["scene_id"] == "scene6"


def test_the_card_names_terms_classes_and_command(whole):
    card = (whole / "README.md").read_text()
    assert find("frames").terms in card
    assert "0 wall, 1 floor" in card
    assert "| train | 30 |" in card
    assert "rgbd3d data prepare frames --raw RAW --out OUT --labels nyu40 --stride 1" in card


def test_resizing_keeps_depth_unmixed_and_intrinsics_right(raw, tmp_path):
    prepare("frames", raw, tmp_path / "out", Options(stride=5), size=(12, 16), depth_encoding="tiff", workers=1)
    small, large = open_source(tmp_path / "out")[1], open_source(raw)[FRAMES]
    assert small["image"].shape == (3, 12, 16)
    assert set(small["depth"].unique().tolist()) <= set(large["depth"].unique().tolist())
    assert set(small["semantic"].unique().tolist()) <= set(large["semantic"].unique().tolist())
    assert small["intrinsics"][0, 0] == 15
    assert large["scene_id"] == small["scene_id"] == "scene1"


def test_every_kth_frame_is_counted_as_it_was_recorded(raw, tmp_path):
    prepare("frames", raw, tmp_path, Options(stride=2), workers=1)
    whole, thinned = open_source(raw, every=4), open_source(tmp_path, every=4)
    assert [frame["frame_id"] for frame in thinned] == [frame["frame_id"] for frame in whole]
    assert len(open_source(tmp_path)) == len(open_source(raw, every=2)), "1 takes all there are"
    assert len(open_source(tmp_path, every=2)) == len(open_source(tmp_path))
    with pytest.raises(ValueError, match="holds one frame in 2 of its sequences, so one in 3 cannot be taken: prepare"):
        open_source(tmp_path, every=3)


def test_files_end_at_their_limit(raw, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "FILE_BYTES", 6000)
    prepare("frames", raw, tmp_path, workers=1)
    files = sorted(tmp_path.glob("*.parquet"))
    assert len(files) > len(list(whole.glob("*.parquet")))
    assert files[1].name == "train-00000-01.parquet"
    frames = [(sample["scene_id"], sample["frame_id"]) for sample in open_source(tmp_path)]
    assert frames == [(sample["scene_id"], sample["frame_id"]) for sample in open_source(whole)]


def test_units_are_grouped_within_their_split():
    units = [Unit(f"u{i}", "train" if i < 5 else "val", "x", rows) for i, rows in enumerate([4, 7, 12, 1, 1, 3, 20])]
    tasks = group_units(units, 10)
    assert [(task.name, [unit.name for unit in task.units]) for task in tasks] == [
        ("train-00000", ["u0", "u1"]),
        ("train-00001", ["u2"]),
        ("train-00002", ["u3", "u4"]),
        ("val-00000", ["u5", "u6"]),
    ]
    with pytest.raises(DataError, match="same name"):
        group_units([units[0], units[0]], 10)


def test_clips_are_not_resized(tmp_path, rgbd_frames):
    raw = tmp_path / "raw/train/arm_wrestling"
    raw.mkdir(parents=True)
    (raw / "a.mp4").symlink_to(rgbd_frames / "video/kinetics_pool_32f.mp4")
    with pytest.raises(ValueError, match="kinetics has clips: only frames can be resized"):
        prepare("kinetics", tmp_path / "raw", tmp_path / "out", size=(20, 20))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shard": (3, 2)}, "shard is 3/2"),
        ({"depth_encoding": "exr"}, "no depth encoding 'exr'; there are .'png', 'tiff'"),
        ({"size": (100_000, 100_000)}, "size is 100000x100000: at most"),
        ({"options": Options(label_space="ade20k150")}, "label space 'ade20k150' is not offered"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(raw, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        prepare("frames", raw, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_output_lies_outside_of_the_raw_data(raw, tmp_path):
    with pytest.raises(DataError, match="lies within the raw data"):
        prepare("frames", raw, raw / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; name a folder"):
        prepare("frames", raw, tmp_path / "file")

"""Parquet as a source of frames: order, splits, columns, memory, and files that are broken or disagree."""

import pickle
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from rgbd3d.data import parquet
from rgbd3d.data.codec import DataError
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source

FRAMES_PER_SCENE = 10
SHARD_ROWS = (130, 100)


def make_sample(index: int) -> dict:
    generator = torch.Generator().manual_seed(index)
    return {
        "image": torch.randint(0, 256, (3, 12, 16), dtype=torch.uint8, generator=generator),
        "depth": 1 + torch.rand(1, 12, 16, generator=generator),
        "semantic": torch.full((12, 16), index % 40),
        "scene_id": f"room {index // FRAMES_PER_SCENE}",
        "frame_id": index,
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """230 frames of 23 scenes in two shards of train, 5 frames of val."""
    folder = tmp_path_factory.mktemp("rendered")
    start = 0
    for number, rows in enumerate(SHARD_ROWS):
        samples = (encode_sample(make_sample(index), quality=None) for index in range(start, start + rows))
        write_shard(folder / f"train-{number:05d}-of-00002.parquet", samples, "nyu40")
        start += rows
    write_shard(folder / "val-00000-of-00001.parquet", [encode_sample(make_sample(i)) for i in range(5)], "nyu40")
    return folder


def ids(source) -> list[int]:
    return [source[index]["frame_id"] for index in range(len(source))]


def test_parquet_frames_come_in_order_over_shards_and_row_groups(rendered):
    source = open_source(rendered)
    assert source.row_groups() == (64, 64, 2, 64, 36)
    assert source.label_space == "nyu40"
    assert ids(source) == list(range(230))
    for index in (0, 63, 64, 129, 130, 229):
        sample = make_sample(index)
        assert torch.equal(source[index]["image"], sample["image"])
        assert torch.equal(source[index]["semantic"], sample["semantic"])
        torch.testing.assert_close(source[index]["depth"], sample["depth"], atol=0.6e-3, rtol=0)
    for outside in (-1, 230):
        with pytest.raises(IndexError):
            source[outside]


@pytest.mark.parametrize(
    "layout",
    ["{s}-00000-of-00001.parquet", "{s}/00000.parquet", "data/{s}-0.parquet", "data/{s}/x-1.parquet", "{s}.parquet"],
)
def test_splits_are_found_by_name(tmp_path, layout):
    for split, index in (("train", 3), ("val", 4)):
        write_shard(tmp_path / layout.format(s=split), [encode_sample(make_sample(index))], "nyu40")
    assert ids(open_source(tmp_path)) == [3]
    assert ids(open_source(tmp_path, split="val")) == [4]
    with pytest.raises(DataError, match=r"no Parquet files of split 'test'; found \['train', 'val'\]"):
        open_source(tmp_path, split="test")


def test_one_file_is_a_source(rendered):
    assert ids(open_source(rendered / "val-00000-of-00001.parquet")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("every", [2, 3, 7, 25])
def test_every_kth_frame_counts_within_each_scene(rendered, every):
    source = open_source(rendered, every=every)
    expected = [index for index in range(230) if index % FRAMES_PER_SCENE % every == 0]
    assert ids(source) == expected
    assert sum(source.row_groups()) == len(expected)


def test_where_frames_were_left_out_rows_are_counted(tmp_path):
    samples = [make_sample(0) | {"frame_id": 25 * position} for position in range(12) if position not in (2, 7)]
    write_shard(tmp_path / "train-0.parquet", [encode_sample(sample) for sample in samples], "nyu40", stride=25)
    assert ids(open_source(tmp_path, every=100)) == [0, 125, 250]


def test_only_asked_columns_are_read(rendered):
    source = open_source(rendered, columns=["frame_id", "depth"])
    assert source.columns == ("depth", "frame_id")
    assert set(source[7]) == {"depth", "frame_id"}
    with pytest.raises(DataError, match=r"has no \['pose'\]"):
        open_source(rendered, columns=["image", "pose"])
    with pytest.raises(DataError, match="unknown columns"):
        open_source(rendered, columns=["rgb"])


def test_digest_tells_data_sets_apart(rendered, tmp_path):
    digest = open_source(rendered).digest()
    assert open_source(shutil.copytree(rendered, tmp_path / "copy")).digest() == digest
    others = [open_source(rendered, every=2), open_source(rendered, split="val")]
    (tmp_path / "copy" / "train-00001-of-00002.parquet").unlink()
    others.append(open_source(tmp_path / "copy"))
    assert len({digest, *(other.digest() for other in others)}) == 4


def test_memory_is_bounded_by_the_window(rendered, monkeypatch):
    monkeypatch.setattr(parquet, "WINDOW", 100)
    source = open_source(rendered)
    reads = []
    read = source._read
    monkeypatch.setattr(source, "_read", lambda group, columns: reads.append(group.number) or read(group, columns))
    order = [0, 65, 1, 66, 2, 67, 129, 3]
    for index in order:
        source[index]
    assert len(reads) == 3, "row groups of a window are read once"
    for index in range(230):
        source[index]
        assert sum(table.num_rows for table in source._tables.values()) <= 100 + 64


def test_sources_travel_to_workers_without_their_cache(rendered):
    source = open_source(rendered, columns=["image", "frame_id"])
    source[0], source[100]
    data = pickle.dumps(source)
    assert len(data) < 100_000
    clone = pickle.loads(data)  # noqa: S301 - our own bytes
    assert torch.equal(clone[5]["image"], source[5]["image"])
    loader = DataLoader(source, batch_size=None, num_workers=2, sampler=[150, 3, 70, 229])
    assert [sample["frame_id"] for sample in loader] == [150, 3, 70, 229]


def test_broken_files_are_named(rendered, tmp_path):
    folder = shutil.copytree(rendered, tmp_path / "broken")
    shard = folder / "train-00001-of-00002.parquet"
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"train-00001-of-00002.parquet: not a complete Parquet file"):
        open_source(folder)
    shard.write_bytes(data)
    source = open_source(folder)
    position = data.index(b"\x89PNG")  # the first image of the first row group
    shard.write_bytes(data[:position] + b"rubbish" + data[position + 7 :])
    with pytest.raises(DataError, match=r"train-00001.*row group 0, kept row 0, column 'image': not a readable"):
        source[130]
    assert source[131]["frame_id"] == 131


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('{"stride": 0}', "the stride in the schema should be a positive number, not 0"),
        ('{"stride": true}', "the stride in the schema should be a positive number, not True"),
        ('{"kind": "meshes"}', "rows of kind 'meshes' are not known"),
        ('{"kind": ["frames"]}', r"rows of kind \['frames'\] are not known"),
        ('{"label_space": 40}', "the label space in the schema should be a name, not 40"),
        ("[]", r"should be a mapping, not \[\]"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_files_that_say_something_odd_are_named(tmp_path, said, message):
    table = pa.table({"frame_id": [0]}).replace_schema_metadata({"rgbd3d": said})
    pq.write_table(table, tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=rf"train-0.parquet: .*{message}"):
        open_source(tmp_path)


def test_shards_must_agree(tmp_path):
    write_shard(tmp_path / "train-0.parquet", [encode_sample(make_sample(0))], "nyu40")
    write_shard(tmp_path / "train-1.parquet", [encode_sample(make_sample(1))], "nyu13")
    with pytest.raises(DataError, match="differ"):
        open_source(tmp_path)


def test_datasets_streams_the_same_real_frames(rgbd_frames, tmp_path):
    frames = open_source(rgbd_frames / "frames7" / "sun3d_lounge_a", every=10)
    write_shard(tmp_path / "train-00000.parquet", [encode_sample(frames[index]) for index in range(len(frames))])
    ours = open_source(tmp_path)
    theirs = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "*.parquet"), split="train", streaming=True, cache_dir=str(tmp_path / "c")
    )
    for index, row in enumerate(theirs):
        sample = ours[index]
        assert np.array_equal(np.array(row["image"]), sample["image"].permute(1, 2, 0).numpy())
        assert np.array_equal(np.float32(row["depth"]) / np.float32(1000), sample["depth"][0].numpy())
        assert torch.equal(sample["depth"], frames[index]["depth"])
        assert torch.equal(sample["pose"], frames[index]["pose"])
    assert index == len(ours) - 1


def test_arguments_are_checked(rendered, tmp_path):
    with pytest.raises(ValueError, match="every is 0"):
        open_source(rendered, every=0)
    with pytest.raises(ValueError, match="is for folders of frames"):
        open_source(rendered, units_per_metre=5000)
    with pytest.raises(DataError, match="hf://datasets/OWNER/NAME"):
        open_source("hf://owner/name")

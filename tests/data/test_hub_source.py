"""Parquet on the Hub through a server on 127.0.0.1; `tests/test_hub_loaders.py` compares the pixels with `datasets`."""

import re

import pytest
import torch
from hub_folders import publish
from huggingface_hub import HfFileSystem
from loopback_hub import Fault
from torch.utils.data import DataLoader

from rgbd3d.data.codec import DataError
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source

pytest_plugins = ["hub_fixtures"]

REPO = "me/rooms"
SPEC = f"hf://datasets/{REPO}"


@pytest.fixture(autouse=True)
def fresh_file_system():
    """Instances of a file system are shared in a process, and would remember the server of another test."""
    HfFileSystem.clear_instance_cache()


def put(hub, folder, frames: int) -> str:
    """A commit with `frames` frames in two shards of train and one of val."""
    rows = [
        encode_sample(
            {
                "image": torch.randint(0, 256, (3, 24, 32), dtype=torch.uint8),
                "depth": torch.rand(1, 24, 32) + 1,
                "scene_id": f"room{number // 20}",
                "frame_id": number,
            }
        )
        for number in range(frames)
    ]
    write_shard(folder / "data/train-00000-of-00002.parquet", rows[:70])
    write_shard(folder / "data/train-00001-of-00002.parquet", rows[70:])
    write_shard(folder / "data/val-00000-of-00001.parquet", rows[:3])
    return publish(hub, folder, name=REPO, kind="datasets").oid


def test_a_branch_is_resolved_once_and_stays_pinned(hub, tmp_path):
    first = put(hub, tmp_path, 100)
    source = open_source(SPEC)
    assert source.name == f"{SPEC}@{first}"
    assert source.row_groups() == (64, 6, 30)
    second = put(hub, tmp_path, 90)
    assert source[99]["frame_id"] == 99
    moved = open_source(f"{SPEC}@main")
    assert (moved.name, len(moved)) == (f"{SPEC}@{second}", 90)
    assert len(open_source(f"{SPEC}@{first}", split="val")) == 3


def test_reads_like_the_local_copy(hub, tmp_path):
    put(hub, tmp_path, 100)
    remote, local = open_source(SPEC, every=3), open_source(tmp_path, every=3)
    assert remote.digest() == local.digest()
    for index in (0, 20, len(local) - 1):
        assert torch.equal(remote[index]["image"], local[index]["image"])
        assert remote[index]["frame_id"] == local[index]["frame_id"]


def test_a_row_group_is_fetched_once_and_without_the_columns_nobody_asked_for(hub, tmp_path):
    put(hub, tmp_path, 100)
    source = open_source(SPEC, columns=["image"])
    before = len(hub.log)
    for index in range(64):
        source[index]
    ranges = [re.search(r"bytes=(\d+)-(\d+)", line) for line in hub.log[before:] if line.startswith("GET")]
    fetched = sum(int(span[2]) - int(span[1]) + 1 for span in ranges if span)
    column = source._shards[0].footer.row_group(0).column(0).total_compressed_size
    assert len(ranges) <= 2
    assert column <= fetched < 1.1 * column


def test_workers_read_it_too(hub, tmp_path):
    put(hub, tmp_path, 100)
    source = open_source(SPEC, columns=["frame_id"])
    source[0]
    loader = DataLoader(source, batch_size=None, sampler=[99, 0, 65, 40], num_workers=2)
    assert [sample["frame_id"] for sample in loader] == [99, 0, 65, 40]


def test_what_is_not_there_is_said(hub, tmp_path):
    put(hub, tmp_path, 100)
    with pytest.raises(DataError, match=r"me/nothing: cannot be read from the Hub"):
        open_source("hf://datasets/me/nothing")
    with pytest.raises(DataError, match="cannot be read from the Hub"):
        open_source(f"{SPEC}@{'0' * 40}")
    with pytest.raises(DataError, match=r"no Parquet files of split 'test'; found \['train', 'val'\]"):
        open_source(SPEC, split="test")
    publish(hub, tmp_path / "nothing", name="me/empty", kind="datasets")
    with pytest.raises(DataError, match="no Parquet files at revision"):
        open_source("hf://datasets/me/empty")


def test_a_server_that_dies_is_an_error_that_names_the_file(hub, tmp_path):
    put(hub, tmp_path, 100)
    source = open_source(SPEC)
    hub.faults.append(Fault(r"GET .*train-00000.*", die_after=100))
    with pytest.raises(DataError, match=r"train-00000-of-00002.parquet: cannot read row group 0"):
        source[0]
    hub.faults.clear()
    assert source[0]["frame_id"] == 0, "once it is back, reading goes on"

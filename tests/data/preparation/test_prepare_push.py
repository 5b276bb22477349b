"""Uploading a prepared data set."""

import pytest
import torch
from huggingface_hub import HfApi, HfFileSystem
from loopback_hub import TOKEN

from rgbd3d.data.codec import DataError
from rgbd3d.data.manifest import merge
from rgbd3d.data.prepare import prepare
from rgbd3d.data.sources import open_source
from rgbd3d.hub_datasets import push_dataset
from rgbd3d.hub_errors import HubError

pytest_plugins = ["hub_fixtures"]


def test_push_is_private_and_streams_back(hub, whole, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    HfFileSystem.clear_instance_cache()
    commit = push_dataset(whole, "me/frames", token=TOKEN)
    assert HfApi(token=TOKEN).dataset_info("me/frames").private
    HfFileSystem.clear_instance_cache()
    remote, local = open_source(f"hf://datasets/me/frames@{commit}"), open_source(whole)
    assert len(remote) == len(local)
    assert all(torch.equal(remote[i][key], local[i][key]) for i in (0, 17) for key in ("image", "depth", "semantic"))


def test_what_is_unfinished_damaged_or_public_is_not_pushed(hub, raw, whole, tmp_path):
    prepare("frames", raw, tmp_path / "share", shard=(1, 2), workers=1)
    with pytest.raises(DataError, match="finish it first"):
        push_dataset(tmp_path / "share", "me/frames", token=TOKEN)
    merge(tmp_path / "copy", [whole])
    file = tmp_path / "copy/val-00000-00.parquet"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"val-00000-00.parquet: damaged"):
        push_dataset(tmp_path / "copy", "me/frames", token=TOKEN)
    HfApi(token=TOKEN).create_repo("me/public", repo_type="dataset", private=False)
    with pytest.raises(HubError, match="is public"):
        push_dataset(whole, "me/public", token=TOKEN)

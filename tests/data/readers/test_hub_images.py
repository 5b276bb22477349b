"""Pictures streamed from a stand-in of the Hub on 127.0.0.1."""

import json
import pickle
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_folders import publish
from huggingface_hub import HfFileSystem
from loopback_hub import Fault, LoopbackHub
from pictures import noise

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.hub_images import HubImagesReader
from rgbd3d.data.schema import encode_sample

pytest_plugins = ["hub_fixtures"]

REPO = "me/pictures"
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
TYPES = {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()}


@pytest.fixture(autouse=True)
def client(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`datasets` remembers the address of the Hub and what it has seen there."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")
    HfFileSystem.clear_instance_cache()


def put(hub: LoopbackHub, folder: Path, columns: tuple[str, ...] = ("image", "label"), **row: Any) -> Path:
    """Three rows of train in two shards, one of validation, one of another split; returns the address of the commit."""
    features = {name: FEATURES[name] for name in columns}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([(name, TYPES[name]) for name in columns], metadata=metadata)
    (folder / "data").mkdir(parents=True)
    for name, numbers in (
        ("train-00000-of-00002", [0, 1]),
        ("train-00001-of-00002", [2]),
        ("validation-00000-of-00001", [3]),
    ):
        rows = [{"image": {"bytes": noise(number), "path": None}, "label": number % 2} | row for number in numbers]
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"data/{name}.parquet")
    return Path(f"hf://datasets/{REPO}@{publish(hub, folder, name=REPO, kind='datasets').oid}")


def rows(reader: HubImagesReader) -> list[Any]:
    return [lazy() for unit in reader.units() for lazy in reader.read(unit)]


def test_stream(hub: LoopbackHub, tmp_path: Path):
    reader = HubImagesReader(put(hub, tmp_path / "files"))
    assert [(unit.name, unit.split, unit.start) for unit in reader.units()] == [
        ("train-00000", "train", 0),
        ("train-00001", "train", 1),
        ("validation-00000", "val", 0),
    ]
    found = rows(pickle.loads(pickle.dumps(reader)))  # noqa: S301 - our own bytes
    assert [(row["scene_id"], row["frame_id"], row["class_id"]) for row in found] == [
        ("train-00000", 0, 0),
        ("train-00000", 1, 1),
        ("train-00001", 0, 0),
        ("validation-00000", 0, 1),
    ]
    assert [row["image"] for row in found] == [noise(number) for number in range(4)]
    encode_sample(found[0])


def test_stride_and_units_in_any_order(hub: LoopbackHub, tmp_path: Path):
    reader = HubImagesReader(put(hub, tmp_path / "files"), Options(stride=2))
    found = [lazy() for unit in reversed(reader.units()) for lazy in reader.read(unit)]
    assert [row["scene_id"] for row in found] == ["validation-00000", "train-00001", "train-00000"]


def test_labels_are_optional(hub: LoopbackHub, tmp_path: Path):
    assert "class_id" not in rows(HubImagesReader(put(hub, tmp_path / "a", ("image",))))[0]
    assert "class_id" not in rows(HubImagesReader(put(hub, tmp_path / "b", label=-1)))[0]


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "address", ["hf://datasets/me/pictures", "hf://datasets/me/pictures@main", "hf://models/me/a@" + "0" * 40, "rooms"]
)
def test_a_commit_is_needed(address: str):
    with pytest.raises(DataError, match="no address like hf://datasets/OWNER/NAME@COMMIT, with all 40 digits"):
        HubImagesReader(Path(address))


def test_missing(hub: LoopbackHub):
    with pytest.raises(DataError, match=r"me/nothing.*: the data set cannot be read .* check name, commit and"):
        HubImagesReader(Path("hf://datasets/me/nothing@" + "0" * 40))


def test_no_pictures(hub: LoopbackHub, tmp_path: Path):
    with pytest.raises(DataError, match=r"columns \{'label'.*; one of type Image is needed"):
        HubImagesReader(put(hub, tmp_path / "files", ("label",)))


def test_paths_are_not_followed(hub: LoopbackHub, tmp_path: Path):
    reader = HubImagesReader(put(hub, tmp_path / "files", image={"bytes": None, "path": "/etc/passwd"}))
    with pytest.raises(DataError, match=r"row 0 of train-00000: no picture in it; .*refs/convert/parquet"):
        rows(reader)


def test_lost_connection(hub: LoopbackHub, tmp_path: Path):
    reader = HubImagesReader(put(hub, tmp_path / "files"))
    hub.faults.append(Fault(r"GET .*train-00001.*parquet", status=500, times=1000))
    with pytest.raises(DataError, match="shard train-00001 cannot be read"):
        rows(reader)

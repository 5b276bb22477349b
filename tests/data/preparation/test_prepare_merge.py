"""Shares of several machines: merged into one data set, believed only as far as their files bear them out."""

import json
from pathlib import Path

import pytest
from raw_frames import FRAMES, hashes

from rgbd3d.data.codec import DataError
from rgbd3d.data.manifest import merge, verify
from rgbd3d.data.prepare import prepare
from rgbd3d.data.readers.base import Options


def edited(folder: Path, whole: Path, name: str, change) -> Path:
    """A copy of a prepared folder whose JSON file `name` has been changed."""
    merge(folder, [whole])
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.unlink()
    path.write_text(json.dumps(content))
    return folder


def test_shares_merge_into_the_same_data_set(raw, whole, tmp_path):
    shares = [tmp_path / f"share{i}" for i in (1, 2, 3)]
    for i, share in enumerate(shares, 1):
        outcome = prepare("frames", raw, share, shard=(i, 3), workers=1)
        assert not outcome.finished
        assert not (share / "manifest.json").exists()
    partly = merge(tmp_path / "merged", shares[:2])
    assert len(partly.missing) == 1
    assert merge(tmp_path / "merged", shares).finished
    assert hashes(tmp_path / "merged") == hashes(whole)


def test_shares_of_different_settings_do_not_merge(raw, tmp_path):
    prepare("frames", raw, tmp_path / "a", shard=(1, 2), workers=1)
    prepare("frames", raw, tmp_path / "b", Options(stride=2), shard=(2, 2), workers=1)
    with pytest.raises(DataError, match=r"b does not belong to .*a \(stride: 2 there, 1 asked"):
        merge(tmp_path / "out", [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(DataError, match="not made by"):
        merge(tmp_path / "out", [raw])


def test_a_damaged_share_is_not_merged(raw, tmp_path):
    prepare("frames", raw, tmp_path / "a", shard=(1, 2), workers=1)
    file = next((tmp_path / "a").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"{file.name}: damaged since it was written"):
        merge(tmp_path / "out", [tmp_path / "a"])


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(task="plan"),
        lambda record: record.update(task="train-99999"),
        lambda record: record["files"][0].update(file="manifest.json"),
        lambda record: record["files"][0].update(file="train-00000-00.parquet"),
        lambda record: record["files"][0].update(file="../secret.parquet"),
        lambda record: record["files"][0].update(rows="many"),
        lambda record: record["files"][0].update(bytes=-1),
        lambda record: record["files"][0].pop("sha256"),
        lambda record: record.update(skipped=[{"why": "so"}]),
        lambda record: record.clear(),
    ],
)
def test_records_of_another_machine_can_only_name_their_own_files(whole, tmp_path, change):
    share = edited(tmp_path / "share", whole, ".prepare/train-00001.json", change)
    with pytest.raises(DataError, match=r"train-00001.json: .*delete it to prepare its part again"):
        merge(tmp_path / "out", [share])
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_more_rows_than_a_file_has_are_not_believed(whole, tmp_path):
    share = edited(
        tmp_path / "share", whole, ".prepare/train-00001.json", lambda record: record["files"][0].update(rows=10**9)
    )
    with pytest.raises(DataError, match=r"train-00001-00.parquet: damaged"):
        merge(tmp_path / "out", [share])


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": {"size": null, "new": 1}, "tasks": {}}'])
def test_damaged_plans_are_named(whole, tmp_path, text):
    merge(tmp_path / "share", [whole])
    plan = tmp_path / "share/.prepare/plan.json"
    plan.unlink()
    plan.write_text(text)
    with pytest.raises(DataError, match=r"plan.json: (damaged|not a JSON)"):
        merge(tmp_path / "out", [tmp_path / "share"])


@pytest.mark.parametrize("other", [None, 1, 3])
def test_folders_of_another_format_neither_go_on_nor_merge(raw, whole, tmp_path, other):
    """Format 1 had no number, and its files no stride."""

    def change(plan):
        del plan["settings"]["format"]
        if other is not None:
            plan["settings"]["format"] = other

    old = edited(tmp_path / "old", whole, ".prepare/plan.json", change)
    message = r"plan.json: damaged, or begun by another version of rgbd3d: prepare the data in a new folder"
    with pytest.raises(DataError, match=message):
        prepare("frames", raw, old, workers=1)
    for shares in ([whole, old], [old, old]):
        with pytest.raises(DataError, match=message):
            merge(tmp_path / "out", shares)


def test_shares_of_links_are_followed(whole, tmp_path):
    """As in the cache of huggingface_hub, where files are relative links."""
    merge(tmp_path / "share", [whole])
    (tmp_path / "blobs").mkdir()
    for file in (tmp_path / "share").glob("*.parquet"):
        file.rename(tmp_path / "blobs" / file.name)
        file.symlink_to(f"../blobs/{file.name}")
    assert merge(tmp_path / "out", [tmp_path / "share"]).finished
    assert hashes(tmp_path / "out") == hashes(whole)


def test_verify_finds_any_damage(whole, tmp_path):
    assert verify(whole)["rows"] == {"train": 6 * FRAMES, "val": FRAMES}
    merge(tmp_path / "copy", [whole])
    file = tmp_path / "copy/val-00000-00.parquet"
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.unlink()
    with pytest.raises(DataError, match=r"val-00000-00.parquet is missing"):
        verify(tmp_path / "copy")
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"val-00000-00.parquet: damaged"):
        verify(tmp_path / "copy")
    file.unlink()
    outside = edited(tmp_path / "b", whole, "manifest.json", lambda m: m["files"][0].update(file="../x.parquet"))
    with pytest.raises(DataError, match="not a plain name"):
        verify(outside)

"""Preparing a data set: resumable, divisible, verified, and honest about what was left out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from huggingface_hub import HfApi, HfFileSystem
from loopback_hub import TOKEN
from PIL import Image

from rgbd3d.data import prepare as preparation
from rgbd3d.data.catalog import CATALOG, find, text_table
from rgbd3d.data.codec import DataError
from rgbd3d.data.manifest import merge, verify
from rgbd3d.data.prepare import group_units, prepare
from rgbd3d.data.readers import open_reader
from rgbd3d.data.readers.base import Options, Unit
from rgbd3d.data.sources import open_source
from rgbd3d.files import sha256
from rgbd3d.hub_datasets import push_dataset
from rgbd3d.hub_errors import HubError

pytest_plugins = ["hub_fixtures"]

SCENES, FRAMES = 7, 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Seven scenes of five small frames, with depth, labels, poses and intrinsics."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for scene in range(SCENES):
        segment = folder / ("val" if scene == 6 else "train") / f"scene{scene}"
        for name in ("color", "depth", "label40"):
            (segment / name).mkdir(parents=True)
        np.savetxt(segment / "intrinsics.txt", [[30, 0, 16], [0, 30, 12], [0, 0, 1]])
        lines = [f"{frame:04d} " + " ".join(map(str, np.eye(4).ravel())) for frame in range(FRAMES)]
        (segment / "poses.txt").write_text("\n".join(lines))
        for frame in range(FRAMES):
            color = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(color).save(segment / "color" / f"{frame:04d}.jpg")
            Image.fromarray(rng.integers(0, 5000, (24, 32), dtype=np.uint16)).save(
                segment / "depth" / f"{frame:04d}.png"
            )
            Image.fromarray(rng.integers(0, 41, (24, 32), dtype=np.uint8)).save(
                segment / "label40" / f"{frame:04d}.png"
            )
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(preparation, "TASK_ROWS", 2 * FRAMES)


@pytest.fixture(scope="module")
def whole(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "TASK_ROWS", 2 * FRAMES)
        prepare("frames", raw, out, workers=1)
    return out


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir() if path.is_file()}


# ------------------------------------------------------------------------------------------------------------ result


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


def test_files_end_at_their_limit(raw, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "FILE_BYTES", 6000)
    prepare("frames", raw, tmp_path, workers=1)
    files = sorted(tmp_path.glob("*.parquet"))
    assert len(files) > len(list(whole.glob("*.parquet")))
    assert files[1].name == "train-00000-01.parquet"
    frames = [(sample["scene_id"], sample["frame_id"]) for sample in open_source(tmp_path)]
    assert frames == [(sample["scene_id"], sample["frame_id"]) for sample in open_source(whole)]


# ------------------------------------------------------------------------------------------------- resuming, merging


PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from rgbd3d.data import prepare
    prepare.TASK_ROWS = 10
    if __name__ == "__main__":
        prepare.prepare("frames", Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[3]))
    """
)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_runs_end_in_the_same_bytes(raw, whole, tmp_path, workers):
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    command = [sys.executable, program, raw, out, str(workers)]
    for done in (1, 2):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list((out / ".prepare").glob("*-*.json"))) < done and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (out / ".train-00002-00.parquet.abc.tmp").write_bytes(b"half")
    (out / ".manifest.json.4711").write_bytes(b"half")
    (out / "train-00002-07.parquet").write_bytes(b"of a task without a record")
    prepare("frames", raw, out, workers=1)
    assert hashes(out) == hashes(whole)


def test_ctrl_c_keeps_what_is_complete(raw, whole, tmp_path):
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, program, raw, out, "2"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while not list((out / ".prepare").glob("*-*.json")) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 0 or "keeps what is complete; the same command goes on" in error
    prepare("frames", raw, out, workers=1)
    assert hashes(out) == hashes(whole)


def test_two_processes_take_turns(raw, whole, tmp_path):
    program, out = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    both = [subprocess.Popen([sys.executable, program, raw, out, "1"], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert hashes(out) == hashes(whole)


def killed(work, task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_explained(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_do_task", killed)
    with pytest.raises(DataError, match=r"worker process was killed.*--workers"):
        prepare("frames", raw, tmp_path / "out", workers=2)


def test_clips_are_not_resized(tmp_path, rgbd_frames):
    raw = tmp_path / "raw/train/arm_wrestling"
    raw.mkdir(parents=True)
    (raw / "a.mp4").symlink_to(rgbd_frames / "video/kinetics_pool_32f.mp4")
    with pytest.raises(ValueError, match="kinetics has clips: only frames can be resized"):
        prepare("kinetics", tmp_path / "raw", tmp_path / "out", size=(20, 20))


def test_a_second_run_changes_nothing(raw, whole, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*.parquet")}
    monkeypatch.setattr(preparation, "_do_task", None)
    assert prepare("frames", raw, whole, workers=1).finished
    assert {path: path.stat().st_mtime_ns for path in whole.glob("*.parquet")} == before


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


def edited(folder: Path, whole: Path, name: str, change) -> Path:
    """A copy of a prepared folder whose JSON file `name` has been changed."""
    merge(folder, [whole])
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.unlink()
    path.write_text(json.dumps(content))
    return folder


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


def test_an_unfinished_folder_is_no_source(raw, tmp_path):
    prepare("frames", raw, tmp_path, shard=(1, 2), workers=1)
    with pytest.raises(DataError, match="not finished; run its `rgbd3d data prepare` again"):
        open_source(tmp_path)


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


def test_a_folder_begun_otherwise_is_refused(raw, whole, tmp_path):
    with pytest.raises(DataError, match=r"begun otherwise \(stride: 1 there, 3 asked\)"):
        prepare("frames", raw, whole, Options(stride=3))
    with pytest.raises(DataError, match="other scenes or frames than before"):
        prepare("frames", raw / "train", whole)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"not empty \(thesis.tex"):
        prepare("frames", raw, tmp_path)
    assert (tmp_path / "thesis.tex").exists()


# ---------------------------------------------------------------------------------------------------------- bad rows


@pytest.fixture
def damaged(raw, tmp_path):
    """The raw data with a truncated image, and a depth file that is no image at all."""
    copy = tmp_path / "damaged"
    for path in raw.rglob("*.*"):
        target = copy / path.relative_to(raw)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    image, depth = copy / "train/scene1/color/0002.jpg", copy / "train/scene3/depth/0004.png"
    content = image.read_bytes()[:300]
    for path, data in ((image, content), (depth, b"\x89PNG\r\n\x1a\n")):
        path.unlink()
        path.write_bytes(data)
    return copy


def test_bad_rows_stop_and_leave_nothing_half_written(damaged, tmp_path):
    with pytest.raises(DataError, match=r"not a readable JPEG or PNG(.|\n)*--skip-bad"):
        prepare("frames", damaged, tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").glob("*.parquet"))
    assert not list((tmp_path / "out").glob(".*.tmp"))
    assert not (tmp_path / "out/manifest.json").exists()


def test_bad_rows_are_counted_and_named(damaged, tmp_path):
    outcome = prepare("frames", damaged, tmp_path / "out", workers=1, skip_bad=True)
    assert outcome.rows == {"train": 6 * FRAMES - 2, "val": FRAMES}
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [(bad["unit"], bad["row"]) for bad in manifest["skipped"]] == [("scene1", 2), ("scene3", 4)]
    assert "2 rows or parts could not be used" in (tmp_path / "out/README.md").read_text()
    assert "2 rows or parts left out" in str(outcome)


def test_a_damaged_sequence_is_left_out(raw, tmp_path):
    copy = shutil.copytree(raw, tmp_path / "damaged")
    (copy / "train/scene1/depth/0002.png").unlink()
    with pytest.raises(DataError, match=r"scene1: .*without a pair(.|\n)*--skip-bad"):
        prepare("frames", copy, tmp_path / "strict", workers=1)
    outcome = prepare("frames", copy, tmp_path / "out", workers=1, skip_bad=True)
    assert outcome.rows == {"train": 5 * FRAMES, "val": FRAMES}
    assert [(bad.unit, bad.row) for bad in outcome.skipped] == [("scene1", None)]


def test_mended_rows_are_picked_up(raw, damaged, tmp_path, whole):
    prepare("frames", damaged, tmp_path / "out", workers=1, skip_bad=True)
    for name in ("train/scene1/color/0002.jpg", "train/scene3/depth/0004.png"):
        (damaged / name).unlink()
        os.link(raw / name, damaged / name)
    assert prepare("frames", damaged, tmp_path / "out", workers=1).skipped == []
    assert hashes(tmp_path / "out") == hashes(whole)


def test_reasons_do_not_depend_on_the_run(damaged, tmp_path):
    for name in ("a", "b"):
        prepare("frames", damaged, tmp_path / name, workers=1, skip_bad=True)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_errors_of_worker_processes_arrive(damaged, tmp_path):
    with pytest.raises(DataError, match="--skip-bad"):
        prepare("frames", damaged, tmp_path / "out", workers=2)


# ----------------------------------------------------------------------------------------------------------- pushing


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


# ---------------------------------------------------------------------------------------------------- tasks, catalog


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


@pytest.mark.parametrize("name", CATALOG)
def test_every_data_set_has_a_reader_or_needs_none(name, tmp_path):
    data_set = CATALOG[name]
    assert f"{name} (" in text_table()
    if data_set.reader is None:
        with pytest.raises(ValueError, match="needs no preparation: rgbd3d data render"):
            open_reader(data_set, tmp_path)
    else:
        with pytest.raises(DataError, match=r".{20}"):
            open_reader(data_set, tmp_path).units()


def test_a_misspelt_data_set_suggests_the_right_one():
    with pytest.raises(ValueError, match="did you mean scannet"):
        find("scanet")

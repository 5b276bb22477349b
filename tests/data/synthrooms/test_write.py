"""Writing a data set: disjoint splits, exact resume after a kill, no mixing of settings."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pyarrow.parquet as pq
import pytest
import torch

from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source
from rgbd3d.data.synthrooms.render import render_scene
from rgbd3d.data.synthrooms.splits import SPLITS, split_of, split_seeds
from rgbd3d.data.synthrooms.write import RenderSettings, write_dataset

SIZE = (24, 32)
SCENES, FRAMES, PER_SHARD = 11, 1, 4
"""Three shards, the last one short."""

PROGRAM = textwrap.dedent(
    f"""
    import signal
    import sys
    from rgbd3d.data.synthrooms.write import write_dataset
    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        scenes = int(sys.argv[2])
        write_dataset(sys.argv[1], "train", scenes, {FRAMES}, {SIZE}, workers=2, scenes_per_shard={PER_SHARD})
    """
)


def start(tmp_path, folder, scenes=SCENES):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, program, folder, str(scenes)], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*"))}


def group_ends(group, seconds=60):
    """Whether no process of the group is left after a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        states = [line.split() for line in found.splitlines()]
        if not any(int(pgid) == group and "Z" not in state for pgid, state in states):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    write_dataset(folder, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=PER_SHARD)
    return folder


# ------------------------------------------------------------------------------------------------------------- splits


def test_splits_are_disjoint_and_cover_all_seeds():
    digits = [digit for split in SPLITS.values() for digit in split]
    assert sorted(digits) == list(range(10))
    seeds = {split: set(split_seeds(split, 300)) for split in SPLITS}
    assert all(len(values) == 300 for values in seeds.values())
    assert not seeds["train"] & seeds["val"] | seeds["train"] & seeds["test"] | seeds["val"] & seeds["test"]
    assert all(split_of(seed) == split for split, values in seeds.items() for seed in values)


def test_more_scenes_only_append():
    assert split_seeds("train", 40)[:17] == split_seeds("train", 17)
    assert split_seeds("test", 2) == [9, 19]


def test_unknown_splits_and_counts_are_refused():
    with pytest.raises(ValueError, match="train, val, test"):
        split_seeds("validation", 3)
    with pytest.raises(ValueError, match="negative"):
        split_seeds("train", -1)


# -------------------------------------------------------------------------------------------------------------- files


def test_manifest_describes_the_files(dataset):
    manifest = json.loads((dataset / "train-manifest.json").read_text())
    assert manifest["settings"]["scenes"] == SCENES
    assert [shard["rows"] for shard in manifest["shards"]] == [4, 4, 3]
    for shard in manifest["shards"]:
        path = dataset / shard["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]
        assert pq.read_metadata(path).num_rows == shard["rows"]
    assert sorted(path.name for path in dataset.iterdir()) == sorted(
        ["train-manifest.json", *(shard["file"] for shard in manifest["shards"])]
    )


def test_rows_are_the_rendered_frames(dataset):
    source = open_source(dataset, split="train")
    assert len(source) == SCENES * FRAMES
    assert source.label_space == "nyu40"
    seeds = split_seeds("train", SCENES)
    for index in (0, 5, 10):
        stored, rendered = source[index], render_scene(seeds[index], FRAMES, SIZE)[0]
        assert stored["scene_id"] == rendered["scene_id"]
        assert (stored["depth"] - rendered["depth"]).abs().max() <= 0.00051
        assert torch.equal(stored["semantic"], rendered["semantic"])
        assert torch.equal(stored["instance"], rendered["instance"])
        assert torch.equal(stored["pose"], rendered["pose"])
        assert (stored["image"].float() - rendered["image"].float()).abs().mean() < 12


def test_complete_folder_is_left_alone(dataset):
    times = {path.name: path.stat().st_mtime_ns for path in dataset.glob("*.parquet")}
    write_dataset(dataset, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=PER_SHARD)
    assert {path.name: path.stat().st_mtime_ns for path in dataset.glob("*.parquet")} == times


def test_a_folder_that_does_not_say_its_rooms_has_compact_ones(dataset, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(dataset, folder)
    manifest = folder / "train-manifest.json"
    content = json.loads(manifest.read_text())
    del content["settings"]["rooms"]
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError, match="rooms: 'compact' there, 'deep' asked"):
        write_dataset(folder, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=PER_SHARD, rooms="deep")
    write_dataset(folder, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=PER_SHARD)
    assert hashes(folder) == hashes(dataset)


def test_killed_writer_resumes_to_identical_bytes(tmp_path, dataset):
    folder = tmp_path / "killed"
    process = start(tmp_path, folder)
    wait_for(lambda: list(folder.glob("train-*.parquet")) and list(folder.glob(".train-*.tmp")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert group_ends(process.pid)  # workers don't outlive the killed parent
    assert len(list(folder.glob("train-*.parquet"))) < 3
    assert json.loads((folder / "train-manifest.json").read_text())["shards"] is None
    write_dataset(folder, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=PER_SHARD)
    assert hashes(folder) == hashes(dataset)


def test_ctrl_c_stops_cleanly_and_keeps_what_is_complete(tmp_path):
    folder = tmp_path / "interrupted"
    process = start(tmp_path, folder, scenes=100 * SCENES)  # far from its end when the first shard is there
    wait_for(lambda: list(folder.glob("train-*.parquet")), process)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1].decode()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    assert group_ends(process.pid)
    assert not list(folder.glob(".train-*.tmp"))
    assert list(folder.glob("train-*.parquet"))


@pytest.mark.parametrize(
    "change",
    [{"scenes": SCENES + 1}, {"frames_per_scene": 2}, {"size": (32, 24)}, {"cameras": "path"}, {"rooms": "deep"}],
)
def test_other_settings_are_refused(dataset, change):
    arguments = {"scenes": SCENES, "frames_per_scene": FRAMES, "size": SIZE, "scenes_per_shard": PER_SHARD}
    arguments |= change
    before = hashes(dataset)
    with pytest.raises(DataError, match=f"other settings.*{next(iter(change))}.*choose another folder"):
        write_dataset(dataset, "train", workers=1, **arguments)
    assert hashes(dataset) == before


def test_two_splits_share_a_folder(tmp_path):
    write_dataset(tmp_path, "val", 2, 1, SIZE, workers=1)
    write_dataset(tmp_path, "test", 1, 1, SIZE, workers=1)
    val, test = open_source(tmp_path, split="val"), open_source(tmp_path, split="test")
    assert [val[0]["scene_id"], val[1]["scene_id"], test[0]["scene_id"]] == [
        f"synthrooms-{seed:07d}" for seed in (8, 18, 9)
    ]


def test_bad_arguments(tmp_path):
    with pytest.raises(DataError, match="positive"):
        write_dataset(tmp_path / "a", "train", 0, 1, SIZE)
    with pytest.raises(ValueError, match="no split 'dev'"):
        write_dataset(tmp_path / "b", "dev", 1, 1, SIZE)
    assert not list(tmp_path.iterdir())


def test_shards_partition_the_scenes():
    settings = RenderSettings("train", 100, 8, SIZE)
    seeds = [seed for shard in range(settings.shards) for seed in settings.shard_seeds(shard)]
    assert seeds == split_seeds("train", 100)
    assert settings.shard_name(0) == "train-00000-of-00004.parquet"

"""Raw data that cannot be used stops a preparation, or is left out and counted."""

import json
import os
import shutil

import pytest
import torch
from raw_frames import FRAMES, hashes

from rgbd3d.data.codec import DataError
from rgbd3d.data.prepare import prepare
from rgbd3d.data.readers.frames import FrameFolderReader


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


@pytest.mark.parametrize("size", [None, (12, 16)])
def test_a_picture_that_is_stored_unread_is_named(raw, tmp_path, size):
    content = next((raw / "train/scene1/color").iterdir()).read_bytes()
    pictures = tmp_path / "pictures/cat"
    pictures.mkdir(parents=True)
    (pictures / "whole.jpg").write_bytes(content)
    (pictures / "torn.jpg").write_bytes(content[:300])
    with pytest.raises(DataError, match=r"pictures/cat/torn\.jpg: not a readable JPEG or PNG"):
        prepare("images", tmp_path / "pictures", tmp_path / "out", size=size, workers=1)


def test_a_value_that_comes_from_no_file_of_its_own_is_placed(raw, tmp_path, monkeypatch):
    row = {"image": torch.zeros(3, 4, 4), "scene_id": "s", "frame_id": 7}
    monkeypatch.setattr(FrameFolderReader, "row", lambda self, frame: row)
    with pytest.raises(DataError, match=rf"{raw}/train/scene0, s 7: column 'image': image must be uint8"):
        prepare("frames", raw, tmp_path / "out", workers=1)


def test_raw_data_that_give_no_row_are_refused(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(FrameFolderReader, "read", lambda self, unit: iter(()))
    with pytest.raises(DataError, match="not a single row could be used: the raw data give none"):
        prepare("frames", raw, tmp_path / "out", workers=1)


def test_raw_data_that_are_not_the_data_set_say_what_is_needed(raw, tmp_path):
    with pytest.raises(DataError, match=rf"{raw}: (.|\n)*Needed for 7scenes: The unpacked scenes"):
        prepare("7scenes", raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_with_data_that_are_there_is_said_alone(damaged, tmp_path):
    """To be told what the data set consists of helps nobody who has it."""
    (damaged / "validation").mkdir()
    with pytest.raises(DataError, match="are the same split") as caught:
        prepare("frames", damaged, tmp_path / "out")
    assert "Needed for" not in str(caught.value)

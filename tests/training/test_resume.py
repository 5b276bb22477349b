import json
import logging
from pathlib import Path

import pytest

from rgbd3d.training.resume import (
    MARKER,
    Checkpoint,
    ResumeError,
    check_same_run,
    keep_last,
    last_marked,
    latest_complete,
    mark_complete,
    write_atomic,
)

IDENTITY = {"train": {"max_steps": 100, "optimizer": {"lr": 0.1}}, "data_digest": "ab", "processes": 1}


def save(output: Path, step: int) -> Path:
    folder = output / f"checkpoint-{step}"
    (folder / "shards").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes([step]) * 1000)
    (folder / "shards" / "optimizer.pt").write_bytes(b"o" * step)
    return folder


def test_the_newest_by_step_wins(tmp_path: Path):
    for step in (9, 10, 100):
        mark_complete(save(tmp_path, step), step, IDENTITY)
    found = latest_complete(tmp_path)
    assert found is not None
    assert (found.step, found.folder.name, found.identity) == (100, "checkpoint-100", IDENTITY)


def test_nothing_saved_yet(tmp_path: Path):
    assert latest_complete(tmp_path / "new") is None


def _cut_file(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x02" * 999)


def _change_byte(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x02" * 999 + b"x")


def _lose_file(folder: Path) -> None:
    (folder / "shards" / "optimizer.pt").unlink()


def _lose_marker(folder: Path) -> None:
    (folder / MARKER).unlink()


def _cut_marker(folder: Path) -> None:
    text = (folder / MARKER).read_text()
    (folder / MARKER).write_text(text[: len(text) // 2])


def _empty_marker(folder: Path) -> None:
    (folder / MARKER).write_text("{}")


def _marker_of_another_kind(folder: Path) -> None:
    (folder / MARKER).write_text(json.dumps({"step": 2, "identity": IDENTITY, "files": ["model.safetensors"]}))


def _list_as_marker(folder: Path) -> None:
    (folder / MARKER).write_text("[1, 2]")


def _binary_marker(folder: Path) -> None:
    (folder / MARKER).write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    "damage",
    [
        _cut_file,
        _change_byte,
        _lose_file,
        _lose_marker,
        _cut_marker,
        _empty_marker,
        _marker_of_another_kind,
        _list_as_marker,
        _binary_marker,
    ],
)
def test_a_damaged_checkpoint_is_removed_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage):
    for step in (1, 2):
        mark_complete(save(tmp_path, step), step, IDENTITY)
    damage(tmp_path / "checkpoint-2")
    with caplog.at_level(logging.WARNING):
        found = latest_complete(tmp_path)
    assert found is not None
    assert found.step == 1
    assert not (tmp_path / "checkpoint-2").exists()
    assert "checkpoint-2" in caplog.text


def test_the_last_marked_is_found_without_reading_or_removing(tmp_path: Path):
    assert last_marked(tmp_path) is None
    for step in (9, 10):
        mark_complete(save(tmp_path, step), step, IDENTITY)
    save(tmp_path, 11)
    assert last_marked(tmp_path) == Checkpoint(tmp_path / "checkpoint-10", 10, IDENTITY)
    assert (tmp_path / "checkpoint-11").is_dir()


def test_keep_last_deletes_the_oldest(tmp_path: Path):
    for step in (2, 10, 30):
        mark_complete(save(tmp_path, step), step, IDENTITY)
    keep_last(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-30"]


def test_another_run_is_refused_and_every_difference_named(tmp_path: Path):
    mark_complete(save(tmp_path, 5), 5, IDENTITY)
    found = latest_complete(tmp_path)
    assert found is not None
    check_same_run(found, IDENTITY)
    other = {"train": {"max_steps": 100, "optimizer": {"lr": 0.2}}, "data_digest": "cd", "processes": 1}
    with pytest.raises(ResumeError) as error:
        check_same_run(found, other)
    assert "train.optimizer.lr: 0.1 then, 0.2 now" in str(error.value)
    assert "data_digest: 'ab' then, 'cd' now" in str(error.value)
    assert "max_steps" not in str(error.value)


def test_atomic_writing_leaves_one_file(tmp_path: Path):
    write_atomic(tmp_path / "a.json", "{}")
    write_atomic(tmp_path / "a.json", json.dumps({"b": 1}))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}

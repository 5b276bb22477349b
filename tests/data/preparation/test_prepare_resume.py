"""A preparation that is stopped anywhere goes on to the same files."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from raw_frames import hashes

from rgbd3d.data import prepare as preparation
from rgbd3d.data.codec import DataError
from rgbd3d.data.prepare import prepare
from rgbd3d.data.readers.base import Options
from rgbd3d.data.sources import open_source

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


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
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


@pytest.mark.slow
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


def test_a_second_run_changes_nothing(raw, whole, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*.parquet")}
    monkeypatch.setattr(preparation, "_do_task", None)
    assert prepare("frames", raw, whole, workers=1).finished
    assert {path: path.stat().st_mtime_ns for path in whole.glob("*.parquet")} == before


def test_an_unfinished_folder_is_no_source(raw, tmp_path):
    prepare("frames", raw, tmp_path, shard=(1, 2), workers=1)
    with pytest.raises(DataError, match="not finished; run its `rgbd3d data prepare` again"):
        open_source(tmp_path)


def test_a_folder_where_nothing_was_done_may_be_begun_otherwise(raw, tmp_path, monkeypatch):
    def fails(work, task):
        raise DataError("of the first row")

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_do_task", fails)
        with pytest.raises(DataError, match="of the first row"):
            prepare("frames", raw, tmp_path, Options(stride=3), workers=1)
    assert [path.name for path in tmp_path.rglob("*.*")] == [".prepare", "plan.json"]
    assert prepare("frames", raw, tmp_path, Options(stride=2), workers=1).rows == {"train": 18, "val": 3}


def test_a_folder_begun_otherwise_is_refused(raw, whole, tmp_path):
    with pytest.raises(DataError, match=r"begun otherwise \(stride: 1 there, 3 asked\)"):
        prepare("frames", raw, whole, Options(stride=3))
    with pytest.raises(DataError, match="other scenes or frames than before"):
        prepare("frames", raw / "train", whole)
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"not empty \(thesis.tex"):
        prepare("frames", raw, tmp_path)
    assert (tmp_path / "thesis.tex").exists()

"""Two processes under torchrun are one run: every frame exactly once per epoch, the same losses and numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import tiny_run as tiny
import tiny_task
import torch
from safetensors.torch import load_file

from rgbd3d.evaluation.result import Result
from rgbd3d.training.examination import EVALUATIONS
from rgbd3d.training.finetune import finetune
from rgbd3d.training.logbook import read_log
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace, frames_per_process
from rgbd3d.training.resume import latest_complete

WEIGHTS = Path("final", "pretraining", "model.safetensors")


def seen_by(rank: int, folder: Path) -> dict[int, list[int]]:
    lines = (folder / f"seen-{rank}.jsonl").read_text().splitlines()
    return dict(json.loads(line) for line in lines)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("torchrun_tiny.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run([*command, script, folder, *arguments], capture_output=True, text=True, timeout=600)


def why(done: subprocess.CompletedProcess[str]) -> str:
    """What the processes said before torchrun stopped the other one, whose complaint comes last."""
    return done.stderr.partition("Sending process")[0][-10_000:]


def with_frames(folder: Path) -> Path:
    tiny.write_frames(folder / "frames")
    tiny_task.write_frames(folder / "task")
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes that nobody disturbed."""
    folder = with_frames(tmp_path_factory.mktemp("distributed"))
    done = run(folder)
    assert done.returncode == 0, why(done)
    return folder


def test_two_processes_are_one_run(ran: Path, tmp_path: Path):
    halves = [seen_by(rank, ran) for rank in (0, 1)]
    passes = 2 * tiny.STEPS
    for number in range(passes):
        assert [len(half[number]) for half in halves] == [2, 2]
    visits = Counter(index for number in range(passes) for half in halves for index in half[number])
    epochs, rest = divmod(passes * 4, tiny.FRAMES)
    assert epochs >= 3
    assert sorted(visits) == list(range(tiny.FRAMES))
    assert sorted(visits.values()) == [epochs] * (tiny.FRAMES - rest) + [epochs + 1] * rest

    one, two = tmp_path / "one", ran / "two"
    pretrain(tiny.PLAIN_CARD, str(ran / "frames"), one, device="cpu", pace=Pace(log_every=1))
    for alone, together in zip(read_log(one), read_log(two), strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert together["loss_depth"] == pytest.approx(alone["loss_depth"], rel=1e-4)
    ours, theirs = (load_file(folder / WEIGHTS) for folder in (one, two))
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=2e-3, rtol=0)
    assert latest_complete(two).identity["processes"] == 2


def test_two_processes_fine_tune_and_score_as_one(ran: Path, tmp_path: Path):
    one, two = tmp_path / "one", ran / "two-of-task"
    alone = finetune(tiny_task.PLAIN_DEPTH, str(ran / "task"), one, device="cpu", pace=Pace(log_every=1))
    assert alone is not None
    for ours, theirs in zip(read_log(one), read_log(two), strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
    together = Result.load(two / "result.json")
    assert together.data == alone.data
    for metric in alone.metrics:
        assert together.mean(metric) == pytest.approx(alone.mean(metric), rel=1e-3), "each frame is scored once"
    start = [json.loads((run / EVALUATIONS).read_text().splitlines()[0]) for run in (one, two)]
    assert start[0]["metrics"] == pytest.approx(start[1]["metrics"], rel=1e-6)
    assert (two / "best" / "model.safetensors").is_file()


@pytest.mark.slow
def test_killed_processes_continue_to_the_same_weights(ran: Path, tmp_path: Path):
    folder = with_frames(tmp_path)
    fifth_step = 4 * tiny.CARD.train.accumulate
    assert "Signal 9" in run(folder, str(fifth_step)).stderr
    checkpoint = latest_complete(folder / "two")
    assert checkpoint is not None
    assert checkpoint.step == tiny.SAVE_EVERY

    done = run(folder)
    assert done.returncode == 0, why(done)
    assert "continuing at step 3" in done.stdout
    assert (folder / "two" / WEIGHTS).read_bytes() == (ran / "two" / WEIGHTS).read_bytes()


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"batch_size 4 cannot be divided among 3 processes"):
        frames_per_process(tiny.CARD.train, 3)

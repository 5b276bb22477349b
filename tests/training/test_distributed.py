"""Two processes under torchrun are one run: every frame exactly once per epoch, the same losses, killed or not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import tiny_run as tiny
import torch
from safetensors.torch import load_file

from rgbd3d.training.logbook import read_log
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace, frames_per_process
from rgbd3d.training.resume import latest_complete

WEIGHTS = Path("final", "pretraining", "model.safetensors")


def seen_by(rank: int, folder: Path) -> dict[int, list[int]]:
    lines = (folder / f"seen-{rank}.jsonl").read_text().splitlines()
    return dict(json.loads(line) for line in lines)


def run(frames: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("torchrun_tiny.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    return subprocess.run([*command, str(frames), str(output), *arguments], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def two(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of two processes that nobody disturbed."""
    output = tmp_path_factory.mktemp("distributed") / "two"
    done = run(frames, output)
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def test_two_processes_are_one_run(frames: Path, two: Path, tmp_path: Path):
    halves = [seen_by(rank, two.parent) for rank in (0, 1)]
    passes = 2 * tiny.STEPS
    for number in range(passes):
        assert [len(half[number]) for half in halves] == [2, 2]
    visits = Counter(index for number in range(passes) for half in halves for index in half[number])
    epochs, rest = divmod(passes * 4, tiny.FRAMES)
    assert epochs >= 3
    assert sorted(visits) == list(range(tiny.FRAMES))
    assert sorted(visits.values()) == [epochs] * (tiny.FRAMES - rest) + [epochs + 1] * rest

    pretrain(tiny.PLAIN_CARD, str(frames), tmp_path / "one", device="cpu", pace=Pace(log_every=1))
    for alone, together in zip(read_log(tmp_path / "one"), read_log(two), strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
        assert together["loss_depth"] == pytest.approx(alone["loss_depth"], rel=1e-4)
    ours, theirs = (load_file(folder / WEIGHTS) for folder in (tmp_path / "one", two))
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=2e-3, rtol=0)
    assert latest_complete(two).identity["processes"] == 2


@pytest.mark.slow
def test_killed_processes_continue_to_the_same_weights(frames: Path, two: Path, tmp_path: Path):
    output = tmp_path / "killed"
    fifth_step = 4 * tiny.CARD.train.accumulate
    assert "Signal 9" in run(frames, output, str(fifth_step)).stderr
    checkpoint = latest_complete(output)
    assert checkpoint is not None
    assert checkpoint.step == tiny.SAVE_EVERY

    done = run(frames, output)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "continuing at step 3" in done.stdout
    assert (output / WEIGHTS).read_bytes() == (two / WEIGHTS).read_bytes()


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"batch_size 4 cannot be divided among 3 processes"):
        frames_per_process(tiny.CARD.train, 3)

"""A run that is killed again and again ends with the weights of one that is not, bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import tiny_run as tiny

from rgbd3d.training.logbook import read_log
from rgbd3d.training.resume import MARKER

WEIGHTS = Path("final", "pretraining", "model.safetensors")
Moment = Callable[[Path], bool]


@pytest.fixture(scope="module")
def uninterrupted(frames: Path, processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("whole")
    run_to_the_end(processes, frames, output, workers=0)
    return (output / WEIGHTS).read_bytes()


def run_to_the_end(processes: ForkServerContext, frames: Path, output: Path, workers: int) -> None:
    process = processes.Process(target=tiny.train, args=(tiny.CARD, frames, output, workers))
    process.start()
    process.join()
    assert process.exitcode == 0


def run_and_kill(processes: ForkServerContext, frames: Path, output: Path, workers: int, moment: Moment) -> None:
    """Starts or continues a run and kills it with SIGKILL at the moment."""
    process = processes.Process(target=tiny.train, args=(tiny.CARD, frames, output, workers))
    process.start()
    while not moment(output):
        assert process.is_alive(), "ended before the moment to kill it"
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def after_step(step: int) -> Moment:
    return lambda output: (log := read_log(output)) != [] and log[-1]["step"] >= step


def while_saving(step: int) -> Moment:
    """The checkpoint's folder is there, its marker is not."""
    return lambda output: (folder := output / f"checkpoint-{step}").is_dir() and not (folder / MARKER).exists()


def while_hashing(step: int) -> Moment:
    """Trainer has written its last file, the marker is still missing."""
    return lambda output: while_saving(step)(output) and (output / f"checkpoint-{step}" / "trainer_state.json").exists()


def while_exporting(output: Path) -> bool:
    return any(output.glob(".final.*/new/model.safetensors"))


@pytest.mark.parametrize(
    ("workers", "moments"),
    [
        (0, [after_step(1), while_saving(3), while_hashing(6), while_exporting]),
        (2, [while_saving(3), after_step(7)]),
    ],
)
def test_killed_at_every_kind_of_moment(
    processes: ForkServerContext,
    frames: Path,
    uninterrupted: bytes,
    tmp_path: Path,
    workers: int,
    moments: list[Moment],
):
    for moment in moments:
        run_and_kill(processes, frames, tmp_path, workers, moment)
        assert not (tmp_path / WEIGHTS).exists()
    run_to_the_end(processes, frames, tmp_path, workers)
    assert (tmp_path / WEIGHTS).read_bytes() == uninterrupted
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, tiny.STEPS + 1))
    checkpoints = sorted(int(path.name.removeprefix("checkpoint-")) for path in tmp_path.glob("checkpoint-*"))
    assert checkpoints == [tiny.STEPS - tiny.SAVE_EVERY, tiny.STEPS]
    assert tiny.STEPS * 8 > 3 * tiny.FRAMES, "the run should go past the first epoch"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_at_forty_random_moments(
    processes: ForkServerContext, frames: Path, uninterrupted: bytes, tmp_path: Path, workers: int
):
    """Runs that are killed until they end by themselves; whatever a kill hits, the next start copes with it."""
    began = time.perf_counter()
    run_to_the_end(processes, frames, tmp_path / "timed", workers)
    duration = time.perf_counter() - began
    rng = random.Random(workers)
    kills = runs = 0
    while kills < 40:
        output = tmp_path / str(runs)
        while not (output / WEIGHTS).exists():
            process = processes.Process(target=tiny.train, args=(tiny.CARD, frames, output, workers))
            process.start()
            process.join(rng.uniform(0.0, 0.9) * duration)
            kills += process.is_alive()
            process.kill()
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
        assert (output / WEIGHTS).read_bytes() == uninterrupted
        shutil.rmtree(output)
        runs += 1
    print(f"{kills} kills in {runs} runs")

"""Two processes under torchrun fine-tune and score as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_task

from rgbd3d.evaluation.result import Result
from rgbd3d.training.examination import EVALUATIONS
from rgbd3d.training.finetune import finetune
from rgbd3d.training.logbook import read_log
from rgbd3d.training.recipe import Pace


def test_two_processes_are_one_run(tmp_path: Path):
    data = tiny_task.write_frames(tmp_path / "data")
    script = Path(__file__).with_name("torchrun_task.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    two = tmp_path / "two"
    done = subprocess.run([*command, str(data), str(two)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one = finetune(tiny_task.PLAIN_DEPTH, str(data), tmp_path / "one", device="cpu", pace=Pace(log_every=1))
    assert one is not None
    for alone, together in zip(read_log(tmp_path / "one"), read_log(two), strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    together = Result.load(two / "result.json")
    assert together.data == one.data
    for metric in one.metrics:
        assert together.mean(metric) == pytest.approx(one.mean(metric), rel=1e-3), "each frame is scored once"
    start = [json.loads((tmp_path / run / EVALUATIONS).read_text().splitlines()[0]) for run in ("one", "two")]
    assert start[0]["metrics"] == pytest.approx(start[1]["metrics"], rel=1e-6)
    assert (two / "best" / "model.safetensors").is_file()

"""What each process of test_distributed_task.py runs."""

import sys

import tiny_task

from rgbd3d.training.finetune import finetune
from rgbd3d.training.recipe import Pace

if __name__ == "__main__":
    data, output = sys.argv[1:]
    result = finetune(tiny_task.PLAIN_DEPTH, data, output, device="cpu", pace=Pace(log_every=1))
    assert result is not None, "every process knows the numbers"

"""What each process of test_distributed.py runs: pre-trains, logging the frames of every forward pass, and fine-tunes.

With a second argument, the number of a forward pass of the pre-training, the process kills itself there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import tiny_run as tiny
import tiny_task

from rgbd3d.training import batches
from rgbd3d.training.finetune import finetune
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace


def main(folder: Path, last: int | None) -> None:
    """Reads frames/ and task/ of a folder, and writes two/, seen-<rank>.jsonl and two-of-task/."""
    seen = folder / f"seen-{os.environ['RANK']}.jsonl"
    deliver = batches.TrainBatches.__iter__

    def logged(self: batches.TrainBatches) -> Iterator[batches.Batch]:
        for batch in deliver(self):
            if batch["number"] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            with open(seen, "a") as file:
                file.write(json.dumps([batch["number"], batch["index"].tolist()]) + "\n")
            yield batch

    batches.TrainBatches.__iter__ = logged  # type: ignore[method-assign]
    pace = Pace(log_every=1, save_every=tiny.SAVE_EVERY)
    pretrain(tiny.PLAIN_CARD, str(folder / "frames"), folder / "two", device="cpu", pace=pace)
    batches.TrainBatches.__iter__ = deliver  # type: ignore[method-assign]
    result = finetune(tiny_task.PLAIN_DEPTH, str(folder / "task"), folder / "two-of-task", device="cpu", pace=pace)
    assert result is not None, "every process knows the numbers"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)

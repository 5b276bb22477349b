"""What each process of test_distributed.py runs: trains, and logs which frames every forward pass of its rank saw.

With a third argument, the number of a forward pass, the process kills itself there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import tiny_run as tiny

from rgbd3d.training import batches
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace


def main(frames: str, output: Path, last: int | None) -> None:
    seen = output.with_name(f"seen-{os.environ['RANK']}.jsonl")
    deliver = batches.TrainBatches.__iter__

    def logged(self: batches.TrainBatches) -> Iterator[batches.Batch]:
        for batch in deliver(self):
            if batch["number"] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            with open(seen, "a") as file:
                file.write(json.dumps([batch["number"], batch["index"].tolist()]) + "\n")
            yield batch

    batches.TrainBatches.__iter__ = logged  # type: ignore[method-assign]
    pretrain(tiny.PLAIN_CARD, frames, output, device="cpu", pace=Pace(log_every=1, save_every=tiny.SAVE_EVERY))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)

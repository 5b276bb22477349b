"""Trainer's checkpoints declared whole, oldest deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rgbd3d.training.resume import Identity, keep_last, mark_complete

KEPT = 2


class CompleteCheckpoints(TrainerCallback):
    """Marks each checkpoint once every process has written its part, then deletes all but the last two.

    Args:
        output: Folder of the run.
        identity: Of the run.
    """

    def __init__(self, output: Path, identity: Identity):
        self._output, self._identity = output, identity

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called by Trainer after its last file."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark_complete(self._output / f"checkpoint-{state.global_step}", state.global_step, self._identity)
            keep_last(self._output, KEPT)

"""Ctrl-C and SIGTERM end a run after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SaveAndStop(TrainerCallback):
    """Saves and stops at a given step, or after the step in which a signal arrived in any process.

    A second signal acts at once, as it would without this callback. Use as a context manager around `Trainer.train`.

    Args:
        stop_after: Optimiser step, or None.

    Attributes:
        interrupted: Whether a signal stopped the run.
    """

    def __init__(self, stop_after: int | None = None):
        self._stop_after = stop_after
        self._previous: dict[signal.Signals, Any] = {}
        self._signalled = False
        self.interrupted = False

    def __enter__(self) -> SaveAndStop:
        """Takes over the signals; only a main thread may."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        """Gives the signals back to whoever had them before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Asks Trainer to save and stop; all processes agree on the step."""
        self._agree(args)
        if self.interrupted or state.global_step == self._stop_after:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: TrainingArguments, *others: Any, **kwargs: Any) -> None:
        """Notices a signal that arrived after the last step, while Trainer evaluated or saved."""
        self._agree(args)

    def _agree(self, args: TrainingArguments) -> None:
        signalled = reduce(torch.tensor(int(self._signalled), device=args.device), reduction="sum")
        self.interrupted = bool(signalled)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        self.__exit__()
        print("\nsaving after this step ... (once more to stop at once)", flush=True)

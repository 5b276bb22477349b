"""One run of a recipe, whatever it trains: what it continues from, what is on record of it, and the training itself."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PrinterCallback, TrainingArguments

from rgbd3d.cards import Card
from rgbd3d.data.base import Source
from rgbd3d.training.checkpoints import CompleteCheckpoints
from rgbd3d.training.examination import Examination
from rgbd3d.training.interrupt import SaveAndStop
from rgbd3d.training.logbook import Logbook
from rgbd3d.training.provenance import TRAIN_STATE, Start, changed_since, contributing_starts, write_train_state
from rgbd3d.training.recipe import Pace
from rgbd3d.training.resume import Checkpoint, Identity, ResumeError, check_same_run, latest_complete
from rgbd3d.training.trainer import RecipeTrainer, Trainable, load_weights

FINAL = "final"
"""Folder of the exported model within the folder of a run."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One start of a run, after everything was looked up and checked.

    Attributes:
        card: After overrides.
        source: Frames.
        args: Trainer's arguments; `max_steps` is set.
        output: Folder of the run.
        identity: What a checkpoint has to share to be continued.
        checkpoint: Where to continue, or None.
        workers: Loader processes.
        pace: Logging and saving.
    """

    card: Card
    source: Source
    args: TrainingArguments
    output: Path
    identity: Identity
    checkpoint: Checkpoint | None
    workers: int
    pace: Pace

    @property
    def last_step(self) -> int:
        """Step at which this start ends."""
        return min(self.args.max_steps, self.pace.stop_after or self.args.max_steps)

    @property
    def stops_early(self) -> bool:
        """Whether this start ends before the recipe does."""
        return self.last_step < self.args.max_steps


def find_checkpoint(args: TrainingArguments, output: Path, identity: Identity, resume: bool) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or None before the first.

    Raises:
        ResumeError: The folder holds another run or another program's, or one at all although `resume` is False.
    """
    if any(output.glob("checkpoint-*")) and not (output / TRAIN_STATE).is_file():
        raise ResumeError(
            f"{output} holds checkpoints but no {TRAIN_STATE}: they belong to another program; choose another folder"
        )
    with args.main_process_first(local=False, desc="looking for checkpoints"):
        checkpoint = latest_complete(output)
    if checkpoint is not None:
        if not resume:
            raise ResumeError(f"{output} holds a run at step {checkpoint.step}; remove it or choose another folder")
        check_same_run(checkpoint, identity)
    return checkpoint


def record_start(run: Run, data: str | None, overrides: Sequence[str]) -> None:
    """Writes train_state.json, and warns where a run goes on under other conditions."""
    if run.args.process_index != 0:
        return
    continued_at = run.checkpoint.step if run.checkpoint else None
    earlier = contributing_starts(run.output, continued_at)
    now = write_train_state(
        run.output,
        run.card,
        overrides,
        earlier,
        data=data,
        data_digest=run.identity["data_digest"],
        start_digest=run.identity["start_digest"],
        frames=len(run.source),
        steps=run.args.max_steps,
        continued_at=continued_at,
        device=str(run.args.device),
        processes=run.args.world_size,
        workers=run.workers,
    )
    if continued_at is not None and continued_at < run.last_step:
        _warn_if_inexact(earlier, now)


def _warn_if_inexact(earlier: Sequence[Start], now: Start) -> None:
    changed = changed_since(earlier[-1], now) if earlier else []
    if changed:
        _log.warning(
            "continuing where sums are rounded differently (%s): the weights at the end will not be, bit for bit, "
            "those of a run that was not interrupted",
            ", ".join(changed),
        )


def train(run: Run, model: Trainable, progress: str, examination: Examination | None = None) -> None:
    """Trains `model` in place to the end of this start.

    Args:
        run: What is trained, and how.
        model: Before its first step; a checkpoint's weights take the place of its own.
        progress: What the progress bar says.
        examination: Scores the model now and then.

    Raises:
        NonFiniteError: The loss or a gradient became NaN or infinite.
        KeyboardInterrupt: A signal ended it earlier.
    """
    checkpoint, section = run.checkpoint, run.card.train
    if checkpoint is not None:
        print(f"continuing at step {checkpoint.step} from {checkpoint.folder}", flush=True)
        if examination is not None:
            examination.restore(checkpoint.folder)
        if checkpoint.step >= run.last_step:
            load_weights(model, checkpoint.folder)
            return
    interruption = SaveAndStop(run.pace.stop_after)
    callbacks = [
        interruption,
        *([] if examination is None else [examination]),
        CompleteCheckpoints(run.output, run.identity),
        Logbook(run.output, section.batch_size * section.accumulate, progress, examination),
    ]
    first_step = checkpoint.step if checkpoint else 0
    trainer = RecipeTrainer(model, run.card, run.source, run.args, first_step, run.workers, callbacks, examination)
    trainer.remove_callback(PrinterCallback)
    with interruption:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    if interruption.interrupted:
        raise KeyboardInterrupt(f"saved in {run.output}; the same command continues")


def weights_digest(model: nn.Module) -> str:
    """64 hex digits that change with any weight."""
    state = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(value.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


@contextmanager
def reproducible(threads: int | None) -> Iterator[None]:
    """Fixes what sums depend on; everything is put back at the end.

    Args:
        threads: CPU threads, or None for torch's choice.
    """
    threads_before, deterministic_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if threads is not None:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic_before)

"""The verb: card -> weights."""

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

from rgbd3d import registry
from rgbd3d.cards import Card, with_overrides
from rgbd3d.data.base import Source
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.methods import build_method
from rgbd3d.registry import NoWeightsError
from rgbd3d.training.checkpoints import CompleteCheckpoints
from rgbd3d.training.curves import CURVE, run_curve, write_curve
from rgbd3d.training.exported_card import exported_card
from rgbd3d.training.frames import open_frames
from rgbd3d.training.interrupt import SaveAndStop
from rgbd3d.training.logbook import Logbook
from rgbd3d.training.provenance import TRAIN_STATE, Start, changed_since, contributing_starts, write_train_state
from rgbd3d.training.recipe import Device, Pace, run_identity, total_steps, training_arguments
from rgbd3d.training.resume import Checkpoint, Identity, ResumeError, check_same_run, latest_complete
from rgbd3d.training.trainer import Method, RecipeTrainer, load_weights

FINAL = "final"
"""Folder of the exported model within the folder of a run."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """One call of `pretrain`, after everything was looked up and checked.

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
        """Step at which this call ends."""
        return min(self.args.max_steps, self.pace.stop_after or self.args.max_steps)


def pretrain(
    card: Card,
    data: str | None,
    output: str | Path,
    overrides: Sequence[str] = (),
    *,
    workers: int = 0,
    resume: bool = True,
    device: Device = "auto",
    start: nn.Module | None = None,
    pace: Pace | None = None,
) -> Path:
    """Trains a card by its recipe, or continues a run that was stopped, and exports the result.

    However often it is killed, the weights at the end are the same, bit for bit, on the same machine and device with
    the same torch. Under torchrun it runs in all processes; the batch of the card is divided among them.

    Args:
        card: Recipe.
        data: Data specification of `rgbd3d.data.sources.open_source`; None renders the card's synthrooms.
        output: Folder of the run: checkpoints, log.jsonl, loss.png, curve.txt, train_state.json and the export.
        overrides: `train.max_steps=100` and the like, applied to the card.
        workers: Loader processes; 0 loads in this process. Does not change the result.
        resume: Continue from the newest whole checkpoint in `output`; False refuses a folder that has one.
        device: "auto" takes a GPU if there is one.
        start: Whole pre-training model of the card whose weights to start from, instead of the card's `init`.
        pace: Logging and saving intervals.

    Returns:
        Folder of the exported model, `output/final`; with `pace.stop_after` the folder of the checkpoint.

    Raises:
        CardError: A wrong override.
        NoWeightsError: The card starts from one that has no weights yet.
        ValueError: The data, the number of processes or the steps do not fit the recipe.
        ResumeError: `output` holds another run.
        NonFiniteError: The loss or a gradient became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM, after saving.
    """
    card, output, pace = with_overrides(card, overrides), Path(output), pace or Pace()
    with _reproducible(card.train.threads):
        args = training_arguments(card.train, output, pace, device)
        with args.main_process_first(desc="rendering"):
            source = open_frames(card, data)
        output.mkdir(parents=True, exist_ok=True)
        args.max_steps = total_steps(card.train, len(source))
        identity = run_identity(card, source.digest(), _digest(start), args.world_size)
        checkpoint = _find_checkpoint(args, output, identity, resume)
        run = _Run(card, source, args, output, identity, checkpoint, workers, pace)
        _record(run, data, overrides)
        model = _initial_model(card, start)
        _train(run, model)
        if run.last_step < args.max_steps:
            return output / f"checkpoint-{run.last_step}"
        return _export(run, model, exported_card(card, data, overrides, continued=start is not None))


def _find_checkpoint(args: TrainingArguments, output: Path, identity: Identity, resume: bool) -> Checkpoint | None:
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


def _record(run: _Run, data: str | None, overrides: Sequence[str]) -> None:
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


def _initial_model(card: Card, start: nn.Module | None) -> Method:
    """Model before its first step; on every machine and device the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.train.seed)
        model = build_method(card)
    if start is not None:
        model.load_state_dict(start.state_dict())
    elif card.init is not None:
        try:
            model.load_backbone(registry.backbone_weights(card.init))
        except NoWeightsError as error:
            raise NoWeightsError(
                f"{card.name} starts from {card.init}. {error}; or start {card.name} from random initialisation with "
                "`--set init=null`"
            ) from error
    return model


def _train(run: _Run, model: Method) -> None:
    """Trains `model` in place to the end of this call.

    Raises:
        KeyboardInterrupt: A signal ended it earlier.
    """
    checkpoint, train = run.checkpoint, run.card.train
    if checkpoint is not None:
        print(f"continuing at step {checkpoint.step} from {checkpoint.folder}", flush=True)
        if checkpoint.step >= run.last_step:
            load_weights(model, checkpoint.folder)
            return
    interruption = SaveAndStop(run.pace.stop_after)
    callbacks = [
        interruption,
        CompleteCheckpoints(run.output, run.identity),
        Logbook(run.output, train.batch_size * train.accumulate),
    ]
    first_step = checkpoint.step if checkpoint else 0
    trainer = RecipeTrainer(model, run.card, run.source, run.args, first_step, run.workers, callbacks)
    trainer.remove_callback(PrinterCallback)
    with interruption:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    if interruption.interrupted:
        raise KeyboardInterrupt(f"saved in {run.output}; the same command continues")


def _export(run: _Run, model: Method, card: Card) -> Path:
    final = run.output / FINAL
    if run.args.process_index == 0:
        save_pretrained_folder(model, card, final)
        write_curve(run_curve(run.output), run.output / CURVE)
        print(f"\nsaved {final}\nnext: rgbd3d verify {final}", flush=True)
    return final


def _digest(model: nn.Module | None) -> str | None:
    if model is None:
        return None
    state = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(value.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


@contextmanager
def _reproducible(threads: int | None) -> Iterator[None]:
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

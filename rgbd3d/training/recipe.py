"""A card's `train:` section in the words of transformers' Trainer."""

from __future__ import annotations

import importlib.util
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import TrainingArguments

from rgbd3d.cards import Card, Train
from rgbd3d.evaluation.device import find_device
from rgbd3d.precision import emulates_bf16
from rgbd3d.strict_yaml import plain
from rgbd3d.training.resume import Identity

_log = logging.getLogger(__name__)

RECIPE = ("method", "task", "backbone", "init", "objective", "data", "train", "evaluation")
"""Sections of a card that decide about the weights."""

_YOUNGER: dict[str, Any] = {
    "data": {"frames": None, "label_share": 1.0, "transform": None},
    "train": {"layer_decay": 1.0},
}
"""Fields that the cards of the first runs did not have, and what was always done then."""
_YOUNGEST: dict[str, Any] = {
    "data": {"render": {"rooms": "compact"}, "augment": {"scale_depth": False}},
    "evaluation": {"render": {"rooms": "compact"}},
}
"""The same of the first fine-tuned cards too."""

Device = Literal["auto", "cpu", "cuda"]
_DISTRIBUTED_TIMEOUT_S = 4 * 3600  # the other processes wait while one renders or downloads


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a run does beside the recipe; never changes the weights.

    Attributes:
        log_every: Optimiser steps between two log lines.
        save_every: Optimiser steps between two checkpoints.
        stop_after: Save and stop after this optimiser step although the recipe goes on; None trains to the end.
    """

    log_every: int = 10
    save_every: int = 500
    stop_after: int | None = None


def total_steps(train: Train, frames: int) -> int:
    """Optimiser steps of a run.

    Args:
        train: Section of a card.
        frames: Length of the data.

    Returns:
        `max_steps`, or as many as see every frame `epochs` times, rounded up.
    """
    if train.max_steps is not None:
        return train.max_steps
    assert train.epochs is not None, "cards have exactly one of epochs and max_steps"
    return math.ceil(train.epochs * frames / (train.batch_size * train.accumulate))


def evaluation_steps(train: Train, frames: int, every: int, steps: int) -> list[int]:
    """Optimiser steps after which a run is evaluated: those that complete `every` passes over the data, and the last.

    Args:
        train: Section of a card.
        frames: Length of the data.
        every: Passes between two evaluations.
        steps: Optimiser steps of the whole run.
    """
    batch = train.batch_size * train.accumulate
    passes = range(every, steps * batch // frames + 1, every)
    return sorted({*(math.ceil(number * frames / batch) for number in passes), steps})


def frames_per_process(train: Train, processes: int) -> int:
    """Frames of one forward pass in one of `processes` equal processes.

    Raises:
        ValueError: The batch cannot be divided evenly.
    """
    if train.batch_size % processes:
        raise ValueError(
            f"train.batch_size {train.batch_size} cannot be divided among {processes} processes; "
            f"choose a number of processes that divides it, or `--set train.batch_size=...`"
        )
    return train.batch_size // processes


def run_identity(card: Card, data_digest: str, start_digest: str | None, processes: int) -> Identity:
    """What decides about the weights of a run, and has to be equal to continue it.

    Device, CPU and torch are left out although the last bits depend on them: a run may move to another machine, with a
    warning (`rgbd3d.training.provenance.changed_since`).

    Args:
        card: After overrides.
        data_digest: Of the data.
        start_digest: Of the weights it starts from, if they are neither random nor those of the card's `init`.
        processes: Number of training processes; each draws for itself.
    """
    recipe = _without({key: plain(getattr(card, key)) for key in RECIPE}, _YOUNGEST)
    if card.task is None:  # so that runs that were started before there were tasks can be continued
        recipe = _without({key: recipe[key] for key in RECIPE if key not in ("task", "evaluation")}, _YOUNGER)
    return {**recipe, "data_digest": data_digest, "start_digest": start_digest, "processes": processes}


def _without(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A copy without the entries that have their default; nested like the defaults."""
    kept = {}
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            kept[key] = _without(value, default)
        elif key not in defaults or value != default:
            kept[key] = value
    return kept


def training_arguments(train: Train, output: Path, pace: Pace, device: Device) -> TrainingArguments:
    """Arguments of `transformers.Trainer`; under torchrun this joins the process group.

    Data loading, optimiser and schedule are built from the card by `RecipeTrainer`, not from these arguments, and
    `max_steps` is left to the caller, who knows the data.
    """
    use_cpu = find_device(device) == "cpu"
    if train.precision == "bf16" and use_cpu and emulates_bf16():
        _log.warning("this CPU emulates bf16, ten times slower than fp32; stop and add `--set train.precision=fp32`")
    arguments = TrainingArguments(
        output_dir=str(output),
        gradient_accumulation_steps=train.accumulate,
        max_grad_norm=train.clip_grad_norm or 0.0,
        bf16=train.precision == "bf16",
        seed=train.seed,
        use_cpu=use_cpu,
        logging_strategy="steps",
        logging_steps=pace.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # guard.py stops instead
        save_strategy="steps",
        save_steps=pace.save_every,
        save_total_limit=None,  # resume.keep_last deletes only once a newer checkpoint is whole
        ignore_data_skip=True,  # the stream starts at the right batch by itself
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
        ddp_find_unused_parameters=True,
        ddp_broadcast_buffers=False,
        ddp_timeout=_DISTRIBUTED_TIMEOUT_S,
        accelerator_config={"dispatch_batches": False},
    )
    arguments.per_device_train_batch_size = frames_per_process(train, arguments.world_size)
    if arguments.n_gpu > 1:
        raise ValueError(
            f"{arguments.n_gpu} GPUs are visible to one process; start one process per GPU by the same command with "
            f"`torchrun --nproc-per-node {arguments.n_gpu} -m rgbd3d.cli` in place of `rgbd3d`, or set "
            "CUDA_VISIBLE_DEVICES=0"
        )
    return arguments

"""transformers' Trainer with the data, losses and randomness of a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback, TrainingArguments

from rgbd3d.cards import Card
from rgbd3d.data.base import Source
from rgbd3d.methods import MAE, Mask3D
from rgbd3d.seeding import generator
from rgbd3d.training.batches import Batch, TrainBatches
from rgbd3d.training.guard import FiniteGuard
from rgbd3d.training.optim import build_optimizer
from rgbd3d.training.schedules import build_schedule
from rgbd3d.types import PretrainingOutput

Method = MAE | Mask3D

_MASKS = 0x6D61736B  # sets these draws apart from all others with the same seed

WEIGHTS = "model.safetensors"
"""File of the model within one of Trainer's checkpoints."""


class RecipeTrainer(Trainer):
    """Trains a pre-training method by its card.

    Every random draw depends on (seed, step, forward pass, process) alone and batches on their number alone, so a
    checkpoint is the model, the optimiser, the schedule and the step, and continuing from one is exact.

    Args:
        model: A method, not wrapped.
        card: Recipe.
        source: Frames.
        args: From `rgbd3d.training.recipe.training_arguments`.
        first_step: Optimiser steps already done by the checkpoint that `train` will continue from.
        workers: Loader processes.
        callbacks: Logging, saving, stopping.
    """

    def __init__(
        self,
        model: Method,
        card: Card,
        source: Source,
        args: TrainingArguments,
        first_step: int,
        workers: int,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        self._method, self._card, self._source = model, card, source
        self._first_step, self._workers = first_step, workers
        self._guard = FiniteGuard(Path(str(args.output_dir)), model, source, args.process_index)
        self._parts: dict[str, Tensor] = {}
        self._parts_counted = 0
        super().__init__(model=model, args=args, callbacks=[*callbacks, self._guard])

    def get_train_dataloader(self) -> Any:
        """Batches of this process from `first_step` on; already divided among processes, so accelerate must not."""
        return TrainBatches(
            self._source,
            self._card,
            first_step=self._first_step,
            rank=self.args.process_index,
            world=self.args.world_size,
            workers=self._workers,
        )

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The card's optimiser."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self._card.train.optimizer, model or self._method)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        """The card's learning-rate schedule."""
        if self.lr_scheduler is None:
            optimizer = optimizer or self.create_optimizer()
            self.lr_scheduler = build_schedule(self._card.train.schedule, optimizer, num_training_steps)
        return self.lr_scheduler

    def compute_loss(
        self, model: nn.Module, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Loss of one batch with the masks of its step.

        Raises:
            NonFiniteError: The loss is NaN or infinite.
        """
        step, micro = divmod(inputs["number"], self._card.train.accumulate)
        masks = generator(_MASKS, self._card.train.seed, step, micro, self.args.process_index)
        output: PretrainingOutput = model(**{name: inputs[name] for name in self._method.inputs}, generator=masks)
        self._guard.check_loss(step, {"loss": output.loss.detach(), **output.losses}, inputs)
        self._count(output.losses)
        return (output.loss, output) if return_outputs else output.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every part of the loss since the last log, over all processes."""
        if "loss" in logs and self._parts_counted:
            for name, total in self._parts.items():
                mean = self.accelerator.reduce(total / self._parts_counted, reduction="mean")
                logs[f"loss_{name}"] = float(mean)
            self._parts, self._parts_counted = {}, 0
        super().log(logs, start_time)

    def _count(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self._parts[name] = self._parts.get(name, 0.0) + value.detach().float()
        self._parts_counted += 1

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Strict: Trainer itself would only warn about weights that a checkpoint lacks."""
        load_weights(model or self._method, Path(resume_from_checkpoint))


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Loads the weights of one of Trainer's checkpoints into a method.

    Raises:
        RuntimeError: Names or shapes differ.
    """
    model.load_state_dict(load_file(checkpoint / WEIGHTS))

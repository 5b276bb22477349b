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
from rgbd3d.precision import quick_attention
from rgbd3d.seeding import generator
from rgbd3d.training.batches import Batch, TrainBatches
from rgbd3d.training.examination import Examination
from rgbd3d.training.guard import FiniteGuard
from rgbd3d.training.optim import build_optimizer
from rgbd3d.training.schedules import build_schedule
from rgbd3d.training.task_loss import TaskLoss
from rgbd3d.types import LossOutput

Method = MAE | Mask3D
Trainable = Method | TaskLoss
"""A module that computes its own loss: `inputs` names what `forward` takes of a batch, beside a `generator`."""

_DRAWS = 0x6D61736B  # sets these draws apart from all others with the same seed

WEIGHTS = "model.safetensors"
"""File of the model within one of Trainer's checkpoints."""


class RecipeTrainer(Trainer):
    """Trains a pre-training method or a task network by its card.

    Every random draw depends on (seed, step, forward pass, process) alone and batches on their number alone, so a
    checkpoint is the model, the optimiser, the schedule and the step, and continuing from one is exact.

    Args:
        model: Not wrapped.
        card: Recipe.
        source: Frames.
        args: From `rgbd3d.training.recipe.training_arguments`.
        first_step: Optimiser steps already done by the checkpoint that `train` will continue from.
        workers: Loader processes.
        callbacks: Logging, saving, stopping.
        examination: Scores the network before the first step and whenever a callback asks for an evaluation.
    """

    def __init__(
        self,
        model: Trainable,
        card: Card,
        source: Source,
        args: TrainingArguments,
        first_step: int,
        workers: int,
        callbacks: Sequence[TrainerCallback] = (),
        examination: Examination | None = None,
    ):
        self._learner, self._card, self._source = model, card, source
        self._first_step, self._workers = first_step, workers
        self._examination = examination
        args.eval_on_start = examination is not None and first_step == 0
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
            learner, train = self._learner, self._card.train
            self.optimizer = build_optimizer(
                train.optimizer, model or learner, backbone=learner.backbone, layer_decay=train.layer_decay
            )
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
        """Loss of one batch with the random draws of its step.

        Raises:
            NonFiniteError: The loss is NaN or infinite.
        """
        step, micro = divmod(inputs["number"], self._card.train.accumulate)
        draws = generator(_DRAWS, self._card.train.seed, step, micro, self.args.process_index)
        with quick_attention(self._card.train.precision, self.args.device.type):
            output: LossOutput = model(**{name: inputs[name] for name in self._learner.inputs}, generator=draws)
        self._guard.check_loss(step, {"loss": output.loss.detach(), **output.losses}, inputs)
        self._count(output.losses)
        return (output.loss, output) if return_outputs else output.loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores the network by the card's protocol; the arguments are Trainer's, unused."""
        assert self._examination is not None, "only a callback of an examination asks for it"
        metrics = self._examination.examine(self.state.global_step)
        self.log({f"eval_{name}": value for name, value in metrics.items()})
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every part of the loss since the last log, over all processes."""
        if "loss" in logs and self._parts_counted:
            for name, total in self._parts.items():
                mean = self.accelerator.reduce(total / self._parts_counted, reduction="mean")
                logs[f"loss_{name}"] = float(mean)
            self._parts, self._parts_counted = {}, 0
        super().log(logs, start_time)

    def _get_learning_rate(self) -> float:
        """That of the head, which no layer-wise decay lowers; Trainer would log that of the first group."""
        assert self.lr_scheduler is not None, "there is one once there are steps to log"
        return float(max(self.lr_scheduler.get_last_lr()))

    def _count(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self._parts[name] = self._parts.get(name, 0.0) + value.detach().float()
        self._parts_counted += 1

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """Strict: Trainer itself would only warn about weights that a checkpoint lacks."""
        load_weights(model or self._learner, Path(resume_from_checkpoint))


def load_weights(model: nn.Module, checkpoint: Path) -> None:
    """Loads the weights of one of Trainer's checkpoints into the module that was trained.

    Raises:
        RuntimeError: Names or shapes differ.
    """
    model.load_state_dict(load_file(checkpoint / WEIGHTS))

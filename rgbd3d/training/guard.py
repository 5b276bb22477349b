"""Stops a run whose loss or gradient is no longer finite, and keeps what is needed to find out why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rgbd3d.data.base import Source
from rgbd3d.training.batches import Batch
from rgbd3d.training.resume import last_marked


class NonFiniteError(RuntimeError):
    """The loss or a gradient became NaN or infinite."""


class FiniteGuard(TrainerCallback):
    """Checks every loss as it is computed and every gradient before the optimiser uses it.

    Args:
        output: Folder of the run; the state is saved in its `nonfinite-step-<step>`.
        model: Not wrapped.
        source: Names the frames of a batch.
        rank: Of this process.
    """

    def __init__(self, output: Path, model: nn.Module, source: Source, rank: int):
        self._output, self._model, self._source, self._rank = output, model, source, rank
        self._batches: list[Batch] = []

    def check_loss(self, step: int, losses: dict[str, Tensor], batch: Batch) -> None:
        """Remembers a batch of the current optimiser step and checks its loss.

        Args:
            step: Optimiser steps done before this one.
            losses: By name.
            batch: What they were computed on.

        Raises:
            NonFiniteError: With step, losses and the frames of the batch.
        """
        self._batches.append(batch)
        if not bool(torch.stack([value.detach().float() for value in losses.values()]).isfinite().all()):
            self._batches = [batch]
            self._stop(step, "loss", {name: float(value) for name, value in losses.items()})

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raises `NonFiniteError` unless all gradients are finite."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._model.parameters() if p.grad is not None])
        if not bool(torch.isfinite(norm)):
            self._stop(state.global_step, "gradient", {"norm": float(norm)})
        self._batches = []

    def _stop(self, step: int, what: str, values: dict[str, float]) -> None:
        """Saves weights, batches and a report of this process, and raises."""
        folder = self._output / f"nonfinite-step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        frames = [self._frame(index) for batch in self._batches for index in batch["index"].tolist()]
        tensors = {
            f"{batch['number']}.{key}": value.contiguous()
            for batch in self._batches
            for key, value in batch.items()
            if isinstance(value, Tensor)
        }
        report = {"step": step, "what": what, "values": {k: str(v) for k, v in values.items()}, "frames": frames}
        save_file(tensors, folder / f"batches-{self._rank}.safetensors")
        save_file(self._model.state_dict(), folder / f"model-{self._rank}.safetensors")
        (folder / f"report-{self._rank}.json").write_text(json.dumps(report, indent=1) + "\n")
        checkpoint = last_marked(self._output)
        raise NonFiniteError(
            f"the {what} is not finite at step {step}: "
            + ", ".join(f"{name} = {value}" for name, value in values.items())
            + f"\nframes (scene/frame): {', '.join(frames)}\nweights and batches are saved in {folder}; "
            f"the last checkpoint: {checkpoint.folder if checkpoint else 'none yet'}\n"
            "look at these frames; if they are fine, lower train.optimizer.lr, set train.clip_grad_norm or use "
            "train.precision=fp32, in a new folder: continued, this run would meet the same batch with the same weights"
        )

    def _frame(self, index: int) -> str:
        sample = self._source[index]
        return f"{sample['scene_id']}/{sample['frame_id']}"

"""Scores a network while it is trained, and remembers all numbers and the weights of the best."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from accelerate import PartialState
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rgbd3d.cards import Evaluation
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.downstream.network import TaskNetwork
from rgbd3d.evaluation.metrics import Meter
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.protocols_base import ScoredProtocol
from rgbd3d.evaluation.score import results, score
from rgbd3d.files import write_atomic

EVALUATIONS = "evaluations.jsonl"
_BEST_WEIGHTS = "best.safetensors"

Metrics = dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """What was measured once.

    Attributes:
        step: Optimiser steps done.
        metrics: By the names of the protocol; NaN for what the frames have no truth of.
    """

    step: int
    metrics: Metrics

    def to_json(self) -> str:
        """One line; null for a number that is none, which JSON does not have."""
        values = {name: value if math.isfinite(value) else None for name, value in self.metrics.items()}
        return json.dumps({"step": self.step, "metrics": values}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote; null is NaN."""
        values = json.loads(line)
        metrics = {name: math.nan if value is None else value for name, value in values["metrics"].items()}
        return cls(values["step"], metrics)


class Examination(TrainerCallback):
    """Asks Trainer for an evaluation at its steps, makes it, and keeps what was found.

    All of it is in every checkpoint: the numbers so far, and the best weights so far. So a run that is continued
    knows the best as one that was not interrupted does, and a kill costs nothing but time.

    Args:
        network: Not wrapped.
        evaluation: Section of the card.
        protocol: The one that `evaluation` names.
        source: Its frames.
        steps: Optimiser steps after which it is scored, beside step 0.
        output: Folder of the run, where the numbers are shown as evaluations.jsonl.

    Attributes:
        evaluation: As given.
        protocol: As given.
        found: All evaluations so far, by step.
        best: The first one with the best value of the metric; None before the first.
        best_weights: The network's weights then, on the CPU; in the main process only.
    """

    def __init__(
        self,
        network: TaskNetwork,
        evaluation: Evaluation,
        protocol: ScoredProtocol[Any],
        source: Source,
        steps: Collection[int],
        output: Path,
    ) -> None:
        self.evaluation = evaluation
        self.found: list[Evaluated] = []
        self.best: Evaluated | None = None
        self.best_weights: dict[str, Tensor] = {}
        self._network, self.protocol, self._source = network, protocol, source
        self._steps, self._output = frozenset(steps), output

    def value(self, found: Evaluated) -> float:
        """The number that decides."""
        return found.metrics[self.evaluation.metric]

    def examine(self, step: int) -> Metrics:
        """Scores the network as it is and adds what was found. All processes take part, each with a share of frames.

        Raises:
            ValueError: Data or predictions do not fit the protocol, or nothing can be counted.
            DataError: A frame cannot be used.
        """
        try:
            metrics = results(self.protocol, self._source, self._score())
        except ValueError as error:
            if step == 0 or isinstance(error, DataError):
                raise
            hint = "if the network has diverged, lower train.optimizer.lr"
            raise ValueError(f"after step {step}: {error}; {hint}") from error
        found = Evaluated(step, metrics)
        if self.best is None or self._merit(found) > self._merit(self.best):
            self.best = found
            if PartialState().is_main_process:
                weights = self._network.state_dict()
                self.best_weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        self.found.append(found)
        self._show()
        return metrics

    def restore(self, checkpoint: Path) -> None:
        """Takes over what a whole checkpoint of the run knew."""
        self.found = [Evaluated.from_json(line) for line in (checkpoint / EVALUATIONS).read_text().splitlines()]
        self.best = max(self.found, key=self._merit, default=None)  # the first of equals, as in `examine`
        if PartialState().is_main_process:
            self.best_weights = load_file(checkpoint / _BEST_WEIGHTS)
        self._show()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Asks for an evaluation when one is due."""
        if state.global_step in self._steps:
            control.should_evaluate = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds what is known to a checkpoint; comes before the checkpoint is declared whole."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            (folder / EVALUATIONS).write_text(self._lines())
            save_file(self.best_weights, folder / _BEST_WEIGHTS)

    def _score(self) -> Meter:
        state = PartialState()
        share = range(self.protocol.frames.first, len(self._source))[state.process_index :: state.num_processes]
        predict = partial(self._network.predict, size=self.protocol.input_size)
        meter: Meter = score(self.protocol, self._source, predict, indices=share)
        first, *others = gather_object([meter]) if state.num_processes > 1 else [meter]
        for other in others:
            first.merge(other)
        return first

    def _merit(self, found: Evaluated) -> float:
        """Larger is better; a number that is none is the worst."""
        value = self.value(found)
        if not math.isfinite(value):
            return -math.inf
        return value if name_of(self.evaluation.metric).higher_is_better else -value

    def _show(self) -> None:
        if PartialState().is_main_process:
            write_atomic(self._output / EVALUATIONS, self._lines())

    def _lines(self) -> str:
        return "".join(found.to_json() + "\n" for found in self.found)

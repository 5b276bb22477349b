"""What a run leaves behind beside weights: log.jsonl, loss.png and train_state.json; and its progress bar."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rgbd3d.files import write_atomic
from rgbd3d.training.examination import Examination

LOG, CURVE = "log.jsonl", "loss.png"
LogLine = dict[str, float]


def read_log(output: Path) -> list[LogLine]:
    """Lines of a run's log.jsonl, by step; empty before the first. A line that a kill cut short is left out."""
    path = output / LOG
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


class Logbook(TrainerCallback):
    """Writes the log and the loss curve of the main process and shows progress.

    A resumed run repeats the steps after its checkpoint, so their old lines are dropped.

    Args:
        output: Folder of the run.
        batch_size: Frames per optimiser step, over all processes.
        progress: What the progress bar says.
        examination: Whose numbers are shown beside the loss.
    """

    def __init__(self, output: Path, batch_size: int, progress: str, examination: Examination | None = None):
        self._output, self._batch_size = output, batch_size
        self._progress, self._examination = progress, examination
        self._bar: tqdm | None = None
        self._began_at = self._logged_at = (0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock, the bar and the file."""
        if not state.is_world_process_zero:
            return
        kept = [line for line in read_log(self._output) if line["step"] <= state.global_step]
        write_atomic(self._output / LOG, "".join(json.dumps(line) + "\n" for line in kept))
        self._began_at = self._logged_at = (state.global_step, time.perf_counter())
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc=self._progress,
            unit="step",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Moves the bar; the last step is always logged."""
        if state.global_step == state.max_steps:
            control.should_log = True
        if self._bar is not None:
            self._bar.update()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Adds a line; `images_per_s` is measured since the line before, `eta_s` since the start, saving included."""
        if self._bar is None or logs is None or "loss" not in logs:
            return
        now = (state.global_step, time.perf_counter())
        step, recent, overall = now[0], _rate(self._logged_at, now), _rate(self._began_at, now)
        self._logged_at = now
        losses = {key: value for key, value in logs.items() if key.startswith("loss")}
        line: LogLine = {
            "step": step,
            **losses,
            "lr": logs["learning_rate"],
            "grad_norm": logs["grad_norm"],
            "images_per_s": round(self._batch_size / recent, 2),
            "eta_s": round((state.max_steps - step) * overall),
        }
        with open(self._output / LOG, "a") as file:
            file.write(json.dumps(line) + "\n")
        self._show(line, state.max_steps)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Shows what was found; its time does not count as that of training."""
        if self._bar is None or self._examination is None:
            return
        self._logged_at = (state.global_step, time.perf_counter())
        text = _evaluated(self._examination)
        if self._bar.disable:
            print(f"step {state.global_step}/{state.max_steps}  {text}", flush=True)
        else:
            self._bar.write(f"step {state.global_step}  {text}", file=sys.stderr)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Draws the curve so far."""
        if self._bar is not None:
            self._draw()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draws the final curve and closes the bar."""
        if self._bar is not None:
            self._draw()
            self._bar.close()

    def _draw(self) -> None:
        draw_curve(read_log(self._output), self._output / CURVE, self._examination)

    def _show(self, line: LogLine, steps: int) -> None:
        assert self._bar is not None
        text = f"loss {line['loss']:.4f}  lr {line['lr']:.2e}  {line['images_per_s']:.0f} img/s"
        if self._bar.disable:
            minutes = line["eta_s"] / 60
            print(f"step {line['step']:.0f}/{steps}  {text}  {minutes:.1f} min left", flush=True)
        else:
            self._bar.set_postfix_str(text)


def _rate(before: tuple[int, float], now: tuple[int, float]) -> float:
    """Seconds per step between two (step, seconds)."""
    return (now[1] - before[1]) / (now[0] - before[0])


def _evaluated(examination: Examination) -> str:
    """The last number and the best."""
    last, best = examination.found[-1], examination.best
    text = f"{examination.evaluation.metric} {examination.value(last):.4g}"
    if best is None or best is last:
        return f"{text} (best)"
    return f"{text} (best {examination.value(best):.4g} at step {best.step})"


def draw_curve(log: Sequence[LogLine], path: Path, examination: Examination | None = None) -> None:
    """Draws loss and learning rate over steps as a PNG, atomically; below them what evaluations found.

    Args:
        log: Lines of `read_log`; without any, nothing is drawn.
        path: Written.
        examination: Its metric is drawn, with a mark at the best.
    """
    if not log:
        return
    rows = 1 if examination is None else 2
    figure = Figure(figsize=(8, 4.5 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    losses, *below = figure.subplots(rows, sharex=True, squeeze=False)[:, 0]
    _draw_losses(losses, log)
    if examination is not None:
        _draw_metric(below[0], examination)
    (below or [losses])[-1].set_xlabel("optimiser step")
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    temporary.replace(path)


def _draw_losses(axes: Axes, log: Sequence[LogLine]) -> None:
    steps = [line["step"] for line in log]
    parts = [key for key in log[0] if key.startswith("loss_")]
    for name in ["loss", *(parts if len(parts) > 1 else [])]:
        axes.plot(steps, [line[name] for line in log], label=name.removeprefix("loss_"), linewidth=1.2)
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    rate = axes.twinx()
    rate.plot(steps, [line["lr"] for line in log], color="grey", linewidth=0.8, linestyle=":")
    rate.set_ylabel("learning rate (dotted)", color="grey")
    axes.legend(loc="upper right")


def _draw_metric(axes: Axes, examination: Examination) -> None:
    found, best, metric = examination.found, examination.best, examination.evaluation.metric
    steps, values = [entry.step for entry in found], [examination.value(entry) for entry in found]
    axes.plot(steps, values, marker="o", markersize=3, linewidth=1.2)
    if best is not None:
        axes.plot(best.step, examination.value(best), "o", label=f"best: {examination.value(best):.4g}", markersize=8)
        axes.legend(loc="best")
    axes.set_ylabel(f"{metric}, {examination.evaluation.protocol}")
    axes.grid(alpha=0.3)

"""A comparison as a picture: a panel for each metric, a mark for each model."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rgbd3d.evaluation.comparison import Comparison
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.result import Result

_ACROSS = 3
_COLOURS = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
_WIDEST_LABEL = 44  # letters; longer ones go over two lines


def draw(comparison: Comparison) -> bytes:
    """Draws the comparison as PNG: means with standard deviations as bars, and single runs as dots."""
    metrics = comparison.metrics
    across = min(_ACROSS, len(metrics))
    down = -(-len(metrics) // across)
    height = 0.9 + 0.34 * len(comparison.results)
    figure = Figure(figsize=(3.2 + 3.4 * across, 0.8 + down * height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, sharey=True, squeeze=False).flatten()
    for axes, metric in zip(panels, metrics, strict=False):
        for place, result in enumerate(comparison.results):
            _mark(axes, place, result, metric)
        axes.set_title(name_of(metric).title, fontsize=10)
        axes.grid(axis="x", color="#e3e8ed")
        axes.margins(x=0.15)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="both", labelsize=8, length=0)
    for axes in panels[len(metrics) :]:
        axes.set_visible(False)
    panels[0].set_yticks(range(len(comparison.labels)), [_folded(label) for label in comparison.labels])
    panels[0].set_ylim(len(comparison.labels) - 0.5, -0.5)  # the first one on top, as in the table
    figure.suptitle(f"{comparison.results[0].protocol}: mean and standard deviation over seeds", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _mark(axes: Any, place: int, result: Result, metric: str) -> None:
    colour = _COLOURS[place % len(_COLOURS)]
    values = result.values(metric)
    axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.35, markersize=4, markeredgewidth=0)
    style = {"fmt": "D", "color": colour, "markersize": 6, "capsize": 4, "linewidth": 1.6}
    axes.errorbar(result.mean(metric), place, xerr=result.std(metric), **style)


def _folded(label: str) -> str:
    """The label over two lines if it is long, broken after a dot, blank or hyphen near its middle."""
    if len(label) <= _WIDEST_LABEL:
        return label
    breaks = [index + 1 for index, letter in enumerate(label[:-1]) if letter in ". -"]
    at = min(breaks, key=lambda index: abs(index - len(label) // 2), default=len(label) // 2)
    return f"{label[:at].rstrip()}\n{label[at:]}"

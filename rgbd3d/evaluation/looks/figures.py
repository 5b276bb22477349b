"""The figures of an evaluation, drawn as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from rgbd3d.report import Color

_SHADES = "Blues"
_GREY = "#51606f"
_LINE = "#d1495b"
_MOST_NUMBERS = 20  # classes up to which the percentages fit into the cells
_WITHIN = 1.25  # of δ1


def confusion(matrix: npt.NDArray[np.floating], truths: Sequence[str], predictions: Sequence[str]) -> bytes:
    """A confusion matrix as a heat map.

    Args:
        matrix: (truths, predictions), shares of a row, 0 to 1.
        truths: Names of the rows.
        predictions: Names of the columns.
    """
    side = 2.6 + 0.24 * max(len(truths), 8)
    figure, axes = _figure(side + 1.2, side)
    image = axes.imshow(100 * matrix, cmap=_SHADES, vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(predictions)), predictions, rotation=90, fontsize=8)
    axes.set_yticks(range(len(truths)), truths, fontsize=8)
    axes.set_xlabel("predicted", color=_GREY)
    axes.set_ylabel("true", color=_GREY)
    axes.tick_params(length=0)
    if len(truths) <= _MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(matrix):
            if share >= 0.005:
                colour = "white" if share > 0.45 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, ax=axes, label="% of the pixels of a true class", shrink=0.6)
    return _png(figure)


def predicted_against_true(shares: npt.NDArray[np.floating], far: float) -> bytes:
    """Where predictions of depth lie, for each true depth.

    Args:
        shares: (true, predicted), shares of a row, 0 to 1, in equal steps from 0 to `far`.
        far: Metres.
    """
    figure, axes = _figure(6.4, 5.4)
    top = max(float(np.quantile(shares[shares > 0], 0.99)), 1e-6) if (shares > 0).any() else 1.0
    image = axes.imshow(shares.T, origin="lower", extent=(0, far, 0, far), cmap=_SHADES, vmin=0, vmax=top)
    line = np.array([0, far])
    axes.plot(line, line, color=_LINE, linewidth=1.2, label="as in truth")
    for slope in (_WITHIN, 1 / _WITHIN):
        label = f"within a factor of {_WITHIN} (δ1)" if slope > 1 else None
        axes.plot(line, slope * line, "--", color=_LINE, linewidth=0.9, label=label)
    axes.set_xlim(0, far)
    axes.set_ylim(0, far)
    axes.set_xlabel("true depth (m)", color=_GREY)
    axes.set_ylabel("predicted depth (m)", color=_GREY)
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)
    figure.colorbar(image, ax=axes, label="share of the pixels of a true depth", shrink=0.8)
    return _png(figure)


def precision_recall(curves: Mapping[str, tuple[Tensor, Mapping[str, Tensor]]], colors: Mapping[str, Color]) -> bytes:
    """Precision over recall, a panel for each kind of detection.

    Args:
        curves: Title -> recalls and, by class, precisions there.
        colors: Of the classes.
    """
    figure, panels = _figure(5.2 * len(curves), 4.6, columns=len(curves))
    for axes, (title, (recalls, classes)) in zip(np.atleast_1d(panels), curves.items(), strict=True):
        for name, precisions in classes.items():
            colour = tuple(channel / 255 for channel in colors[name])
            axes.plot(recalls, precisions, color=colour, linewidth=0.9, alpha=0.8, label=name)
        if classes:
            mean = np.mean([curve.numpy() for curve in classes.values()], 0)
            axes.plot(recalls, mean, color="black", linewidth=2.2, label="mean")
        axes.set_title(title, fontsize=10)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall", color=_GREY)
        axes.set_ylabel("precision", color=_GREY)
        axes.grid(color="#e3e8ed")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = np.atleast_1d(panels)[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=7, ncols=1 + len(labels) // 20, frameon=False)
    return _png(figure)


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

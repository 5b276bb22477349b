"""What comparing the layers of two networks gives: numbers, and heat maps as in MeSa's figures 2, 5 and 8 to 10."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rgbd3d.files import write_atomic

Estimator = Literal["biased", "unbiased", "minibatch"]

_COLOURS = "magma"  # lighter is more alike, as in the paper
_MOST_NUMBERS = 16  # layers up to which the values fit into the cells


@dataclass(frozen=True)
class Similarity:
    """CKA of every layer of a network A with every layer of a network B, and within each of them.

    Attributes:
        a: Name of A.
        b: Name of B.
        layers_a: Names of A's layers.
        layers_b: Names of B's layers.
        between: CKA of layer i of A with layer j of B, [i][j].
        within_a: CKA of layers i and j of A.
        within_b: CKA of layers i and j of B.
        estimator: How it was estimated.
        batch_size: Frames in a batch of the minibatch estimator, at least.
        data: Spec, digest and number of the frames.
        versions: Of what the numbers depend on.
    """

    a: str
    b: str
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    between: list[list[float]]
    within_a: list[list[float]]
    within_b: list[list[float]]
    estimator: Estimator
    batch_size: int | None
    data: dict[str, str | int]
    versions: dict[str, str]

    def save(self, picture: Path) -> None:
        """Writes the heat maps as FILE.png, and the numbers as FILE.json beside them, each atomically."""
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(picture, draw(self))
        write_atomic(picture.with_suffix(".json"), json.dumps(asdict(self), indent=2) + "\n")

    def __str__(self) -> str:
        lines = [
            f"CKA ({self.estimator}, {self.data['frames']} frames): each layer of {self.a}, the nearest of {self.b}"
        ]
        for name, row in zip(self.layers_a, self.between, strict=True):
            nearest = max(range(len(row)), key=row.__getitem__)
            lines.append(f"  {name:<32}{self.layers_b[nearest]:<32}{row[nearest]:6.3f}")
        return "\n".join(lines)


def draw(similarity: Similarity) -> bytes:
    """Draws the comparison as PNG: both networks among themselves, and A against B.

    Below each map is the row that MeSa shows: the similarity of all layers with the first one of the same network, and
    that of layers at the same place in both networks (where these have equally many).
    """
    s = similarity
    figure = Figure(figsize=(17, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    rows = max(len(s.layers_a), len(s.layers_b))
    maps, strips = figure.subplots(2, 3, height_ratios=(rows, 1.6))
    panels = (
        (s.within_a, s.layers_a, s.layers_a, f"A: {s.a}", s.within_a[0], "first layer"),
        (s.within_b, s.layers_b, s.layers_b, f"B: {s.b}", s.within_b[0], "first layer"),
        (s.between, s.layers_a, s.layers_b, "A (rows) and B (columns)", _diagonal(s.between), "same layer, A and B"),
    )
    for above, below, (matrix, names, columns, title, strip, meaning) in zip(maps, strips, panels, strict=True):
        image = _heat_map(above, matrix, names)
        above.set_title(title, fontsize=11)
        above.set_xlabel(f"{columns[0]} to {columns[-1]}", fontsize=9)
        if strip is None:
            below.set_axis_off()
        else:
            _heat_map(below, [strip], [meaning])
    figure.colorbar(image, ax=[*maps, *strips], label=f"CKA, {s.estimator}", shrink=0.6)
    figure.suptitle(f"{s.data['frames']} frames of {s.data['source']}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _diagonal(matrix: Sequence[Sequence[float]]) -> list[float] | None:
    return [row[i] for i, row in enumerate(matrix)] if len(matrix) == len(matrix[0]) else None


def _heat_map(axes: Any, matrix: Sequence[Sequence[float]], names: Sequence[str]) -> Any:
    values = np.array(matrix)
    image = axes.imshow(values, cmap=_COLOURS, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(values.shape[1]))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    if values.shape[1] <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    return image

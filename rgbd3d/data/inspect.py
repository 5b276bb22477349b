"""What a data set looks like: a summary for the terminal and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rgbd3d.data.base import Source
from rgbd3d.data.sources import open_source
from rgbd3d.types import IGNORE_LABEL, RGBDSample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FRAMES = 12
_ACROSS = 3
_BAR = 40


def inspect(spec: str | Path, split: str = "train", sheet: Path | None = None) -> str:
    """Describe a data set by twelve frames spread over it.

    Args:
        spec: As for `rgbd3d.data.sources.open_source`.
        split: Part of the data set.
        sheet: Image file to write a contact sheet to.

    Returns:
        Text of several lines.

    Raises:
        DataError: The data set cannot be opened, or one of the frames not be read.
    """
    source = open_source(spec, split)
    chosen = np.unique(np.linspace(0, len(source) - 1, _FRAMES).round().astype(int))
    samples = [source[int(index)] for index in chosen]
    if sheet is not None:
        contact_sheet(samples).savefig(sheet, dpi=100)
    return "\n".join(_summary(source, samples))


def contact_sheet(samples: Sequence[RGBDSample]) -> Figure:
    """Colour, depth and labels of the frames side by side, in one depth scale."""
    from matplotlib.figure import Figure

    keys = [key for key in ("image", "depth", "semantic") if key in samples[0]]
    rows, columns = -(-len(samples) // _ACROSS), _ACROSS * len(keys)
    height, width = samples[0]["image"].shape[-2:]
    tile = 1.9
    figure = Figure(figsize=(columns * tile, rows * (tile * height / width + 0.25)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    far = float(np.percentile(_measured(samples), 98)) if "depth" in keys else 0.0
    for axis in axes.flat:
        axis.axis("off")
    for index, frame in enumerate(samples):
        row, first = index // _ACROSS, index % _ACROSS * len(keys)
        for offset, key in enumerate(keys):
            _draw(axes[row, first + offset], frame, key, far)
        axes[row, first].set_title(f"{frame.get('scene_id', '')} / {frame.get('frame_id', '')}", fontsize=7, loc="left")
    if "depth" in keys:
        axes[0, 1].set_title(f"0 to {far:.1f} m, white = none", fontsize=7, loc="left")
    return figure


def _draw(axis: Axes, frame: RGBDSample, key: str, far: float) -> None:
    if key == "image":
        axis.imshow(frame["image"].permute(1, 2, 0).numpy())
    elif key == "depth":
        depth = frame["depth"][0].numpy()
        axis.imshow(np.ma.masked_equal(depth, 0), cmap="viridis_r", vmin=0, vmax=far, interpolation="nearest")
    else:
        labels = np.ma.masked_equal(frame["semantic"].numpy(), IGNORE_LABEL)
        axis.imshow(labels % 20, cmap="tab20", vmin=0, vmax=19, interpolation="nearest")


def _summary(source: Source, samples: Sequence[RGBDSample]) -> list[str]:
    sizes = {f"{width} x {height}" for height, width in (frame["image"].shape[-2:] for frame in samples)}
    lines = [
        source.name,
        f"  frames   {len(source)}",
        f"  columns  {', '.join(source.columns)}",
        f"  size     {', '.join(sorted(sizes))} (width x height)",
        f"  labels   {source.label_space or 'none'}",
        f"  digest   {source.digest()}",
    ]
    if "depth" not in source.columns:
        return lines
    measured = _measured(samples)
    pixels = sum(frame["depth"].numel() for frame in samples)
    invalid = 1 - measured.size / pixels
    lines += [f"  depth    of {len(samples)} frames: {invalid:.1%} of the pixels have none, median {_median(measured)}"]
    return lines + _histogram(measured)


def _measured(samples: Sequence[RGBDSample]) -> np.ndarray:
    depth = np.concatenate([frame["depth"].numpy().ravel() for frame in samples])
    return depth[depth > 0]


def _median(measured: np.ndarray) -> str:
    return f"{np.median(measured):.2f} m" if measured.size else "unknown"


def _histogram(measured: np.ndarray) -> list[str]:
    """Bars of the share of pixels by depth, in steps that a person would choose."""
    if not measured.size:
        return []
    far = np.percentile(measured, 99.5)
    step = next((step for step in (0.25, 0.5, 1, 2, 5) if step * 10 >= far), 10)
    edges = [*(step * np.arange(int(far / step) + 2)), np.inf]
    shares = np.histogram(measured, edges)[0] / measured.size
    names = [f"{low:g} - {high:g} m" for low, high in pairwise(edges[:-1])] + [f"> {edges[-2]:g} m"]
    longest = max(shares)
    return [
        f"    {name:>12}  {share:6.1%}  {'█' * round(_BAR * share / longest)}"
        for name, share in zip(names, shares, strict=True)
    ]

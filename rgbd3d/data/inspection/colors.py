"""Colours of depth and of classes, the same in every picture."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

import matplotlib
import numpy as np
import numpy.typing as npt

from rgbd3d.report import Color, Picture

NONE: Color = (232, 236, 240)
"""Of pixels without a measurement or label."""

_DEPTH = matplotlib.colormaps["viridis_r"]
_LEGEND_STEPS = 6
_GOLDEN_RATIO = 0.618034
_FIRST_HUE = 0.58  # walls fill most pictures: blue is easier on the eye than red


def color_depth(depth: npt.NDArray[np.floating], far: float) -> Picture:
    """Depth (...) in metres as colours (..., 3): near is yellow, `far` and beyond dark blue."""
    shades = _DEPTH(np.clip(depth / far, 0, 1), bytes=True)[..., :3]
    return np.where((depth > 0)[..., None], shades, np.array(NONE, np.uint8))


def label_colors(count: int = 40) -> npt.NDArray[np.uint8]:
    """(256, 3) colours of train ids; neighbouring ids differ much, ids from `count` on are black."""
    colors = np.zeros((256, 3), np.uint8)
    for index in range(count):
        value = (0.9, 0.72, 0.55)[index % 3]
        hue = (_FIRST_HUE + index * _GOLDEN_RATIO) % 1
        colors[index] = np.round(255 * np.array(colorsys.hsv_to_rgb(hue, 0.3 + 0.35 * value, value)))
    return colors


def color_labels(labels: npt.NDArray[np.integer]) -> Picture:
    """Train ids (...) as colours (..., 3)."""
    colors = label_colors(255)
    colors[255] = NONE
    return colors[np.clip(labels, 0, 255)]


def class_color(train_id: int) -> Color:
    """Colour of a class, also beyond the 255 ids that labels of pixels can have."""
    return _only(color_labels(np.array([train_id % 255])))


def depth_color(metres: float, far: float) -> Color:
    """Colour of a depth."""
    return _only(color_depth(np.array([metres]), far))


def end_of_colors(depths: Iterable[npt.NDArray[np.floating]]) -> float:
    """Metres at which the colours of some depth maps end: 99 % of what was measured is nearer.

    Args:
        depths: Metres (...), 0 = no measurement; if nothing was measured at all, the colours end at 10 m.
    """
    measured = np.concatenate([np.empty(0), *(depth[depth > 0] for depth in depths)])
    return float(np.quantile(measured, 0.99)) if len(measured) else 10.0


def depth_legend(far: float) -> list[tuple[Color, str, str]]:
    """What the colours of depth up to `far` stand for, for `Report.legend`."""
    steps = np.linspace(far / _LEGEND_STEPS, far, _LEGEND_STEPS)
    return [(depth_color(metres, far), f"{metres:.1f} m", "") for metres in steps]


def _only(pixels: Picture) -> Color:
    red, green, blue = pixels[0].tolist()
    return red, green, blue

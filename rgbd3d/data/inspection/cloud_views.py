"""Pictures of point clouds, drawn on the CPU with numpy: every point is a dot, the nearest one wins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rgbd3d.report import Picture

Array = npt.NDArray[np.float64]

_PAPER = np.array([250, 251, 252], np.float64)
_SHARPNESS = 2  # drawn at this many times the size, then averaged
_MOST_POINTS = 600_000
_CEILING = 2.1
_ROOM_HEIGHT = 2.3
_AZIMUTH, _ELEVATION = np.deg2rad(-60), np.deg2rad(42)
_DISTANCE = 1.7  # of the eye, in lengths of the cloud
_MARGIN = 1.04
_DENSITY = 2.3  # width of a dot, in mean distances between dots


def top_view(position: npt.NDArray[np.floating], color: Picture, size: tuple[int, int]) -> Picture:
    """Points from straight above, without perspective.

    Args:
        position: (N, 3), metres, z up.
        color: uint8 (N, 3).
        size: (height, width) of the picture.
    """
    if not len(position):
        return _blank(size)
    points, color = _visible(position, color)
    if np.ptp(points[:, 1]) > np.ptp(points[:, 0]):
        points = points[:, [1, 0, 2]] * (-1, 1, 1)  # turned, so that the longer side lies across
    below = points[:, 2].max() - points[:, 2] + _length(points)
    return _draw(points[:, :2] * (1, -1), below, color, size)


def oblique_view(position: npt.NDArray[np.floating], color: Picture, size: tuple[int, int]) -> Picture:
    """Points from above a corner, in perspective; arguments as for `top_view`."""
    if not len(position):
        return _blank(size)
    points, color = _visible(position, color)
    middle = (points.min(0) + points.max(0)) / 2
    forward = -np.array(
        [np.cos(_AZIMUTH) * np.cos(_ELEVATION), np.sin(_AZIMUTH) * np.cos(_ELEVATION), np.sin(_ELEVATION)]
    )
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(forward, right), forward])  # OpenCV: x right, y down, z forward
    seen = (points - middle) @ axes.T
    depth = seen[:, 2] + _DISTANCE * _length(points)
    return _draw(seen[:, :2] / depth[:, None], depth, color, size)


def _blank(size: tuple[int, int]) -> Picture:
    return np.broadcast_to(_PAPER, (*size, 3)).astype(np.uint8)


def _visible(position: npt.NDArray[np.floating], color: Picture) -> tuple[Array, Picture]:
    """A bounded number of points, without the upper part of a room, which would hide the rest."""
    step = -(-len(position) // _MOST_POINTS)
    points, color = position[::step].astype(np.float64), color[::step]
    floor, top = np.quantile(points[:, 2], [0.01, 0.99])
    if top - floor > _ROOM_HEIGHT:
        below = points[:, 2] < floor + _CEILING
        points, color = points[below], color[below]
    return points, color


def _length(points: Array) -> float:
    return max(float(np.ptp(points, 0).max()), 1e-6)


def _draw(place: Array, depth: Array, color: Picture, size: tuple[int, int]) -> Picture:
    """Dots at (N, 2) places, x right and y down in any unit, scaled to fill the picture."""
    height, width = (_SHARPNESS * side for side in size)
    low, high = place.min(0), place.max(0)
    scale = (np.array([width, height]) / ((high - low).clip(min=1e-9) * _MARGIN)).min()
    pixel = np.floor((place - (low + high) / 2) * scale + (width / 2, height / 2)).astype(int)
    canvas = np.broadcast_to(_PAPER, (height * width, 3)).copy()
    nearest = np.full(height * width, np.inf)
    order = np.argsort(-depth)  # of dots on one pixel, the last one drawn stays
    pixel, depth, color = pixel[order], depth[order], color[order]
    dot = round(min(max(_DENSITY * (_area(pixel) / len(pixel)) ** 0.5, 2), 9))
    for shift in np.ndindex(dot, dot):
        x, y = (pixel + shift - dot // 2).T
        target = y * width + x
        drawn = np.flatnonzero((y >= 0) & (y < height) & (x >= 0) & (x < width))
        drawn = drawn[depth[drawn] < nearest[target[drawn]]]
        nearest[target[drawn]] = depth[drawn]
        canvas[target[drawn]] = color[drawn]
    canvas = _shaded(canvas.reshape(height, width, 3), nearest.reshape(height, width))
    averaged = canvas.reshape(size[0], _SHARPNESS, size[1], _SHARPNESS, 3).mean((1, 3))
    return averaged.round().astype(np.uint8)


def _area(pixel: npt.NDArray[np.int_]) -> float:
    """Pixels that the points cover, roughly: the occupied cells of a coarse grid."""
    cell = 16
    return float(len(np.unique(pixel // cell @ [1, 100_000])) * cell * cell)


def _shaded(canvas: Array, depth: Array) -> Array:
    """Darkens pixels that lie behind their neighbours, so that shapes stand out without normals or lights."""
    drawn = np.isfinite(depth)
    logarithm = np.where(drawn, np.log2(np.where(drawn, depth, 1)), np.inf)
    behind = np.zeros_like(depth)
    reach = _SHARPNESS
    for shift in ((0, reach), (0, -reach), (reach, 0), (-reach, 0)):
        neighbour = np.roll(logarithm, shift, (0, 1))
        behind += np.where(drawn & np.isfinite(neighbour), (np.where(drawn, logarithm, 0) - neighbour), 0).clip(0, 0.1)
    light = np.exp(-12 * behind / 4)[..., None]
    return np.where(drawn[..., None], canvas * light, canvas)

"""Small pictures of single samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from rgbd3d.data.inspection.cloud_views import oblique_view, top_view
from rgbd3d.data.inspection.colors import color_depth, color_labels
from rgbd3d.data.inspection.sampling import spread
from rgbd3d.data.resize import resize_nearest
from rgbd3d.report import Picture
from rgbd3d.types import ClipSample, PointSample, RGBDSample

_WIDTH = 400
_CLOUD_SIZE = (330, 440)
_FILM_FRAMES = 8
_GREY: Picture = np.full(3, 150, np.uint8)

Panel = Callable[[float], Picture]
"""Draws a picture, given the depth in metres at which the colours of depth end."""


@dataclass(frozen=True)
class Tile:
    """Pictures of a sample.

    Attributes:
        rows: Of panels side by side, all rows of one length.
        caption: Says which sample it is.
    """

    rows: Sequence[Sequence[Panel]]
    caption: str

    def pictures(self, far: float) -> list[list[Picture]]:
        """Draws the panels; `far` is the depth in metres at which the colours end."""
        return [[panel(far) for panel in row] for row in self.rows]


def frame_tile(frame: RGBDSample, class_name: str | None) -> Tile:
    """Colour, depth and labels, whichever there are."""
    panels = []
    if "image" in frame:
        panels.append(_photograph(frame["image"]))
    if "depth" in frame:
        panels.append(_depth(frame["depth"]))
    if "semantic" in frame:
        panels.append(_labels(frame["semantic"]))
    return Tile([panels], _caption(frame, class_name))


def cloud_tile(cloud: PointSample) -> Tile:
    """The cloud from above a corner and from the top, coloured as it is and by its labels."""
    position = cloud["position"].numpy()
    colors = [cloud["color"].numpy() if "color" in cloud else np.broadcast_to(_GREY, position.shape)]
    if "semantic" in cloud:
        colors.append(color_labels(cloud["semantic"].numpy()))
    pictures = [view(position, color, _CLOUD_SIZE) for view in (oblique_view, top_view) for color in colors]
    return Tile([[_ready(picture) for picture in pictures]], _caption(cloud, None))


def clip_tile(clip: ClipSample, class_name: str | None) -> Tile:
    """Film strips of colour and depth."""
    rows = []
    if "frames" in clip:
        rows.append([_photograph(clip["frames"][t]) for t in spread(len(clip["frames"]), _FILM_FRAMES)])
    if "depth_frames" in clip:
        rows.append([_depth(clip["depth_frames"][t]) for t in spread(len(clip["depth_frames"]), _FILM_FRAMES)])
    return Tile(rows, _caption(clip, class_name))


def _caption(sample: Mapping[str, Any], class_name: str | None) -> str:
    parts = [str(sample[key]) for key in ("scene_id", "frame_id") if key in sample]
    return " / ".join(parts) + (f" \N{EN DASH} {class_name}" if class_name else "")


def _photograph(image: Tensor) -> Panel:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    picture.thumbnail((_WIDTH, _WIDTH))
    return _ready(np.asarray(picture))


def _depth(depth: Tensor) -> Panel:
    reduced = _reduced(depth[0])
    return lambda far: color_depth(reduced, far)


def _labels(labels: Tensor) -> Panel:
    return _ready(color_labels(_reduced(labels)))


def _reduced(values: Tensor) -> npt.NDArray[Any]:
    height, width = values.shape
    scale = min(1, _WIDTH / width)
    return resize_nearest(values, (max(1, round(height * scale)), max(1, round(width * scale)))).numpy()


def _ready(picture: Picture) -> Panel:
    return lambda far: picture

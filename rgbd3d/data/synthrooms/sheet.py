"""A picture to judge rendered frames by: RGB, depth and labels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from rgbd3d.data.inspection.colors import label_colors
from rgbd3d.types import IGNORE_LABEL, RGBDSample

MAX_DEPTH = 6.0
"""Metres at the far end of the depth colours."""


def contact_sheet(samples: Sequence[RGBDSample], path: str | Path, columns: int = 3) -> Path:
    """Saves a PNG with one RGB | depth | labels triple per sample; pixels without depth or label are black.

    Args:
        samples: Frames of one size with image, depth and semantic.
        path: File to write.
        columns: Triples per row.

    Raises:
        ValueError: No samples.
    """
    if not samples:
        raise ValueError("a contact sheet needs at least one sample")
    tiles = [_triple(sample) for sample in samples]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], 1) for start in range(0, len(tiles), columns)]
    path = Path(path)
    Image.fromarray(np.concatenate(rows)).save(path)
    return path


def _triple(sample: RGBDSample) -> npt.NDArray[np.uint8]:
    depth = sample["depth"][0].numpy()
    shades = matplotlib.colormaps["turbo_r"](np.clip(depth / MAX_DEPTH, 0, 1))[..., :3] * (depth > 0)[..., None]
    labels = label_colors()[np.minimum(sample["semantic"].numpy(), IGNORE_LABEL)]
    return np.concatenate(
        [sample["image"].permute(1, 2, 0).numpy(), np.round(shades * 255).astype(np.uint8), labels], 1
    )

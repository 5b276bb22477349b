"""Pictures of RGB-D data and features. Every function returns uint8 (H, W, 3) RGB arrays."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from rgbd3d.report import Picture

TITLE_SIZE = 24
"""Points."""

HIDDEN = 235
"""Grey of what the encoder does not see."""


def color_image(image: Tensor) -> Picture:
    """uint8 (3, H, W) as a picture."""
    return image.permute(1, 2, 0).contiguous().numpy()


def color_depth(depth: Tensor, near: float, far: float) -> Picture:
    """Depth (1, H, W) in metres through the turbo colour map, `near` red to `far` blue; invalid (0) is black."""
    inverse = (1 / depth[0].clamp(min=1e-6) - 1 / far) / (1 / near - 1 / far)
    rgb = matplotlib.colormaps["turbo"](inverse.clamp(0, 1).numpy())[..., :3]
    rgb[depth[0].numpy() <= 0] = 0
    return (rgb * 255).round().astype(np.uint8)


def depth_range(depth: Tensor) -> tuple[float, float]:
    """The 2nd and 98th percentile of the valid depth in metres; (0.5, 5) without any."""
    valid = depth[depth > 0]
    if not len(valid):
        return 0.5, 5.0
    near, far = torch.quantile(valid, torch.tensor([0.02, 0.98])).tolist()
    return near, max(far, near * 1.01)


def hide_patches(picture: Picture, seen: Tensor, patch_size: int) -> Picture:
    """Greys out the patches that the encoder did not see; `seen` is bool (N,) in raster order."""
    height, width = picture.shape[0] // patch_size, picture.shape[1] // patch_size
    mask = seen.view(height, width).repeat_interleave(patch_size, 0).repeat_interleave(patch_size, 1)
    return np.where(mask.numpy()[..., None], picture, np.uint8(HIDDEN))


def principal_components(features: Tensor, size: tuple[int, int]) -> list[Picture]:
    """The first three principal components of dense features as RGB, one basis for all images.

    Args:
        features: float (B, D, h, w).
        size: (height, width) of the pictures.
    """
    batch, dim, height, width = features.shape
    tokens = features.movedim(1, -1).reshape(-1, dim).double()
    tokens = tokens - tokens.mean(0)
    _, _, basis = torch.linalg.svd(tokens, full_matrices=False)
    projected = tokens @ basis[:3].T
    low, high = torch.quantile(projected, torch.tensor([0.02, 0.98], dtype=torch.float64), dim=0)
    scaled = ((projected - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    maps = scaled.view(batch, height, width, 3).movedim(-1, 1).float()
    maps = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    return [color_image((m * 255).round().to(torch.uint8)) for m in maps]


def grid(rows: Sequence[Sequence[Picture]], titles: Sequence[str], gap: int = 6) -> Picture:
    """Pictures of one size in rows, with a title over each column."""
    height, width = rows[0][0].shape[:2]
    header = 2 * TITLE_SIZE
    canvas = Image.new(
        "RGB", (len(titles) * (width + gap) - gap, header + len(rows) * (height + gap) - gap), (255, 255, 255)
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(TITLE_SIZE)
    for column, title in enumerate(titles):
        draw.text((column * (width + gap) + 2, TITLE_SIZE // 3), title, fill=(40, 40, 40), font=font)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            canvas.paste(Image.fromarray(picture), (c * (width + gap), header + r * (height + gap)))
    return np.asarray(canvas)


def enlarge(picture: Picture, factor: int) -> Picture:
    """Repeats every pixel, so that patches stay sharp."""
    return picture.repeat(factor, 0).repeat(factor, 1)

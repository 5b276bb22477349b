"""The texture atlas: every procedural texture with its mip levels in one array, ready for look-up by index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms import patterns, prints
from rgbd3d.data.synthrooms.noise import Image

RESOLUTION = 256
LEVELS = 7
MEAN_ALBEDO = 0.8
"""Mean of every tintable texture, so that a tint means the same colour on paint, wood and cloth."""

_DISPLAY_GAMMA = 2.2

Painter = Callable[[np.random.Generator, int], Image]

TEXTURES: Mapping[str, Painter] = MappingProxyType({**patterns.PATTERNS, **prints.PRINTS})
"""Name -> painter(rng, size). Patterns are grey-ish and meant to be tinted; prints bring their own colours."""

GRAINED = patterns.GRAINED
"""Textures with a direction (along u) that should follow the length of a part."""

_INDEX = {name: index for index, name in enumerate(TEXTURES)}


@dataclass(frozen=True)
class Atlas:
    """All textures, level by level.

    Texel (row, column) of level L of texture t lies at `t * stride + level_offsets[L] + row * (resolution >> L) +
    column`; row = v, column = u, both periodic.

    Attributes:
        texels: (N, 3) float32, linear RGB in [0, 1].
        level_offsets: (levels,) int64, first texel of a level within a texture.
        stride: Texels per texture.
        resolution: Texels per side of level 0, a power of two.
        levels: Number of mip levels.
        variants: How many versions of every texture there are.
    """

    texels: npt.NDArray[np.float32]
    level_offsets: npt.NDArray[np.int64]
    stride: int
    resolution: int
    levels: int
    variants: int


def paint_texture(name: str, seed: int, variant: int, size: int = RESOLUTION) -> npt.NDArray[np.float32]:
    """One texture in linear RGB, (size, size, 3) in [0, 1]; a pure function of its arguments.

    Raises:
        KeyError: The name is not in `TEXTURES`.
    """
    image = TEXTURES[name](np.random.default_rng([seed, variant, _INDEX[name]]), size)
    image = np.broadcast_to(image if image.ndim == 3 else image[..., None], (size, size, 3))
    if name in patterns.PATTERNS:
        image = image * (MEAN_ALBEDO / image.mean())
    else:
        image = np.clip(image, 0.0, 1.0) ** _DISPLAY_GAMMA
    return np.clip(image, 0.0, 1.0).astype(np.float32)


def build_atlas(seed: int = 0, variants: int = 2) -> Atlas:
    """Paints `variants` versions of all textures; deterministic from the seed (about 20 ms per texture)."""
    sides = [RESOLUTION >> level for level in range(LEVELS)]
    offsets = np.concatenate([[0], np.cumsum([side * side for side in sides])]).astype(np.int64)
    texels = np.empty((variants * len(TEXTURES), int(offsets[-1]), 3), np.float32)
    for variant in range(variants):
        for name in TEXTURES:
            image = paint_texture(name, seed, variant)
            row = texels[texture_index(name, variant)]
            for level, side in enumerate(sides):
                row[offsets[level] : offsets[level + 1]] = image.reshape(-1, 3)
                image = image.reshape(side // 2, 2, side // 2, 2, 3).mean((1, 3))
    return Atlas(texels.reshape(-1, 3), offsets[:-1], int(offsets[-1]), RESOLUTION, LEVELS, variants)


def texture_index(name: str, variant: int = 0) -> int:
    """Number of a texture within the atlas.

    Raises:
        KeyError: The name is not in `TEXTURES`.
    """
    return variant * len(TEXTURES) + _INDEX[name]

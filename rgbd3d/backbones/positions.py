"""Fixed 2-D sine-cosine position code in MAE's order, for any rectangle of patches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Grid = tuple[int, int]
"""(rows, columns) of patches."""


def sincos_2d(dim: int, grid: Grid) -> Tensor:
    """Position table of a grid of patches in raster order (FACTS.md §6.4).

    The first half of the channels encodes the column, the second half the row; each half is [sines, cosines] with
    frequencies 10000^(-i / (dim / 4)), i = 0 .. dim / 4 - 1.

    Args:
        dim: Channels, a multiple of 4.
        grid: (rows, columns).

    Returns:
        float32 (rows * columns, dim) on the CPU.

    Raises:
        ValueError: `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"2-D sine-cosine positions need a width divisible by 4, got {dim}")
    return torch.tensor(_table(dim, grid))


# Arrays, not tensors, are remembered: a tensor made under export or inference mode must not outlive it.
@lru_cache(maxsize=32)
def _table(dim: int, grid: Grid) -> np.ndarray:
    rows, columns = grid
    by_column = np.broadcast_to(_sincos_1d(dim // 2, columns)[None], (rows, columns, dim // 2))
    by_row = np.broadcast_to(_sincos_1d(dim // 2, rows)[:, None], (rows, columns, dim // 2))
    return np.concatenate([by_column, by_row], axis=-1).reshape(rows * columns, dim).astype(np.float32)


def _sincos_1d(dim: int, length: int) -> np.ndarray:
    frequencies = 10000.0 ** (-np.arange(dim // 2) / (dim / 2))
    angles = np.arange(length)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def is_sincos(table: Tensor, tolerance: float = 1e-3) -> bool:
    """Whether `table` (N, dim) is the fixed code of some grid with N patches, up to half-precision rounding."""
    patches, dim = table.shape
    if dim % 4:
        return False
    grids = ((rows, patches // rows) for rows in range(1, patches + 1) if patches % rows == 0)
    values = table.detach().float().cpu()
    return any(torch.allclose(values, sincos_2d(dim, grid), rtol=0, atol=tolerance) for grid in grids)

"""Stochastic depth for fine-tuning: set on a network after its weights are loaded."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath
from torch import nn


def set_drop_path(backbone: nn.Module, rate: float) -> None:
    """Drops each residual branch of block i of n with probability rate * i / (n - 1), in training only.

    The same as timm's `drop_path_rate` at construction, which pre-training leaves at 0 and recipes of fine-tuning set
    (FACTS.md §6). Weights and their names do not change.

    Args:
        backbone: One of timm's transformers: its blocks have `drop_path1` and `drop_path2`.
        rate: Probability for the last block, in 0..1, 1 excluded.

    Raises:
        ValueError: A rate outside its range, or a network without such blocks.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the drop-path rate should lie in 0..1, 1 excluded, got {rate}")
    blocks: list[Any] = [module for module in backbone.modules() if hasattr(module, "drop_path1")]
    if not blocks:
        raise ValueError(f"{type(backbone).__name__} has no blocks with drop_path1 and drop_path2, as timm's have")
    for block, probability in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for name in ("drop_path1", "drop_path2"):
            path = DropPath(probability) if probability else nn.Identity()
            setattr(block, name, path.train(block.training))

"""Stochastic depth for fine-tuning: set on a network after its weights are loaded."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import nn

_PATHS = {"drop_path", "drop_path1", "drop_path2"}


def set_drop_path(backbone: nn.Module, rate: float) -> None:
    """Drops each residual branch of block i of n with probability rate * i / (n - 1), in training only.

    The same as timm's `drop_path_rate` at construction, which pre-training leaves at 0 and recipes of fine-tuning set
    (FACTS.md §6); networks that other libraries build with a rate of their own get this one, 0 too. Weights and their
    names do not change.

    Args:
        backbone: One of timm's or transformers' networks: its blocks have modules `drop_path1` and `drop_path2`, or
            one `drop_path`.
        rate: Probability for the last block, in 0..1, 1 excluded.

    Raises:
        ValueError: A rate outside its range, or one above 0 for a network without such blocks.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"the drop-path rate should lie in 0..1, 1 excluded, got {rate}")
    blocks = [
        (module, found) for module in backbone.modules() if (found := _PATHS & dict(module.named_children()).keys())
    ]
    if not blocks and rate > 0:
        raise ValueError(f"{type(backbone).__name__} has no blocks with drop_path, or drop_path1 and drop_path2")
    rates = torch.linspace(0, rate, len(blocks), device="cpu").tolist()
    for (block, names), probability in zip(blocks, rates, strict=True):
        for name in names:
            path = DropPath(probability) if probability else nn.Identity()
            setattr(block, name, path.train(block.training))

"""Optimisers of the cards and the parameters that weight decay leaves alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rgbd3d.cards import SGD, AdamW

_UNDECAYED_NAMES = ("token", "pos_embed")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: decayed, and those that decay would only shrink.

    Biases and norms (one dimension or none), tokens and positions are not decayed (FACTS.md §1.2, as in MAE). Frozen
    parameters are left out.

    Args:
        model: Any module.
        weight_decay: For the first group; the second has 0.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        special = any(part in name.rsplit(".", 1)[-1] for part in _UNDECAYED_NAMES)
        (undecayed if parameter.ndim <= 1 or special else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def build_optimizer(optimizer: SGD | AdamW, model: nn.Module) -> torch.optim.Optimizer:
    """Optimiser of a card over `parameter_groups`; torch's fused kernels, which both CPU and CUDA have."""
    groups = parameter_groups(model, optimizer.weight_decay)
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(groups, lr=optimizer.lr, momentum=optimizer.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=optimizer.lr, betas=optimizer.betas, fused=True)

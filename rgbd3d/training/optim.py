"""Optimisers of the cards, the parameters that weight decay leaves alone, and layer-wise decay of the learning rate."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from rgbd3d.cards import SGD, AdamW

# Of timm and transformers; a Swin adds its biases and scales of attention (FACTS.md §6.4).
_UNDECAYED_NAMES = ("token", "pos_embed", "position_embeddings", "relative_position_bias_table", "logit_scale")

# blocks.3., encoder.layer.3. and, in stages, layers.2.blocks.3. or layers.2.downsample.
_BLOCK = re.compile(r"(?:\w+\.)*?(?:layers?\.\d+\.(?:blocks\.\d+|downsample)|(?:blocks|layers?)\.\d+)\.")


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
        if parameter.requires_grad:
            (decayed if _is_decayed(name, parameter) else undecayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": undecayed, "weight_decay": 0.0}]


def _is_decayed(name: str, parameter: nn.Parameter) -> bool:
    special = any(part in name.rsplit(".", 1)[-1] for part in _UNDECAYED_NAMES)
    return parameter.ndim > 1 and not special


def layers_of(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """How deep each parameter of a transformer lies.

    Args:
        backbone: One of timm's or transformers' vision transformers, plain or in stages.

    Returns:
        (name -> layer, number L of blocks). Layer 0 are the embeddings, 1 to L the blocks, L + 1 what follows them, the
        final norm. The patch merging of a Swin counts as a block (FACTS.md §6.4).

    Raises:
        ValueError: No name looks like that of a block.
    """
    blocks: dict[str, int] = {}
    layers: dict[str, int] = {}
    for name, _ in backbone.named_parameters():  # in the order of the forward pass
        block = _BLOCK.match(name)
        if block:
            layers[name] = blocks.setdefault(block[0], len(blocks) + 1)
        else:
            layers[name] = len(blocks) + 1 if blocks else 0
    if not blocks:
        raise ValueError(f"{type(backbone).__name__} has no blocks.N or layers.N: its layers cannot be told apart")
    return layers, len(blocks)


def layer_decay_groups(
    model: nn.Module, backbone: nn.Module, *, lr: float, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups whose learning rate shrinks by `layer_decay` per layer, from the head down to the embeddings.

    The scale is layer_decay^(L + 1 - k) in layer k of L blocks; the final norm and all that is outside the backbone
    learn at the full rate (FACTS.md §6.4; timm's own function puts the final norm into the last block, and the patch
    merging of a Swin into the block behind it). Weight decay leaves alone what it does in `parameter_groups`, and what
    the backbone names in timm's `no_weight_decay()`. Frozen parameters are left out.

    Args:
        model: The backbone and its heads.
        backbone: The part of `model` with layers.
        lr: Learning rate of the head.
        weight_decay: Of the decayed parameters.
        layer_decay: Factor per layer, in 0..1, 0 excluded.

    Returns:
        Groups with `params`, `lr`, `lr_scale` (the share of the head's rate) and `weight_decay`.

    Raises:
        ValueError: `layer_decay` is out of range, `model` does not hold `backbone`, or as `layers_of`.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay should lie in 0..1, 0 excluded, got {layer_decay}")
    layers, depth = layers_of(backbone)
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    if not names.keys() <= {id(parameter) for parameter in model.parameters()}:
        raise ValueError(f"the {type(backbone).__name__} is no part of the {type(model).__name__} that is trained")
    exempt: Any = getattr(backbone, "no_weight_decay", set)()

    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own = names.get(id(parameter))
        layer = depth + 1 if own is None else layers[own]
        decayed = _is_decayed(name, parameter) and own not in exempt
        scale = layer_decay ** (depth + 1 - layer)
        group = {"params": [], "lr": lr * scale, "lr_scale": scale, "weight_decay": weight_decay if decayed else 0.0}
        groups.setdefault((layer, decayed), group)["params"].append(parameter)
    return list(groups.values())


def build_optimizer(
    optimizer: SGD | AdamW, model: nn.Module, *, backbone: nn.Module | None = None, layer_decay: float = 1.0
) -> torch.optim.Optimizer:
    """Optimiser of a card; torch's fused kernels, which both CPU and CUDA have.

    Args:
        optimizer: Section of a card.
        model: What is trained.
        backbone: The part of `model` that `layer_decay` is about.
        layer_decay: See `layer_decay_groups`; with 1 the groups are those of `parameter_groups`.

    Raises:
        ValueError: As `layer_decay_groups`, or there is layer-wise decay and no `backbone`.
    """
    lr, decay = optimizer.lr, optimizer.weight_decay
    if layer_decay == 1.0:
        groups = parameter_groups(model, decay)
    elif backbone is None:
        raise ValueError(f"layer_decay {layer_decay} needs the backbone whose layers it is about")
    else:
        groups = layer_decay_groups(model, backbone, lr=lr, weight_decay=decay, layer_decay=layer_decay)
    if isinstance(optimizer, SGD):
        return torch.optim.SGD(groups, lr=lr, momentum=optimizer.momentum, dampening=optimizer.dampening, fused=True)
    return torch.optim.AdamW(groups, lr=lr, betas=optimizer.betas, fused=True)

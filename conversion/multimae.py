"""Checkpoints of MultiMAE (Bachmann et al. 2022): the encoder's RGB branch and heads of fine-tuning (FACTS.md §8).

All functions take the weights of a file, its entry "model", under their original names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Rules = tuple[tuple[str, str | None], ...]
"""Pattern of a whole key -> new key, or None for what has no counterpart. The first that fits counts."""

BACKBONE: Rules = (
    (r"global_tokens", r"cls_token"),
    (r"input_adapters\.rgb\.proj\.(.+)", r"patch_embed.proj.\1"),
    (r"encoder\.(.+)", r"blocks.\1"),
)

CONVNEXT: Rules = (
    (r"proj_dec\.(.+)", r"expand.\1"),
    (r"blocks\.(\d+)\.dwconv\.(.+)", r"blocks.\1.conv_dw.\2"),
    (r"blocks\.(\d+)\.norm\.(.+)", r"blocks.\1.norm.\2"),
    (r"blocks\.(\d+)\.pwconv([12])\.(.+)", r"blocks.\1.mlp.fc\2.\3"),
    (r"final_layer\.(.+)", r"predict.\1"),
)

# Level k of upstream is level k - 1 here; a residual unit is ReLU, convolution, norm, ReLU, convolution, norm.
_FUSIONS: Rules = tuple(
    (rf"scratch\.refinenet{level + 1}\.{theirs}\.(.+)", rf"fuse.{level}.{ours}.\1")
    for level in range(4)
    for theirs, ours in {
        "out_conv": "project",
        **{
            rf"resConfUnit{unit}\.{part}": f"{name}.{place}"
            for unit, name in ((1, "refine_finer"), (2, "refine"))
            for part, place in (("conv1", 1), ("bn1", 2), ("conv2", 4), ("bn2", 5))
        },
    }.items()
)

# Files hold the projections twice, as one tensor with two names; and the coarsest fusion has a unit that is never used.
DPT: Rules = (
    (r"act_\d_postprocess\..+|scratch\.layer\d_rn\..+", None),
    (r"scratch\.refinenet4\.resConfUnit1\..+", None),
    (r"act_postprocess\.(\d)\.0\.(.+)", r"project.\1.\2"),
    (r"act_postprocess\.(\d)\.1\.(.+)", r"resample.\1.\2"),
    (r"scratch\.layer_rn\.(\d)\.(.+)", r"reduce.\1.\2"),
    *_FUSIONS,
    (r"head\.(.+)", r"predict.\1"),
)


def backbone_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The RGB branch with the names of timm's vision transformer; there is no final norm.

    The global token becomes the class token, and the positions, which it has none of, get a zero row in front.
    """
    table = state["input_adapters.rgb.pos_emb"]
    positions = torch.nn.functional.pad(table.flatten(2).transpose(1, 2), (0, 0, 1, 0))
    chosen = {key: value for key, value in state.items() if any(re.fullmatch(rule, key) for rule, _ in BACKBONE)}
    return {"pos_embed": positions, **_renamed(chosen, BACKBONE)}


def convnext_head(state: Mapping[str, Tensor], adapter: str = "semseg") -> dict[str, Tensor]:
    """Weights of `rgbd3d.heads.convnext.ConvNeXtHead`.

    Args:
        state: Weights of a file.
        adapter: Name of the output adapter in it.

    Raises:
        ValueError: There is no such adapter, or it is of another kind.
    """
    return _renamed(_adapter(state, adapter), CONVNEXT)


def dpt_head(state: Mapping[str, Tensor], adapter: str = "depth") -> dict[str, Tensor]:
    """Weights of `rgbd3d.heads.dpt.DPTHead`; arguments and errors as `convnext_head`."""
    return _renamed(_adapter(state, adapter), DPT)


def _adapter(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"output_adapters.{name}."
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not weights:
        known = sorted({key.split(".")[1] for key in state if key.startswith("output_adapters.")})
        raise ValueError(f"no output adapter {name!r} in these weights; there are {', '.join(known) or 'none'}")
    return weights


def _renamed(weights: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    renamed = {}
    for key, value in weights.items():
        pattern, new = next((rule for rule in rules if re.fullmatch(rule[0], key)), (None, None))
        if pattern is None:
            raise ValueError(f"unknown MultiMAE key `{key}`: a head of another kind?")
        if new is not None:
            renamed[re.sub(pattern, new, key)] = value
    return renamed

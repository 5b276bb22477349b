"""The heads of dense prediction by the names of `rgbd3d.tasks`, and which features of a backbone each of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from rgbd3d.downstream.levels import Level, is_pyramid
from rgbd3d.heads.attentive import AttentiveHead
from rgbd3d.heads.convnext import ConvNeXtHead
from rgbd3d.heads.decoder import DecoderHead
from rgbd3d.heads.dpt import DPTHead
from rgbd3d.heads.linear import LinearHead
from rgbd3d.heads.mimdepth import MIMDepthHead
from rgbd3d.tasks import DPT, Attentive, ConvNeXt, Linear, Mask2Former, MIMDepth, PretrainedDecoder, UperNet

HeadSection = Linear | Attentive | ConvNeXt | DPT | MIMDepth | PretrainedDecoder | UperNet | Mask2Former

_LEVELS = 4


@dataclass(frozen=True)
class Reading:
    """Features that a head takes.

    Attributes:
        blocks: Indices of the blocks, or of the stages of a hierarchical backbone, whose output is taken, shallow
            first.
        normed: Whether the backbone's final norm is applied.
    """

    blocks: tuple[int, ...]
    normed: bool


def reading(head: HeadSection, depth: int) -> Reading:
    """What a head reads of a backbone with `depth` blocks.

    Four levels are the last blocks of the four quarters: 2, 5, 8 and 11 of 12 (FACTS.md §6.2). MultiMAE feeds its heads
    the raw output of a block (§6.1); a probe, and the decoder, which was pre-trained like that, take normed features.

    Raises:
        ValueError: Fewer than four blocks for a head of four levels.
    """
    match head:
        case DPT() | UperNet():
            if depth < _LEVELS:
                raise ValueError(f"head {head.name} reads {_LEVELS} levels, but the backbone has {depth} blocks")
            return Reading(tuple(depth * quarter // _LEVELS - 1 for quarter in range(1, _LEVELS + 1)), normed=False)
        case Linear() | Attentive() | MIMDepth() | PretrainedDecoder():
            return Reading((depth - 1,), normed=True)
        case ConvNeXt() | Mask2Former():
            return Reading((depth - 1,), normed=False)


def build_head(
    head: HeadSection,
    levels: Sequence[Level],
    out_channels: int,
    *,
    task: Literal["regression", "segmentation"],
) -> nn.Module:
    """Builds a head, freshly initialised from torch's global generator.

    Args:
        head: Section of a card.
        levels: Feature maps of the backbone.
        out_channels: Number of classes, or 1 for depth.
        task: Shape of DPT's last layers, and how the ConvNeXt head's last one starts.

    Returns:
        A module that maps what `reading` says to float (B, out_channels, h, w).

    Raises:
        ValueError: The head does not fit a hierarchical backbone.
    """
    if isinstance(head, Mask2Former | PretrainedDecoder):
        require_plain(head.name, levels)
    dim, stride = levels[-1].width, levels[-1].stride
    dims = [level.width for level in levels] if is_pyramid(levels) else dim
    match head:
        case Linear():
            return LinearHead(dim, out_channels)
        case Attentive():
            return AttentiveHead(dim, out_channels, heads=head.heads)
        case ConvNeXt():
            return ConvNeXtHead(dim, out_channels, width=head.width, cells=head.cells, depth=head.depth, task=task)
        case DPT():
            fused, width = head.level_dims, head.feature_dim
            return DPTHead(dims, out_channels, task=task, level_dims=fused, feature_dim=width)
        case MIMDepth():
            return MIMDepthHead(dim, filters=head.filters)
        case PretrainedDecoder():
            return DecoderHead(dim, out_channels, config=head.decoder, patch_size=stride)
        case UperNet():
            from rgbd3d.modeling_upernet import UperNetHead

            return UperNetHead(dims, out_channels, width=head.width)
        case Mask2Former():
            from rgbd3d.modeling_mask2former import Mask2FormerHead

            sizes = {"width": head.width, "queries": head.queries, "layers": head.layers}
            return Mask2FormerHead(dim, out_channels, **sizes, patch_size=stride)


def require_plain(head: str, levels: Sequence[Level]) -> None:
    """Refuses a hierarchical backbone for a head that makes its own pyramid.

    Raises:
        ValueError: Names the head and those that fit.
    """
    if is_pyramid(levels):
        strides = ", ".join(str(level.stride) for level in levels)
        instead = "heads linear, attentive, convnext, mim-depth, dpt and upernet fit it"
        if head == "mask-rcnn":
            instead = "take such a transformer"  # no other head finds objects
        raise ValueError(
            f"head {head} works on the one map of a plain vision transformer, but the backbone has maps at strides "
            f"{strides}; {instead}"
        )

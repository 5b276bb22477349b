"""The feature maps that a backbone offers, whatever library it is from: how many, how wide, how fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.backbone_utils import BackboneMixin

PYRAMID = 4
"""Levels of a hierarchical backbone that heads read: the last ones, at strides 4, 8, 16 and 32."""


@dataclass(frozen=True)
class Level:
    """One feature map.

    Attributes:
        width: Channels.
        stride: Pixels per cell and axis.
    """

    width: int
    stride: int


def levels_of(backbone: nn.Module) -> tuple[Level, ...]:
    """The maps of a backbone, shallow first: one per block of a plain vision transformer, else those of four stages.

    Raises:
        ValueError: It gives no feature maps, or says nothing of their stride.
    """
    found = _transformers_levels(backbone) if isinstance(backbone, BackboneMixin) else _timm_levels(backbone)
    return found[-PYRAMID:] if is_pyramid(found) else found


def is_pyramid(levels: Sequence[Level]) -> bool:
    """Whether the maps are of several sizes."""
    return len({level.stride for level in levels}) > 1


def read_levels(
    backbone: nn.Module, levels: Sequence[Level], image: Tensor, chosen: Sequence[int], *, normed: bool
) -> list[Tensor]:
    """Feature maps of normalised images.

    Args:
        backbone: Gives them.
        levels: `levels_of` it.
        image: float (B, 3, H, W); H and W are multiples of the coarsest stride.
        chosen: Positions in `levels`, rising.
        normed: Apply timm's final norm to the last block. What a backbone of transformers gives is normed as its
            configuration says, whatever is asked for here.

    Returns:
        (B, width, H / stride, W / stride) each.

    Raises:
        ValueError: The backbone gives maps of other sizes than it says.
    """
    network: Any = backbone
    if isinstance(backbone, BackboneMixin):
        maps = network(image).feature_maps
        found = [maps[len(maps) - len(levels) + position] for position in chosen]
    else:
        skipped = len(network.feature_info) - len(levels)
        indices = [skipped + position for position in chosen]
        found = network.forward_intermediates(image, indices=indices, norm=normed, intermediates_only=True)
    for position, features in zip(chosen, found, strict=True):
        level = levels[position]
        expected = (level.width, image.shape[-2] // level.stride, image.shape[-1] // level.stride)
        if tuple(features.shape[1:]) != expected:
            raise ValueError(
                f"level {position} of {type(backbone).__name__} is {tuple(features.shape[1:])} for an image of "
                f"{tuple(image.shape[-2:])}, not {expected}: the heads do not fit such maps"
            )
    return found


def _timm_levels(backbone: nn.Module) -> tuple[Level, ...]:
    if not hasattr(backbone, "forward_intermediates") or not hasattr(backbone, "feature_info"):
        raise ValueError(f"{type(backbone).__name__} gives no feature maps: it has no forward_intermediates")
    described: Any = backbone.feature_info
    return tuple(Level(info["num_chs"], info["reduction"]) for info in described)


def _transformers_levels(backbone: nn.Module) -> tuple[Level, ...]:
    network: Any = backbone
    widths = network.channels
    patch = getattr(network.config, "patch_size", None)
    if not isinstance(patch, int):
        raise ValueError(f"{type(backbone).__name__} does not say its stride: its patch_size is {patch!r}")
    grows = len(set(widths)) > 1
    return tuple(Level(width, patch * 2**stage if grows else patch) for stage, width in enumerate(widths))

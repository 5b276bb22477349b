"""The feature maps that a backbone offers, whatever library it is from: how many, how wide, how fine."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers.backbone_utils import BackboneMixin

PYRAMID = 4
"""Levels of a hierarchical backbone that heads read: the last ones, at strides 4, 8, 16 and 32."""

_COLORS = 3


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
        normed: Apply timm's final norm to the last block; there is none where timm normalises after pooling (ConvNeXt,
            average-pooled transformers). What a backbone of transformers gives is normed as its configuration says,
            whatever is asked for here.

    Returns:
        (B, width, H / stride, W / stride) each, channels last in memory: the convolutions of heads are faster on those.

    Raises:
        ValueError: Images of another shape, or the backbone gives maps of other sizes than it says.
    """
    _check_images(image, levels[-1].stride)
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
    return [features.contiguous(memory_format=torch.channels_last) for features in found]


def _check_images(image: Tensor, stride: int) -> None:
    if image.ndim != 4 or image.shape[1] != _COLORS:
        raise ValueError(f"images should be (B, {_COLORS}, H, W), got {tuple(image.shape)}")
    height, width = image.shape[-2:]
    if height % stride or width % stride or not height or not width:
        nearest = tuple(max(round(side / stride), 1) * stride for side in (height, width))
        raise ValueError(
            f"images of ({height}, {width}) pixels should be multiples of {stride}, the stride of the backbone: resize "
            f"or crop them, for example to {nearest}"
        )


def require_any_size(backbone: nn.Module, image_size: tuple[int, int]) -> None:
    """Refuses a backbone that takes images of one size only, or whose maps are not those that it describes.

    It reads two sizes with tensors that have a shape but no values; the backbone itself is left as it is.

    Args:
        backbone: Of timm or transformers.
        image_size: (height, width), multiples of its coarsest stride.

    Raises:
        ValueError: Says what to do.
    """
    levels = levels_of(backbone)
    height, width = image_size
    for size in (image_size, (height + levels[-1].stride, width)):
        try:
            with torch.no_grad():
                image = torch.empty(1, 3, *size, device="meta")
                read_levels(_without_values(backbone), levels, image, range(len(levels)), normed=False)
        except Exception as error:  # each architecture fails in its own way
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{type(backbone).__name__} cannot read images of {size} ({reason}): heads need one that takes "
                "images of any size that its stride divides"
            ) from error


def _without_values(backbone: nn.Module) -> nn.Module:
    """A copy for inference whose tensors have a shape but no values."""
    kept = [value for module in backbone.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    tensors = chain(backbone.parameters(), backbone.buffers(), kept)
    return deepcopy(backbone, {id(tensor): tensor.to("meta") for tensor in tensors}).eval()


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

"""The `objective:` section of a fine-tuned card, one frozen dataclass per task. Imports no torch.

`rgbd3d.downstream` turns one and a backbone into a trainable network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rgbd3d.objectives import Decoder
from rgbd3d.strict_yaml import require

_DECODER = Decoder()
_LARGEST_ID = 254  # of a class; 255 is rgbd3d.types.IGNORE_LABEL, whose module imports torch

# ---------------------------------------------------------------------------------------------------------------- heads


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One linear layer on the final features (`rgbd3d.heads.linear`)."""

    name: Literal["linear"]


@dataclass(frozen=True, kw_only=True)
class Attentive:
    """Every position looks at all final features once, then one linear layer (`rgbd3d.heads.attentive`).

    Attributes:
        heads: Attention heads; they divide the backbone's width.
    """

    name: Literal["attentive"]
    heads: int = 12

    def __post_init__(self) -> None:
        require(self.heads > 0, "heads", "should be positive")


@dataclass(frozen=True, kw_only=True)
class ConvNeXt:
    """MultiMAE's segmentation head (FACTS.md §6.1, `rgbd3d.heads.convnext`).

    Attributes:
        width: Channels of a cell.
        cells: Cells per token and axis.
        depth: ConvNeXt blocks.
    """

    name: Literal["convnext"]
    width: int = 384
    cells: int = 4
    depth: int = 4

    def __post_init__(self) -> None:
        for name in ("width", "cells", "depth"):
            require(getattr(self, name) > 0, name, "should be positive")


@dataclass(frozen=True, kw_only=True)
class DPT:
    """Dense prediction transformer on four blocks, evenly spaced (FACTS.md §6.2, `rgbd3d.heads.dpt`).

    Attributes:
        level_dims: Channels of the four levels before they are fused.
        feature_dim: Channels after.
    """

    name: Literal["dpt"]
    level_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    feature_dim: int = 256

    def __post_init__(self) -> None:
        require(min(self.level_dims) > 0, "level_dims", "should be positive")
        require(self.feature_dim > 0 and self.feature_dim % 2 == 0, "feature_dim", "should be positive and even")


@dataclass(frozen=True, kw_only=True)
class MIMDepth:
    """Head of MIM-Depth and MeSa: transposed convolutions and a sigmoid (FACTS.md §5.2, `rgbd3d.heads.mimdepth`).

    Attributes:
        filters: Channels of the transposed convolutions, coarse to fine; each doubles the grid.
    """

    name: Literal["mim-depth"]
    filters: tuple[int, ...] = (32, 32)

    def __post_init__(self) -> None:
        require(min(self.filters, default=0) > 0, "filters", "should be positive, at least one")


@dataclass(frozen=True, kw_only=True)
class PretrainedDecoder:
    """The decoder of the pre-training model with a new last layer (Mask3D §3.2, `rgbd3d.heads.decoder`).

    Attributes:
        decoder: Its size, that of the card's `init`.
    """

    name: Literal["decoder"]
    decoder: Decoder = _DECODER


@dataclass(frozen=True, kw_only=True)
class UperNet:
    """transformers' UPerNet decoder on four blocks, evenly spaced.

    Attributes:
        width: Channels of the decoder.
    """

    name: Literal["upernet"]
    width: int = 512

    def __post_init__(self) -> None:
        require(self.width > 0, "width", "should be positive")


@dataclass(frozen=True, kw_only=True)
class Mask2Former:
    """transformers' Mask2Former on a simple feature pyramid.

    Attributes:
        width: Channels of the pixel and query decoders, a multiple of 32.
        queries: Number of queries.
        layers: Layers of the query decoder.
    """

    name: Literal["mask2former"]
    width: int = 256
    queries: int = 100
    layers: int = 9

    def __post_init__(self) -> None:
        for name in ("width", "queries", "layers"):
            require(getattr(self, name) > 0, name, "should be positive")
        require(self.width % 32 == 0, "width", "should be a multiple of 32, the groups of its norms")


# ---------------------------------------------------------------------------------------------------------------- tasks


@dataclass(frozen=True, kw_only=True)
class SemanticSegmentation:
    """One class per pixel; cross-entropy over labelled pixels (Mask2Former: its own set loss).

    Attributes:
        labels: Label space, see `rgbd3d.data.label_spaces`; None only for a model that was built without a card.
        head: What predicts.
        drop_path: Rate of the backbone's last block; it rises linearly from 0.
        freeze_backbone: Train the head alone: a probe.
    """

    labels: str | None
    head: Linear | Attentive | ConvNeXt | DPT | PretrainedDecoder | UperNet | Mask2Former
    drop_path: float = 0.0
    freeze_backbone: bool = False

    def __post_init__(self) -> None:
        _check_drop_path(self.drop_path, self.freeze_backbone)


@dataclass(frozen=True, kw_only=True)
class DepthEstimation:
    """Metres per pixel from one image.

    Attributes:
        head: What predicts.
        loss: "berhu" (FACTS.md §6.2), "silog" (§5.2), "l1" of metres or "log-l1" of their logarithm.
        output: How the head's number is read: "standardised" (metres = typical + spread x number), "log"
            (metres = typical x exp(number)) or "metres" (the MIM-Depth head: a sigmoid of 10 m).
        typical: Metres; of no meaning where the output is "metres".
        spread: Metres; only of a standardised output, and the unit in which berhu compares.
        drop_path: Rate of the backbone's last block; it rises linearly from 0.
        freeze_backbone: Train the head alone: a probe.
    """

    head: Linear | Attentive | ConvNeXt | DPT | MIMDepth
    loss: Literal["berhu", "silog", "l1", "log-l1"]
    output: Literal["standardised", "log", "metres"] = "log"
    typical: float = 2.5
    spread: float = 1.0
    drop_path: float = 0.0
    freeze_backbone: bool = False

    def __post_init__(self) -> None:
        _check_drop_path(self.drop_path, self.freeze_backbone)
        require(self.typical > 0, "typical", "should be positive, in metres")
        require(self.spread > 0, "spread", "should be positive, in metres")
        own = isinstance(self.head, MIMDepth)
        require(own == (self.output == "metres"), "output", "is metres with the mim-depth head and only there")
        stuck = self.output == "standardised" and self.loss in ("silog", "log-l1")
        require(not stuck, "loss", f"is {self.loss}, which teaches nothing where a standardised output is below 0 m")


@dataclass(frozen=True, kw_only=True)
class InstanceSegmentation:
    """Mask R-CNN on a simple feature pyramid (FACTS.md §1.2, `rgbd3d.heads.mask_rcnn`).

    Attributes:
        labels: Label space of the data's semantic labels; None only for a model that was built without a card.
        classes: Train ids of the classes that have instances.
        width: Channels of the pyramid.
        drop_path: Rate of the backbone's last block; it rises linearly from 0.
    """

    labels: str | None
    classes: tuple[int, ...]
    width: int = 256
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        _check_drop_path(self.drop_path)
        require(self.width > 0, "width", "should be positive")
        increasing = all(a < b for a, b in zip(self.classes, self.classes[1:], strict=False))
        require(len(self.classes) > 0 and increasing, "classes", "should be increasing train ids, at least one")
        inside = self.classes[0] >= 0 and self.classes[-1] <= _LARGEST_ID
        require(inside, "classes", f"should be train ids, 0 to {_LARGEST_ID}: {_LARGEST_ID + 1} is no class")


def _check_drop_path(rate: float, frozen: bool = False) -> None:
    require(0 <= rate < 1, "drop_path", "should lie in 0..1, 1 excluded")
    require(
        not (frozen and rate), "drop_path", "should be 0: a frozen backbone is in evaluation, where none is dropped"
    )


TaskObjective = SemanticSegmentation | DepthEstimation | InstanceSegmentation

TASKS: dict[str, type] = {
    "semantic-segmentation": SemanticSegmentation,
    "depth-estimation": DepthEstimation,
    "instance-segmentation": InstanceSegmentation,
}
"""Task of a card -> the type of its objective."""

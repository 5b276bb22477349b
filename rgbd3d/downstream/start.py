"""The network of a fine-tuned card before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from rgbd3d import card_weights
from rgbd3d.cards import Card, ForeignBackbone
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.foreign import foreign_weights
from rgbd3d.downstream.network import build_task_network
from rgbd3d.heads.decoder import DecoderHead
from rgbd3d.tasks import PretrainedDecoder


def initial_network(card: Card) -> TaskNetwork:
    """Builds the network of a card, the same on every machine, with the weights of the card's `init`.

    A backbone of another library starts from the weights that its section pins.

    The head is drawn from the card's seed, and so is the backbone without an `init`. The pre-trained decoder as a head
    (Mask3D §4.1) starts from the decoder of `init`; only its last layer is new.

    Args:
        card: Fine-tuned; its `train.seed` is used.

    Raises:
        NoWeightsError: Nobody has trained `init` yet, or its decoder is not published.
        ValueError: A card of pre-training, `init` has another backbone or a decoder of another size, or a backbone of
            another library does not fit.
        HubError: The Hub does not give the weights of a backbone of another library.
    """
    section = card.backbone
    if isinstance(section, ForeignBackbone) and isinstance(getattr(card.objective, "head", None), PretrainedDecoder):
        raise ValueError(f"the head of {card.name} is a decoder of pre-training, which {section.label} does not bring")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.train.seed)
        network = build_task_network(card)
    if isinstance(section, ForeignBackbone):
        if section.pretrained:
            network.load_backbone(foreign_weights(section))
        return network
    backbone = card_weights.initial_weights(card)
    if backbone is None:
        return network
    load_start(network, backbone, card, str(card.init))
    if isinstance(network.head, DecoderHead):
        load_decoder(network, card_weights.decoder_weights(str(card.init)), card, str(card.init))
    return network


class HasBackbone(Protocol):
    """The network of a card: backbone and head, or a method of pre-training."""

    backbone: Any

    def load_backbone(self, state: Any) -> None:
        """Takes weights with timm's names."""


def load_start(network: HasBackbone, state: Mapping[str, Tensor], card: Card, start: str) -> None:
    """Starts the backbone of a card's network from trained weights.

    Args:
        network: Of the card.
        state: Weights of a backbone, with timm's names.
        card: Whose network it is.
        start: Name of the model whose backbone it is.

    Raises:
        ValueError: They are of another backbone, names both; or a weight is missing, too many or of another kind.
    """
    try:
        network.load_backbone(state)
    except (RuntimeError, ValueError) as error:
        own = network.backbone.state_dict()
        if _size(own) == _size(state):
            reason = " ".join(str(error).split())
            raise ValueError(f"{card.name} cannot start from the backbone of {start}: {reason}") from error
        raise ValueError(
            f"{card.name} has the backbone {card.backbone.architecture} ({_size(own)}), but {start}, which it would "
            f"start from, has another one ({_size(state)})"
        ) from error


def load_decoder(network: TaskNetwork, state: Mapping[str, Tensor], card: Card, start: str) -> None:
    """Starts the head of a card's network from the decoder of pre-training, but for its last layer.

    Args:
        network: Of the card; its head is a `DecoderHead`.
        state: Weights of the decoder.
        card: Fine-tuned.
        start: Name of the model whose decoder it is.

    Raises:
        ValueError: It is of another size.
    """
    assert isinstance(network.head, DecoderHead)
    try:
        network.head.load_decoder(state)
    except ValueError as error:
        raise ValueError(f"{card.name} starts from {start}: {error}") from error


def _size(state: Mapping[str, Tensor]) -> str:
    if not any(name.startswith("blocks.") for name in state) or "patch_embed.proj.weight" not in state:
        return "no plain vision transformer of timm"
    blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    return f"{blocks} blocks of width {width}, patch {patch}, {'a' if 'cls_token' in state else 'no'} class token"

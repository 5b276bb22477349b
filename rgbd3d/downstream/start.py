"""The network of a fine-tuned card before its first step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rgbd3d import registry
from rgbd3d.cards import Card
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.network import build_task_network
from rgbd3d.heads.decoder import DecoderHead


def initial_network(card: Card) -> TaskNetwork:
    """Builds the network of a card, the same on every machine, with the weights of the card's `init`.

    The head is drawn from the card's seed, and so is the backbone without an `init`. The pre-trained decoder as a head
    (Mask3D §4.1) starts from the decoder of `init`; only its last layer is new.

    Args:
        card: Fine-tuned; its `train.seed` is used.

    Raises:
        NoWeightsError: Nobody has trained `init` yet, or its decoder is not published.
        ValueError: A card of pre-training, or `init` has another backbone or a decoder of another size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.train.seed)
        network = build_task_network(card)
    backbone = registry.initial_weights(card)
    if backbone is None:
        return network
    load_start(network, backbone, card, str(card.init))
    if isinstance(network.head, DecoderHead):
        assert card.init is not None
        decoder = registry.decoder_weights(card.init)
        try:
            network.head.load_decoder(decoder)
        except ValueError as error:
            raise ValueError(f"{card.name} starts from {card.init}: {error}") from error
    return network


def load_start(network: TaskNetwork, state: Mapping[str, Tensor], card: Card, start: str) -> None:
    """Starts the backbone of a card's network from trained weights.

    Args:
        network: Of the card.
        state: Weights of a backbone, with timm's names.
        card: Fine-tuned.
        start: Name of the model whose backbone it is.

    Raises:
        ValueError: They are of another backbone; names both.
    """
    try:
        network.load_backbone(state)
    except RuntimeError as error:
        own = network.backbone.state_dict()
        raise ValueError(
            f"{card.name} has the backbone {card.backbone.architecture} ({_size(own)}), but {start}, which it would "
            f"start from, has another one ({_size(state)})"
        ) from error


def _size(state: Mapping[str, Tensor]) -> str:
    blocks = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    width, _, patch, _ = state["patch_embed.proj.weight"].shape
    return f"{blocks} blocks of width {width}, patch {patch}, {'a' if 'cls_token' in state else 'no'} class token"

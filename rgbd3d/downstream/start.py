"""The network of a fine-tuned card before its first step."""

from __future__ import annotations

import torch

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
        ValueError: A card of pre-training, or a decoder of another size than that of `init`.
        RuntimeError: `init` has another backbone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.train.seed)
        network = build_task_network(card)
    backbone = registry.initial_weights(card)
    if backbone is None:
        return network
    network.load_backbone(backbone)
    if isinstance(network.head, DecoderHead):
        assert card.init is not None
        decoder = registry.decoder_weights(card.init)
        try:
            network.head.load_decoder(decoder)
        except ValueError as error:
            raise ValueError(f"{card.name} starts from {card.init}: {error}") from error
    return network

"""One file per paper; a method is a backbone plus what is needed to pre-train it."""

from __future__ import annotations

from rgbd3d.cards import Card, own_backbone
from rgbd3d.methods.mae import MAE
from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import MAEObjective, Mask3DObjective


def build_method(card: Card) -> MAE | Mask3D:
    """Build the pre-training model of a card, initialised from torch's global generator (seed it first).

    Args:
        card: Its backbone and objective sections are used.

    Returns:
        A module whose `inputs` names what `forward` takes from a batch, whose `backbone` is kept after pre-training
        and whose `load_backbone` starts it from the weights of the card's `init`.

    Raises:
        ValueError: The card is fine-tuned: `rgbd3d.downstream` builds it.
    """
    match card.objective:
        case MAEObjective():
            return MAE(own_backbone(card.backbone), card.objective)
        case Mask3DObjective():
            return Mask3D(own_backbone(card.backbone), card.objective)
        case _:
            raise ValueError(f"{card.name} is fine-tuned, not pre-trained: `rgbd3d finetune {card.name}` trains it")

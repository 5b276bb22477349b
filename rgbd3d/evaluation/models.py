"""The models that protocols measure: by name, and whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from rgbd3d.card_sections import Backbone
from rgbd3d.cards import Card
from rgbd3d.downstream.sections import class_names_of
from rgbd3d.evaluation.protocols import TransferProtocol
from rgbd3d.evaluation.protocols_base import ScoredProtocol
from rgbd3d.tasks import TaskObjective

_NAMED = 3  # classes that are named in a message


def check_fits(card: Card, protocol: TransferProtocol | ScoredProtocol[Any]) -> None:
    """Refuses a model that a protocol does not measure.

    Raises:
        ValueError: Another task or other classes; names both.
    """
    if isinstance(protocol, TransferProtocol):
        _check_transfer(card, protocol)
        return
    if card.task is None:
        raise ValueError(
            f"{card.name} is a pre-trained backbone, but {protocol.name} scores models for {protocol.task}: "
            "`rgbd3d finetune` makes one of it"
        )
    if card.task != protocol.task:
        raise ValueError(f"{card.name} is a model for {card.task}, but {protocol.name} is for {protocol.task}")
    assert isinstance(card.objective, TaskObjective)
    ours, theirs = class_names_of(card.objective), getattr(protocol, "classes", ())
    if ours != theirs:
        raise ValueError(
            f"{card.name} predicts {_describe(ours, getattr(card.objective, 'labels', None))}, but {protocol.name} "
            f"scores {_describe(theirs, protocol.frames.label_space)}"
        )


def _check_transfer(card: Card, protocol: TransferProtocol) -> None:
    if not isinstance(card.backbone, Backbone):
        raise ValueError(
            f"the backbone of {card.name} is {card.backbone.label}, but {protocol.name} measures vision transformers "
            "of rgbd3d: measure the model on its task, see docs/evaluate.md"
        )
    if protocol.measures == "pre-training" and card.task is not None:
        raise ValueError(
            f"{card.name} is a model for {card.task}, but {protocol.name} measures pre-training: "
            f"{f'try {card.init}, from which it was trained' if card.init else 'name a card of that'}"
        )


def check_same_recipe(cards: Sequence[Card]) -> None:
    """Refuses models that are not the same but for their seeds.

    Raises:
        ValueError: Names two that differ.
    """
    first, *others = cards
    for card in others:
        alike = replace(
            card,
            weights=first.weights,
            measured=first.measured,
            tolerance=first.tolerance,
            train=replace(card.train, seed=first.train.seed),
        )
        differing = [part.name for part in fields(Card) if getattr(alike, part.name) != getattr(first, part.name)]
        if differing:
            raise ValueError(
                f"{card.name} and {first.name} differ in more than the seed: in {', '.join(differing)}; "
                "measure them one by one and put the results side by side with `rgbd3d compare`"
            )
    seeds = [card.train.seed for card in cards]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"the models are of the seeds {', '.join(map(str, seeds))}: each seed counts once")


def _describe(classes: Sequence[str], label_space: str | None) -> str:
    some = ", ".join((*classes[:_NAMED], *(["…"] if len(classes) > _NAMED else [])))
    return f"{len(classes)} classes of {label_space} ({some})"

"""The card of a run's own weights: what its recipe's card says, without what is true of other weights only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rgbd3d import registry
from rgbd3d.cards import Card, ForeignBackbone, License, Start
from rgbd3d.data.manifest import RENDERED, data_set_of
from rgbd3d.downstream.foreign import NOT_KNOWN, terms_of, with_terms_of
from rgbd3d.zoo import starts_from

NOT_STATED = "not stated: trained on the user's own data; state its terms before publishing"
_UNKNOWN = License(weights=NOT_STATED, data=NOT_STATED)
_OTHER_DATA = "{}, trained on other data"


@dataclass(frozen=True)
class Given:
    """Weights that a run was given to start from, instead of those of the card's `init`.

    Attributes:
        start: What the exported card says of them.
        license: Terms that their own card states; None if they have none.
    """

    start: Start
    license: str | None = None


def exported_card(
    recipe: Card, card: Card, data: str | None, overrides: Sequence[str] = (), given: Given | None = None
) -> Card:
    """Card that goes with the weights of a run.

    The numbers were measured on other weights and are left out. Whatever was not done as the recipe says is added to
    its departures, but for the seed; weights that were given to start from take the place of `init`. The terms of
    other data than the recipe names are not known here; those of other weights to start from are added.

    Args:
        recipe: Before overrides: its title and its license describe its own data and `init`.
        card: After overrides.
        data: As given to `pretrain` or `finetune`.
        overrides: As given there.
        given: What was given to start from.
    """
    own = replace(card, measured=())
    if data is not None or overrides or given is not None:
        own = replace(own, tolerance=None)
    if changed := [override for override in overrides if override.partition("=")[0].strip() != "train.seed"]:
        own = _departing(own, f"Trained with changed values: {', '.join(changed)}.")
    if card.data.source != recipe.data.source:
        own = replace(own, license=_UNKNOWN)
    if (card.data.source, card.data.render) != (recipe.data.source, recipe.data.render):
        own = replace(own, title=_OTHER_DATA.format(card.name))
    if data is not None and recipe.data.render is not None:
        own = _of_given_frames(own, data)
    if given is not None:
        own = _departing(own, f"Started from {given.start.name} instead of {starts_from(card)}.")
        own = replace(own, init=None, start=given.start)
    if starts_from(own) != starts_from(recipe) or own.license != recipe.license:
        own = replace(own, license=replace(own.license, weights=_with_terms_of_start(own, given)))
    return own


def _departing(card: Card, departure: str) -> Card:
    """The card with one more departure; a card of an earlier export may have it already."""
    return replace(card, departures=tuple(dict.fromkeys((*card.departures, departure))))


def _of_given_frames(card: Card, data: str) -> Card:
    """The card of what was trained on given frames instead of those that the recipe renders.

    Only of frames that this package rendered are the terms known. With others the card renders none any more, so that
    training it again asks for them.
    """
    found, path = data_set_of(data), Path(data).expanduser()
    name = path.name if path.exists() else data  # a local path helps nobody else
    card = _departing(card, f"Trained on {name} instead of the frames that the recipe renders.")
    card = replace(card, title=_OTHER_DATA.format(card.name))
    if found == RENDERED:
        return card
    return replace(
        card,
        license=_UNKNOWN,
        data=replace(card.data, source=found or "frames", render=None),
        evaluation=card.evaluation and replace(card.evaluation, render=None),
    )


def _with_terms_of_start(card: Card, given: Given | None) -> str:
    """The terms of the weights, and of those that they were trained from where these are others."""
    if given is not None:
        name, terms = given.start.name, given.license or NOT_KNOWN
    elif isinstance(card.backbone, ForeignBackbone) and card.backbone.pretrained:
        name, terms = card.backbone.label, terms_of(card.backbone)
    elif card.init is not None:
        name, terms = card.init, registry.get_card(card.init).license.weights
    else:
        return card.license.weights
    return with_terms_of(card.license.weights, name, terms)

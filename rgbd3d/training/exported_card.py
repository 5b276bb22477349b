"""The card of a run's own weights: what its recipe's card says, without what is true of other weights only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rgbd3d.cards import Card, License

NOT_STATED = "not stated: trained on the user's own data; state its terms before publishing"


@dataclass(frozen=True)
class Start:
    """Weights that a run started from instead of those of the card's `init`.

    Attributes:
        digest: `rgbd3d.training.run.weights_digest` of them.
        model: Their name, where they have one: a card, a folder or a Hub id.
    """

    digest: str
    model: str | None = None


def exported_card(
    recipe: Card, card: Card, data: str | None, overrides: Sequence[str] = (), start: Start | None = None
) -> Card:
    """Card that goes with the weights of a run.

    The numbers were measured on other weights and are left out. Whatever was not done as the recipe says is added to
    its departures, but for the seed; a model to start from takes the place of `init`. The terms of other data than
    the recipe names are not known here.

    Args:
        recipe: Before overrides: its title and its license describe its own data.
        card: After overrides.
        data: As given to `pretrain` or `finetune`.
        overrides: As given there.
        start: What was given to start from.
    """
    departures = list(card.departures)
    own = replace(card, measured=())
    if data is not None or overrides or start is not None:
        own = replace(own, tolerance=None)
    if changed := [override for override in overrides if override.partition("=")[0].strip() != "train.seed"]:
        departures.append(f"Trained with changed values: {', '.join(changed)}.")
    not_rendered = data is not None and recipe.data.render is not None
    if not_rendered:
        departures.append(f"Trained on {data} instead of the rendered frames.")
    if not_rendered or card.data.source != recipe.data.source:
        own = replace(own, license=License(weights=NOT_STATED, data=NOT_STATED))
    if not_rendered or (card.data.source, card.data.render) != (recipe.data.source, recipe.data.render):
        own = replace(own, title=f"{card.name}, trained on other data")
    if start is not None:
        departures.append(
            f"Started from {start.model or 'given weights'} (digest {start.digest}) instead of "
            f"{card.init or 'random initialisation'}."
        )
        if start.model not in (None, card.name):
            own = replace(own, init=start.model)
    return replace(own, departures=tuple(dict.fromkeys(departures)))  # a card of an earlier export says it already

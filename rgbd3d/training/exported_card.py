"""The card of a run's own weights: what its recipe's card says, without what is true of other weights only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rgbd3d.cards import Card, License

NOT_STATED = "not stated: trained on the user's own data; state its terms before publishing"


def exported_card(card: Card, data: str | None, overrides: Sequence[str], *, continued: bool) -> Card:
    """Card that goes with the weights of a run.

    The numbers were measured on other weights and are left out. Whatever was not done as the card says is added to its
    departures; the terms of data that took the place of rendered frames are not known here.

    Args:
        card: After overrides.
        data: As given to `pretrain`.
        overrides: As given to `pretrain`.
        continued: Whether the run started from given weights instead of the card's `init`.
    """
    departures = list(card.departures)
    own = replace(card, measured=())
    if data is not None or overrides or continued:
        own = replace(own, tolerance=None)
    if overrides:
        departures.append(f"Trained with changed values: {', '.join(overrides)}.")
    if data is not None and card.data.render is not None:
        departures.append(f"Trained on {data} instead of the rendered frames.")
        own = replace(own, license=License(weights=NOT_STATED, data=NOT_STATED))
    if continued:
        departures.append("Continued from given weights instead of the card's init.")
    return replace(own, departures=tuple(dict.fromkeys(departures)))  # a card of an earlier export says it already

"""An exported card says what was not done as the recipe's card says."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_run as tiny

from rgbd3d.cards import Card, Data, Measured, Render, parse
from rgbd3d.strict_yaml import dump
from rgbd3d.training.exported_card import NOT_STATED, exported_card

MEASURED = Measured(task="depth", dataset="d", protocol="p", metric="m", mean=1.0, seeds=1, command="rgbd3d evaluate")
RENDERED = dataclasses.replace(
    tiny.CARD,
    data=Data(source="synthrooms", render=Render(scenes=1, frames_per_scene=1, size=(32, 48))),
    measured=(MEASURED,),
    departures=("Small.",),
    tolerance=0.1,
)
BROUGHT = dataclasses.replace(tiny.CARD, tolerance=0.1)


def test_a_plain_recipe_keeps_its_card_without_numbers():
    assert exported_card(RENDERED, None, (), continued=False) == dataclasses.replace(RENDERED, measured=())


def test_data_instead_of_rendered_frames_have_unknown_terms():
    card = exported_card(RENDERED, "/my/frames", (), continued=False)
    assert (card.license.weights, card.license.data) == (NOT_STATED, NOT_STATED)
    assert card.departures == ("Small.", "Trained on /my/frames instead of the rendered frames.")
    assert exported_card(BROUGHT, "/my/copy", (), continued=False).license == BROUGHT.license
    assert exported_card(card, "/my/frames", (), continued=False) == card, "nothing is said twice"


@pytest.mark.parametrize(
    ("card", "data", "overrides", "continued", "said"),
    [
        (RENDERED, None, ("train.max_steps=3", "init=null"), False, "train.max_steps=3, init=null"),
        (RENDERED, None, (), True, "Continued from given weights"),
        (RENDERED, "/my/frames", (), False, "/my/frames"),
        (BROUGHT, "/my/copy", (), False, ""),
    ],
)
def test_what_was_promised_of_other_weights_is_left_out(
    card: Card, data: str | None, overrides: tuple[str, ...], continued: bool, said: str
):
    exported = exported_card(card, data, overrides, continued=continued)
    assert (exported.tolerance, exported.measured) == (None, ())
    assert said in " ".join(exported.departures)
    assert parse(dump(exported)) == exported

"""An exported card says what was not done as the recipe's card says."""

from __future__ import annotations

import dataclasses

import pytest
import tiny_run as tiny

from rgbd3d.cards import Card, Data, Measured, Render, parse, with_overrides
from rgbd3d.strict_yaml import dump
from rgbd3d.training.exported_card import NOT_STATED, Start, exported_card

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
    assert exported_card(RENDERED, RENDERED, None) == dataclasses.replace(RENDERED, measured=())


def test_data_instead_of_rendered_frames_have_unknown_terms():
    card = exported_card(RENDERED, RENDERED, "/my/frames")
    assert card.title == f"{RENDERED.name}, trained on other data"
    assert (card.license.weights, card.license.data) == (NOT_STATED, NOT_STATED)
    assert card.departures == ("Small.", "Trained on /my/frames instead of the rendered frames.")
    assert exported_card(BROUGHT, BROUGHT, "/my/copy").license == BROUGHT.license
    assert exported_card(card, card, "/my/frames") == card, "nothing is said twice"


def test_overrides_that_name_other_data_have_unknown_terms():
    overrides = ("data={source: nyuv2}",)
    card = exported_card(RENDERED, with_overrides(RENDERED, overrides), "/my/nyuv2", overrides)
    assert (card.license.weights, card.license.data) == (NOT_STATED, NOT_STATED)
    assert card.title == f"{RENDERED.name}, trained on other data"
    overrides = ("data.render.scenes=2",)
    more = exported_card(RENDERED, with_overrides(RENDERED, overrides), None, overrides)
    assert more.license == RENDERED.license, "still rendered"
    assert more.title != RENDERED.title


def test_a_model_to_start_from_takes_the_place_of_init():
    card = exported_card(RENDERED, RENDERED, None, start=Start("d1", "./runs/a/final"))
    assert card.init == "./runs/a/final"
    assert "Started from ./runs/a/final (digest d1) instead of random initialisation." in card.departures
    own = exported_card(RENDERED, RENDERED, None, start=Start("d1", RENDERED.name))
    assert own.init is None, "a card cannot start from itself"


@pytest.mark.parametrize("overrides", [("train.seed=1",), ("train.seed=1", "train.max_steps=3")])
def test_seeds_are_no_departure(overrides: tuple[str, ...]):
    card = exported_card(RENDERED, with_overrides(RENDERED, overrides), None, overrides)
    assert "train.seed" not in " ".join(card.departures)
    assert card.tolerance is None


@pytest.mark.parametrize(
    ("card", "data", "overrides", "start", "said"),
    [
        (RENDERED, None, ("train.max_steps=3", "init=null"), None, "train.max_steps=3, init=null"),
        (RENDERED, None, (), Start("d1"), "Started from given weights (digest d1)"),
        (RENDERED, "/my/frames", (), None, "/my/frames"),
        (BROUGHT, "/my/copy", (), None, ""),
    ],
)
def test_what_was_promised_of_other_weights_is_left_out(
    card: Card, data: str | None, overrides: tuple[str, ...], start: Start | None, said: str
):
    exported = exported_card(card, card, data, overrides, start)
    assert (exported.tolerance, exported.measured) == (None, ())
    assert said in " ".join(exported.departures)
    assert parse(dump(exported)) == exported

"""An exported card says what was not done as the recipe's card says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import tiny_run as tiny

from rgbd3d import card_index, card_weights, registry, zoo
from rgbd3d.cards import Card, CardError, Data, ForeignBackbone, License, Measured, Render, Start, parse, with_overrides
from rgbd3d.strict_yaml import dump
from rgbd3d.training.exported_card import NOT_STATED, Given, exported_card

MEASURED = Measured(task="depth", dataset="d", protocol="p", metric="m", mean=1.0, seeds=1, command="rgbd3d evaluate")
RENDERED = dataclasses.replace(
    tiny.CARD,
    data=Data(source="synthrooms", render=Render(scenes=1, frames_per_scene=1, size=(32, 48))),
    measured=(MEASURED,),
    departures=("Small.",),
    tolerance=0.1,
)
MAE_TERMS = registry.get_card("mae-vitb-imagenet").license.weights
DIGEST = "0123456789abcdef" * 4
FOLDER = Given(Start(digest=DIGEST, model="./runs/a/final"), "Apache-2.0")
BROUGHT = dataclasses.replace(tiny.CARD, tolerance=0.1)


def test_a_plain_recipe_keeps_its_card_without_numbers():
    assert exported_card(RENDERED, RENDERED, None) == dataclasses.replace(RENDERED, measured=())


def test_data_instead_of_rendered_frames_have_unknown_terms():
    card = exported_card(RENDERED, RENDERED, "/my/frames")
    assert card.title == f"{RENDERED.name}, trained on other data"
    assert (card.license.weights, card.license.data) == (NOT_STATED, NOT_STATED)
    assert card.departures == ("Small.", "Trained on /my/frames instead of the frames that the recipe renders.")
    assert (card.data.source, card.data.render) == ("frames", None), "training it again asks for them"
    assert exported_card(BROUGHT, BROUGHT, "/my/copy").license == BROUGHT.license
    assert exported_card(card, card, "/my/frames") == card, "nothing is said twice"


def test_given_frames_are_named_by_what_they_are(tmp_path: Path):
    rooms, nyu = tmp_path / "rooms", tmp_path / "nyu"
    for folder, name, settings in (
        (rooms, "train-manifest.json", {"renderer": 1}),
        (nyu, "manifest.json", {"data_set": "nyuv2"}),
    ):
        folder.mkdir()
        (folder / name).write_text(json.dumps({"settings": settings}))
    rendered = exported_card(RENDERED, RENDERED, str(rooms))
    assert rendered.license == RENDERED.license
    assert rendered.departures[-1] == "Trained on rooms instead of the frames that the recipe renders.", "no local path"
    given = exported_card(RENDERED, RENDERED, str(nyu))
    assert (given.data.source, given.data.render) == ("nyuv2", None)
    assert given.license.data == NOT_STATED


def test_overrides_that_name_other_data_have_unknown_terms():
    overrides = ("data={source: nyuv2}",)
    card = exported_card(RENDERED, with_overrides(RENDERED, overrides), "/my/nyuv2", overrides)
    assert (card.license.weights, card.license.data) == (NOT_STATED, NOT_STATED)
    assert card.title == f"{RENDERED.name}, trained on other data"
    overrides = ("data.render.scenes=2",)
    more = exported_card(RENDERED, with_overrides(RENDERED, overrides), None, overrides)
    assert more.license == RENDERED.license, "still rendered"
    assert more.title != RENDERED.title


def test_weights_to_start_from_take_the_place_of_init():
    card = exported_card(dataclasses.replace(RENDERED, init="mae-vitb-imagenet"), RENDERED, None, given=FOLDER)
    assert (card.init, card.start) == (None, FOLDER.start)
    assert card.starts_trained, "or `evaluate` would call it random initialisation"
    assert "Started from ./runs/a/final instead of random initialisation." in card.departures
    assert parse(dump(card)) == card
    assert f"starts from  ./runs/a/final (digest {DIGEST})" in zoo.describe(card)
    assert exported_card(card, card, None, given=FOLDER).start == FOLDER.start
    with pytest.raises(CardError, match="init and start exclude each other"):
        with_overrides(card, ["init=mae-vitb-imagenet"])


@pytest.mark.usefixtures("own_registry")
def test_a_card_of_a_run_from_a_folder_can_be_registered_but_not_trained_without_it(tmp_path: Path):
    card = dataclasses.replace(exported_card(tiny.CARD, tiny.CARD, None, given=FOLDER), name="mine")
    (tmp_path / "mine.yaml").write_text(dump(card))
    assert card_index.register(tmp_path) == ["mine"]
    with pytest.raises(
        registry.NoWeightsError, match=rf"mine started from \./runs/a/final \(digest {DIGEST}\).*--start"
    ):
        card_weights.initial_weights(registry.get_card("mine"))
    assert card_weights.initial_weights(with_overrides(card, ["start=null"])) is None


def test_terms_of_other_weights_to_start_from_are_added():
    init = ("init=mae-vitb-imagenet",)
    card = exported_card(RENDERED, with_overrides(RENDERED, init), None, init)
    assert card.license.weights == f"Apache-2.0, and those of mae-vitb-imagenet it starts from: {MAE_TERMS}"
    assert exported_card(card, card, None).license == card.license, "a recipe states the terms of its own init"
    strict = exported_card(RENDERED, RENDERED, None, given=Given(FOLDER.start, "CC-BY-NC-4.0"))
    assert strict.license.weights == "Apache-2.0, and those of ./runs/a/final it starts from: CC-BY-NC-4.0"
    unknown = exported_card(RENDERED, RENDERED, None, given=Given(FOLDER.start))
    assert unknown.license.weights == "Apache-2.0, and those of ./runs/a/final it starts from: not stated"
    assert exported_card(RENDERED, RENDERED, None, given=FOLDER).license == RENDERED.license, "the same terms"


def test_terms_of_the_start_outlive_data_without_terms():
    terms = License(weights="CC-BY-NC-4.0", data="made up")
    recipe = dataclasses.replace(RENDERED, init="mae-vitb-imagenet", license=terms)
    card = exported_card(recipe, recipe, "/my/frames")
    assert card.license.weights == f"{NOT_STATED}, and those of mae-vitb-imagenet it starts from: {MAE_TERMS}"
    assert exported_card(card, card, "/my/frames") == card, "nothing is said twice"


def test_terms_of_a_foreign_backbone_outlive_data_without_terms():
    section = ForeignBackbone(
        library="timm",
        model="convnextv2_tiny.fcmae_ft_in22k_in1k",
        revision=40 * "a",
        pretrained=True,
        image_size=(64, 96),
        parameters=1,
    )
    start = ", and those of timm:convnextv2_tiny.fcmae_ft_in22k_in1k it starts from: cc-by-nc-4.0"
    recipe = dataclasses.replace(
        registry.get_card("mask3d-vitt-synthrooms.depth-synthrooms"),
        method=None,
        init=None,
        backbone=section,
        license=License(weights=f"Apache-2.0{start}", data="made up"),
    )
    assert exported_card(recipe, recipe, None).license == recipe.license, "nothing is said twice"
    card = exported_card(recipe, recipe, "/my/frames")
    assert card.license.weights == f"{NOT_STATED}{start}"
    assert exported_card(card, card, "/my/frames") == card, "nothing is said twice"
    untrained = exported_card(recipe, with_overrides(recipe, ["backbone.pretrained=false"]), "/my/frames")
    assert untrained.license.weights == NOT_STATED


@pytest.mark.parametrize("own", ["MIT-like, not MIT", "not stated here"])
@pytest.mark.parametrize("terms", ["MIT", None])
def test_the_start_is_named_even_where_its_terms_are_part_of_the_own(own: str, terms: str | None):
    recipe = dataclasses.replace(RENDERED, license=License(weights=own, data="made up"))
    given = Given(FOLDER.start, terms)
    start = f", and those of ./runs/a/final it starts from: {terms or 'not stated'}"
    card = exported_card(recipe, recipe, None, given=given)
    assert card.license.weights == own + start
    assert exported_card(card, card, None, given=given).license == card.license, "nothing is said twice"
    assert exported_card(recipe, recipe, "/my/frames", given=given).license.weights == NOT_STATED + start


@pytest.mark.parametrize("overrides", [("train.seed=1",), ("train.seed=1", "train.max_steps=3")])
def test_seeds_are_no_departure(overrides: tuple[str, ...]):
    card = exported_card(RENDERED, with_overrides(RENDERED, overrides), None, overrides)
    assert "train.seed" not in " ".join(card.departures)
    assert card.tolerance is None


@pytest.mark.parametrize(
    ("card", "data", "overrides", "given", "said"),
    [
        (RENDERED, None, ("train.max_steps=3", "init=null"), None, "train.max_steps=3, init=null"),
        (
            RENDERED,
            None,
            (),
            Given(Start(digest=DIGEST)),
            "Started from given weights instead of random initialisation",
        ),
        (RENDERED, "/my/frames", (), None, "/my/frames"),
        (BROUGHT, "/my/copy", (), None, ""),
    ],
)
def test_what_was_promised_of_other_weights_is_left_out(
    card: Card, data: str | None, overrides: tuple[str, ...], given: Given | None, said: str
):
    exported = exported_card(card, card, data, overrides, given)
    assert (exported.tolerance, exported.measured) == (None, ())
    assert said in " ".join(exported.departures)
    assert parse(dump(exported)) == exported

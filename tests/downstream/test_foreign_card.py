"""Backbones of timm and transformers in a card: what is typed, what is pinned, and on what terms."""

import dataclasses
from pathlib import Path

import pytest
import timm
from foreign_backbones import CONVNEXT, DINO, VIT, publish_dino, publish_timm
from loopback_hub import LoopbackHub
from task_networks import task_card

from rgbd3d.cards import CardError, ForeignBackbone, License, dump, parse, with_overrides
from rgbd3d.downstream.foreign import build_foreign, foreign_weights, on_backbone, section_of, terms_of
from rgbd3d.downstream.start import initial_network
from rgbd3d.hub import HubError
from rgbd3d.strict_yaml import FieldError
from rgbd3d.tasks import PretrainedDecoder, SemanticSegmentation

pytest_plugins = ["hub_fixtures"]

SIZE = (64, 96)


def section(**values: object) -> ForeignBackbone:
    return dataclasses.replace(section_of(f"random:timm:{VIT}", SIZE), **values)


# ------------------------------------------------------------------------------------------------------- the section


def test_a_section_says_all_that_was_typed_and_counted():
    found = section_of("random:timm:test_vit", (60, 100))
    assert (found.model, found.revision, found.pretrained) == (VIT, None, False), "with timm's tag"
    assert found.image_size == (64, 96), "multiples of 16"
    network = timm.create_model("test_vit", num_classes=0)
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert section_of(found.spec, found.image_size) == found


def test_the_newest_commit_is_pinned_and_reported(hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    commit = publish_timm(hub, tmp_path / "timm")
    found = section_of(f"timm:{VIT}", SIZE)
    assert found.spec == f"timm:{VIT}@{commit}"
    assert f"pin it with revision={commit}" in caplog.text
    older = publish_dino(hub, tmp_path / "dino")
    publish_dino(hub, tmp_path / "newer")
    assert section_of(f"transformers:{DINO}@{older}", (28, 42)).revision == older


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vit_tiny_patch16_224", "should look like timm:NAME"),
        ("timm:test_vit@main", "a commit of 40 hex digits"),
        ("random:timm:test_vot", "timm knows no model 'test_vot'; did you mean 'test_vit'"),
        (
            "random:timm:beit_base_patch16_224",
            r"Beit cannot read images of \(64, 96\) .* heads need one that takes",
        ),
        ("random:timm:levit_128", r"LevitDistilled cannot read images of \(64, 128\)"),
        ("random:timm:../secret", "timm knows no model"),
    ],
)
def test_what_cannot_be_typed(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        section_of(spec, SIZE)


def test_a_repository_that_is_not_there(hub: LoopbackHub):
    with pytest.raises(HubError, match="cannot resolve nobody/nothing@main"):
        section_of("transformers:nobody/nothing", SIZE)
    with pytest.raises(HubError, match=f"cannot resolve timm/{VIT}@main"):
        section_of(f"timm:{VIT}", SIZE)


def test_what_the_card_says_and_the_library_builds_have_to_agree():
    with pytest.raises(
        ValueError, match="parameters, not 7 as the card says: it is another network, or another version"
    ):
        build_foreign(section(parameters=7))
    with pytest.raises(ValueError, match=r"multiples of 16, not \(60, 96\): set backbone.image_size"):
        build_foreign(section(image_size=(60, 96)))
    with pytest.raises(ValueError, match="is random initialisation: it has no weights"):
        foreign_weights(section())


# ---------------------------------------------------------------------------------------------------------- the card


def test_a_recipe_on_another_backbone():
    recipe = task_card("depth-estimation", departures=("Shorter.",))
    card = on_backbone(recipe, f"random:timm:{VIT}")
    assert parse(dump(card)) == card
    assert card.name == "timm-test_vit.r160_in1k.depth-estimation-synthrooms"
    assert (card.method, card.init, card.starts_trained) == (None, None, False)
    for unchanged in ("task", "objective", "data", "train", "evaluation", "license"):
        assert getattr(card, unchanged) == getattr(recipe, unchanged)
    assert card.departures == ("Shorter.", f"The recipe of {recipe.name} on another backbone, random:timm:{VIT}.")
    assert with_overrides(card, ["backbone.image_size=[96, 96]"]).backbone.image_size == (96, 96)


def test_trained_weights_bring_their_own_terms(hub: LoopbackHub, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm")
    recipe = task_card("depth-estimation", license=License(weights="MIT, not apache-2.0", data="made up"))
    card = on_backbone(recipe, f"timm:{VIT}")
    assert card.starts_trained
    assert card.license.weights == f"{recipe.license.weights}, and those of timm:{VIT} it starts from: apache-2.0"
    untrained = with_overrides(card, ["backbone.pretrained=false"])
    assert not untrained.starts_trained, "the baseline"
    assert initial_network(untrained).levels == initial_network(card).levels


@pytest.mark.parametrize(
    ("spec", "terms"),
    [
        (f"timm:convnextv2_tiny.fcmae_ft_in22k_in1k@{40 * 'a'}", "cc-by-nc-4.0"),
        (f"timm:vit_small_patch14_dinov2.lvd142m@{40 * 'a'}", "apache-2.0"),
        (f"timm:resnet50.bamboo@{40 * 'a'}", "not stated"),
        (f"transformers:{DINO}@{40 * 'a'}", "not stated"),
    ],
)
def test_the_terms_are_those_that_the_library_states(spec: str, terms: str):
    library, model, revision = spec.replace("@", ":").split(":")
    found = section(library=library, model=model, revision=revision, pretrained=True)
    assert terms_of(found) == terms


def test_a_recipe_is_moved_once():
    """Or it would keep the terms and the departures of the first one."""
    recipe = task_card("depth-estimation")
    card = on_backbone(recipe, f"random:timm:{VIT}")
    with pytest.raises(ValueError, match=f"on a backbone of another library already, timm:{VIT}: take the recipe"):
        on_backbone(card, f"random:timm:{CONVNEXT}")
    assert card.paper == f"Recipe of: {recipe.paper}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method=mask3d", "should be null: the backbone is pre-trained by another library"),
        ("init=mask3d-vitt-synthrooms", "should be null: the backbone brings its own weights"),
        ("backbone.revision=main", "branches and tags can move"),
        ("backbone.pretrained=true", "is needed: the commit"),
        ("backbone.library=keras", "should be one of 'timm', 'transformers'"),
        ("backbone.model=a/b", "timm's name of a model"),
        ("backbone.patch_size=16", "unknown key 'patch_size'"),
    ],
)
def test_cards_that_make_no_sense(override: str, message: str):
    card = on_backbone(task_card("depth-estimation"), f"random:timm:{VIT}")
    with pytest.raises(CardError, match=message):
        with_overrides(card, [override])


def test_a_card_of_pretraining_is_not_moved():
    recipe = task_card("depth-estimation")
    with pytest.raises(FieldError, match="belongs to cards with a task only"):
        dataclasses.replace(on_backbone(recipe, f"random:timm:{VIT}"), task=None)
    decoder = SemanticSegmentation(labels="nyu13", head=PretrainedDecoder(name="decoder"))
    card = on_backbone(task_card("semantic-segmentation", objective=decoder), f"random:timm:{VIT}")
    with pytest.raises(ValueError, match="is a decoder of pre-training, which timm:test_vit"):
        initial_network(card)

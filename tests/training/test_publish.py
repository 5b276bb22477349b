"""A finished run is bundled with the package and comes back by the name of its card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import tiny_run as tiny
import tiny_task
import torch
from safetensors.torch import load_file

from rgbd3d import card_index, card_weights, registry
from rgbd3d.cards import Card, Data, Render
from rgbd3d.downstream.network import build_task_network
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.strict_yaml import dump
from rgbd3d.training import publish as module
from rgbd3d.training.curves import read_curve, run_curve
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.provenance import TRAIN_STATE
from rgbd3d.training.publish import publish

CARD = tiny.with_train(tiny.CARD, max_steps=1)
NAME = CARD.name


@pytest.fixture(scope="module")
def run(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the card as it is."""
    output = tmp_path_factory.mktemp("publish") / "run"
    pretrain(CARD, str(frames), output, device="cpu")
    return output


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one card, without weights."""
    cards = tmp_path / "cards"
    cards.mkdir()
    monkeypatch.setattr(card_weights, "BUNDLED_WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(registry, "cards_folder", lambda: cards)
    monkeypatch.setattr(card_index, "_known", lambda: {path.stem: path for path in cards.glob("*.yaml")})
    write_card(tmp_path, CARD)
    return tmp_path


def write_card(package: Path, card: Card) -> None:
    (package / "cards" / f"{card.name}.yaml").write_text("# A comment.\n" + dump(card))
    card_index._load_named.cache_clear()


def test_comes_back_by_name(package: Path, run: Path):
    assert publish(NAME, run) == package / "weights" / NAME
    card_index._load_named.cache_clear()

    trained = load_file(run / "final" / "pretraining" / "model.safetensors")
    model = registry.create_model(NAME, task="pretraining", pretrained=True)
    published = model.method.state_dict()
    assert published.keys() == trained.keys()
    for name, weight in trained.items():
        stored = weight if name.endswith("pos_embed") else weight.half().float()
        assert torch.equal(published[name], stored), name

    golden = load_file(package / "weights" / NAME / "golden.safetensors")
    with torch.inference_mode():
        features = model.method.backbone.eval().forward_features(golden["image"])
    torch.testing.assert_close(features, golden["features"], atol=1e-5, rtol=0)

    card = registry.get_card(NAME)
    assert dataclasses.replace(card, weights=CARD.weights) == CARD, "only the weights section has changed"
    assert (package / "cards" / f"{NAME}.yaml").read_text().startswith("# A comment.\n")
    assert read_curve(package / "cards" / "curves" / f"{NAME}.txt") == run_curve(run) != {}


def test_a_fine_tuned_model_comes_back_by_name(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    card = dataclasses.replace(tiny_task.DEPTH, init=None)
    run = tmp_path / "finetuned"
    torch.manual_seed(0)
    network = build_task_network(card)
    save_pretrained_folder(network, card, run / "final")
    (run / TRAIN_STATE).write_text(json.dumps({"start_digest": None, "data": None}))
    write_card(package, card)
    monkeypatch.setattr(module, "run_curve", lambda output: {1: 0.5})

    target = publish(card.name, run)
    card_index._load_named.cache_clear()
    assert sorted(path.name for path in target.iterdir()) == ["golden.safetensors", "model.safetensors"]
    model = registry.from_pretrained(card.name)
    for name, weight in network.state_dict().items():
        halved = weight.is_floating_point() and not name.endswith("pos_embed")
        assert torch.equal(model.network.state_dict()[name], weight.half().float() if halved else weight), name
    golden = load_file(target / "golden.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(model.network.eval().trace(golden["image"]), golden["trace"])
    assert dataclasses.replace(registry.get_card(card.name), weights=card.weights) == card


def test_only_the_backbone_replaces_the_whole_of_before(package: Path, run: Path):
    target = publish(NAME, run)
    assert publish(NAME, run, backbone_only=True) == target
    assert sorted(path.name for path in target.iterdir()) == ["golden.safetensors", "model.safetensors"]
    card_index._load_named.cache_clear()
    assert registry.get_card(NAME).weights.files.keys() == {"golden.safetensors", "model.safetensors"}


def test_only_the_backbone_of_a_fine_tuned_model_is_refused(package: Path, tmp_path: Path):
    card = dataclasses.replace(tiny_task.DEPTH, init=None)
    save_pretrained_folder(build_task_network(card), card, tmp_path / "final")
    (tmp_path / TRAIN_STATE).write_text(json.dumps({"start_digest": None, "data": None}))
    write_card(package, card)
    with pytest.raises(ValueError, match="backbone and head are one file"):
        publish(card.name, tmp_path, backbone_only=True)
    assert not (package / "weights").exists()


def test_another_recipe_is_refused(package: Path, run: Path):
    write_card(package, tiny.with_train(CARD, seed=1))
    with pytest.raises(ValueError, match=r"was not trained by the recipe of mask3d-vitt-tiny \(train differ\)"):
        publish(NAME, run)
    assert not (package / "weights").exists()


def test_a_run_that_continued_from_given_weights_is_refused(package: Path, run: Path, tmp_path: Path):
    continued = shutil.copytree(run, tmp_path / "continued")
    state = json.loads((continued / TRAIN_STATE).read_text())
    (continued / TRAIN_STATE).write_text(json.dumps({**state, "start_digest": "0" * 64}))
    with pytest.raises(ValueError, match="continued from given weights"):
        publish(NAME, continued)
    assert not (package / "weights").exists()


def test_a_run_on_other_data_than_the_rendered_frames_is_refused(package: Path, run: Path, tmp_path: Path):
    """All sections of the cards are equal; what was trained on is in the state of the run only."""
    data = Data(source="synthrooms", render=Render(scenes=1, frames_per_scene=1, size=(32, 48)))
    rendered = dataclasses.replace(CARD, data=data)
    write_card(package, rendered)
    other = shutil.copytree(run, tmp_path / "other")
    (other / "final" / "card.yaml").write_text(dump(rendered))
    with pytest.raises(ValueError, match=r"was trained on .*, but the card of mask3d-vitt-tiny says on rendered"):
        publish(NAME, other)
    assert not (package / "weights").exists()


def test_other_terms_and_departures_are_no_other_recipe(package: Path, run: Path):
    write_card(package, dataclasses.replace(CARD, departures=("Small.",), tolerance=0.1))
    publish(NAME, run)
    card_index._load_named.cache_clear()
    card = registry.get_card(NAME)
    assert (card.weights.status, card.departures, card.tolerance) == ("bundled", ("Small.",), 0.1)


def test_what_is_too_large_for_a_package_is_refused(package: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match="the package takes 1000 at most"):
        publish(NAME, run)
    assert registry.get_card(NAME) == CARD

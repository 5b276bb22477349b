"""A published card is trained again and compared with its weights and its loss curve."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import tiny_run as tiny
import tiny_task
from safetensors.torch import load_file

from rgbd3d import card_index, card_weights, registry
from rgbd3d.card_weights import NoWeightsError
from rgbd3d.cards import load_card
from rgbd3d.strict_yaml import dump
from rgbd3d.training import reproduce as reproduce_module
from rgbd3d.training.curves import read_curve, write_curve
from rgbd3d.training.finetune import finetune
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.publish import publish
from rgbd3d.training.reproduce import Reproduction, reproduce

NAME = tiny.CARD.name
TASK = tiny.with_train(tiny_task.DEPTH, max_steps=3)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with the card of a task, without weights."""
    cards = tmp_path / "cards"
    (cards / "curves").mkdir(parents=True)
    (cards / f"{TASK.name}.yaml").write_text(dump(TASK))
    monkeypatch.setattr(card_weights, "BUNDLED_WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(registry, "cards_folder", lambda: cards)
    monkeypatch.setattr(card_index, "_known", lambda: {path.stem: path for path in cards.glob("*.yaml")})
    card_index._load_named.cache_clear()
    return tmp_path


@pytest.fixture
def published(package: Path, frames: Path, tmp_path: Path) -> Path:
    """The loss curve of a card that was trained for three steps and is bundled with the package."""
    final = pretrain(tiny.CARD, str(frames), tmp_path / "run", ("train.max_steps=3",), device="cpu")
    curve = package / "cards" / "curves" / f"{NAME}.txt"
    shutil.copytree(final, package / "weights" / NAME)
    shutil.copy(final / "card.yaml", package / "cards" / f"{NAME}.yaml")
    shutil.copy(tmp_path / "run" / "curve.txt", curve)
    return curve


def test_the_same_machine_gives_the_same_bits(published: Path, frames: Path, tmp_path: Path):
    first = reproduce(NAME, tmp_path / "again", data=str(frames), steps=1, device="cpu")
    assert (first.loss, first.weights, first.ok) == (0.0, None, True)
    assert sorted(read_curve(published)) == [1, 3]
    whole = reproduce(NAME, tmp_path / "again", data=str(frames), device="cpu")
    assert (whole.loss, whole.weights, whole.identical) == (0.0, 0.0, True)

    write_curve({step: loss + 0.5 for step, loss in read_curve(published).items()}, published)
    other = reproduce(NAME, tmp_path / "again", data=str(frames), device="cpu")
    assert other.loss == pytest.approx(0.5)
    assert not other.ok

    card = published.parents[1] / f"{NAME}.yaml"
    card.write_text(dump(dataclasses.replace(load_card(card), tolerance=0.6)))
    card_index._load_named.cache_clear()
    assert reproduce(NAME, tmp_path / "again", data=str(frames), device="cpu").ok


def test_a_few_steps_need_a_published_curve(published: Path, frames: Path, tmp_path: Path):
    published.unlink()
    with pytest.raises(ValueError, match="no published loss curve"):
        reproduce(NAME, tmp_path / "again", data=str(frames), steps=1)


def test_a_card_of_which_only_the_backbone_is_published(package: Path, frames: Path, tmp_path: Path):
    card = tiny.with_train(tiny.CARD, max_steps=2)
    (package / "cards" / f"{NAME}.yaml").write_text(dump(card))
    pretrain(card, str(frames), tmp_path / "run", device="cpu")
    target = publish(NAME, tmp_path / "run", backbone_only=True)
    assert sorted(path.name for path in target.iterdir()) == ["golden.safetensors", "model.safetensors"]
    card_index._load_named.cache_clear()
    again = reproduce(NAME, tmp_path / "again", data=str(frames), device="cpu")
    assert (again.loss, again.weights, again.identical) == (0.0, 0.0, True)
    with pytest.raises(NoWeightsError, match=rf"train that with `rgbd3d pretrain {NAME}`"):
        registry.create_model(NAME, task="pretraining", pretrained=True)


def test_a_card_of_a_task(package: Path, tmp_path: Path):
    """Weights are published in half precision; the losses of the first steps, and all of it, are the same again."""
    data = str(tiny_task.write_frames(tmp_path / "data"))
    finetune(TASK, data, tmp_path / "run", device="cpu")
    publish(TASK.name, tmp_path / "run")
    card_index._load_named.cache_clear()
    curve = package / "cards" / "curves" / f"{TASK.name}.txt"
    assert sorted(read_curve(curve)) == [1, 3]

    first = reproduce(TASK.name, tmp_path / "again", data=data, steps=1, device="cpu")
    assert (first.loss, first.weights, first.ok) == (0.0, None, True)
    whole = reproduce(TASK.name, tmp_path / "again", data=data, device="cpu")
    assert (whole.loss, whole.weights, whole.identical) == (0.0, 0.0, True)

    write_curve({step: loss + 0.5 for step, loss in read_curve(curve).items()}, curve)
    assert reproduce(TASK.name, tmp_path / "again", data=data, device="cpu").loss == pytest.approx(0.5)
    weights = tmp_path / "again" / "final" / "model.safetensors"
    changed = load_file(weights)
    changed["head.predict.bias"] += 0.25
    published = registry.create_model(TASK.name, pretrained=True).network.state_dict()
    assert reproduce_module._weight_difference(changed, published) == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    ("loss", "weights", "tolerance", "ok", "said"),
    [
        (0.0, 0.0, None, True, "identical"),
        (None, 0.0, None, True, "identical"),
        (1e-4, 1e-3, 1e-2, True, "within its tolerance"),
        (1e-1, 1e-3, 1e-2, False, "DIFFERENT"),
        (1e-4, 1e-3, None, False, "DIFFERENT"),
        (None, 1e-3, 1e-2, False, "DIFFERENT"),
    ],
)
def test_verdict(loss: float | None, weights: float, tolerance: float | None, ok: bool, said: str):
    result = Reproduction("card", loss, weights, tolerance)
    assert result.ok is ok
    assert said in str(result)

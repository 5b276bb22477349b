"""Task models by name: heads on backbones of the zoo, and fine-tuned cards; no random head is ever given as trained."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_card

import rgbd3d
from rgbd3d import card_index, card_weights, cards, registry
from rgbd3d.cards import Card, Evaluation, Weights
from rgbd3d.downstream.network import build_task_network
from rgbd3d.folder import stored_weights
from rgbd3d.modeling_tasks import TASK_MODELS
from rgbd3d.pins import pin
from rgbd3d.registry import ModelError, NoWeightsError
from rgbd3d.tasks import ConvNeXt, SemanticSegmentation

NAME, TUNED = "mask3d-vitt-synthrooms", "tiny.semseg-tiny"
LABELS = {"semantic-segmentation": 7, "depth-estimation": None, "instance-segmentation": 7}

pytestmark = pytest.mark.usefixtures("own_registry")


def tuned_card() -> Card:
    return replace(
        tiny_card(),
        name=TUNED,
        task="semantic-segmentation",
        init=NAME,
        objective=SemanticSegmentation(labels="nyu13", head=ConvNeXt(name="convnext", width=8, cells=2, depth=1)),
        evaluation=Evaluation(protocol="nyuv2-semseg/13", metric="miou", every=1),
        weights=Weights(status="recipe"),
        measured=(),
        tolerance=None,
    )


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """A fine-tuned card whose weights lie where those of the package lie; returns them as they are stored."""
    torch.manual_seed(0)
    weights = stored_weights(build_task_network(tuned_card()), half=True)
    folder = tmp_path / "weights" / TUNED
    folder.mkdir(parents=True)
    save_file(weights, folder / card_weights.BACKBONE_FILE)
    files = {card_weights.BACKBONE_FILE: pin(folder / card_weights.BACKBONE_FILE)}
    card = replace(tuned_card(), weights=Weights(status="bundled", files=files))
    (tmp_path / f"{TUNED}.yaml").write_text(cards.dump(card))
    monkeypatch.setattr(card_weights, "BUNDLED_WEIGHTS", tmp_path / "weights")
    card_index._known()[TUNED] = tmp_path / f"{TUNED}.yaml"
    return weights


@pytest.fixture
def recipe(tmp_path: Path) -> None:
    (tmp_path / f"{TUNED}.yaml").write_text(cards.dump(tuned_card()))
    card_index._load_named.cache_clear()
    card_index._known()[TUNED] = tmp_path / f"{TUNED}.yaml"


# ------------------------------------------------------------------------------------------- a new head on a backbone


@pytest.mark.parametrize("task", TASK_MODELS)
def test_a_new_head_on_a_trained_backbone(task: str, caplog: pytest.LogCaptureFixture):
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING):
        model = rgbd3d.create_model(NAME, task=task, num_labels=LABELS[task], pretrained=True)
    assert type(model) is TASK_MODELS[task]
    expected = card_weights.backbone_weights(NAME)
    state = model.network.backbone.state_dict()
    assert all(torch.equal(state[name], value.float()) for name, value in expected.items() if name != "pos_embed")
    assert f"the head for {task} on {NAME} is new: its weights are random" in caplog.text
    with pytest.raises(ValueError, match="has no card"):
        model.push_to_hub("me/model")


def test_an_untrained_model_follows_torchs_seed_and_says_nothing(caplog: pytest.LogCaptureFixture):
    def weight(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = rgbd3d.create_model(NAME, task="semantic-segmentation", num_labels=3, head="linear")
        return model.network.backbone.patch_embed.proj.weight

    assert torch.equal(weight(0), weight(0))
    assert not torch.equal(weight(0), weight(1))
    assert caplog.text == ""


def test_the_decoder_of_pretraining_as_a_head_is_the_trained_one():
    model = rgbd3d.create_model(NAME, task="semantic-segmentation", num_labels=3, head="decoder", pretrained=True)
    state, expected = model.network.head.decoder.state_dict(), card_weights.decoder_weights(NAME)
    assert torch.equal(state["blocks.0.attn.qkv.weight"], expected["blocks.0.attn.qkv.weight"].float())


def test_a_random_head_is_never_given_as_a_trained_one():
    for task in TASK_MODELS:
        with pytest.raises(
            NoWeightsError, match=f"{NAME} is a pre-trained backbone: nobody has trained a head for {task}"
        ):
            rgbd3d.from_pretrained(NAME, task)


def test_a_backbone_that_nobody_has_trained_gets_no_head():
    with pytest.raises(NoWeightsError, match="mask3d-vitb-scannet has no weights yet"):
        rgbd3d.create_model("mask3d-vitb-scannet", task="depth-estimation", pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "semantic-segmentation"}, "needs num_labels"),
        ({"task": "semantic-segmentation", "num_labels": 3, "head": "unet"}, "has no head 'unet'; there are"),
        ({"task": "depth-estimation", "num_labels": 3}, "makes no sense for depth-estimation"),
        ({"num_labels": 3}, "num_labels and head are for a task"),
        ({"task": "pretraining", "head": "dpt"}, "num_labels and head are for a task"),
        ({"task": "detection"}, "unknown task 'detection'; there are 'pretraining', 'semantic-segmentation'"),
    ],
)
def test_what_cannot_be_built(arguments: dict[str, object], message: str):
    with pytest.raises(ModelError, match=message):
        rgbd3d.create_model(NAME, **arguments)


# --------------------------------------------------------------------------------------------------- fine-tuned cards


def test_a_fine_tuned_card_comes_with_its_head(bundled: dict[str, torch.Tensor]):
    for model in (
        rgbd3d.from_pretrained(TUNED),
        rgbd3d.from_pretrained(TUNED, "semantic-segmentation"),
        rgbd3d.create_model(TUNED, pretrained=True, num_labels=13, head="convnext"),
    ):
        assert type(model) is TASK_MODELS["semantic-segmentation"]
        state = model.network.state_dict()
        assert state.keys() == bundled.keys()
        assert all(torch.equal(state[name], value.float()) for name, value in bundled.items())
        assert model.card == registry.get_card(TUNED)
        assert model.config.id2label[0] == "bed"
    assert rgbd3d.create_model(TUNED).card is None


def test_its_backbone_can_start_another_card(bundled: dict[str, torch.Tensor]):
    found = card_weights.backbone_weights(TUNED)
    assert found.keys() == {name.removeprefix("backbone.") for name in bundled if name.startswith("backbone.")}
    assert torch.equal(found["norm.weight"], bundled["backbone.norm.weight"])
    with pytest.raises(
        NoWeightsError, match=f"{TUNED} is fine-tuned: it has no pre-training model; that of {NAME} may"
    ):
        card_weights.decoder_weights(TUNED)


def test_a_class_count_that_differs_names_both(bundled: dict[str, torch.Tensor]):
    with pytest.raises(ModelError, match=f"{TUNED} has 13 classes, not 40"):
        rgbd3d.create_model(TUNED, pretrained=True, num_labels=40)
    with pytest.raises(ModelError, match="has the head 'convnext', not 'dpt'"):
        rgbd3d.create_model(TUNED, head="dpt")


def test_another_task_is_refused(bundled: dict[str, torch.Tensor]):
    for call in (rgbd3d.create_model, rgbd3d.from_pretrained):
        for task in ("depth-estimation", "pretraining"):
            with pytest.raises(ModelError, match=f"is a model for semantic-segmentation, not for {task}; start from"):
                call(TUNED, task)


def test_a_recipe_names_the_command_that_trains_it(recipe: None):
    for call in (rgbd3d.from_pretrained, card_weights.backbone_weights):
        with pytest.raises(NoWeightsError, match=f"Train it with `rgbd3d finetune {TUNED}`"):
            call(TUNED)
    assert type(rgbd3d.create_model(TUNED)) is TASK_MODELS["semantic-segmentation"]


def test_damaged_weights_are_refused(bundled: dict[str, torch.Tensor]):
    path = card_weights.BUNDLED_WEIGHTS / TUNED / card_weights.BACKBONE_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="are damaged"):
        rgbd3d.from_pretrained(TUNED)


def test_listing_by_task(recipe: None):
    assert TUNED in rgbd3d.list_models(task="semantic-segmentation")
    assert TUNED not in rgbd3d.list_models(task="pretraining")
    assert NAME in rgbd3d.list_models(task="pretraining")
    text = rgbd3d.model_info(TUNED)
    for part in ("semantic-segmentation", "convnext head", "nyu13", NAME, f"rgbd3d finetune {TUNED}"):
        assert part in text

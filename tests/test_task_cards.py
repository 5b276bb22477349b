"""Cards of fine-tuned models: read as strictly as the others, and complete."""

from dataclasses import replace
from typing import get_type_hints

import pytest
import torch
import yaml
from card_text import changed, error

from rgbd3d import cards, registry, zoo
from rgbd3d.cards import Card
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.transforms.presets import preset
from rgbd3d.downstream.network import build_task_network
from rgbd3d.evaluation.metrics.depth import METRICS
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.folder import stored_weights
from rgbd3d.model_card import render
from rgbd3d.tasks import TASKS

NAME = "mask3d-vitt-synthrooms.semseg-synthrooms"
TUNED = [name for name in registry.list_models() if registry.get_card(name).task is not None]
BUNDLED_BYTES = 15.5e6


@pytest.fixture(scope="module")
def text() -> str:
    return cards.dump(registry.get_card(NAME))


@pytest.fixture(params=TUNED)
def card(request: pytest.FixtureRequest) -> Card:
    return registry.get_card(request.param)


# ------------------------------------------------------------------------------------------------------ strict reading


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("task", "segmentation", "task should be one of 'semantic-segmentation', "),
        ("task", "depth-estimation", "unknown key 'labels' in objective"),
        ("task", None, "unknown key 'labels' in objective"),
        ("objective__labels", None, "objective should name its label space in labels"),
        ("objective__head", {"name": "convnxt"}, "'convnxt'; did you mean 'convnext'?"),
        ("objective__head", {"name": "convnext", "depth": 0}, "objective.head.depth should be positive"),
        ("objective__drop_path", 1.0, "objective.drop_path should lie in 0..1, 1 excluded"),
        (
            "objective",
            {"labels": "nyu40", "head": {"name": "linear"}, "drop_path": 0.1, "freeze_backbone": True},
            "objective.drop_path should be 0: a frozen backbone is in evaluation",
        ),
        ("data__label_share", 0.5, "data.label_share should be one of 0.2, 0.4, 0.6, 0.8, 1.0"),
        ("data__frames", [5, 5], "data.frames should be [first, end], 0 <= first < end"),
        ("data__frames", [-1, 5], "data.frames should be [first, end], 0 <= first < end"),
        ("data__frames", [5], "data.frames should have 2 values, not 1"),
        ("data__transform", "pri3d", "data.transform replaces augment: give one of them"),
        ("train__layer_decay", 0, "train.layer_decay should lie in 0..1, 0 excluded"),
        ("train__layer_decay", 1.5, "train.layer_decay should lie in 0..1, 0 excluded"),
        ("evaluation", None, "evaluation is needed for semantic-segmentation"),
        ("evaluation__every", 0, "evaluation.every should be a positive number of epochs"),
        ("evaluation__metrics", "miou", "unknown key 'metrics' in evaluation; did you mean 'metric'?"),
    ],
)
def test_mistakes(text: str, path: str, value: object, message: str):
    assert message in error(changed(text, **{path: value}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data__label_share", 0.2, "data has label_share, which belongs to cards with a task only"),
        ("data__frames", [0, 5], "data has frames, which belongs to cards with a task only"),
        ("train__layer_decay", 0.75, "train has layer_decay, which belongs to cards with a task only"),
        (
            "evaluation",
            {"protocol": "a", "metric": "b", "every": 1},
            "evaluation belongs to cards with a task only",
        ),
    ],
)
def test_what_a_card_of_pretraining_cannot_say(path: str, value: object, message: str):
    pretraining = cards.dump(registry.get_card("mask3d-vitb-scannet"))
    assert message in error(changed(pretraining, **{path: value}))


def test_a_preset_takes_the_place_of_the_augmentation(text: str):
    plain = {"crop_scale": [1.0, 1.0], "flip": 0.0, "color_jitter": 0.0, "blur": 0.0, "depth_holes": 0.0}
    card = cards.parse(changed(text, data__augment=plain, data__transform="pri3d"))
    assert card.data.transform == "pri3d"


def test_a_card_without_the_new_fields_is_one_of_pretraining():
    values = yaml.safe_load(cards.dump(registry.get_card("mask3d-vitb-scannet")))
    del values["task"], values["evaluation"], values["data"]["label_share"], values["train"]["layer_decay"]
    assert cards.parse(yaml.safe_dump(values)) == registry.get_card("mask3d-vitb-scannet")


def test_overrides_reach_the_head():
    card = cards.with_overrides(registry.get_card(NAME), ["objective.head.width=32", "data.label_share=0.2"])
    assert (card.objective.head.width, card.data.label_share) == (32, 0.2)
    other = cards.with_overrides(registry.get_card(NAME), ["objective.head={name: linear}"])
    assert other.objective.head.name == "linear"


# ---------------------------------------------------------------------------------------------- the package's own cards


def test_there_is_one_of_depth_and_one_of_segmentation():
    assert {registry.get_card(name).task for name in TUNED} >= {"semantic-segmentation", "depth-estimation"}


def test_the_protocol_fits_the_task(card: Card):
    protocol = find_scored(card.evaluation.protocol)
    assert protocol.task == card.task
    semantic = {"miou", "pixel_accuracy", "mean_accuracy"}
    metrics = {
        "semantic-segmentation": semantic,
        "depth-estimation": set(METRICS),
        "instance-segmentation": {"mask_ap"},
    }
    assert card.evaluation.metric in metrics[card.task]
    rendered = protocol.frames.data_set == "synthrooms"
    assert rendered == (card.evaluation.render is not None)
    if card.task == "semantic-segmentation":
        assert protocol.frames.label_space == card.objective.labels
    if card.task == "instance-segmentation":
        assert (protocol.frames.label_space, protocol.class_ids) == (card.objective.labels, card.objective.classes)
    assert protocol.frames.data_set == card.data.source
    if protocol.frames.split == card.data.split:
        assert card.data.frames is not None
        assert card.data.frames[1] <= protocol.frames.first


def test_the_head_fits_the_backbone(card: Card):
    with torch.device("meta"):
        network = build_task_network(card)
    if card.task == "semantic-segmentation":
        assert len(network.classes) == len(class_names(card.objective.labels))
    if card.data.transform is not None:
        preset(card.data.transform, card.backbone.image_size)


def test_names_say_what_they_start_from_and_do(card: Card):
    assert card.name.startswith(f"{card.init}.")
    assert (".depth-" in card.name) == (card.task == "depth-estimation")
    assert (".semseg-" in card.name) == (card.task == "semantic-segmentation")
    assert (".insseg-" in card.name) == (card.task == "instance-segmentation")
    assert f"-{card.data.source}" in card.name.removeprefix(card.init)


@pytest.mark.parametrize("name", [name for name in TUNED if name.startswith("mask3d-vitt-synthrooms.")])
def test_what_the_package_will_bundle_is_small(name: str):
    weights = stored_weights(build_task_network(registry.get_card(name)), half=True)
    assert sum(value.numel() * value.element_size() for value in weights.values()) < BUNDLED_BYTES


# -------------------------------------------------------------------------------------------------------------- texts


def test_texts_speak_of_the_task(card: Card):
    about = zoo.describe(card)
    assert card.task in about
    trained = card.weights.status != "recipe"
    assert (f'create_model("{card.name}", pretrained=True)' if trained else f"rgbd3d finetune {card.name}") in about
    readme = render(card, "me/model")
    assert f"Model for {card.task} from one RGB image" in readme
    assert "rgbd3d finetune card.yaml" in readme
    assert 'rgbd3d.from_pretrained("me/model")' in readme
    front = yaml.safe_load(readme.split("---\n")[1])
    assert front["pipeline_tag"] in ("depth-estimation", "image-segmentation")
    assert card.task in front["tags"]
    assert "self-supervised" not in front["tags"]


def test_the_part_of_the_frames_is_said():
    card = registry.get_card(NAME)
    part = replace(card, data=replace(card.data, frames=(0, 675), label_share=0.2))
    said = "synthrooms (train, 2000 deep rooms with 4 frames each, frames 0 to 674, 20% of the frames)"
    assert said in " ".join(zoo.describe(part).split())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("mask3d-vitt-synthrooms", "synthrooms (train, 5200 deep rooms with 4 frames each)"),
        ("mask3d-vitb-scannet", "scannet (train, one frame in 25)"),
    ],
)
def test_card_and_info_say_what_is_trained_on(name: str, data: str):
    card = registry.get_card(name)
    assert f"trained on   {data}" in zoo.describe(card)
    assert f"- Data: {data}\n" in render(card)


def test_every_task_has_a_type_of_its_own():
    assert len(set(TASKS.values())) == len(TASKS)
    for kind in TASKS.values():
        assert "drop_path" in get_type_hints(kind)

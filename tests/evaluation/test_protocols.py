"""Protocols refuse data that they are not for, and what they score is never trained on."""

from dataclasses import asdict, replace

import pytest
import torch
from labelled_source import LabelledSource, register_tiny_card
from tiny import tiny_card

from rgbd3d import registry
from rgbd3d.cards import dump
from rgbd3d.evaluation import protocols, transfer
from rgbd3d.evaluation.protocols import PROTOCOLS, find_card

TRAIN, SCORED = 6, 3
SHORT = ["nyuv2-train795/probe", "nyuv2-train795/finetune"]
TRANSFER = [*SHORT, "nyuv2-train795/finetune-long", "nyuv2-train795/finetune-80"]

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.fixture
def name(tmp_path):
    return register_tiny_card(tmp_path)


@pytest.fixture
def small(monkeypatch):
    """As if NYUv2 had nine frames with the numbers 0 to 8."""
    numbers = {0: 0, TRAIN - 1: TRAIN - 1, TRAIN: TRAIN}
    few = replace(protocols.NYU_FRAMES, count=TRAIN + SCORED, numbers=numbers, first=TRAIN)
    monkeypatch.setattr(protocols, "NYU_FRAMES", few)


@pytest.fixture
def trained(monkeypatch):
    """Collects every backbone and head that a protocol makes; they are trained in place."""
    made = []

    def record(owner, attribute):
        make = getattr(owner, attribute)

        def recorded(*arguments, **options):
            made.append(make(*arguments, **options))
            return made[-1]

        monkeypatch.setattr(owner, attribute, recorded)

    record(protocols, "_new_backbone")
    record(transfer, "DenseHead")
    record(transfer, "LinearHead")
    return made


def test_a_fine_tuning_by_name_is_always_the_same():
    """Published numbers were measured with these; another recipe is another protocol."""
    short = {
        "epochs": 8,
        "batch_size": 16,
        "lr": 1e-3,
        "layer_decay": 0.75,
        "weight_decay": 0.05,
        "warmup_epochs": 2,
        "depth_weight": 2.0,
        "color_jitter": 0.3,
        "precision": "fp32",
    }
    assert {name: asdict(recipe) for name, recipe in protocols.FINE_TUNINGS.items()} == {
        "finetune": short,
        "finetune-long": short | {"epochs": 40},
        "finetune-80": short | {"epochs": 80, "precision": "bf16"},
    }


@pytest.mark.parametrize("protocol", SHORT)
@pytest.mark.usefixtures("small")
def test_frames_that_are_scored_are_never_trained_on(protocol, name, trained):
    def run(changed):
        source = LabelledSource(TRAIN + SCORED)
        for sample in source.samples[changed]:
            sample["semantic"] = (sample["semantic"] + 1) % 40
            sample["depth"] = sample["depth"] * 2
            sample["image"] = 255 - sample["image"]
        trained.clear()
        metrics = PROTOCOLS[protocol].run(name, source, False, 0)
        weights = {f"{i}.{key}": value for i, part in enumerate(trained) for key, value in part.state_dict().items()}
        return metrics, weights

    metrics, weights = run(slice(0, 0))
    other_scored, same = run(slice(TRAIN, None))
    _, other_trained = run(slice(TRAIN - 1, TRAIN))
    assert other_scored != metrics
    assert all(torch.equal(value, same[key]) for key, value in weights.items())
    assert not all(torch.equal(value, other_trained[key]) for key, value in weights.items())


@pytest.mark.parametrize("protocol", TRANSFER)
@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (lambda: LabelledSource(TRAIN), "for the train split of nyuv2, 9 frames; made-up has 6"),
        (lambda: LabelledSource(TRAIN + SCORED, label_space="nyu13"), "scores as nyu40; those of made-up are nyu13"),
        (
            lambda: LabelledSource(TRAIN + SCORED, columns=("image", "depth", "frame_id"), label_space=None),
            "made-up has no semantic, only image, depth",
        ),
        (
            lambda: LabelledSource(TRAIN + SCORED, columns=("image", "semantic", "frame_id")),
            "made-up has no depth, only image, semantic",
        ),
        (
            lambda: LabelledSource(TRAIN + SCORED, first_number=1),
            "frame_id at position 0 of made-up is 1, but 0 is there",
        ),
        (
            lambda: LabelledSource(TRAIN + SCORED, columns=("image", "depth", "semantic")),
            "at position 0 of made-up is None",
        ),
    ],
    ids=["frames", "nyu13", "no labels", "no depth", "other numbers", "no numbers"],
)
@pytest.mark.usefixtures("small")
def test_refuses_other_data(protocol, source, problem):
    with pytest.raises(ValueError, match=problem):
        PROTOCOLS[protocol].run("no model is made", source(), False, 0)


@pytest.mark.usefixtures("small")
def test_refuses_frames_in_another_order():
    source = LabelledSource(TRAIN + SCORED)
    source.samples[TRAIN - 1], source.samples[TRAIN] = source.samples[TRAIN], source.samples[TRAIN - 1]
    with pytest.raises(ValueError, match="position 5 of made-up is 6, but 5 is there"):
        protocols.NYU_FRAMES.check(source)


def test_the_cut_is_between_two_known_frames():
    frames = protocols.NYU_FRAMES
    assert (frames.count, frames.first) == (795, 795 - 120)
    assert [PROTOCOLS[name].facts()["frames"] for name in TRANSFER] == ["120"] * len(TRANSFER)
    assert {0, frames.first - 1, frames.first, frames.count - 1} <= frames.numbers.keys()
    assert sorted(frames.numbers.values()) == list(frames.numbers.values())


def test_pretext_needs_depth_and_a_model_of_it(name):
    run = PROTOCOLS["rgbd/pretext"].run
    with pytest.raises(ValueError, match="made-up has no depth; it has image"):
        run(name, LabelledSource(2, columns=("image",), label_space=None), False, 0)
    with pytest.raises(ValueError, match="mae-vitb-imagenet is not pre-trained on depth"):
        run("mae-vitb-imagenet", LabelledSource(2), False, 0)


def test_random_weights_come_from_the_seed(name):
    run = PROTOCOLS["rgbd/pretext"].run
    first, again, other = (run(name, LabelledSource(2), False, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["mean_predictor"] == other["mean_predictor"]
    assert first["loss"] != other["loss"]


def test_a_plain_word_is_a_card_and_never_a_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (name, "final"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "card.yaml").write_text(dump(tiny_card("name=in-the-folder")))
    assert find_card(name).name == name
    assert find_card(f"./{name}").name == "in-the-folder"
    assert find_card(str(tmp_path / "final")).name == "in-the-folder"
    with pytest.raises(registry.UnknownModelError, match=r"write '\./final'"):
        find_card("final")
    with pytest.raises(registry.UnknownModelError, match=r"there is no folder '\./elsewhere/final'"):
        find_card("./elsewhere/final")
    (tmp_path / "checkpoint-2").mkdir()
    for run in ("./", "./checkpoint-2"):
        with pytest.raises(registry.UnknownModelError, match=r"there is no card\.yaml in .*; did you mean .*final"):
            find_card(run)
    (tmp_path / "empty" / "below").mkdir(parents=True)
    with pytest.raises(registry.UnknownModelError, match=r"name a card, or a folder that `pretrain` or `pull` wrote"):
        find_card("./empty/below")


def test_a_hub_id_is_pulled(tmp_path, monkeypatch):
    (tmp_path / "card.yaml").write_text(dump(tiny_card("name=of-the-hub")))
    monkeypatch.setattr("rgbd3d.hub.pull", lambda name, revision: {"me/model": tmp_path}[name])
    assert find_card("me/model").name == "of-the-hub"

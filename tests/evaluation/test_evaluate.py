"""Measures by either kind of protocol: what is written, and errors that come before any work."""

import hashlib
import json
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from labelled_source import frame, register_tiny_card
from tiny import tiny_card

from rgbd3d import registry
from rgbd3d.card_sections import Evaluation, ForeignBackbone
from rgbd3d.cards import Card, with_overrides
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source
from rgbd3d.downstream.network import build_task_network
from rgbd3d.evaluation import protocols
from rgbd3d.evaluation.compare import compare
from rgbd3d.evaluation.evaluate import evaluate, measure_transfer, result_file, score_models
from rgbd3d.evaluation.models import check_fits, check_same_recipe
from rgbd3d.evaluation.protocols import PROTOCOLS, TransferProtocol, find_protocol
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.evaluation.result import Result
from rgbd3d.evaluation.score import score
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.registry import UnknownModelError
from rgbd3d.tasks import ConvNeXt, DepthEstimation, InstanceSegmentation, SemanticSegmentation

ROOMS = 3
SEMANTIC, DEPTH, INSTANCES = "synthrooms-semseg/40", "synthrooms-depth/full", "synthrooms-instances/37"
HEAD = ConvNeXt(name="convnext", width=8, cells=2, depth=1)
OBJECTIVES = {
    SEMANTIC: SemanticSegmentation(labels="nyu40", head=HEAD),
    DEPTH: DepthEstimation(head=HEAD, loss="log-l1"),
    INSTANCES: InstanceSegmentation(labels="nyu40", classes=tuple(sorted({*range(40)} - {0, 1, 21})), width=8),
}


def unlabelled_row(number: int) -> dict[str, object]:
    return encode_sample({name: value for name, value in frame(number).items() if name != "semantic"})


def task_card(protocol: str, seed: int = 0, **changes: object) -> Card:
    """A card of a model that `protocol` scores."""
    metric = {SEMANTIC: "miou", DEPTH: "delta1", INSTANCES: "mask_ap"}[protocol]
    task = find_scored(protocol).task
    fine_tuned = {
        "name": f"mask3d-vitt-tiny.{task}",
        "task": task,
        "objective": OBJECTIVES[protocol],
        "evaluation": Evaluation(protocol=protocol, metric=metric, every=1),
        "init": "mask3d-vitt-synthrooms",
    }
    card = replace(tiny_card("weights={status: recipe}", "measured=[]"), **(fine_tuned | changes))
    return replace(card, train=replace(card.train, seed=seed))


def save_model(folder: Path, card: Card) -> str:
    """Folder of an untrained model."""
    with torch.random.fork_rng():
        torch.manual_seed(card.train.seed)
        network = build_task_network(card)
    return str(save_pretrained_folder(network, card, folder))


def room(number: int) -> dict:
    """A frame whose objects are halves of it."""
    sample = frame(number)
    sample["semantic"] = torch.zeros_like(sample["semantic"])
    sample["semantic"][16:] = 4 + number
    return sample | {"instance": (sample["semantic"] > 0).int()}


@pytest.fixture
def rooms(tmp_path):
    folder = tmp_path / "rooms"
    rows = [encode_sample(room(number)) for number in range(ROOMS)]
    write_shard(folder / "test-00000-of-00001.parquet", rows, label_space="nyu40")
    say_rendered(folder)
    return str(folder)


def say_rendered(folder: Path) -> None:
    (folder / "test-manifest.json").write_text('{"settings": {"renderer": 2}, "shards": []}')


# --------------------------------------------------------------------------------------------------- models for tasks


@pytest.mark.parametrize("protocol", OBJECTIVES)
def test_scores_a_model_from_its_folder(protocol, rooms, tmp_path):
    if protocol == INSTANCES:
        pytest.importorskip("faster_coco_eval")
    card = task_card(protocol, seed=5)
    model = save_model(tmp_path / "final", card)
    out = tmp_path / "out"
    result = evaluate(model, protocol, rooms, samples=2, device="cpu", output=out)
    assert (result.model, result.checkpoints, result.seeds, result.pretrained) == (card.name, (model,), (5,), True)
    assert result.facts == find_scored(protocol).facts()
    assert result.metrics == find_scored(protocol).meter().metrics
    assert (result.data.split, result.data.frames) == ("test", ROOMS)
    assert result.command == f"rgbd3d evaluate {model} --protocol {protocol} --data {rooms} --split test"
    file = result_file(result, out)
    assert file.name == f"{card.name}.{protocol.replace('/', '-')}.pretrained.json"
    assert Result.load(file) == result
    page = (file.with_suffix("") / "index.html").read_text()
    assert card.name in page
    assert len(list((file.with_suffix("") / "samples").iterdir())) == 2


def test_numbers_are_those_of_the_network(rooms, tmp_path):
    card = task_card(DEPTH)
    model = save_model(tmp_path / "final", card)
    torch.manual_seed(card.train.seed)
    network = build_task_network(card)
    source = open_source(rooms, split="test")
    expected = score(find_scored(DEPTH), source, network.predict).compute()
    result = evaluate(model, DEPTH, rooms, device="cpu")
    assert result.runs == (expected,)
    full = evaluate(model, DEPTH, rooms, device="cpu", full_size=True)
    assert full.command.endswith("--full-size")
    assert full.runs == result.runs  # the frames have the card's size
    assert (result.facts["input"], full.facts["input"]) == ("image size of the card", "own size, rounded to the patch")
    windows = replace(find_scored(DEPTH), windows=2)
    squares = score(windows, source, partial(network.predict, size="height")).compute()
    assert score_models([model], windows, rooms, device="cpu").runs == (squares,)
    assert squares != score(windows, source, network.predict).compute()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final", "rooms"], "nothing is written"


def test_seeds_of_a_recipe_are_one_result(rooms, tmp_path):
    models = [save_model(tmp_path / f"seed{seed}", task_card(DEPTH, seed)) for seed in (3, 4)]
    both = evaluate(models, DEPTH, rooms, device="cpu", output=tmp_path / "out")
    singles = [evaluate(model, DEPTH, rooms, device="cpu") for model in models]
    assert both.seeds == (3, 4)
    assert both.runs == tuple(single.runs[0] for single in singles)
    assert both.runs[0] != both.runs[1]
    page = (result_file(both, tmp_path / "out").with_suffix("") / "index.html").read_text()
    assert "<th>seed 3</th><th>seed 4</th>" in page


def test_results_of_other_commands_are_kept(rooms, tmp_path):
    models = [save_model(tmp_path / folder, task_card(DEPTH)) for folder in ("best", "final")]
    options = {"device": "cpu", "output": tmp_path / "out"}
    first = evaluate(models[0], DEPTH, rooms, **options)
    full = evaluate(models[0], DEPTH, rooms, full_size=True, **options)
    file, full_file = (result_file(result, tmp_path / "out") for result in (first, full))
    assert full_file.name.endswith(".pretrained.full-size.json")
    with pytest.raises(ValueError, match=r"its input differs: 'image size of the card' and 'own size"):
        compare([file, full_file])
    (tmp_path / "final" / "model.safetensors").write_bytes(b"not read any more")
    with pytest.raises(ValueError, match=rf"pretrained\.json is the result of another command, '.*{models[0]}"):
        evaluate(models[1], DEPTH, rooms, **options)
    assert Result.load(file) == first
    evaluate(models[0], DEPTH, rooms, samples=1, **options)  # the same command


def test_random_initialisation_is_said(rooms, tmp_path):
    model = save_model(tmp_path / "final", task_card(DEPTH, init=None))
    result = evaluate(model, DEPTH, rooms, device="cpu", output=tmp_path / "out")
    assert not result.pretrained
    assert result_file(result, tmp_path / "out").name.endswith(".random.json")
    assert result.weights == (hashlib.sha256((tmp_path / "final" / "model.safetensors").read_bytes()).hexdigest(),)


@pytest.mark.parametrize(
    ("card", "protocol", "message"),
    [
        (task_card(DEPTH), SEMANTIC, r"is a model for depth-estimation, but .*40 is for semantic-segmentation"),
        (
            task_card(SEMANTIC),
            "nyuv2-semseg/13",
            r"predicts 40 classes of nyu40 .*, but nyuv2-semseg/13 scores 13 classes of nyu13",
        ),
        (
            task_card(INSTANCES),
            "nyuv2-instances/9",
            r"predicts 37 classes of nyu40 .*, but nyuv2-instances/9 scores 9 classes of nyu13",
        ),
        (tiny_card(), DEPTH, r"is a pre-trained backbone, but .* scores models for depth-est.*: `rgbd3d finetune`"),
        (task_card(DEPTH), "rgbd/pretext", r"a model for depth-estimation, but rgbd/pretext .*: try mask3d-vitt-synth"),
        (task_card(DEPTH, init=None), "rgbd/pretext", "measures pre-training: name a card of that"),
    ],
    ids=["task", "classes", "objects", "backbone", "pretext", "pretext of random"],
)
def test_a_model_that_does_not_fit_is_refused(card, protocol, message):
    with pytest.raises(ValueError, match=message):
        check_fits(card, find_protocol(protocol))


@pytest.mark.parametrize("change", [{"drop_path": 0.5}, {"freeze_backbone": True}], ids=["drop path", "frozen"])
def test_of_a_fine_tuned_model_the_bare_backbone_is_measured(tmp_path, change):
    objective = replace(task_card(SEMANTIC).objective, **change)
    card = task_card(SEMANTIC, init=None, objective=objective)
    model = save_model(tmp_path / "final", card)
    check_fits(card, find_protocol("nyuv2-train795/probe"))
    backbone = protocols._load_backbone(model, card.backbone)
    stored = registry.from_pretrained(model).network.backbone.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in backbone.state_dict().items())
    fresh = protocols._new_backbone(card.backbone, 0)
    assert str(backbone) == str(fresh), "no drop path"
    assert [w.requires_grad for w in backbone.parameters()] == [w.requires_grad for w in fresh.parameters()]


def test_a_foreign_backbone_is_not_measured_as_ours():
    foreign = ForeignBackbone(
        library="timm", model="resnet10t", revision=None, pretrained=False, image_size=(32, 48), parameters=1
    )
    with pytest.raises(ValueError, match=r"the backbone of .* is timm:resnet10t, but .*/probe measures vision"):
        check_fits(task_card(SEMANTIC, init=None, method=None, backbone=foreign), find_protocol("nyuv2-train795/probe"))


def test_a_model_that_does_not_fit_is_refused_before_the_data_is_opened(tmp_path):
    model = save_model(tmp_path / "final", task_card(DEPTH))
    with pytest.raises(ValueError, match="is a model for depth-estimation"):
        evaluate(model, SEMANTIC, "no/such/data")


def test_other_objects_of_one_label_space_are_told_apart():
    card = task_card(INSTANCES, objective=InstanceSegmentation(labels="nyu40", classes=tuple(range(37)), width=8))
    with pytest.raises(ValueError, match=r"predicts 37 classes of nyu40 \(wall, floor,.* scores 37 .*\(cabinet, bed,"):
        check_fits(card, find_scored(INSTANCES))


def test_data_that_does_not_fit_is_refused_before_weights_are_read(rooms, tmp_path):
    model = save_model(tmp_path / "final", task_card(SEMANTIC))
    (tmp_path / "final" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="this protocol is for the train split of nyuv2"):
        evaluate(model, "nyuv2-train795-semseg/40", rooms, split="test")


@pytest.mark.parametrize(("protocol", "missing"), [(SEMANTIC, "no labelled pixel"), (DEPTH, "no valid depth")])
def test_frames_without_truth_are_named_with_the_protocol(protocol, missing, tmp_path):
    sample = frame(0)
    blank = {"depth": torch.zeros_like(sample["depth"]), "semantic": torch.full_like(sample["semantic"], 255)}
    write_shard(tmp_path / "test-0.parquet", [encode_sample(sample | blank)], label_space="nyu40")
    say_rendered(tmp_path)
    model = save_model(tmp_path / "final", task_card(protocol))
    with pytest.raises(ValueError, match=f"{protocol} on {tmp_path}: {missing} was evaluated"):
        evaluate(model, protocol, str(tmp_path), device="cpu", output=tmp_path / "out")


def test_another_split_is_refused_before_it_is_opened(rooms, tmp_path):
    model = save_model(tmp_path / "final", task_card(DEPTH))
    with pytest.raises(ValueError, match="for the test split of synthrooms, not for val"):
        evaluate(model, DEPTH, rooms, split="val")
    file = str(next(Path(rooms).glob("*.parquet")))
    assert evaluate(model, DEPTH, file, split="val", device="cpu").data.split == "val"  # of a file it says nothing


def test_models_of_several_recipes_are_not_seeds(tmp_path):
    first, other = task_card(DEPTH, seed=0), with_overrides(task_card(DEPTH, seed=1), ["train.batch_size=3"])
    with pytest.raises(ValueError, match="differ in more than the seed: in train;"):
        check_same_recipe([first, other])
    with pytest.raises(ValueError, match="of the seeds 0, 1, 0: each seed counts once"):
        check_same_recipe([task_card(DEPTH, 0), task_card(DEPTH, 1), task_card(DEPTH, 0)])


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        (DEPTH, {"seeds": (0, 1)}, "trained already: seeds cannot be asked for"),
        (DEPTH, {"seeds": (0, 1), "pretrained": False}, "seeds and random initialisation cannot"),
        ("rgbd/pretext", {"samples": 3}, "trains what it measures: samples cannot be asked for"),
        ("rgbd/pretext", {"full_size": True}, "full size cannot"),
        ("rgbd/pretext", {"device": "cuda"}, "cuda cannot"),
    ],
)
def test_options_of_other_protocols_are_refused(protocol, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate("mask3d-vitt-synthrooms", protocol, "no/such/data", **options)


def test_transfer_takes_one_model():
    with pytest.raises(ValueError, match="more than one model cannot be asked for"):
        evaluate(["mask3d-vitt-synthrooms", "mae-vitb-imagenet"], "rgbd/pretext", "no/such/data")


# ------------------------------------------------------------------------------------------------------------ transfer


def test_unknown_protocol_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown protocol 'nyu'") as error:
        evaluate("mask3d-vitt-synthrooms", "nyu", "nowhere")
    assert all(name in str(error.value) for name in PROTOCOLS)


@pytest.mark.parametrize("pretrained", [True, False])
def test_misspelt_model_fails_before_the_data_is_opened(pretrained):
    with pytest.raises(UnknownModelError, match=r"did you mean.*mask3d-vitt-synthrooms"):
        evaluate("mask3d-vit-synthrooms", "rgbd/pretext", "no/such/data", pretrained=pretrained)


@pytest.mark.usefixtures("own_registry")
def test_measures_on_frames_from_a_file(tmp_path):
    (tmp_path / "cards").mkdir()
    name = register_tiny_card(tmp_path / "cards")
    rows = [unlabelled_row(i) for i in range(3)]
    write_shard(tmp_path / "data" / "val-00000-of-00001.parquet", rows)
    measured = evaluate(
        name, "rgbd/pretext", tmp_path / "data", split="val", seeds=(0, 1), pretrained=False, output=tmp_path / "out"
    )
    assert measured.data.frames == 3
    assert measured.mean("loss") == statistics.fmean(run["loss"] for run in measured.runs)
    assert measured.command.endswith(f"--data {tmp_path / 'data'} --split val --seeds 0 1 --random-init")
    file = tmp_path / "out" / f"{name}.rgbd-pretext.random.json"
    stored = json.loads(file.read_text())
    assert [run["loss"] for run in stored["runs"]] == [run["loss"] for run in measured.runs]
    assert stored["pretrained"] is False
    assert Result.load(file) == measured
    with pytest.raises(ValueError, match=r"is the result of another command, '.*--seeds 0 1 --random-init'"):
        evaluate(name, "rgbd/pretext", "no/such/data", split="val", pretrained=False, output=tmp_path / "out")


@pytest.mark.usefixtures("own_registry")
def test_a_stopped_measurement_keeps_the_seeds_that_are_done(tmp_path):
    (tmp_path / "cards").mkdir()
    name = register_tiny_card(tmp_path / "cards")
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", [unlabelled_row(0)])

    def run(model, source, pretrained, seed):
        if seed == 9:
            raise KeyboardInterrupt
        return {"loss": float(seed)}

    stopped = TransferProtocol("rgbd/stopped", "Stopped at the third seed.", run)
    with pytest.raises(KeyboardInterrupt):
        measure_transfer(name, stopped, tmp_path / "data", seeds=(5, 2, 9), pretrained=False, output=tmp_path / "out")
    kept = Result.load(tmp_path / "out" / f"{name}.rgbd-stopped.random.json")
    assert (kept.seeds, kept.values("loss")) == ((5, 2), [5.0, 2.0])
    file = tmp_path / "out" / f"{name}.rgbd-stopped.random.json"
    other = replace(stopped, description="Changed.", run=lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        measure_transfer(name, other, tmp_path / "data", seeds=(5, 2, 9), pretrained=False, output=tmp_path / "out")
    assert Result.load(file) == kept
    measured = []
    whole = replace(stopped, run=lambda model, source, pretrained, seed: measured.append(seed) or {"loss": 7.0})
    found = measure_transfer(name, whole, tmp_path / "data", seeds=(5, 2, 9), pretrained=False, output=tmp_path / "out")
    assert measured == [9], "the others are there"
    assert Result.load(file) == found
    assert found.values("loss") == [5.0, 2.0, 7.0]
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", [unlabelled_row(1)])
    measure_transfer(name, whole, tmp_path / "data", seeds=(5, 2, 9), pretrained=False, output=tmp_path / "out")
    assert measured == [9, 5, 2, 9], "other frames are measured anew"
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match="seeds should be different numbers, at least one, not"):
            measure_transfer(name, stopped, tmp_path / "data", seeds=seeds, pretrained=False)

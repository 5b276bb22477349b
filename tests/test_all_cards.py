"""Every card in hub_configs is complete, true to the model it builds, and part of a chain that ends."""

import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

from rgbd3d import registry
from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import Card, CardError, dump, load_card
from rgbd3d.cli import _parser
from rgbd3d.data.catalog import CATALOG

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "hub_configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
RECIPE_SECTIONS = ("backbone", "objective", "data", "train", "evaluation")


@pytest.fixture(params=NAMES)
def card(request: pytest.FixtureRequest) -> Card:
    return registry.get_card(request.param)


def test_the_registry_lists_the_folder():
    assert registry.list_models() == NAMES
    assert {"mask3d-vitt-synthrooms", "mask3d-vitb-scannet", "mask3d-vitl-scannet"} <= set(NAMES)


def test_the_fast_reader_reads_what_the_strict_one_does(card: Card):
    assert load_card(FOLDER / f"{card.name}.yaml") == card


def test_the_file_states_every_value_of_its_recipe(card: Card):
    # A default that changes in the code must never change a published recipe.
    written, resolved = yaml.safe_load((FOLDER / f"{card.name}.yaml").read_text()), yaml.safe_load(dump(card))

    def paths(value: object, path: str = "") -> set[str]:
        if not isinstance(value, dict):
            return {path}
        return set().union(*(paths(item, f"{path}.{key}") for key, item in value.items()))

    for section in RECIPE_SECTIONS:
        assert paths(written[section], section) == paths(resolved[section], section)
    assert {*written, "start"} == resolved.keys()
    assert card.start is None, "a published card starts from another card, or from random initialisation"


def test_terms(card: Card):
    known = CATALOG
    assert card.license.weights
    assert len(card.license.data) > 20, "the terms of the data, in a sentence"
    assert card.data.source in known, "name the data set and its terms in rgbd3d/data/catalog.py"
    if "Non-commercial" in known[card.data.source].terms:
        assert "NC" in card.license.weights


def test_terms_are_inherited_from_the_initialisation(card: Card):
    for ancestor in registry.lineage(card.name)[:-1]:
        if "NC" in ancestor.license.weights:
            assert "NC" in card.license.weights


def test_parameter_count_is_that_of_the_built_backbone(card: Card):
    with torch.device("meta"):
        model = build_vit(card.backbone)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == card.backbone.parameters


def test_lineage_ends_and_fits(card: Card):
    chain = registry.lineage(card.name)
    assert chain[0].init is None
    assert chain[-1] == card
    for parent, child in pairwise(chain):
        assert parent.backbone.architecture == child.backbone.architecture
        assert parent.backbone.patch_size == child.backbone.patch_size
        assert parent.backbone.class_token == child.backbone.class_token


def check_command(command: str) -> None:
    """Exits or raises if a command cannot be typed like that."""
    program, *arguments = shlex.split(command)
    assert program in {"rgbd3d", "python", "make"}
    if program == "rgbd3d":
        assert _parser().parse_args(arguments).run


def test_a_command_that_cannot_be_typed_is_noticed():
    check_command("rgbd3d evaluate mask3d-vitt-synthrooms --protocol nyuv2-train795/probe --data nyuv2 --seeds 0 1 2")
    for wrong in ("rgbd3d evaluate x --data nyuv2", "rgbd3d evaluat x", "rgbd3d info x --protocol y", "rgbd x"):
        with pytest.raises((SystemExit, AssertionError)):
            check_command(wrong)


def test_numbers_say_where_they_come_from(card: Card):
    for number in card.reported:
        assert "Table" in number.source
        assert "row" in number.source
    for number in card.measured:
        check_command(number.command)
        assert number.seeds > 0
        assert number.std is not None or number.seeds == 1


def test_trained_cards_are_measured_and_can_be_compared(card: Card):
    if card.weights.status != "recipe":
        assert card.measured, "weights without a number of ours"
        assert card.tolerance is not None, "rgbd3d reproduce has nothing to compare with"


def test_the_paper_recipe_is_in_the_card():
    for name, depth in (("mask3d-vitb-scannet", 12), ("mask3d-vitl-scannet", 24)):
        card = registry.get_card(name)
        train, objective = card.train, card.objective
        assert (train.optimizer.name, train.optimizer.lr) == ("sgd", 0.1)
        assert (train.batch_size, train.accumulate, train.epochs) == (64, 2, 100)
        assert (train.schedule.name, train.schedule.gamma, train.schedule.every) == ("exponential", 0.99, 1000)
        assert (card.data.every, card.backbone.image_size, card.backbone.patch_size) == (25, (240, 320), 16)
        assert (objective.keep_rgb, objective.keep_depth, objective.disjoint) == (0.2, 0.2, True)
        assert (objective.targets, objective.loss_on, objective.depth_encoder_depth) == (("depth",), "all", depth)
        assert card.departures == ()


def test_the_paper_numbers_are_in_the_card():
    def reported(name: str) -> dict[str, list[float]]:
        tables: dict[str, list[float]] = {}
        for number in registry.get_card(name).reported:
            tables.setdefault(number.source.split(",")[0], []).append(number.value)
        return tables

    assert reported("mask3d-vitb-scannet") == {
        "Mask3D Table 1": [66.7],
        "Mask3D Table 2": [50.4, 35.3, 32.7],
        "Mask3D Table 3": [41.2, 22.7, 22.8],
        "Mask3D Table 4": [37.0, 21.6, 21.3],
        "Mask3D Table 5": [56.9],
        "Mask3D Table 6": [44.0, 28.3, 25.9],
        "Mask3D Table 7": [66.4],
        "Mask3D Table 12": [66.7],
        "Mask3D Table 14": [47.7],
    }
    assert reported("mask3d-vitl-scannet") == {"Mask3D Table 12": [70.7]}


def test_the_siblings_differ_in_the_keep_ratios_only():
    ours, paper = (registry.get_card(f"mask3d-vitt-synthrooms-{keeps}") for keeps in ("5005", "2020"))
    assert (paper.objective.keep_rgb, paper.objective.keep_depth) == (0.2, 0.2)
    assert (ours.backbone, ours.data, ours.train) == (paper.backbone, paper.data, paper.train)
    assert len(ours.departures) == len(paper.departures) + 1


# ---------------------------------------------------------------------------- the checks above, seen to fail


def write(folder: Path, name: str, **changes: str) -> None:
    text = dump(registry.get_card("mask3d-vitb-scannet")).replace("mask3d-vitb-scannet", name)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (folder / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("license:\n", "licence:\n"), "unknown key 'licence'"),
        (("  data: 'ScanNet", "  date: 'ScanNet"), "unknown key 'date' in license; did you mean 'data'?"),
        (
            ("  schedule:\n    name: exponential\n    gamma: 0.99\n    every: 1000\n", ""),
            "missing field 'schedule' in train",
        ),
        (
            ("init: mae-vitb-imagenet", "init: mae-vitb-imagenett"),
            "init names no card: 'mae-vitb-imagenett'; did you mean",
        ),
        (("init: mae-vitb-imagenet", "init: b"), "init names no card: 'b'"),
        (("status: recipe", "status: trained"), "weights.status should be one of 'bundled', 'hub', 'recipe'"),
    ],
)
def test_a_broken_card_is_refused(tmp_path: Path, change: tuple[str, str], message: str):
    write(tmp_path, "a", change=change)
    with pytest.raises(CardError) as caught:
        registry.register(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "a.yaml") in str(caught.value)
    assert "a" not in registry.list_models()


def test_a_circle_is_refused(tmp_path: Path):
    write(tmp_path, "a", init=("init: mae-vitb-imagenet", "init: b"))
    write(tmp_path, "b", init=("init: mae-vitb-imagenet", "init: a"))
    with pytest.raises(CardError, match="the chain of init is a circle: a <- b <- a"):
        registry.register(tmp_path)
    assert registry.list_models() == NAMES

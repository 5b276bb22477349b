"""Reading cards is strict: every mistake is an error that names file, line and remedy."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from card_text import changed, error

from rgbd3d import cards, registry, strict_yaml
from rgbd3d.cards import CardError, Weights
from rgbd3d.objectives import OBJECTIVES
from rgbd3d.strict_yaml import FieldError

NAME = "mask3d-vitb-scannet"
SHA = "0123456789abcdef" * 4
COMMIT = "89abcdef01" * 4


@pytest.fixture(scope="module")
def text() -> str:
    return cards.dump(registry.get_card(NAME))


def line_of(text: str, start: str) -> int:
    return 1 + [line.strip().startswith(start) for line in text.splitlines()].index(True)


@pytest.mark.parametrize("name", registry.list_models())
def test_round_trip(name: str):
    card = registry.get_card(name)
    assert cards.parse(cards.dump(card)) == card


@pytest.mark.parametrize("name", registry.list_models())
def test_dump_states_every_field(name: str):
    def keys(value: object) -> set[str]:
        return {field.name for field in dataclasses.fields(value)}

    card = registry.get_card(name)
    values = yaml.safe_load(cards.dump(card))
    assert values.keys() == keys(card)
    for section in ("backbone", "objective", "data", "train", "weights", "license"):
        assert values[section].keys() == keys(getattr(card, section))


def test_unknown_key_names_file_line_and_nearest(text: str):
    broken = text.replace("    lr: 0.1\n", "    lrr: 0.1\n")
    line = line_of(broken, "lrr")
    assert error(broken) == f"file.yaml:{line}: unknown key 'lrr' in train.optimizer; did you mean 'lr'?"


def test_unknown_top_level_key(text: str):
    assert "unknown key 'licence' in the document; did you mean 'license'?" in error(
        text.replace("\nlicense:", "\nlicence:")
    )


def test_missing_field(text: str):
    broken = text.replace("    momentum: 0.8\n", "")
    assert error(broken) == f"file.yaml:{line_of(broken, 'name: sgd')}: missing field 'momentum' in train.optimizer"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train__optimizer__lr", "abc", "train.optimizer.lr should be a number, not the string 'abc'"),
        ("train__optimizer__lr", True, "train.optimizer.lr should be a number, not the boolean 'true'"),
        ("train__optimizer__lr", float("nan"), "train.optimizer.lr should be a finite number"),
        ("train__batch_size", 64.0, "train.batch_size should be an integer, not the float '64.0'"),
        ("train__batch_size", True, "train.batch_size should be an integer, not the boolean 'true'"),
        ("train__batch_size", None, "train.batch_size should be an integer, not null"),
        ("backbone__class_token", 1, "backbone.class_token should be true or false, not the integer '1'"),
        ("title", 5, "title should be a string (put it in quotes), not the integer '5'"),
        ("title", ["a"], "title should be a string, not a list"),
        ("backbone__image_size", [240], "backbone.image_size should have 2 values, not 1"),
        ("backbone__image_size", 240, "backbone.image_size should be a list, not the integer '240'"),
        ("backbone", [], "backbone should be a mapping, not a list"),
        ("train__precision", "fp16", "train.precision should be one of 'fp32', 'bf16', not the string 'fp16'"),
        ("objective__targets", ["depht"], "'depht'; did you mean 'depth'?"),
        ("train__optimizer", {"lr": 1.0}, "missing field 'name' in train.optimizer: one of 'sgd', 'adamw'"),
        ("train__optimizer", {"name": "adam"}, "train.optimizer.name should be one of 'sgd', 'adamw'"),
        ("method", "mask3", "method should be one of 'mae', 'mask3d', not the string 'mask3'; did you mean 'mask3d'?"),
        ("method", "mae", "unknown key 'keep_rgb' in objective"),
    ],
)
def test_wrong_types(text: str, path: str, value: object, message: str):
    assert message in error(changed(text, **{path: value}))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train__max_steps", 10, "train.epochs or max_steps: exactly one is needed, 2 are given"),
        ("train__epochs", None, "train.epochs or max_steps: exactly one is needed, 0 are given"),
        ("train__accumulate", 0, "train.accumulate should be positive"),
        ("train__optimizer__lr", 0, "train.optimizer.lr should be positive"),
        ("train__optimizer__momentum", 1.0, "train.optimizer.momentum should lie in 0..1, 1 excluded"),
        ("train__schedule__gamma", 1.5, "train.schedule.gamma should lie in"),
        ("objective__keep_rgb", 1.2, "objective.keep_rgb should lie in 0..1"),
        ("objective__keep_depth", -0.1, "objective.keep_depth should lie in 0..1"),
        ("objective__keep_rgb", 0.9, "objective.keep_rgb + keep_depth = 1.1 exceeds 1"),
        ("objective__targets", [], "objective.targets should name at least one modality"),
        ("objective__decoder__heads", 7, "objective.decoder.heads should divide dim = 512"),
        ("backbone__image_size", [240, 321], "backbone.image_size should be (height, width), both multiples"),
        ("data__augment__crop_scale", [0.9, 0.5], "data.augment.crop_scale should be (smallest, largest)"),
        ("data__source", "synthrooms", "data.render is needed for source synthrooms"),
        (
            "data__render",
            {"scenes": 1, "frames_per_scene": 1, "size": [8, 8]},
            "data.render belongs to source synthrooms",
        ),
        ("license__data", " ", "license.data should state the terms of the training data"),
        ("name", "Mask3D/x", "name is 'Mask3D/x'; it should be lower-case"),
        ("init", NAME, "init is the card itself"),
        ("weights", {"status": "hub", "revision": COMMIT}, "weights.repo is needed for status hub"),
        ("weights", {"status": "hub", "repo": "a/b", "revision": "main"}, "weights.revision should be a commit of 40"),
        ("weights", {"status": "hub", "repo": "a/b", "revision": COMMIT}, "weights.files should pin model.safetensors"),
        ("weights", {"status": "bundled"}, "weights.files should pin model.safetensors"),
        ("weights", {"status": "recipe", "revision": COMMIT}, "weights.revision belongs to status hub only"),
        (
            "weights",
            {"status": "bundled", "files": {"model.safetensors": {"sha256": "abc", "bytes": 1}}},
            "weights.files.model.safetensors.sha256 should be 64 lower-case hex digits",
        ),
        (
            "weights",
            {"status": "recipe", "files": {"model.safetensors": {"sha256": SHA, "bytes": 1}}},
            "weights.files cannot be given for status recipe",
        ),
    ],
)
def test_values_that_make_no_sense(text: str, path: str, value: object, message: str):
    found = error(changed(text, **{path: value}))
    assert message in found
    assert found.startswith("file.yaml:")


@pytest.mark.parametrize("name", ["../evil.safetensors", "/evil.safetensors", "..\\evil.safetensors", "model.pt"])
def test_weight_files_stay_within_the_folder_and_are_safetensors(name: str):
    pin = cards.WeightFile(sha256=SHA, bytes=1)
    with pytest.raises(FieldError, match=r"only \*\.safetensors within the folder"):
        Weights(status="bundled", files={"model.safetensors": pin, name: pin})


def test_semantic_error_points_at_its_line(text: str):
    broken = text.replace("keep_rgb: 0.2", "keep_rgb: 0.9")
    assert error(broken).startswith(f"file.yaml:{line_of(broken, 'keep_rgb')}: objective.keep_rgb")


def test_keeps_may_overlap_when_not_disjoint(text: str):
    card = cards.parse(changed(text, objective__keep_rgb=1.0, objective__keep_depth=1.0, objective__disjoint=False))
    assert card.objective.keep_rgb + card.objective.keep_depth == 2


@pytest.mark.parametrize("number", ["1", "1e-3", "1.0e-3", "1E5", "0.001"])
def test_numbers_as_people_write_them(text: str, number: str):
    card = cards.parse(text.replace("    lr: 0.1\n", f"    lr: {number}\n"))
    assert isinstance(card.train.optimizer.lr, float)
    assert card.train.optimizer.lr == float(number)


def test_a_string_that_looks_like_a_number_survives(text: str):
    for title in ("1e5", "1.5", "yes", "null", "12:30", "2024-01-01", "# a", " a: b"):
        card = dataclasses.replace(cards.parse(text), title=title)
        assert cards.parse(cards.dump(card)) == card


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "file.yaml:1: empty"),
        ("- a\n", "file.yaml:1: the document should be a mapping, not a list"),
        ("name: a\nname: b\n", "file.yaml:2: key 'name' appears twice"),
        ("name: [a\n", "not valid YAML"),
        ("name: a\n---\nname: b\n", "not valid YAML"),
        ("name: \x00\n", "not valid YAML"),
        ("1: a\n", "file.yaml:1: every key in the document should be a plain word"),
        ("name: &x a\ntitle: *x\n", "file.yaml:2: aliases (*name) are not allowed"),
        ("a: &a [x]\n<<: *a\n", "aliases (*name) are not allowed"),
        ("name: " + "[" * 20_000, "nested too deeply"),
        ("# " + "x" * strict_yaml.MAX_BYTES, "larger than 256 kB"),
    ],
)
def test_documents_that_are_no_card(document: str, message: str):
    assert message in error(document)


def test_a_tag_constructs_nothing(text: str, tmp_path: Path):
    target = tmp_path / "made"
    attack = f"!!python/object/apply:os.mkdir ['{target}']"
    assert "title should be a string" in error(
        text.replace(f"title: {registry.get_card(NAME).title}", f"title: {attack}")
    )
    assert not target.exists()


def test_files(text: str, tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CardError, match="not UTF-8"):
        cards.load_card(path)
    path.write_text("x" * (strict_yaml.MAX_BYTES + 1))
    with pytest.raises(CardError, match="larger than"):
        cards.load_card(path)
    path.write_text(text.replace("epochs: 100", "epochs: -1"))
    with pytest.raises(CardError, match=rf"{path}:{line_of(text, 'epochs')}: train.epochs should be positive"):
        cards.load_card(path)
    with pytest.raises(FileNotFoundError):
        cards.load_card(tmp_path / "missing.yaml")


# ------------------------------------------------------------------------------------------------------ overrides


def test_overrides():
    card = registry.get_card(NAME)
    new = cards.with_overrides(card, ["train.optimizer.lr=0.2", "objective.targets=[depth, rgb]", "init=null"])
    assert (new.train.optimizer.lr, new.objective.targets, new.init) == (0.2, ("depth", "rgb"), None)
    assert registry.get_card(NAME).train.optimizer.lr == 0.1
    assert cards.with_overrides(card, []) == card


def test_an_override_of_the_length_replaces_the_other_way_to_state_it():
    card = registry.get_card(NAME)
    new = cards.with_overrides(card, ["train.max_steps=7"])
    assert (new.train.epochs, new.train.max_steps) == (None, 7)
    back = cards.with_overrides(new, ["train.epochs=3"])
    assert (back.train.epochs, back.train.max_steps) == (3, None)


def test_an_override_can_replace_a_section():
    new = cards.with_overrides(registry.get_card(NAME), ["train.schedule={name: cosine, warmup: 0.1}"])
    assert new.train.schedule == cards.Cosine(name="cosine", warmup=0.1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_steps", "should look like train.max_steps=100"),
        ("train.maxsteps=1", "unknown key 'maxsteps' in train; did you mean 'max_steps'?"),
        ("trian.max_steps=1", "the card has no section 'trian'"),
        ("init.name=1", "the card has no section 'init'"),
        ("train.max_steps=abc", "train.max_steps should be an integer, not the string 'abc'"),
        ("train.max_steps=", "train.max_steps should be an integer"),
        ("objective.keep_rgb=2", "objective.keep_rgb should lie in 0..1"),
    ],
)
def test_wrong_overrides(override: str, message: str):
    with pytest.raises(CardError) as caught:
        cards.with_overrides(registry.get_card(NAME), [override])
    assert message in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- types


def test_every_objective_is_the_type_of_one_method():
    assert len(set(OBJECTIVES.values())) == len(OBJECTIVES)


def test_cards_built_in_python_are_checked_too():
    card = registry.get_card(NAME)
    with pytest.raises(FieldError, match="objective is not that of mae"):
        dataclasses.replace(card, method="mae")


def test_reading_cards_imports_no_torch():
    code = (
        "import sys; from rgbd3d import registry; registry.list_models(method='mae'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

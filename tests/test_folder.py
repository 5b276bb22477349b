import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tiny import noise, tiny_card, tiny_method
from transformers import AutoImageProcessor, AutoModel, AutoModelForPreTraining

from rgbd3d import folder as hub_folder
from rgbd3d.backbones.vit import RgbdViT
from rgbd3d.cards import dump, load_card
from rgbd3d.folder import PRETRAINING
from rgbd3d.hub_verify import check_folder
from rgbd3d.modeling import RgbdModel
from rgbd3d.pins import pin


@pytest.fixture(scope="module")
def card():
    return tiny_card()


@pytest.fixture(scope="module")
def method(card):
    return tiny_method(card)


@pytest.fixture(scope="module")
def saved(card, method, tmp_path_factory):
    return hub_folder.save_pretrained_folder(method, card, tmp_path_factory.mktemp("hub") / "model")


@pytest.fixture(scope="module")
def saved_half(card, method, tmp_path_factory):
    return hub_folder.save_pretrained_folder(method, card, tmp_path_factory.mktemp("hub") / "model", half=True)


def three_loaders(path: Path) -> list[RgbdViT]:
    return [
        timm.create_model(f"local-dir:{path}", pretrained=True).eval(),
        AutoModel.from_pretrained(str(path)).eval().backbone,
        hub_folder.load_backbone(path).eval(),
    ]


def test_folder_holds_what_a_hub_folder_holds_and_passes_verification(saved):
    assert check_folder(saved).ok, check_folder(saved).problems


def test_nothing_is_left_beside_the_folder(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_others_may_read_the_files(saved):
    modes = {path.stat().st_mode & 0o777 for path in saved.rglob("*") if path.is_file()}
    assert modes == {0o666 & ~umask()}


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@torch.no_grad()
def test_three_loaders_give_the_features_of_the_saved_model(saved, method):
    image = noise()
    expected = method.backbone.forward_features(image)
    for model in three_loaders(saved):
        torch.testing.assert_close(model.forward_features(image), expected, rtol=0, atol=1e-5)
        maps = model.forward_intermediates(image, indices=4, intermediates_only=True)
        assert [tuple(features.shape) for features in maps] == [(2, 192, 2, 3)] * 4


@torch.no_grad()
def test_three_loaders_agree_on_half_precision_files(saved_half, saved):
    image = noise()
    first, *others = (model.forward_features(image) for model in three_loaders(saved_half))
    for features in others:
        torch.testing.assert_close(features, first, rtol=0, atol=1e-5)
    golden = load_file(saved_half / "golden.safetensors")
    model = hub_folder.load_backbone(saved_half).eval()
    torch.testing.assert_close(model.forward_features(golden["image"]), golden["features"], rtol=0, atol=1e-5)
    assert next(model.parameters()).dtype == torch.float32
    sizes = [(path / "model.safetensors").stat().st_size for path in (saved_half, saved)]
    assert sizes[0] < 0.55 * sizes[1]


@torch.no_grad()
def test_golden_holds_the_given_image(card, method, tmp_path):
    image = noise(batch=1)
    path = hub_folder.save_pretrained_folder(method.backbone, card, tmp_path / "model", image=image)
    golden = load_file(path / "golden.safetensors")
    torch.testing.assert_close(golden["image"], image)
    torch.testing.assert_close(golden["features"], method.backbone.forward_features(image), rtol=0, atol=1e-6)
    assert not (path / "pretraining").exists()


def test_whole_method_comes_back(saved, method):
    loaded = hub_folder.load_pretraining(saved)
    auto = AutoModelForPreTraining.from_pretrained(str(saved), subfolder="pretraining")
    for model in (loaded, auto):
        state = model.method.state_dict()
        assert state.keys() == method.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in method.state_dict().items())


def test_what_is_fixed_stays_fixed_after_loading(saved, method):
    fixed = {name for name, parameter in method.named_parameters() if not parameter.requires_grad}
    assert "backbone.pos_embed" in fixed
    loaded = hub_folder.load_pretraining(saved).method
    assert {name for name, parameter in loaded.named_parameters() if not parameter.requires_grad} == fixed
    backbone = hub_folder.load_backbone(saved)
    assert [name for name, parameter in backbone.named_parameters() if not parameter.requires_grad] == ["pos_embed"]


def test_loaded_models_know_their_card_and_pin_their_files(saved, card):
    pinned = hub_folder.load_model(saved).card
    assert pinned == hub_folder.load_pretraining(saved).card == load_card(saved / "card.yaml")
    assert (pinned.name, pinned.backbone, pinned.objective) == (card.name, card.backbone, card.objective)
    assert set(pinned.weights.files) == {"golden.safetensors", "model.safetensors", "pretraining/model.safetensors"}


def test_saving_again_by_transformers_keeps_timm_names(saved, tmp_path):
    AutoModel.from_pretrained(str(saved)).save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(saved / "model.safetensors").keys()
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads((saved / "config.json").read_text())
    AutoImageProcessor.from_pretrained(str(tmp_path))
    assert (tmp_path / "modeling_rgbd3d.py").read_text() == (saved / "modeling_rgbd3d.py").read_text()
    hub_folder.load_backbone(tmp_path)


def test_replaces_a_hub_folder_and_nothing_else(card, method, tmp_path):
    path = hub_folder.save_pretrained_folder(method, card, tmp_path / "model")
    hub_folder.save_pretrained_folder(method.backbone, card, path)
    assert not (path / "pretraining").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no Hub folder"):
        hub_folder.save_pretrained_folder(method, card, tmp_path / "notes")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "mine"


def test_failure_while_saving_leaves_the_old_folder(card, method, tmp_path):
    path = hub_folder.save_pretrained_folder(method.backbone, card, tmp_path / "model")
    before = (path / "golden.safetensors").read_bytes()
    with pytest.raises(ValueError, match="multiples of the patch"):
        hub_folder.save_pretrained_folder(method.backbone, card, path, image=noise(1, (33, 48)))
    assert (path / "golden.safetensors").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_stop_between_the_two_renames_brings_the_old_folder_back(card, method, tmp_path, monkeypatch, error):
    path = hub_folder.save_pretrained_folder(method.backbone, card, tmp_path / "model")
    before = (path / "golden.safetensors").read_bytes()
    rename = os.rename

    def failing(source, target):
        if Path(source).name == "new":
            raise error
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(type(error)):
        hub_folder.save_pretrained_folder(method.backbone, card, path, image=noise(1))
    assert (path / "golden.safetensors").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_an_old_folder_that_cannot_be_brought_back_is_not_deleted(card, method, tmp_path, monkeypatch):
    path = hub_folder.save_pretrained_folder(method.backbone, card, tmp_path / "model")
    rename = os.rename

    def failing(source, target):
        if Path(target) == path:
            raise OSError("read-only file system")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="read-only"):
        hub_folder.save_pretrained_folder(method.backbone, card, path)
    assert len(list(tmp_path.glob(".model.*/old/model.safetensors"))) == 1


@pytest.fixture
def damaged(saved, tmp_path):
    """Copy of the folder whose weights were changed by a function, pinned as if they were meant."""

    def damage(change, subfolder=""):
        target = tmp_path / "damaged"
        subprocess.run(["cp", "-r", str(saved), str(target)], check=True)
        weights = load_file(target / subfolder / "model.safetensors")
        change(weights)
        save_file(weights, target / subfolder / "model.safetensors", {"format": "pt"})
        files = {path.relative_to(target).as_posix(): pin(path) for path in target.rglob("*.safetensors")}
        card = load_card(target / "card.yaml")
        (target / "card.yaml").write_text(dump(replace(card, weights=replace(card.weights, files=files))))
        return target

    return damage


def _drop(name):
    return lambda weights: weights.pop(name)


def _add(weights):
    weights["extra"] = torch.zeros(1)


@pytest.mark.parametrize(("change", "name"), [(_drop("blocks.3.attn.qkv.weight"), "qkv"), (_add, "extra")])
def test_incomplete_backbone_is_refused(damaged, change, name):
    path = damaged(change)
    for load in (hub_folder.load_backbone, RgbdModel.from_pretrained, lambda p: AutoModel.from_pretrained(str(p))):
        with pytest.raises(RuntimeError, match=name):
            load(path)


@pytest.mark.parametrize(
    ("load", "subfolder"), [(hub_folder.load_model, ""), (hub_folder.load_pretraining, PRETRAINING)]
)
def test_a_weight_that_changed_on_disk_is_refused(saved, tmp_path, load, subfolder):
    path = shutil.copytree(saved, tmp_path / "changed")
    file = path / subfolder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors has sha256 .* instead of .*damaged or changed"):
        load(path)


def test_incomplete_method_is_refused(damaged):
    path = damaged(_drop("decoder.mask_token"), "pretraining")
    with pytest.raises(RuntimeError, match=r"lacks method\.decoder\.mask_token"):
        hub_folder.load_pretraining(path)


def test_weights_of_another_network_are_refused(damaged):
    def narrow(weights):
        weights["norm.weight"] = torch.ones(8)

    path = damaged(narrow)
    with pytest.raises(RuntimeError, match=r"norm\.weight"):
        hub_folder.load_backbone(path)
    with pytest.raises(RuntimeError, match="mismatched"):
        AutoModel.from_pretrained(str(path))
    with pytest.raises(RuntimeError, match=r"norm\.weight"):
        AutoModel.from_pretrained(str(path), ignore_mismatched_sizes=True)


def test_foreign_config_and_missing_files_are_refused(saved, damaged, tmp_path):
    path = damaged(lambda weights: None)
    config = json.loads((path / "config.json").read_text())
    config["backbone"]["class_token"] = True
    config["model_args"]["class_token"] = True
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="different backbones"):
        hub_folder.load_backbone(path)
    (path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="not rgbd3d"):
        hub_folder.load_model(path)
    (path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        hub_folder.load_backbone(path)
    with pytest.raises(FileNotFoundError, match="only a backbone"):
        hub_folder.load_pretraining(tmp_path)


ALONE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("rgbd3d", "transformers"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
import timm, torch
from safetensors.torch import load_file

golden = load_file(sys.argv[1] + "/golden.safetensors")
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
with torch.no_grad():
    print((model.forward_features(golden["image"]) - golden["features"]).abs().max().item())
"""


def test_timm_alone_gives_the_golden_features(saved_half, tmp_path):
    command = [sys.executable, "-c", ALONE, str(saved_half)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.splitlines()[-1]) <= 1e-5

"""The Hub folder of a fine-tuned model: bit-exact, pinned, verified, and never taken for something else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from loopback_hub import TOKEN, LoopbackHub
from safetensors.torch import load_file
from task_networks import OBJECTIVES, network, pictures, task_card
from tiny import tiny_card
from transformers import AutoModel, AutoModelForDepthEstimation, AutoModelForSemanticSegmentation

import rgbd3d
from rgbd3d import folder as hub_folder
from rgbd3d.backbones.vit import build_vit
from rgbd3d.cards import dump, load_card
from rgbd3d.downstream.base import TaskNetwork
from rgbd3d.downstream.network import build_task_network
from rgbd3d.hub_verify import check_folder
from rgbd3d.modeling_tasks import TASK_MODELS
from rgbd3d.pins import pin
from rgbd3d.registry import ModelError, NoWeightsError

TASKS = tuple(OBJECTIVES)

pytest_plugins = ["hub_fixtures"]


def made(task: str) -> TaskNetwork:
    torch.manual_seed(0)
    return build_task_network(task_card(task))


@pytest.fixture(scope="module", params=TASKS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / request.param
    return hub_folder.save_pretrained_folder(made(request.param), task_card(request.param), folder)


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = "depth-estimation"
    return hub_folder.save_pretrained_folder(made(task), task_card(task), tmp_path_factory.mktemp("depth") / "model")


def test_comes_back_bit_by_bit(saved: Path):
    expected, loaded = made(saved.name), rgbd3d.from_pretrained(saved)
    assert type(loaded) is TASK_MODELS[saved.name]
    state = loaded.network.state_dict()
    assert state.keys() == expected.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in expected.state_dict().items())
    assert loaded.network.objective == expected.objective
    assert loaded.network.classes == expected.classes
    assert load_card(saved / "card.yaml") == loaded.card
    fixed = [name for name, parameter in loaded.network.named_parameters() if not parameter.requires_grad]
    assert fixed == ["backbone.pos_embed"]
    if saved.name != "instance-segmentation":
        assert torch.equal(loaded.predict(pictures((20, 30))), expected.predict(pictures((20, 30))))


def test_is_verified(saved: Path):
    report = check_folder(saved)
    assert report.ok, str(report)
    pins = load_card(saved / "card.yaml").weights.files
    assert set(pins) == {"golden.safetensors", "model.safetensors", "backbone/model.safetensors"}
    assert json.loads((saved / "config.json").read_text())["architectures"] == [TASK_MODELS[saved.name].__name__]


def test_the_backbone_is_there_for_everybody(saved: Path):
    expected = made(saved.name).backbone.eval()
    image = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    features = expected.forward_features(image)
    plain = timm.create_model(f"local-dir:{saved / 'backbone'}", pretrained=True).eval()
    torch.testing.assert_close(plain.forward_features(image), features, rtol=0, atol=1e-5)
    for model in (rgbd3d.from_pretrained(saved / "backbone"), AutoModel.from_pretrained(str(saved / "backbone"))):
        assert torch.equal(model.eval()(image).last_hidden_state, features)


def test_half_precision_predicts_what_its_rounded_weights_do(tmp_path: Path):
    task = "depth-estimation"
    card = task_card(task)
    half = hub_folder.save_pretrained_folder(made(task), card, tmp_path / "half", half=True)
    assert check_folder(half).ok
    rounded = made(task)
    state = rounded.state_dict()
    rounded.load_state_dict({n: v if n.endswith("pos_embed") else v.half().float() for n, v in state.items()})
    assert torch.equal(rgbd3d.from_pretrained(half).predict(pictures((20, 30))), rounded.predict(pictures((20, 30))))


def test_counters_and_statistics_are_not_halved(tmp_path: Path):
    net = network("depth-estimation", "mim-depth")
    net.train().loss({"image": torch.randn(2, 3, 32, 48), "depth_metres": torch.rand(2, 1, 32, 48)})
    card = task_card("depth-estimation", objective=net.objective)
    folder = hub_folder.save_pretrained_folder(net, card, tmp_path / "mim", half=True)
    stored = load_file(folder / "model.safetensors")
    kinds = {name.split(".")[-1]: value.dtype for name, value in stored.items() if "head." in name}
    assert (kinds["num_batches_tracked"], kinds["running_var"], kinds["weight"]) == (
        torch.int64,
        torch.float32,
        torch.float16,
    )
    assert check_folder(folder).ok
    loaded = rgbd3d.from_pretrained(folder).network.state_dict()
    tracked = next(name for name in loaded if name.endswith("num_batches_tracked"))
    assert loaded[tracked] == 1
    assert loaded[tracked].dtype == torch.int64


def test_goes_through_the_hub(saved: Path, hub: LoopbackHub):
    commit = rgbd3d.push(saved, "me/tuned", token=TOKEN)
    loaded = rgbd3d.from_pretrained("me/tuned", revision=commit)
    assert type(loaded) is TASK_MODELS[saved.name]
    expected = made(saved.name).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.network.state_dict().items())


# ----------------------------------------------------------------------------------------------- damage and mistakes


@pytest.mark.parametrize("part", ["", "backbone/"])
def test_a_tampered_folder_is_refused(depth_folder: Path, tmp_path: Path, part: str):
    path = shutil.copytree(depth_folder, tmp_path / "changed")
    file = path / f"{part}model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "model.safetensors has sha256" in check_folder(path).problems
    if not part:
        with pytest.raises(ValueError, match=r"model\.safetensors has sha256 .* instead of .*damaged or changed"):
            rgbd3d.from_pretrained(path)


def test_a_config_of_another_model_than_the_card_is_refused(depth_folder: Path, tmp_path: Path):
    path = shutil.copytree(depth_folder, tmp_path / "changed")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "objective": {**config["objective"], "typical": 3.0}}))
    with pytest.raises(ValueError, match=r"config\.json and card\.yaml describe different heads"):
        rgbd3d.from_pretrained(path)
    backbone = json.loads((path / "backbone" / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(backbone))
    with pytest.raises(ValueError, match="describe different tasks"):
        rgbd3d.from_pretrained(path)


def test_golden_that_other_weights_made_is_found(depth_folder: Path, tmp_path: Path):
    path = shutil.copytree(depth_folder, tmp_path / "changed")
    torch.manual_seed(1)
    other = hub_folder.save_pretrained_folder(
        build_task_network(task_card("depth-estimation")), task_card("depth-estimation"), tmp_path / "other"
    )
    shutil.copy(other / "golden.safetensors", path)
    card = load_card(path / "card.yaml")
    files = card.weights.files | {"golden.safetensors": pin(path / "golden.safetensors")}
    (path / "card.yaml").write_text(dump(replace(card, weights=replace(card.weights, files=files))))
    assert "predictions differ by" in check_folder(path).problems


def test_half_a_backbone_folder_is_no_layout(depth_folder: Path, tmp_path: Path):
    path = shutil.copytree(depth_folder, tmp_path / "changed")
    (path / "backbone" / "config.json").unlink()
    assert "backbone/ needs both config.json and model.safetensors" in check_folder(path).problems


def test_card_and_model_have_to_be_of_one_kind(tmp_path: Path):
    with pytest.raises(ValueError, match="is one of pre-training, but the model to save is a DepthNetwork"):
        hub_folder.save_pretrained_folder(made("depth-estimation"), tiny_card(), tmp_path / "a")
    with pytest.raises(ValueError, match="is one of depth-estimation, but the model to save is a RgbdViT"):
        hub_folder.save_pretrained_folder(
            build_vit(tiny_card().backbone), task_card("depth-estimation"), tmp_path / "a"
        )
    assert not (tmp_path / "a").exists()


def test_another_task_than_that_of_the_folder_is_refused(depth_folder: Path):
    assert isinstance(rgbd3d.from_pretrained(depth_folder, "depth-estimation"), TASK_MODELS["depth-estimation"])
    for task in ("semantic-segmentation", "pretraining"):
        with pytest.raises(ModelError, match=f"is a model for depth-estimation, not for {task}"):
            rgbd3d.from_pretrained(depth_folder, task)


def test_a_backbone_folder_has_no_head(tmp_path: Path):
    folder = hub_folder.save_pretrained_folder(build_vit(tiny_card().backbone), tiny_card(), tmp_path / "backbone")
    with pytest.raises(NoWeightsError, match="nobody has trained a head for depth-estimation on it"):
        rgbd3d.from_pretrained(folder, "depth-estimation")
    with pytest.raises(ValueError, match="holds a backbone, not a fine-tuned model"):
        hub_folder.load_task_model(folder)
    with pytest.raises((RuntimeError, ValueError)):  # transformers must not make up a head either
        AutoModelForDepthEstimation.from_pretrained(str(folder))


def test_a_folder_of_another_task_is_refused_by_transformers(depth_folder: Path):
    with pytest.raises((RuntimeError, ValueError)):
        AutoModelForSemanticSegmentation.from_pretrained(str(depth_folder))

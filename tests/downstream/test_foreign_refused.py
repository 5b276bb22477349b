"""Repositories of timm and transformers that are refused: pickles, missing weights, and bad configurations."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from foreign_backbones import DINO, DINO_CONFIG, MEAN, STD, VIT, publish_dino, publish_timm
from hub_folders import publish
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file
from task_networks import task_card
from transformers import Dinov2Model

from rgbd3d.downstream.foreign import foreign_weights, on_backbone, section_of
from rgbd3d.downstream.start import initial_network
from rgbd3d.folder import save_pretrained_folder
from rgbd3d.modeling_tasks import RgbdForDepthEstimation

pytest_plugins = ["hub_fixtures"]

SIZE = (64, 96)


# ------------------------------------------------------------------------------------------------------- the weights


def test_pickles_are_not_loaded(hub: LoopbackHub, tmp_path: Path):
    publish_timm(hub, tmp_path / "timm", file="pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"has no model.safetensors: weights in other formats \(pickles\)"):
        foreign_weights(section_of(f"timm:{VIT}", SIZE))
    Dinov2Model(DINO_CONFIG).save_pretrained(tmp_path / "dino")
    (tmp_path / "dino" / "model.safetensors").rename(tmp_path / "dino" / "pytorch_model.bin")
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"has no model\.safetensors"):
        foreign_weights(section_of(f"transformers:{DINO}", (28, 42)))


@pytest.mark.parametrize("lost", ["blocks.0.attn.qkv.weight", "patch_embed.proj.bias"])
def test_a_file_that_lacks_a_weight_of_timm(hub: LoopbackHub, tmp_path: Path, lost: str):
    publish_timm(hub, tmp_path / "timm")
    state = load_file(tmp_path / "timm" / "model.safetensors")
    del state[lost]
    save_file(state, tmp_path / "timm" / "model.safetensors")
    publish(hub, tmp_path / "timm", name=f"timm/{VIT}")
    with pytest.raises(ValueError, match=f"does not hold the weights of timm's {VIT}.*{lost}"):
        foreign_weights(section_of(f"timm:{VIT}", SIZE))


def test_a_file_that_lacks_a_weight_of_transformers(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    state = load_file(tmp_path / "dino" / "model.safetensors")
    del state["encoder.layer.0.mlp.fc1.weight"]
    save_file(state, tmp_path / "dino" / "model.safetensors", metadata={"format": "pt"})
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"does not hold all weights .*it lacks encoder.layer.0.mlp.fc1.weight"):
        foreign_weights(section_of(f"transformers:{DINO}", (28, 42)))


# ------------------------------------------------------------------------------------------------- the configuration


def test_configurations_that_are_none(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    for values, message in (
        ({"model_type": "vit"}, r"no backbone of type 'vit' \(AutoBackbone\)"),
        ({"model_type": "nothing"}, "knows no model of type 'nothing'"),
        ({**DINO_CONFIG.to_dict(), "hidden_size": "x"}, r"cannot build .*/config\.json .*'hidden_size' expected int"),
        (
            {**DINO_CONFIG.to_dict(), "num_hidden_layers": -1},
            r"cannot build .*/config\.json \(ValueError: out_",
        ),
        ({**DINO_CONFIG.to_dict(), "hidden_act": "nothing"}, r"cannot build .*/config\.json \(KeyError: 'nothing'\)"),
        ({"model_type": "timm_backbone", "backbone": "resnet18"}, "only names a model of timm: give it as timm:NAME"),
        ([], "is no JSON object"),
    ):
        (tmp_path / "dino" / "config.json").write_text(json.dumps(values))
        publish(hub, tmp_path / "dino", name=DINO)
        with pytest.raises(ValueError, match=message):
            section_of(f"transformers:{DINO}", SIZE)
    (tmp_path / "dino" / "config.json").write_text("{")
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"/config\.json is no JSON .*take another commit"):
        section_of(f"transformers:{DINO}", SIZE)
    shutil.copytree(tmp_path / "dino", tmp_path / "other")
    DINO_CONFIG.save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "preprocessor_config.json").unlink()
    publish(hub, tmp_path / "other", name=DINO)
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json"):
        section_of(f"transformers:{DINO}", SIZE)


KERNEL = {"_attn_implementation": "someone/kernel"}


@pytest.mark.parametrize(
    "values",
    [
        KERNEL,
        {"attn_implementation": "flash_attention_2"},
        {"attn_implementation": {"": "someone/kernel"}},
        {"_attn_implementation_internal": "someone/kernel"},
        {"experts_implementation": "someone/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"auto_map": {"AutoBackbone": "someone--code.Backbone"}},
        {"backbone_config": {"parts": [KERNEL]}},
    ],
)
def test_a_configuration_that_asks_for_other_code(values: dict[str, Any], hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    (tmp_path / "dino" / "config.json").write_text(json.dumps({**DINO_CONFIG.to_dict(), **values}))
    publish(hub, tmp_path / "dino", name=DINO)
    with pytest.raises(ValueError, match=r"/config\.json asks by \w+ for code or arithmetic of others"):
        section_of(f"random:transformers:{DINO}", SIZE)


def test_transformers_own_attention_may_be_asked_for(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    harmless = {"_attn_implementation": "eager", "quantization_config": None}
    (tmp_path / "dino" / "config.json").write_text(json.dumps({**DINO_CONFIG.to_dict(), **harmless}))
    publish(hub, tmp_path / "dino", name=DINO)
    assert section_of(f"random:transformers:{DINO}", SIZE).parameters > 0


def test_a_saved_folder_that_asks_for_other_code(hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    card = on_backbone(task_card("depth-estimation"), f"random:transformers:{DINO}")
    saved = save_pretrained_folder(initial_network(card), card, tmp_path / "saved")
    values = json.loads((saved / "config.json").read_text())
    values["foreign"]["config"] |= KERNEL
    (saved / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"foreign\.config of config\.json asks by _attn_implementation"):
        RgbdForDepthEstimation.from_pretrained(saved)


@pytest.mark.parametrize("mean", [0.5, [0.5], ["a", "b", "c"], [0.5, 0.5, float("nan")], None])
def test_a_normalisation_that_is_none(mean: object, hub: LoopbackHub, tmp_path: Path):
    publish_dino(hub, tmp_path / "dino")
    for values in ({"image_mean": mean, "image_std": STD}, {"image_mean": MEAN, "image_std": [0.0, 1.0, 1.0]}):
        (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(values))
        publish(hub, tmp_path / "dino", name=DINO)
        with pytest.raises(ValueError, match=r"preprocessor_config\.json does not say .*: take another commit"):
            section_of(f"transformers:{DINO}", SIZE)

"""The smallest backbones of timm and transformers, and their repositories on the loopback server."""

import json
from pathlib import Path

import timm
import torch
from hub_folders import publish
from loopback_hub import LoopbackHub
from safetensors.torch import save_file
from transformers import AutoModel, Dinov2Config, PreTrainedConfig

VIT, CONVNEXT = "test_vit.r160_in1k", "test_convnext.r160_in1k"
DINO = "someone/tiny-dino"
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
DINO_CONFIG = Dinov2Config(
    hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=28, patch_size=14
)


def publish_timm(hub: LoopbackHub, folder: Path, name: str = VIT, *, file: str = "model.safetensors") -> str:
    """Publishes random weights with a classifier, as timm's repositories have one; gives the commit."""
    torch.manual_seed(3)
    folder.mkdir()
    save_file(timm.create_model(name).state_dict(), folder / file)
    return publish(hub, folder, name=f"timm/{name}").oid


def publish_dino(hub: LoopbackHub, folder: Path) -> str:
    """Publishes a DINOv2; gives the commit."""
    return publish_transformers(hub, folder, DINO_CONFIG)


def publish_transformers(hub: LoopbackHub, folder: Path, config: PreTrainedConfig) -> str:
    """Publishes a model that is no backbone yet, as repositories have them, under the name `DINO`; gives the commit."""
    torch.manual_seed(3)
    AutoModel.from_config(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return publish(hub, folder, name=DINO).oid

"""Backbones of transformers (`AutoBackbone`), built from the config.json of a repository, with weights from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig

CONFIG_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")

_NEW_NORMS = "hidden_states_norms."  # of each stage that AutoBackbone adds to some; they start as the identity

Config = dict[str, Any]
"""What a config.json holds."""


def read_config(folder: Path) -> Config:
    """The configuration in a folder, complete, with the defaults of this version of transformers.

    Raises:
        ValueError: It is missing, or transformers has no backbone of its kind.
    """
    values = _read(folder / "config.json")
    config = _typed(values)
    _class_of(config)
    complete: Config = json.loads(config.to_json_string(use_diff=False))
    return complete


def read_normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in 0..1, from preprocessor_config.json.

    Raises:
        ValueError: The folder does not say them.
    """
    values = _read(folder / "preprocessor_config.json")
    found = tuple(tuple(map(float, values.get(name) or ())) for name in ("image_mean", "image_std"))
    if any(len(numbers) != 3 for numbers in found):
        raise ValueError(
            f"{folder / 'preprocessor_config.json'} does not say image_mean and image_std of three channels"
        )
    return found[0], found[1]


def build_transformers(config: Config) -> nn.Module:
    """The backbone of a configuration with all of its stages, initialised from torch's global generator.

    Raises:
        ValueError: transformers has no such backbone.
    """
    typed = _typed(config)
    network: nn.Module = _class_of(typed)(typed)
    # When transformers loads a model, it renames the weights of every network within, by its type, as repositories of
    # that type need it. In ours they have the names of the network already: without a type, nothing is renamed.
    typed.model_type = ""
    return network


def load_transformers(config: Config, folder: Path) -> dict[str, Tensor]:
    """Weights of `build_transformers(config)` from the safetensors files in a folder.

    Raises:
        ValueError: There are none, or they do not hold every weight.
    """
    if not any(folder.glob("model*.safetensors")):
        raise ValueError(f"{folder} has no model.safetensors: weights in other formats (pickles) are not loaded")
    typed = _typed(config)
    kind = _class_of(typed)
    network, found = kind.from_pretrained(
        str(folder), config=typed, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    lacking = [name for name in found["missing_keys"] if not name.startswith(_NEW_NORMS)]
    lacking += [name for name, *_ in found["mismatched_keys"]]
    if lacking:
        raise ValueError(f"{folder} does not hold all weights of a {kind.__name__}: it lacks {', '.join(lacking[:3])}")
    state: dict[str, Tensor] = network.state_dict()
    return state


def _read(file: Path) -> Config:
    if not file.is_file():
        raise ValueError(f"{file.parent} has no {file.name}")
    values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{file} is no JSON object")
    return values


def _typed(values: Config) -> Any:
    """Transformers' configuration object, for feature maps of all stages."""
    kind = values.get("model_type")
    if kind == "timm_backbone":
        raise ValueError("the repository only names a model of timm: give it as timm:NAME")
    try:
        config: Any = type(AutoConfig.for_model(str(kind))).from_dict(values)
    except ValueError as error:
        raise ValueError(f"transformers knows no model of type {kind!r}") from error
    if not hasattr(config, "stage_names"):
        raise ValueError(f"transformers has no backbone of type {kind!r} (AutoBackbone)")
    config.out_indices = list(range(1, len(config.stage_names)))
    if hasattr(config, "reshape_hidden_states"):
        config.reshape_hidden_states = True
    return config


def _class_of(config: Any) -> Any:
    try:
        with torch.device("meta"):
            return type(AutoBackbone.from_config(config))
    except ValueError as error:
        raise ValueError(f"transformers has no backbone of type {config.model_type!r} (AutoBackbone)") from error

"""Backbones of transformers (`AutoBackbone`), built from the config.json of a repository, with weights from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_BACKBONE_MAPPING, AutoConfig

from rgbd3d.foreign_code import refuse_foreign_code

CONFIG_FILES = ("config.json", "preprocessor_config.json")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")

# LayerNorms over the map of each stage, which the backbones of Swin and ConvNeXt have and the models in repositories do
# not: they start with scale 1 and shift 0, which still normalises each pixel.
_NEW_NORMS = "hidden_states_norms."

_FOREIGN_CODE = ("auto_map", "quantization_config")

_REMEDY = "take another commit, by @COMMIT, or another repository"

Config = dict[str, Any]
"""What a config.json holds."""


def read_config(folder: Path) -> Config:
    """The configuration in a folder, complete, with the defaults of this version of transformers.

    Raises:
        ValueError: It is missing or broken, asks for code of others, or transformers has no backbone of its kind.
    """
    file = folder / "config.json"
    config = _typed(_read(file), str(file))
    with _explained(str(file)), torch.device("meta"):
        _class_of(config)(config)
        complete: Config = json.loads(config.to_json_string(use_diff=False))
    return complete


def read_normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in 0..1, from preprocessor_config.json.

    Raises:
        ValueError: The folder does not say them.
    """
    file = folder / "preprocessor_config.json"
    values = _read(file)
    mean, std = _channels(values.get("image_mean")), _channels(values.get("image_std"))
    if mean is None or std is None or min(std) <= 0:
        raise ValueError(f"{file} does not say image_mean and image_std of three channels: {_REMEDY}")
    return mean, std


def build_transformers(config: Config, origin: str) -> nn.Module:
    """The backbone of a configuration with all of its stages, initialised from torch's global generator.

    Args:
        config: `read_config` gave it, or a stranger's folder holds it.
        origin: Where it is from, for messages.

    Raises:
        ValueError: transformers has no such backbone, or it asks for code of others.
    """
    typed = _typed(config, origin)
    with _explained(origin):
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
    typed = _typed(config, str(folder / "config.json"))
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
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({error}): {_REMEDY}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} is no JSON object: {_REMEDY}")
    return values


def _channels(values: Any) -> tuple[float, ...] | None:
    """Three finite numbers; None if it is anything else."""
    if not isinstance(values, list) or len(values) != 3 or not all(type(value) in (int, float) for value in values):
        return None
    return tuple(map(float, values)) if all(map(math.isfinite, values)) else None


def _typed(values: Config, origin: str) -> Any:
    """Transformers' configuration object, for feature maps of all stages."""
    refuse_foreign_code(values, origin, _FOREIGN_CODE)
    kind = values.get("model_type")
    if kind == "timm_backbone":
        raise ValueError(f"{origin} only names a model of timm: give it as timm:NAME")
    try:
        known = type(AutoConfig.for_model(str(kind)))
    except ValueError as error:
        raise ValueError(f"{origin}: transformers knows no model of type {kind!r}") from error
    if known not in MODEL_FOR_BACKBONE_MAPPING:
        raise ValueError(f"{origin}: transformers has no backbone of type {kind!r} (AutoBackbone)")
    with _explained(origin):
        config: Any = known.from_dict(values)
        config.out_indices = list(range(1, len(config.stage_names)))
        if hasattr(config, "reshape_hidden_states"):
            config.reshape_hidden_states = True
    return config


def _class_of(config: Any) -> Any:
    return MODEL_FOR_BACKBONE_MAPPING[type(config)]


@contextmanager
def _explained(origin: str) -> Iterator[None]:
    """Names the configuration where transformers fails on its values; that raises whatever happens to go wrong."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"transformers cannot build the backbone of {origin} ({reason}): {_REMEDY}") from error

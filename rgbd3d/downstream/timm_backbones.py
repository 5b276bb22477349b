"""Backbones of timm: networks, and their weights from pinned safetensors files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg
from torch import Tensor, nn

from rgbd3d.strict_yaml import did_you_mean

WEIGHT_FILES = ("model.safetensors", "open_clip_model.safetensors")
"""Names of weights in timm's repositories on the Hub."""


def build_timm(name: str, *, num_classes: int = 0, **weights: Any) -> nn.Module:
    """The network of a name for images of any size, if it can take them.

    Args:
        name: timm's.
        num_classes: Of its classifier; 0 is none.
        **weights: timm's arguments that say which ones it loads; without any it is freshly initialised.

    Raises:
        ValueError: timm has none of that name, or no weights although they were asked for.
    """
    network: nn.Module
    try:
        try:
            network = timm.create_model(name, num_classes=num_classes, dynamic_img_size=True, **weights)
        except TypeError:  # an architecture without that argument
            network = timm.create_model(name, num_classes=num_classes, **weights)
    except RuntimeError as error:  # unknown, or without weights
        unknown = did_you_mean(name, timm.list_models()) if not timm.is_model(name) else ""
        raise ValueError(f"timm cannot build {name!r}: {error}{unknown}") from error
    return network


def full_name(name: str) -> str:
    """A name with the tag of timm's weights, which also stands for a normalisation: timm may change its default.

    Raises:
        ValueError: timm knows no such name.
    """
    config = _pretrained(name)
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in 0..1 that timm's network of a name expects."""
    config = _pretrained(name)
    return tuple(config.mean), tuple(config.std)


def input_size(name: str) -> tuple[int, int]:
    """(height, width) of the images that timm's weights of a name were trained on."""
    _, height, width = _pretrained(name).input_size
    return height, width


def license_of(name: str) -> str | None:
    """The terms of timm's weights of a name, as timm states them; None if it does not."""
    return _pretrained(name).license


def repository_of(name: str) -> str:
    """The repository on the Hub that holds timm's weights of a name.

    Raises:
        ValueError: timm knows none for it.
    """
    config = _pretrained(name)
    if not config.hf_hub_id:
        raise ValueError(f"timm has no weights of {name!r} on the Hub; random:timm:{name} leaves it untrained")
    return str(config.hf_hub_id)


def load_timm(name: str, file: Path) -> dict[str, Tensor]:
    """Weights of `build_timm(name)` from a safetensors file, renamed as timm does.

    Raises:
        ValueError: The file does not hold every weight.
    """
    own = build_timm(name).state_dict()
    overlay = {"file": str(file), "custom_load": False}
    classes = _pretrained(name).num_classes
    try:  # with its classifier, because only then timm loads strictly
        donor = build_timm(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes).state_dict()
    except ValueError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ValueError(f"{file} does not hold the weights of timm's {name}: {reason}") from error
    if missing := sorted(own.keys() - donor.keys()):
        raise ValueError(f"{file} does not hold all weights of timm's {name}: it lacks {', '.join(missing[:3])}")
    return {key: donor[key] for key in own}


def _pretrained(name: str) -> PretrainedCfg:
    """What timm says of a name's weights.

    Raises:
        ValueError: timm knows no such name.
    """
    try:
        config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError as error:  # a model that it has, with weights that it has not
        raise ValueError(f"timm knows no weights {name!r}: {error}") from error
    if config is None:
        raise ValueError(f"timm knows no model {name!r}{did_you_mean(name, timm.list_models())}")
    return config

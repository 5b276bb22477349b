"""A model that a run starts from instead of its card's `init`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rgbd3d import registry
from rgbd3d.cards import Start
from rgbd3d.downstream.network import TaskNetwork
from rgbd3d.training.exported_card import Given
from rgbd3d.training.run import weights_digest


@dataclass(frozen=True)
class Loaded:
    """What it brings.

    Attributes:
        backbone: With timm's names.
        decoder: That of pre-training, if it was asked for.
        given: What to say of it in the exported card.
    """

    backbone: nn.Module
    decoder: nn.Module | None
    given: Given


def open_start(name: str | Path, *, with_decoder: bool = False) -> Loaded:
    """Loads a pre-trained or a fine-tuned model to start from.

    Args:
        name: What `rgbd3d.from_pretrained` takes.
        with_decoder: Load the decoder of pre-training too.

    Raises:
        UnknownModelError: There is no such model.
        NoWeightsError: Nobody has trained it yet.
        FileNotFoundError: A folder without what is asked for.
        HubError: The Hub doesn't give it whole and as promised.
    """
    decoder: nn.Module | None = None
    if with_decoder:
        model: Any = registry.from_pretrained(name, "pretraining")
        source = model.method
        backbone, decoder = source.backbone, source.decoder
    else:
        model = registry.from_pretrained(name)
        source = backbone = model.network.backbone if isinstance(model.network, TaskNetwork) else model.network
    terms = None if model.card is None else model.card.license.weights
    return Loaded(backbone, decoder, Given(Start(digest=weights_digest(source), model=_without_place(name)), terms))


def _without_place(name: str | Path) -> str:
    """What was typed for a model, but only the last part of a folder's path: the rest means nothing elsewhere."""
    folder = Path(name).expanduser()
    return os.path.basename(os.path.abspath(folder)) if folder.is_dir() else str(name)

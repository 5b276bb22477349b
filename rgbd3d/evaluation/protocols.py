"""Evaluation protocols by name. Numbers of different protocols are never put in one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rgbd3d import registry
from rgbd3d.cards import Card, load_card
from rgbd3d.data.sources import Source
from rgbd3d.evaluation.frames import load_frames
from rgbd3d.evaluation.pretext import pretext_losses
from rgbd3d.evaluation.transfer import fine_tune, linear_probe

NYU_TRAIN_FRAMES = 795
NYU_HELD_OUT = 120
"""The last frames in index order show other rooms than the ones before them."""

NYU_CLASSES = 40
NYU_LABEL_SPACE = "nyu40"


@dataclass(frozen=True)
class Protocol:
    """How a number is measured.

    Attributes:
        name: As typed on the command line.
        description: What is trained on which frames, and what is scored.
        run: (card name or folder, data, pretrained, seed) -> metrics.
    """

    name: str
    description: str
    run: Callable[[str, Source, bool, int], dict[str, float]]


def _nyu_transfer(method: Callable[..., dict[str, float]]) -> Callable[[str, Source, bool, int], dict[str, float]]:
    def run(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
        if len(source) != NYU_TRAIN_FRAMES:
            raise ValueError(
                f"this protocol needs the {NYU_TRAIN_FRAMES} labelled training frames of NYUv2; "
                f"{source.name} has {len(source)} frames"
            )
        if source.label_space != NYU_LABEL_SPACE:
            raise ValueError(
                f"this protocol scores the {NYU_CLASSES} classes of {NYU_LABEL_SPACE}; the labels of {source.name} are "
                f"{source.label_space or 'missing'}"
            )
        model = _create(name, None, pretrained, seed)
        frames = load_frames(source, model.config.backbone_section.image_size)
        split = len(frames) - NYU_HELD_OUT
        train, test = frames.select(slice(0, split)), frames.select(slice(split, None))
        return method(model.backbone, train, test, NYU_CLASSES, seed)

    return run


def _pretext(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
    if "depth" not in source.columns:
        raise ValueError(f"{source.name} has no depth; it has {', '.join(source.columns)}")
    model = _create(name, "pretraining", pretrained, seed)
    if "depth_metres" not in model.method.inputs:
        raise ValueError(f"{name} is not pre-trained on depth: this protocol does not fit it")
    return pretext_losses(model.method, _card(name), source, seed)


def _create(name: str, task: str | None, pretrained: bool, seed: int) -> Any:
    """Loads the model, or builds it with random weights drawn from `seed`."""
    if pretrained:
        return registry.from_pretrained(name, task)
    from rgbd3d.modeling import model_from_card

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model_from_card(_card(name), task)


def _card(name: str) -> Card:
    """Card of a registered name or of a Hub folder on this machine."""
    folder = Path(name)
    return load_card(folder / "card.yaml") if folder.is_dir() else registry.get_card(name)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "nyuv2-train795/probe",
            "Linear probe of frozen features: semantic classes (40) and depth, trained on the first 675 labelled NYUv2 "
            "training frames, scored on the last 120 (other rooms).",
            _nyu_transfer(linear_probe),
        ),
        Protocol(
            "nyuv2-train795/finetune",
            "Joint fine-tuning for semantic classes (40) and depth, 8 epochs on the first 675 labelled NYUv2 training "
            "frames, scored on the last 120 (other rooms).",
            _nyu_transfer(fine_tune),
        ),
        Protocol(
            "rgbd/pretext",
            "Loss of the pre-training task on the given frames (choose some that were not trained on: --split val); "
            "masks depend on the seed only.",
            _pretext,
        ),
    )
}

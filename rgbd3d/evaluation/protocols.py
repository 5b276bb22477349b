"""Evaluation protocols by name. Numbers of different protocols are never put in one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rgbd3d import registry
from rgbd3d.data.sources import Source
from rgbd3d.evaluation.frames import load_frames
from rgbd3d.evaluation.pretext import pretext_losses
from rgbd3d.evaluation.transfer import fine_tune, linear_probe

NYU_TRAIN_FRAMES = 795
NYU_HELD_OUT = 120
"""The last frames in index order show other rooms than the ones before them."""

NYU_CLASSES = 40


@dataclass(frozen=True)
class Protocol:
    """How a number is measured.

    Attributes:
        name: As typed on the command line.
        description: What is trained on which frames, and what is scored.
        run: (model name, data, pretrained, seed) -> metrics.
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
        model = _create(name, None, pretrained, seed)
        frames = load_frames(source, model.config.image_size)
        split = len(frames) - NYU_HELD_OUT
        train, test = frames.select(slice(0, split)), frames.select(slice(split, None))
        return method(model.backbone, train, test, NYU_CLASSES, seed)

    return run


def _pretext(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
    model = _create(name, "pretraining", pretrained, seed)
    return pretext_losses(model.method, registry.get_card(name), source, seed)


def _create(name: str, task: str | None, pretrained: bool, seed: int):  # type: ignore[no-untyped-def]
    """Builds the model with random weights drawn from `seed`, or loads it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return registry.create_model(name, task=task, pretrained=pretrained)


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
            "Loss of the pre-training task on frames that were not trained on; masks depend on the seed only.",
            _pretext,
        ),
    )
}

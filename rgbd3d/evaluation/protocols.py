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
"""Scored, not trained on: the last frames. A room's frames follow each other, so these show other rooms than the ones
before them; only the room of the last frame trained on (1197) is seen again, in the first one scored (1198)."""

NYU_NUMBERS = {0: 3, 159: 265, 318: 530, 477: 853, 636: 1097, 674: 1197, 675: 1198, 794: 1440}
"""Position -> official number from 1 (`trainNdxs` of NYUv2's splits.mat) of some frames, with both sides of the cut:
enough to tell the training split, in its order, from any other frames."""

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
        check_nyu(source)
        model = _create(name, None, pretrained, seed)
        frames = load_frames(source, model.config.backbone_section.image_size)
        split = len(frames) - NYU_HELD_OUT
        train, test = frames.select(slice(0, split)), frames.select(slice(split, None))
        return method(model.backbone, train, test, NYU_CLASSES, seed)

    return run


def check_nyu(source: Source) -> None:
    """Refuses all but the labelled training frames of NYUv2 in their official order; decodes a few of them.

    Raises:
        ValueError: Says what differs.
    """
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
    _check_depth(source)
    for position, number in NYU_NUMBERS.items():
        found = source[position].get("frame_id")
        if found != number:
            raise ValueError(
                f"{source.name}: frame_id at position {position} is {found}, but {number} is there in NYUv2's training "
                "split: other frames, or not named by their official numbers (from 1) and in that order"
            )


def _check_depth(source: Source) -> None:
    if "depth" not in source.columns:
        raise ValueError(f"{source.name} has no depth; it has {', '.join(source.columns)}")


def _pretext(name: str, source: Source, pretrained: bool, seed: int) -> dict[str, float]:
    _check_depth(source)
    model = _create(name, "pretraining", pretrained, seed)
    if "depth_metres" not in model.method.inputs:
        raise ValueError(f"{name} is not pre-trained on depth: this protocol does not fit it")
    return pretext_losses(model.method, find_card(name), source, seed)


def _create(name: str, task: str | None, pretrained: bool, seed: int) -> Any:
    """Loads the model, or builds it with random weights drawn from `seed`."""
    if pretrained:
        return registry.from_pretrained(name, task)
    from rgbd3d.modeling import model_from_card

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model_from_card(find_card(name), task)


def find_card(name: str) -> Card:
    """Card of a registered name, or of a folder that rgbd3d wrote.

    A plain word is a card, never a folder, as in `registry.from_pretrained`.

    Raises:
        UnknownModelError: There is no such card or folder.
        CardError: The card cannot be read.
    """
    if not (name.startswith((".", "~")) or "/" in name or "\\" in name):
        return registry.get_card(name)
    file = Path(name).expanduser() / "card.yaml"
    if not file.is_file():
        raise registry.UnknownModelError(
            f"there is no {file}; name a card, or a folder that `rgbd3d pretrain` or `rgbd3d pull` wrote"
        )
    return load_card(file)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "nyuv2-train795/probe",
            "Linear probe of frozen features: semantic classes (40) and depth, trained on the first 675 labelled NYUv2 "
            "training frames, scored on the last 120 (other rooms but one).",
            _nyu_transfer(linear_probe),
        ),
        Protocol(
            "nyuv2-train795/finetune",
            "Joint fine-tuning for semantic classes (40) and depth, 8 epochs on the first 675 labelled NYUv2 training "
            "frames, scored on the last 120 (other rooms but one).",
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

"""The recipes of the papers run: every card of a task in miniature, from the first frame to the number at the end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tiny_run as tiny
import torch
from safetensors.torch import load_file

from rgbd3d import registry
from rgbd3d.cards import Card
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.evaluation.protocols_base import ScoredProtocol
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.objectives import Decoder
from rgbd3d.tasks import DPT, Attentive, ConvNeXt, InstanceSegmentation, PretrainedDecoder
from rgbd3d.training import task_frames
from rgbd3d.training.finetune import finetune
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace

FRAMES, CLASSES, SIZE = 3, 8, (480, 640)
MASK3D = "mask3d-vitb-scannet.semseg-scannet"
SMALL_HEADS: dict[type, Any] = {
    Attentive: Attentive(name="attentive", heads=3),
    ConvNeXt: ConvNeXt(name="convnext", width=16, cells=2, depth=1),
    DPT: DPT(name="dpt", level_dims=(8, 8, 8, 8), feature_dim=8),
    PretrainedDecoder: PretrainedDecoder(name="decoder", decoder=tiny.CARD.objective.decoder),
}
"""What takes the place of a head; the others are small already."""


def all_recipes() -> list[str]:
    return [name for name in registry.list_models() if registry.get_card(name).task is not None]


def miniature(card: Card) -> Card:
    """The card with a ViT-Ti and a small head at a few patches, for one step of two frames."""
    patch, square = card.backbone.patch_size, len(set(card.backbone.image_size)) == 1
    size = (4 * patch, 4 * patch) if square else (3 * patch, 4 * patch)
    head = getattr(card.objective, "head", None)
    objective: Any = card.objective
    if type(head) in SMALL_HEADS:
        objective = dataclasses.replace(objective, head=SMALL_HEADS[type(head)])
    if isinstance(objective, InstanceSegmentation):
        objective = dataclasses.replace(objective, width=16)
    return dataclasses.replace(
        card,
        init=None,
        backbone=dataclasses.replace(card.backbone, architecture="vit_tiny", image_size=size),
        objective=objective,
        data=dataclasses.replace(card.data, frames=card.data.frames and (0, FRAMES)),
        train=dataclasses.replace(card.train, epochs=None, max_steps=1, batch_size=2, accumulate=1, threads=1),
    )


def labelled(number: int) -> dict[str, Any]:
    """A frame in which the distance tells the class, and each class is one object."""
    sample: Any = dict(tiny.frame(number, SIZE))
    depth = sample["depth"][0]
    sample["semantic"] = (depth * CLASSES / 3.5).long().clamp(max=CLASSES - 1).masked_fill(depth == 0, 255)
    sample["instance"] = (sample["semantic"] + 1).masked_fill(depth == 0, 0).int()
    return sample


def write_frames(folder: Path, card: Card) -> Path:
    """The splits that are trained on and scored; one split where the protocol scores a part of it."""
    protocol = find_scored(card.evaluation.protocol)
    counts = {card.data.split: FRAMES, protocol.frames.split: 2}
    if len(counts) == 1:
        counts = {card.data.split: FRAMES + 2}
    for first, (split, count) in enumerate(counts.items()):
        rows = [encode_sample(labelled(10 * first + number)) for number in range(count)]
        labels = getattr(card.objective, "labels", None) or "nyu40"
        write_shard(folder / f"{split}-00000-of-00001.parquet", rows, labels)
    return folder


@pytest.fixture
def any_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protocols take a few frames of any number for their data set; how they score stays theirs."""

    def loosened(name: str) -> ScoredProtocol[Any]:
        protocol = find_scored(name)
        first = FRAMES if protocol.frames.first else 0
        frames = dataclasses.replace(protocol.frames, count=None, numbers={}, every=None, size=None, first=first)
        return dataclasses.replace(protocol, frames=frames)

    monkeypatch.setattr(task_frames, "find_scored", loosened)


@pytest.mark.slow
@pytest.mark.usefixtures("any_frames")
@pytest.mark.parametrize("name", all_recipes())
def test_every_recipe_runs_in_miniature(name: str, tmp_path: Path):
    card = miniature(registry.get_card(name))
    result = finetune(card, str(write_frames(tmp_path / "data", card)), tmp_path / "run", device="cpu")
    assert result is not None
    assert result.protocol == card.evaluation.protocol
    assert card.evaluation.metric in result.runs[0]
    assert (tmp_path / "run" / "final" / "model.safetensors").is_file()


@pytest.mark.usefixtures("any_frames")
def test_mask3d_transfers_encoder_and_decoder(tmp_path: Path):
    """Mask3D §4.1, in the two commands that its ablations need: pre-train, then fine-tune from that folder."""
    card = miniature(registry.get_card(MASK3D))
    changes = (
        "backbone.class_token=true",
        f"backbone.image_size={list(card.backbone.image_size)}",
        "train.max_steps=1",
    )
    rgbd = str(tiny.write_frames(tmp_path / "rgbd"))
    start = pretrain(tiny.CARD, rgbd, tmp_path / "pretrained", changes, device="cpu", pace=Pace(log_every=1))
    data, still = write_frames(tmp_path / "data", card), ["train.optimizer.lr=1e-12"]
    result = finetune(card, str(data), tmp_path / "run", still, start=start, device="cpu")
    assert result is not None
    assert result.pretrained

    tuned = load_file(tmp_path / "run" / "final" / "model.safetensors")
    whole = load_file(start / "pretraining" / "model.safetensors")
    taken = {f"head.{name}" if name.startswith("decoder.") else name for name in whole}
    own = {name for name in tuned if name.startswith("head.decoder.heads.")}
    assert set(tuned) - own <= taken, "only the last layer is new"
    for name in set(tuned) - own:
        torch.testing.assert_close(tuned[name], whole[name.removeprefix("head.")], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("any_frames")
def test_a_start_without_the_decoder_that_a_head_needs(tmp_path: Path):
    card = miniature(registry.get_card(MASK3D))
    data, decoder = write_frames(tmp_path / "data", card), Decoder(dim=64, depth=1, heads=2)
    wide = dataclasses.replace(
        card,
        backbone=registry.get_card("mask3d-vitt-synthrooms").backbone,
        objective=dataclasses.replace(card.objective, head=PretrainedDecoder(name="decoder", decoder=decoder)),
    )
    with pytest.raises(ValueError, match=r"starts from mask3d-vitt-synthrooms: these weights are of another decoder"):
        finetune(wide, str(data), tmp_path / "wide", start="mask3d-vitt-synthrooms", device="cpu")

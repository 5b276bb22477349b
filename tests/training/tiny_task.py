"""Cards of tasks and frames small enough to fine-tune in seconds, and how a test does it in another process."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny_run as tiny
import torch

from rgbd3d.cards import Card, Data, Evaluation
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.tasks import ConvNeXt, DepthEstimation, Linear, SemanticSegmentation

FRAMES, SCORED = 10, 3
STEPS, SAVE_EVERY = 5, 2
DEPTH_PROTOCOL, SEMANTIC_PROTOCOL = "frames-depth/full", "frames-semseg/40"

DEPTH = dataclasses.replace(
    tiny.CARD,
    name="mask3d-vitt-tiny.depth-tiny",
    task="depth-estimation",
    objective=DepthEstimation(head=ConvNeXt(name="convnext", width=16, cells=2, depth=1), loss="log-l1", drop_path=0.3),
    evaluation=Evaluation(protocol=DEPTH_PROTOCOL, metric="abs_rel", every=1),
    train=dataclasses.replace(tiny.CARD.train, batch_size=4, accumulate=1, max_steps=STEPS, layer_decay=0.75),
)
"""Five steps of four frames, twice through the ten: scored after steps 0, 3 and 5."""

PLAIN_DEPTH = dataclasses.replace(
    DEPTH, objective=dataclasses.replace(DEPTH.objective, loss="l1", drop_path=0.0), data=Data(source="made up")
)
"""Nothing is drawn but the order, and every pixel counts the same, so numbers of processes can be compared."""

SEMANTIC = dataclasses.replace(
    DEPTH,
    name="mask3d-vitt-tiny.semseg-tiny",
    task="semantic-segmentation",
    objective=SemanticSegmentation(labels="nyu40", head=Linear(name="linear")),
    data=Data(source="made up", transform="pri3d"),
    evaluation=Evaluation(protocol=SEMANTIC_PROTOCOL, metric="miou", every=1),
)


def labelled(number: int, classes: int = 3) -> dict[str, Any]:
    """A frame whose label tells how far away a pixel is."""
    sample: Any = dict(tiny.frame(number))
    sample["semantic"] = (sample["depth"][0] * classes / 3.5).long().clamp(max=classes - 1)
    sample["semantic"][sample["depth"][0] == 0] = 255
    sample["instance"] = (sample["semantic"] == 1).int()
    return sample


def write_frames(
    folder: Path, frames: int = FRAMES, *, label_space: str = "nyu40", change: Any = dict, splits: Sequence[str] = ()
) -> Path:
    """A Parquet data set with the splits train and test; `change` makes something else of each training frame."""
    for split in splits or ("train", "test"):
        count, first, make = (frames, 0, change) if split == "train" else (SCORED, 100, dict)
        rows = [encode_sample(make(labelled(number))) for number in range(first, first + count)]
        write_shard(folder / f"{split}-00000-of-00001.parquet", rows, label_space)
    return folder


def finetune(
    card: Card,
    data: Path,
    output: Path,
    workers: int = 0,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
) -> Any:
    """Runs or continues a fine-tuning; for a process of its own."""
    from rgbd3d.training.finetune import finetune
    from rgbd3d.training.recipe import Pace

    multiprocessing.set_start_method("fork", force=True)  # as in `tiny_run.train`
    pace = Pace(log_every=1, save_every=SAVE_EVERY)
    return finetune(card, str(data), output, overrides, seeds=seeds, workers=workers, device="cpu", pace=pace)


def without_depth(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "depth": torch.zeros_like(sample["depth"])}


def without_labels(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "semantic": torch.full_like(sample["semantic"], 255)}

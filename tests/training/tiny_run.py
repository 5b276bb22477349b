"""A card and frames small enough to train in seconds, and how a test trains them in another process."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from rgbd3d.cards import Augment, Backbone, Card, Data, License, Weights
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.objectives import Decoder, Mask3DObjective
from rgbd3d.optimization import AdamW, Cosine, Train
from rgbd3d.types import RGBDSample

FRAMES = 22
STEPS = 9
SAVE_EVERY = 3

CARD = Card(
    name="mask3d-vitt-tiny",
    title="For tests",
    method="mask3d",
    paper="none",
    provenance="smoke-test",
    backbone=Backbone(
        architecture="vit_tiny", patch_size=16, image_size=(32, 48), class_token=False, parameters=5487744
    ),
    objective=Mask3DObjective(
        keep_rgb=0.5,
        keep_depth=0.2,
        depth_encoder_depth=1,
        init_depth_encoder="fresh",
        decoder=Decoder(dim=32, depth=1, heads=2),
    ),
    data=Data(
        source="made up",
        augment=Augment(crop_scale=(0.5, 1.0), flip=0.5, color_jitter=0.3, blur=0.3, depth_holes=0.1),
    ),
    train=Train(
        optimizer=AdamW(name="adamw", lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
        schedule=Cosine(name="cosine", warmup=0.1),
        batch_size=4,
        accumulate=2,
        max_steps=STEPS,
        clip_grad_norm=3.0,
        threads=1,
    ),
    weights=Weights(status="recipe"),
    license=License(weights="Apache-2.0", data="made up"),
)
"""9 steps of 2 x 4 frames: more than three times through the 22 frames."""

PLAIN_CARD = dataclasses.replace(
    CARD,
    objective=dataclasses.replace(CARD.objective, keep_rgb=1.0, keep_depth=1.0, disjoint=False),
    data=dataclasses.replace(CARD.data, augment=Augment()),
)
"""Nothing is drawn but the order, so processes that draw for themselves can be compared."""


def with_train(card: Card, **changes: object) -> Card:
    """The card with some values of its `train:` section replaced."""
    return dataclasses.replace(card, train=dataclasses.replace(card.train, **changes))


def frame(number: int, size: tuple[int, int] = (40, 60)) -> RGBDSample:
    """A smooth random picture with depth in 1..3 m and a corner without measurement."""
    rng = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 4, 5, 7, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]
    depth = ((1 + 2 * smooth[3:]) * 1000).round() / 1000
    depth[:, :6, :9] = 0
    return {
        "image": (smooth[:3] * 255).to(torch.uint8),
        "depth": depth,
        "scene_id": f"scene{number // 8}",
        "frame_id": number,
    }


def write_frames(folder: Path, count: int = FRAMES, shards: int = 3) -> Path:
    """A Parquet data set of `count` frames."""
    for shard in range(shards):
        rows = [encode_sample(frame(number)) for number in range(shard, count, shards)]
        write_shard(folder / f"train-{shard:05d}-of-{shards:05d}.parquet", rows)
    return folder


def train(card: Card, data: Path, output: Path, workers: int = 0, overrides: Sequence[str] = ()) -> Path:
    """Runs or continues the training; for a process of its own."""
    from rgbd3d.training.pretrain import pretrain
    from rgbd3d.training.recipe import Pace

    # Loader workers as in a process started from a shell; those of a fork server would outlive a killed parent.
    multiprocessing.set_start_method("fork", force=True)
    pace = Pace(log_every=1, save_every=SAVE_EVERY)
    return pretrain(card, str(data), output, overrides, workers=workers, device="cpu", pace=pace)


def train_as_group(card: Card, data: Path, output: Path, workers: int) -> Path:
    """As `train`, in a process group of its own: a signal to the group reaches loader workers too."""
    os.setpgrp()
    return train(card, data, output, workers)

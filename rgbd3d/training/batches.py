"""The batches of a training run: the data package's endless loader, started at any step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rgbd3d.cards import Augment, Card
from rgbd3d.data.base import Source
from rgbd3d.data.loader import make_loader
from rgbd3d.data.transforms import Compose, preset

Batch = dict[str, Any]
"""Tensors of `rgbd3d.data.loader.make_loader`; and `number`, the forward pass since the start of training, an int."""


class TrainBatches:
    """Endless batches of one process, from any optimiser step on, at no cost.

    It has no length on purpose: Trainer then goes by `max_steps` alone and knows no epochs.

    Args:
        source: Frames.
        card: Recipe: batch size, accumulation, augmentation, image size and seed.
        first_step: Optimiser step to start at.
        rank: Of this process.
        world: Number of processes.
        workers: Loader processes; the batches do not depend on it.
    """

    def __init__(self, source: Source, card: Card, *, first_step: int, rank: int, world: int, workers: int):
        self._start = first_step * card.train.accumulate
        self._loader = make_loader(
            source,
            augmentation(card),
            card.backbone.image_size,
            batch_size=card.train.batch_size,
            seed=card.train.seed,
            start=self._start,
            rank=rank,
            world=world,
            workers=workers,
        )

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self._loader, self._start):
            yield {**batch, "number": number}


def augmentation(card: Card) -> Augment | Compose:
    """What a recipe does to frames at random: its augmentation, or the transform that it names.

    Raises:
        ValueError: There is no such transform.
    """
    if card.data.transform is None:
        return card.data.augment
    return preset(card.data.transform, card.backbone.image_size)

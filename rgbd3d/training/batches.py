"""The batches of a training run: the data package's endless loader, started at any step."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from rgbd3d.cards import Card
from rgbd3d.data.base import Source
from rgbd3d.data.loader import make_loader

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
            card.data.augment,
            card.backbone.image_size,
            batch_size=card.train.batch_size,
            seed=card.train.seed,
            start=self._start,
            rank=rank,
            world=world,
            workers=workers,
        )
        self._loader.worker_init_fn = _outlive_signals
        self._loader.generator = torch.Generator()  # or every start would draw from the global generator

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        for number in itertools.count(self._start):
            with _one_thread():
                batch = next(batches)
            yield {**batch, "number": number}


@contextmanager
def _one_thread() -> Iterator[None]:
    """A loader's worker has one torch thread, so preparation in the main process gets one too: same sums, same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _outlive_signals(worker: int) -> None:
    """Ctrl-C and SIGTERM may reach the whole process group; a worker that died of one could not serve the last step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _outlive_one)


def _outlive_one(number: int, frame: FrameType | None) -> None:
    """The next one acts: at exit the main process terminates workers by it and waits for them."""
    signal.signal(number, signal.SIG_DFL)

"""A source as an endless, exactly resumable loader of prepared batches."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rgbd3d import seeding
from rgbd3d.cards import Augment
from rgbd3d.data.base import Source
from rgbd3d.data.batch import prepare
from rgbd3d.data.stream import IndexBatch, ShuffledBatches
from rgbd3d.data.transforms.collate import transform_batch
from rgbd3d.data.transforms.compose import Compose

_AUGMENT = 0x61756772  # sets these draws apart from all others with the same seed


class PreparedBatches(Dataset[dict[str, Tensor]]):
    """What a worker of the DataLoader runs: the indices of a batch -> its tensors.

    The augmentation is drawn from (seed, number of the batch, rank); the number travels with the indices. So the same
    batch comes out whichever worker makes it, and after whatever was made before.

    Args:
        source: Frames.
        augment: Augmentation, or a transform of each frame.
        image_size: (height, width) of the batches; a transform has to end in it.
        seed: Of the augmentation.
        rank: This process.
    """

    def __init__(
        self, source: Source, augment: Augment | Compose, image_size: tuple[int, int], seed: int, rank: int = 0
    ) -> None:
        self._source, self._augment, self._image_size = source, augment, image_size
        self._seed, self._rank = seed, rank

    def __getitems__(self, indices: IndexBatch) -> dict[str, Tensor]:
        """Batch of `rgbd3d.data.batch.prepare` or of `rgbd3d.data.transforms.collate.transform_batch`.

        And `index` int64 (B,): which frames of the source they are.
        """
        generator = seeding.generator(_AUGMENT, self._seed, indices.number, self._rank)
        with _one_thread():
            samples = [self._source[index] for index in indices]
            if isinstance(self._augment, Augment):
                batch = prepare(samples, self._augment, self._image_size, generator)
            else:
                batch = transform_batch(samples, self._augment, generator)
        return {**batch, "index": torch.tensor(indices)}


def make_loader(
    source: Source,
    augment: Augment | Compose,
    image_size: tuple[int, int],
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> DataLoader[dict[str, Tensor]]:
    """Endless loader; batch `start` comes first.

    Args:
        source: Frames.
        augment: Augmentation, or a transform of each frame.
        image_size: (height, width) of the batches; a transform has to end in it.
        batch_size: Frames per batch over all processes.
        seed: Of order and augmentation.
        start: Batches already consumed: the whole state of the loader.
        rank: This process.
        world: Number of processes; each gets batch_size / world frames of a batch.
        workers: Loader processes; their number does not change the batches.

    Returns:
        Iterable of `PreparedBatches` items.
    """
    return DataLoader(
        PreparedBatches(source, augment, image_size, seed, rank),
        batch_sampler=cast(Any, ShuffledBatches(source, batch_size, seed, start, rank, world)),
        num_workers=workers,
        collate_fn=cast(Any, _as_is),
        worker_init_fn=_outlive_signals,
        generator=torch.Generator(),  # or every start would draw from the global generator
        pin_memory=torch.cuda.is_available(),
    )


def _as_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch


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

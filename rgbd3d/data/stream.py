"""An endless shuffled stream of batches whose state is one integer.

Batch k is a pure function of (layout of the source, seed, k): resuming decodes nothing, neither the number of workers
nor of processes changes which frames a batch holds, and epochs continue into each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from rgbd3d import seeding
from rgbd3d.data.base import Source

WINDOW = 1024
"""Frames that are open at a time. Larger mixes better and keeps more in memory."""

_ORDER = 0x6F726472  # sets these draws apart from all others with the same seed


class IndexBatch(list[int]):
    """Indices into a source, and the number of the batch since the start of training."""

    def __init__(self, indices: Sequence[int], number: int) -> None:
        super().__init__(indices)
        self.number = number

    def __reduce__(self) -> tuple[type[IndexBatch], tuple[list[int], int]]:
        return type(self), (list(self), self.number)


class ShuffledBatches(Sampler[list[int]]):
    """Batch sampler for `torch.utils.data.DataLoader(batch_sampler=...)`: seeded, endless, resumable by arithmetic.

    Every epoch visits the row groups in a new order, and shuffles the frames within consecutive windows of row groups
    that hold `WINDOW` frames or a little more, so that a remote source reads every row group once and in one piece.

    Args:
        source: What to draw from.
        batch_size: Frames per batch over all processes.
        seed: Of the order.
        start: Number of the first batch.
        rank: This process; it gets a contiguous slice of each batch.
        world: Number of processes.

    Raises:
        ValueError: An empty source, or a batch that cannot be divided among the processes.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if not len(source):
            raise ValueError(f"{source.name} has no frames")
        if batch_size < 1 or batch_size % world:
            raise ValueError(
                f"batch_size {batch_size} cannot be divided among {world} processes: choose a multiple of {world}"
            )
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} of {world} processes")
        self._groups = np.asarray(source.row_groups())
        self._batch_size, self._seed, self._start = batch_size, seed, start
        share = batch_size // world
        self._slice = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[int]]:
        frames = int(self._groups.sum())
        epoch, order = -1, np.empty(0, np.int64)
        number = self._start
        while True:
            indices: list[int] = []
            position = number * self._batch_size
            while len(indices) < self._batch_size:
                if epoch != position // frames:
                    epoch = position // frames
                    order = epoch_order(self._groups, self._seed, epoch)
                part = order[position % frames :][: self._batch_size - len(indices)]
                indices += part.tolist()
                position += len(part)
            yield IndexBatch(indices[self._slice], number)
            number += 1


def epoch_order(groups: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Order of all frames in one epoch.

    Args:
        groups: Sizes of the row groups.
        seed: Of the stream.
        epoch: Number of the pass.

    Returns:
        A permutation of 0 .. sum(groups) - 1, int64.
    """
    generator = seeding.generator(_ORDER, seed, epoch)
    visited = torch.randperm(len(groups), generator=generator).numpy()
    sizes = groups[visited]
    starts = (np.cumsum(groups) - groups)[visited]
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    in_order = np.repeat(starts, sizes) + within
    shuffled = [
        window[torch.randperm(len(window), generator=generator).numpy()]
        for window in np.split(in_order, _window_ends(sizes)[:-1])
    ]
    return np.concatenate(shuffled)


def _window_ends(sizes: np.ndarray) -> list[int]:
    """Frame positions at which windows of whole row groups with at least `WINDOW` frames end."""
    ends, start, stop = [], 0, 0
    for size in sizes.tolist():
        stop += size
        if stop - start >= WINDOW:
            ends.append(stop)
            start = stop
    return ends if start == stop else [*ends, stop]

"""Scores the predictions of a model by a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rgbd3d.data.base import Source
from rgbd3d.evaluation.protocols_base import M, Sample, ScoredProtocol


@torch.no_grad()
def score(
    protocol: ScoredProtocol[M],
    source: Source,
    model: Callable[[Tensor], Any],
    batch_size: int = 8,
    indices: Sequence[int] | None = None,
    watch: Callable[[Sequence[Sample], Any], None] | None = None,
) -> M:
    """Predicts and scores all frames of a protocol.

    Args:
        protocol: What is scored, and how.
        source: Its frames.
        model: uint8 images (B, 3, H, W) to what the protocol's `add` takes; it normalises, resizes and moves them to
            its device as it needs.
        batch_size: Frames that are predicted together; fewer where sizes differ.
        indices: Frames of the source, for one of several processes; all that the protocol scores by default.
        watch: Is shown each batch of frames with its prediction, after they are scored.

    Returns:
        The filled meter.

    Raises:
        ValueError: The data or the predictions do not fit the protocol.
        DataError: A frame cannot be used.
    """
    protocol.frames.check(source)
    chosen = range(protocol.frames.first, len(source)) if indices is None else indices
    meter = protocol.meter()
    with tqdm(total=len(chosen), desc=protocol.name, unit="frame", leave=False, disable=None) as progress:
        for samples in _batches(protocol, source, chosen, batch_size):
            images = torch.stack([sample["image"] for sample in samples])
            prediction = protocol.predict(model, images)
            protocol.add(meter, prediction, samples)
            if watch is not None:
                watch(samples, prediction)
            progress.update(len(samples))
    return meter


def results(protocol: ScoredProtocol[M], source: Source, meter: M) -> dict[str, float]:
    """Name -> value of what `score` measured, of one process or of all.

    Raises:
        ValueError: No frame has a truth that counts; names protocol and data.
    """
    try:
        return meter.compute()
    except ValueError as error:
        raise ValueError(f"{protocol.name} on {source.name}: {error}") from error


def _batches(protocol: ScoredProtocol[M], source: Source, indices: Sequence[int], size: int) -> Iterator[list[Sample]]:
    """Consecutive frames of one size."""
    waiting: list[Sample] = []
    for index in indices:
        sample = protocol.view.make(protocol.frames.read(source, index))
        if waiting and (len(waiting) == size or sample["image"].shape != waiting[0]["image"].shape):
            yield waiting
            waiting = []
        waiting.append(sample)
    if waiting:
        yield waiting

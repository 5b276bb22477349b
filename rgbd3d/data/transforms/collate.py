"""Samples -> the tensors of one training step, by a transform of each sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from rgbd3d.data.batch import IMAGENET_MEAN, IMAGENET_STD, normalise_image
from rgbd3d.data.codec import DataError
from rgbd3d.data.transforms.color import Normalise
from rgbd3d.data.transforms.compose import Compose
from rgbd3d.types import RGBDSample

_TRUTH = {"depth_metres": ("depth_metres", "depth"), "semantic": ("semantic",), "instance": ("instance",)}
"""Entry of a batch -> where a transformed sample has it: `depth` is in metres unless it was rescaled."""


def transform_batch(samples: Sequence[RGBDSample], transform: Compose, generator: Generator) -> dict[str, Tensor]:
    """Transforms each sample and collates.

    Colour ends as the networks take it, ImageNet-normalised, also where the transform leaves it in 0..1.

    Args:
        samples: Frames, all with the same keys.
        transform: Gives all of them one size.
        generator: Source of every draw.

    Returns:
        image: float32 (B, 3, h, w), ImageNet-normalised.
        depth_metres: float32 (B, 1, h, w), 0 where invalid; only if the samples have depth.
        semantic: int64 (B, h, w); only if the samples have it.
        instance: int32 (B, h, w); only if the samples have it.

    Raises:
        DataError: Samples with different keys, or of different sizes after the transform.
        ValueError: The transform normalises colour by other constants than ImageNet's.
    """
    normalised = _normalises(transform)
    transformed = [transform(sample, generator) for sample in samples]
    image = _stack([sample["image"] for sample in transformed], "image")
    if not normalised:
        image = normalise_image(image if image.is_floating_point() else image / 255)
    batch = {"image": image}
    for name, keys in _TRUTH.items():
        found = [next((sample[key] for key in keys if key in sample), None) for sample in transformed]
        if any(value is not None for value in found):
            batch[name] = _stack(found, name)
    return batch


def _normalises(transform: Compose) -> bool:
    """Whether the transform already gives what networks take."""
    steps = [step for step in transform.steps if isinstance(step, Normalise)]
    for step in steps:
        if (tuple(step.mean), tuple(step.deviation)) != (IMAGENET_MEAN, IMAGENET_STD):
            raise ValueError(
                f"this transform normalises colour by {tuple(step.mean)} and {tuple(step.deviation)}; the networks are "
                "trained and used with ImageNet's mean and deviation: choose another transform"
            )
    return bool(steps)


def _stack(values: Sequence[Tensor | None], name: str) -> Tensor:
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        raise DataError(f"samples of one batch differ in having {name}: choose the columns of the source")
    if len(sizes := {tuple(value.shape[-2:]) for value in present}) > 1:
        listed = ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise DataError(
            f"after the transform the samples of one batch have several sizes ({listed}); it should end in one"
        )
    return torch.stack(present)

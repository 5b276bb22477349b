"""A task network as a training step sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rgbd3d.downstream.network import TaskNetwork
from rgbd3d.types import LossOutput


class TaskLoss(nn.Module):
    """A task network whose `forward` is its loss, because `forward` is what DDP and autocast wrap.

    Drop path, dropout and the samplers of a detector draw from torch's global generator. It is seeded for each forward
    pass and put back afterwards, so that these draws, too, depend on (seed, step) alone.

    Args:
        network: Is used, not copied.
    """

    def __init__(self, network: TaskNetwork) -> None:
        super().__init__()
        self.network = network

    @property
    def inputs(self) -> tuple[str, ...]:
        """Entries of a batch that `forward` takes."""
        return self.network.inputs

    @property
    def backbone(self) -> nn.Module:
        """The part whose layers learn at their own rates."""
        return self.network.backbone

    def forward(self, *, generator: torch.Generator, **batch: Tensor) -> LossOutput:
        """One training step.

        Args:
            generator: Freshly seeded; its seed is that of all draws.
            **batch: What `inputs` names, (B, ...); `image` is ImageNet-normalised, whatever the backbone expects.

        Raises:
            ValueError: A label is no class of the network.
        """
        image = self.network.preprocessing.from_imagenet(batch["image"])
        with _seeded(generator.initial_seed(), image.device):
            loss, parts = self.network.loss({**batch, "image": image})
        return LossOutput(loss, parts)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

"""A small Mask3D objective, batches for it, and one forward pass."""

import dataclasses

import torch

from rgbd3d.methods.mask3d import Mask3D
from rgbd3d.objectives import Decoder, Mask3DObjective
from rgbd3d.seeding import generator

PATCH, ROWS, COLUMNS = 8, 3, 5
PATCHES, CLASSES = ROWS * COLUMNS, 6
OBJECTIVE = Mask3DObjective(depth_encoder_depth=2, decoder=Decoder(dim=16, depth=2, heads=2), semantic_classes=CLASSES)


def objective(**changes) -> Mask3DObjective:
    return dataclasses.replace(OBJECTIVE, **changes)


def frames(batch: int = 2, height: int = 24, width: int = 40, holes: float = 0.2) -> dict[str, torch.Tensor]:
    """A batch with holes in its depth and unlabelled pixels."""
    random = generator(11)
    metres = 1 + 3 * torch.rand(batch, 1, height, width, generator=random)
    metres[torch.rand(batch, 1, height, width, generator=random) < holes] = 0
    semantic = torch.randint(0, CLASSES, (batch, height, width), generator=random)
    semantic[torch.rand(batch, height, width, generator=random) < 0.1] = 255
    return {
        "image": torch.randn(batch, 3, height, width, generator=random),
        "depth": torch.where(metres > 0, metres - 2.5, 0.0),
        "depth_metres": metres,
        "semantic": semantic,
    }


def run(method: Mask3D, batch: dict[str, torch.Tensor] | None = None, seed: int = 0, **options):
    batch = frames() if batch is None else batch
    return method(**{name: batch[name] for name in method.inputs}, generator=generator(seed), **options)


def hide(mask: torch.Tensor) -> torch.Tensor:
    """Pixels (B, 1, H, W) of the patches that `mask` (B, N) does not keep."""
    return ~mask.reshape(-1, 1, ROWS, COLUMNS).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)

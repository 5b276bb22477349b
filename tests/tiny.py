"""The smallest real models of the library, for tests that need one."""

from pathlib import Path

import torch
from torch import Tensor

from rgbd3d.cards import Card, load_card, with_overrides
from rgbd3d.methods import MAE, Mask3D, build_method

CARDS = Path(__file__).resolve().parents[1] / "hub_configs"
SIZE = (32, 48)


def tiny_card(*overrides: str) -> Card:
    card = load_card(CARDS / "mask3d-vitt-synthrooms.yaml")
    shrink = ["backbone.patch_size=16", f"backbone.image_size={list(SIZE)}", "backbone.parameters=5421888"]
    return with_overrides(card, [*shrink, "init=null", "objective.decoder={dim: 32, depth: 1, heads: 2}", *overrides])


def tiny_method(card: Card, seed: int = 0) -> MAE | Mask3D:
    torch.manual_seed(seed)
    return build_method(card).eval()


def noise(batch: int = 2, size: tuple[int, int] = SIZE, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(batch))

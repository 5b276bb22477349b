"""A few labelled frames in memory, and a card for them."""

from pathlib import Path

import torch
from tiny import SIZE, tiny_card

from rgbd3d import registry
from rgbd3d.cards import dump
from rgbd3d.data.base import Source
from rgbd3d.types import RGBDSample

NAME = "mask3d-vitt-tiny"


class LabelledSource(Source):
    """Random frames that are decoded already."""

    name = "made-up"

    def __init__(
        self,
        count: int,
        *,
        columns: tuple[str, ...] = ("image", "depth", "semantic", "frame_id"),
        label_space: str | None = "nyu40",
        first_number: int = 0,
    ) -> None:
        self.columns, self.label_space = columns, label_space
        self.samples = [frame(number) for number in range(first_number, first_number + count)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> RGBDSample:
        return {key: value for key, value in self.samples[index].items() if key in self.columns}

    def row_groups(self) -> tuple[int, ...]:
        return (len(self),)

    def digest(self) -> str:
        return "0" * 64


def frame(number: int) -> RGBDSample:
    draws = torch.Generator().manual_seed(number)
    return {
        "image": torch.randint(0, 256, (3, *SIZE), generator=draws, dtype=torch.uint8),
        "depth": 1 + 3 * torch.rand(1, *SIZE, generator=draws),
        "semantic": torch.randint(0, 40, SIZE, generator=draws),
        "scene_id": "made-up",
        "frame_id": number,
    }


def register_tiny_card(folder: Path) -> str:
    """Name of a registered card that nobody has trained."""
    card = tiny_card(f"name={NAME}", "weights={status: recipe}", "measured=[]")
    (folder / f"{NAME}.yaml").write_text(dump(card))
    registry.register(folder)
    return NAME

"""Splits that several protocols score."""

from __future__ import annotations

from dataclasses import replace

from rgbd3d.evaluation.protocols_base import Frames

SCANNET_VAL = Frames(data_set="scannet", split="val", columns=(), every=100)
"""Every 100th frame of the validation scenes (FACTS.md §1.3); how many these are, no source that was read states."""

NYUV2_TEST = Frames(
    data_set="nyuv2",
    split="test",
    columns=(),
    count=654,
    numbers={0: 1, 1: 2, 2: 9, 100: 220, 327: 770, 500: 1162, 652: 1448, 653: 1449},
    size=(480, 640),
)
"""`testNdxs` of splits.mat, in that order."""

NYUV2_TRAIN_HELD_OUT = Frames(
    data_set="nyuv2",
    split="train",
    columns=(),
    count=795,
    numbers={0: 3, 159: 265, 318: 530, 477: 853, 636: 1097, 674: 1197, 675: 1198, 794: 1440},
    first=675,
)
"""The frames that `nyuv2-train795/finetune` scores too, of any size."""

HELD_OUT = "Not official: the last 120 of NYUv2's 795 training frames, for models trained on the others."
"""What a protocol on them is."""

SUNRGBD_TEST = Frames(data_set="sunrgbd", split="test", columns=(), count=5050)


def frames(split: Frames, columns: tuple[str, ...], label_space: str | None = None) -> Frames:
    """A split with what a protocol needs of it."""
    return replace(split, columns=columns, label_space=label_space)

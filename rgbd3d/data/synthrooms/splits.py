"""Which rooms are for training, validation and testing: decided by the last digit of a scene's seed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_MODULUS = 10
SPLITS: Mapping[str, tuple[int, ...]] = MappingProxyType({"train": (0, 1, 2, 3, 4, 5, 6, 7), "val": (8,), "test": (9,)})
"""Last digits of the seeds of each split."""


def split_seeds(split: str, count: int) -> list[int]:
    """The first `count` scene seeds of a split; a larger count only appends.

    Raises:
        ValueError: Unknown split, or a negative count.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    if count < 0:
        raise ValueError(f"count must not be negative, not {count}")
    digits = SPLITS[split]
    return [_MODULUS * (index // len(digits)) + digits[index % len(digits)] for index in range(count)]


def split_of(seed: int) -> str:
    """Name of the split that a scene seed belongs to."""
    return next(name for name, digits in SPLITS.items() if seed % _MODULUS in digits)

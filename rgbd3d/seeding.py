"""Random generators from integers: a draw depends on what it is for, never on what was drawn before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def generator(*key: int) -> torch.Generator:
    """CPU generator that is a pure function of `key`, for example (seed, step, rank).

    Args:
        *key: Non-negative integers.

    Returns:
        A freshly seeded generator; equal keys give equal streams, different keys independent ones. Trailing zeros do
        not count, so keys of different lengths need a first number that tells their purpose.
    """
    seed = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(seed[0]) << 31 | int(seed[1]) >> 1)


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuses seeds of several runs that are none or not all different.

    Raises:
        ValueError: Names them.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds should be different numbers, at least one, not {list(seeds)}")

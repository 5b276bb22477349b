"""Random generators from integers: a draw depends on what it is for, never on what was drawn before."""

from __future__ import annotations

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

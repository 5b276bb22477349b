"""Random draws from an explicit generator, and the checks of what they are drawn from.

Each draw takes from its generator what torchvision takes from the global one for the same purpose, so that equal seeds
give equal transforms; the global generator is never touched.
"""

from __future__ import annotations

import math

import torch
from torch import Generator

Range = tuple[float, float]


def uniform(generator: Generator | None, span: Range) -> float:
    """Number between the ends of the span."""
    return torch.empty(1).uniform_(*span, generator=_given(generator)).item()


def chance(generator: Generator | None, probability: float) -> bool:
    """True with the probability."""
    return torch.rand(1, generator=_given(generator)).item() < probability


def below(generator: Generator | None, end: int) -> int:
    """Integer in 0..end - 1."""
    return int(torch.randint(0, end, (1,), generator=_given(generator)).item())


def order(generator: Generator | None, count: int) -> list[int]:
    """Permutation of 0..count - 1."""
    return torch.randperm(count, generator=_given(generator)).tolist()


def _given(generator: Generator | None) -> Generator:
    # Without this torch would draw from the global generator.
    if generator is None:
        raise ValueError("this transform draws at random: call it with a torch.Generator")
    return generator


def check_size(size: tuple[int, int]) -> None:
    """Refuses what is no (height, width) of at least one pixel."""
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"size should be (height, width) in pixels, not {size!r}")


def check_within(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuses what lies outside low..high."""
    if not low <= value <= high:
        raise ValueError(f"{name} should lie within {low:g}..{high:g}, not {value!r}")


def check_range(name: str, span: Range, low: float, high: float = math.inf) -> None:
    """Refuses what is no (smallest, largest) within low..high."""
    if not (len(span) == 2 and low <= span[0] <= span[1] <= high):
        raise ValueError(f"{name} should be (smallest, largest) within {low:g}..{high:g}, not {span!r}")

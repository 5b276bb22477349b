"""What all meters have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self


class Meter(ABC):
    """Collects what a metric needs, and no frames.

    Each meter has its own `update`. Several processes fill one meter each; meters can be pickled, so
    `torch.distributed.all_gather_object` brings them together and `merge` adds them up.
    """

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of what `compute` gives, known before anything is added."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Name -> value over all that was added.

        Raises:
            ValueError: Nothing was counted.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Adds what another meter of the same settings has collected.

        Raises:
            ValueError: The settings differ.
        """


def check_mergeable(own: Any, others: Any) -> None:
    """Refuses to add up numbers that were counted in different ways."""
    if own != others:
        raise ValueError(f"meters with different settings cannot be merged: {own} and {others}")

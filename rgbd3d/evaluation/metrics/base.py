"""What all meters have in common."""

from __future__ import annotations

import importlib
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


def need(module: str, purpose: str) -> Any:
    """Imports a library that only some metrics need.

    Raises:
        ImportError: It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{purpose} needs {module.partition('.')[0]}: pip install 'rgbd3d[eval]'") from error

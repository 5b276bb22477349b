"""What a transform is, several in a row, and one that is applied now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator

from rgbd3d.data.transforms import draws
from rgbd3d.data.transforms.joint import Sample


class Transform(ABC):
    """Sample in, new sample out; whatever is random is drawn from the generator."""

    def __call__(self, sample: Mapping[str, Any], generator: Generator | None = None) -> Sample:
        """Transforms a sample.

        Args:
            sample: `RGBDSample`, `ClipSample` or what an earlier transform made of one; it is not changed.
            generator: Source of every draw, on the CPU; only transforms that draw nothing do without.

        Returns:
            The transformed sample; what was not touched is shared with the given one.

        Raises:
            DataError: The sample lacks what is needed, or does not fit.
            ValueError: A random transform got no generator.
        """
        return self._apply(sample, generator)

    @abstractmethod
    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample: ...


class Compose(Transform):
    """Transforms one after the other, all drawing from the same generator.

    Args:
        steps: In order of application.
    """

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        result = dict(sample)
        for step in self.steps:
            result = step(result, generator)
        return result

    def __repr__(self) -> str:
        lines = "".join(f"\n    {step!r}," for step in self.steps)
        return f"Compose([{lines}\n])"


@dataclass(frozen=True)
class RandomApply(Transform):
    """A transform that is applied with a probability.

    Attributes:
        step: What is applied.
        p: Probability.
    """

    step: Transform
    p: float

    def __post_init__(self) -> None:
        draws.check_within("p", self.p, 0, 1)

    def _apply(self, sample: Mapping[str, Any], generator: Generator | None) -> Sample:
        return self.step(sample, generator) if draws.chance(generator, self.p) else dict(sample)

"""Distributions of depth and classes, gathered sample by sample in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import LABEL_SPACES, class_names
from rgbd3d.types import IGNORE_LABEL

_BINS_PER_METRE = 100
_BINS = 100 * _BINS_PER_METRE
_STEPS = (0.1, 0.25, 0.5, 1, 2, 5)
_MOST_BARS = 12
_MOST_CLASSES = 2**20


@dataclass(frozen=True)
class Bar:
    """A range of depths.

    Attributes:
        name: As a person writes it.
        middle: Metres.
        share: Of the measured pixels.
    """

    name: str
    middle: float
    share: float


@dataclass(frozen=True)
class ClassShare:
    """How often a class occurs.

    Attributes:
        train_id: Its train id.
        name: In the label space.
        share: Of what is labelled.
    """

    train_id: int
    name: str
    share: float


class DepthStatistics:
    """Depth in steps of a centimetre."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._pixels = 0

    def add(self, depth: Tensor) -> None:
        """Counts pixels; depth in metres, 0 = no measurement."""
        values = depth.numpy()
        # A whole number of centimetres may be a little less in float32.
        bins = (values[values > 0].astype(np.float64) * _BINS_PER_METRE + 1e-3).astype(np.int64).clip(max=_BINS - 1)
        self._counts += np.bincount(bins, minlength=_BINS)
        self._pixels += values.size

    @property
    def invalid(self) -> float:
        """Share of the pixels without a measurement."""
        return 1 - self._counts.sum() / max(self._pixels, 1)

    def quantile(self, share: float) -> float | None:
        """Depth in whole centimetres that this share of the measured pixels does not exceed; None without any."""
        total = self._counts.sum()
        if not total:
            return None
        return float(np.searchsorted(self._counts.cumsum(), share * total)) / _BINS_PER_METRE

    def bars(self) -> list[Bar]:
        """Shares in steps that a person would choose; the last bar is open if a few pixels are far beyond."""
        far = self.quantile(0.995)
        if far is None:
            return []
        step = next((step for step in _STEPS if step * (_MOST_BARS - 2) >= far), 10)
        count = int(far / step) + 1
        edges = np.round(step * np.arange(count + 1) * _BINS_PER_METRE).astype(int).clip(max=_BINS)
        sums = np.add.reduceat(np.append(self._counts, 0), edges) / self._counts.sum()
        bars = [
            Bar(f"{step * index:g} - {step * (index + 1):g} m", step * (index + 0.5), float(sums[index]))
            for index in range(count)
        ]
        if sums[count] > 0:
            bars.append(Bar(f"> {step * count:g} m", step * (count + 0.5), float(sums[count])))
        return bars


class ClassCounts:
    """How often each class occurs, in pixels, points or whole samples.

    Args:
        label_space: Names the classes; None or an unknown one numbers them.
        ignore: Train id of what has no label; None if everything has one.
    """

    def __init__(self, label_space: str | None, ignore: int | None = IGNORE_LABEL) -> None:
        self._ignore = ignore
        self._names = class_names(label_space) if label_space in LABEL_SPACES else ()
        self._counts = np.zeros(0, np.int64)
        self._unlabelled = 0

    def add(self, labels: npt.ArrayLike) -> None:
        """Counts train ids.

        Raises:
            DataError: Numbers that no label space has.
        """
        values = np.asarray(labels).ravel()
        counted = values if self._ignore is None else values[values != self._ignore]
        if counted.size and not 0 <= counted.min() <= counted.max() < _MOST_CLASSES:
            raise DataError(f"labels from {counted.min()} to {counted.max()}: train ids are 0 to {_MOST_CLASSES - 1}")
        counts = np.bincount(counted, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._unlabelled += values.size - counted.size

    @property
    def unlabelled(self) -> float:
        """Share of what has no label."""
        return self._unlabelled / max(self._unlabelled + int(self._counts.sum()), 1)

    def shares(self) -> list[ClassShare]:
        """Classes that occur, the most frequent first."""
        order = np.argsort(-self._counts, kind="stable")
        total = self._counts.sum()
        return [
            ClassShare(int(index), self.name(int(index)), float(self._counts[index] / total))
            for index in order
            if self._counts[index]
        ]

    @property
    def known(self) -> int:
        """How many classes the label space has; 0 if it is not known."""
        return len(self._names)

    @property
    def absent(self) -> list[str]:
        """Names of classes that do not occur."""
        seen = {share.train_id for share in self.shares()}
        return [name for index, name in enumerate(self._names) if index not in seen]

    def name(self, index: int) -> str:
        """Of the class with a train id."""
        return self._names[index] if index < len(self._names) else f"class {index}"

"""Semantic segmentation: mIoU and accuracies from one confusion matrix over all frames, as each benchmark counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rgbd3d.evaluation.metrics.base import Meter, check_mergeable
from rgbd3d.evaluation.tables import Rows
from rgbd3d.types import IGNORE_LABEL


@dataclass(frozen=True)
class Counting:
    """How pixels and classes are counted. Pixels whose truth is ignored never count (FACTS.md §1.3 and §7).

    Attributes:
        void_is_miss: Whether a labelled pixel on which no class is predicted (255) is a miss of its class; otherwise
            the pixel is left out.
        mean_over: Classes of the means. "truth": those in the truth. "either": IoU over those in the truth or the
            predictions, so that a class seen only where it is not counts as 0; accuracy over those in the truth.
            "all": every class, 0 where it does not occur.
    """

    void_is_miss: bool
    mean_over: Literal["truth", "either", "all"]


PRESENT = Counting(void_is_miss=True, mean_over="truth")
BENCHMARK = Counting(void_is_miss=True, mean_over="either")
"""ScanNet's and Cityscapes' scripts, and mmsegmentation's, which MultiMAE uses."""
PRI3D = Counting(void_is_miss=False, mean_over="all")
"""Pri3D's script, and so Mask3D's numbers: row and column of void are dropped."""
POINTCEPT = Counting(void_is_miss=True, mean_over="all")
"""Pointcept's evaluator of point clouds."""


@dataclass(frozen=True)
class ClassScore:
    """One class of the table; fractions in percent, None where there is nothing to divide by.

    Attributes:
        name: Of the class.
        iou: Hits / (truth or prediction).
        accuracy: Hits / truth, its recall.
        precision: Hits / prediction.
        share: Its part of the counted pixels.
    """

    name: str
    iou: float | None
    accuracy: float | None
    precision: float | None
    share: float | None


class SemanticMeter(Meter):
    """Confusion matrix of a semantic segmentation.

    Args:
        num_classes: Number of train ids; 255 is ignored.
        counting: See `Counting`.
    """

    def __init__(self, num_classes: int, counting: Counting = PRESENT) -> None:
        self.num_classes, self.counting = num_classes, counting
        self.matrix = torch.zeros(num_classes, num_classes + 1, dtype=torch.int64)
        """Pixels by (truth, prediction); the last column is where no class is predicted."""

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch.

        Args:
            prediction: int (B, H, W), predicted train ids; 255 = none of the classes.
            target: int (B, H, W), true train ids; 255 = ignore.

        Raises:
            ValueError: The shapes differ, or an id lies outside 0..num_classes-1 and is not 255.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"predictions {tuple(prediction.shape)} and labels {tuple(target.shape)} differ in shape")
        side = self.num_classes + 1
        pairs = self._train_ids(target, "label") * side + self._train_ids(prediction, "prediction")
        counts = torch.bincount(pairs.flatten(), minlength=side**2).view(side, side)
        self.matrix = self.matrix.to(counts.device) + counts[:-1]

    def merge(self, other: SemanticMeter) -> None:
        """Adds the matrix of another meter."""
        check_mergeable((self.num_classes, self.counting), (other.num_classes, other.counting))
        self.matrix = self.matrix + other.matrix.to(self.matrix.device)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the results."""
        return "miou", "pixel_accuracy", "mean_accuracy"

    def compute(self) -> dict[str, float]:
        """Results in percent: miou, pixel_accuracy, mean_accuracy (of the classes).

        Raises:
            ValueError: Nothing was counted.
        """
        hits, truth, predicted = self._counts()
        if not truth.any():
            raise ValueError("no labelled pixel was evaluated: every target is 255 (ignore)")
        union = truth + predicted - hits
        scored = truth if self.counting.mean_over == "truth" else union
        return {
            "miou": 100 * self._mean(hits, union, scored),
            "pixel_accuracy": 100 * (hits.sum() / truth.sum()).item(),
            "mean_accuracy": 100 * self._mean(hits, truth, truth),
        }

    def per_class(self, names: Sequence[str]) -> list[ClassScore]:
        """The table of the classes.

        Args:
            names: In the order of the train ids.
        """
        hits, truth, predicted = self._counts()
        scores = zip(
            names,
            _percent(hits, truth + predicted - hits),
            _percent(hits, truth),
            _percent(hits, predicted),
            _percent(truth, truth.sum().expand_as(truth)),
            strict=True,
        )
        return [ClassScore(*score) for score in scores]

    def _train_ids(self, ids: Tensor, what: str) -> Tensor:
        """The ids as int64, with num_classes in the place of 255."""
        ignored = ids == IGNORE_LABEL
        wrong = ((ids < 0) | (ids >= self.num_classes)) & ~ignored
        if wrong.any():
            raise ValueError(
                f"{what} {int(ids[wrong].max())} does not fit {self.num_classes} classes; map the data set's labels to "
                "train ids first"
            )
        return torch.where(ignored, self.num_classes, ids.long())

    def _counts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Hits, pixels in the truth and pixels predicted, each float64 (C,) on the CPU."""
        matrix = self.matrix.double().cpu()
        counted = matrix if self.counting.void_is_miss else matrix[:, :-1]
        return matrix.diagonal().clone(), counted.sum(1), matrix[:, :-1].sum(0)

    def _mean(self, part: Tensor, whole: Tensor, scored: Tensor) -> float:
        quotients = part / whole.clamp(min=1)
        return (quotients if self.counting.mean_over == "all" else quotients[scored > 0]).mean().item()


def class_table(scores: Sequence[ClassScore]) -> Rows:
    """The classes as a table, one row each."""

    def cell(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    header = ("class", "IoU", "accuracy", "precision", "share")
    return [header, *((s.name, *map(cell, (s.iou, s.accuracy, s.precision, s.share))) for s in scores)]


def _percent(part: Tensor, whole: Tensor) -> list[float | None]:
    return [100 * p / w if w else None for p, w in zip(part.tolist(), whole.tolist(), strict=True)]

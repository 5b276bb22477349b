"""Classification of images or clips: accuracy and mean average precision (FACTS.md §7, UCF-101 and OR-AR)."""

from __future__ import annotations

import torch
from torch import Tensor

from rgbd3d.evaluation.metrics.base import Meter, check_mergeable


class ClassificationMeter(Meter):
    """Scores of all examples, a few numbers each.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.scores = torch.zeros(0, num_classes, dtype=torch.float64)
        self.labels = torch.zeros(0, dtype=torch.int64)

    def update(self, scores: Tensor, labels: Tensor) -> None:
        """Adds a batch.

        Args:
            scores: float (B, num_classes), the larger the likelier; to compare examples they have to be on one scale,
                so give probabilities, not logits.
            labels: int (B,), true classes.

        Raises:
            ValueError: Another number of classes, or a label outside them.
        """
        if scores.shape[1] != self.num_classes:
            raise ValueError(f"{scores.shape[1]} scores each, but there are {self.num_classes} classes")
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(f"labels {int(labels.min())} to {int(labels.max())} do not fit {self.num_classes} classes")
        self.scores = torch.cat([self.scores, scores.double().cpu()])
        self.labels = torch.cat([self.labels, labels.long().cpu()])

    def merge(self, other: ClassificationMeter) -> None:
        """Adds the examples of another meter."""
        check_mergeable(self.num_classes, other.num_classes)
        self.update(other.scores, other.labels)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the results."""
        return "top1", "mean_average_precision"

    def compute(self) -> dict[str, float]:
        """In percent: top1, and mean_average_precision over the classes that occur.

        Raises:
            ValueError: Nothing was added.
        """
        if not len(self.labels):
            raise ValueError("no example was evaluated")
        precision = self.average_precision()
        return {
            "top1": 100 * (self.scores.argmax(1) == self.labels).double().mean().item(),
            "mean_average_precision": 100 * precision[~precision.isnan()].mean().item(),
        }

    def average_precision(self) -> Tensor:
        """Of each class, float64 (num_classes,); NaN for those that do not occur.

        The sum of precision times the step in recall, over the scores in falling order, without interpolation;
        examples of equal score are taken together.
        """
        order = self.scores.argsort(0, descending=True)
        ranked = self.scores.gather(0, order)
        hits = (self.labels[order] == torch.arange(self.num_classes)).double()
        precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
        # The precision of an example is that behind the last one with its score.
        rows = torch.arange(len(hits))[:, None].expand_as(hits)
        last = torch.ones_like(hits, dtype=torch.bool)
        last[:-1] = ranked[1:] != ranked[:-1]
        ends = torch.where(last, rows, len(hits)).flip(0).cummin(0).values.flip(0)
        return (precision.gather(0, ends) * hits).sum(0) / hits.sum(0)

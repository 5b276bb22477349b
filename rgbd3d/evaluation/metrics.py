"""Metrics of dense prediction. Each meter is filled batch by batch and read once."""

from __future__ import annotations

import torch
from torch import Tensor

from rgbd3d.types import IGNORE_LABEL


class SemanticMeter:
    """Confusion matrix of a semantic segmentation.

    Args:
        num_classes: Number of train ids; 255 is ignored.
    """

    def __init__(self, num_classes: int) -> None:
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch.

        Args:
            prediction: int (B, H, W), predicted train ids.
            target: int (B, H, W), true train ids.

        Raises:
            ValueError: A target lies outside 0..num_classes-1 and is not 255.
        """
        classes = len(self.matrix)
        counted = target != IGNORE_LABEL
        truth = target[counted].long()
        if truth.numel() and (int(truth.min()) < 0 or int(truth.max()) >= classes):
            raise ValueError(
                f"label {int(truth.max())} does not fit {classes} classes; map the data set's labels to train ids first"
            )
        pairs = truth * classes + prediction[counted].long()
        self.matrix += torch.bincount(pairs, minlength=classes**2).view(classes, classes)

    def compute(self) -> dict[str, float]:
        """Results in percent.

        Returns:
            mIoU over the classes that occur in the truth, pixel accuracy, and mean class accuracy.

        Raises:
            ValueError: Nothing was counted.
        """
        matrix = self.matrix.double()
        present = matrix.sum(1) > 0
        if not present.any():
            raise ValueError("no labelled pixel was evaluated: every target is 255 (ignore)")
        hits, truth, predicted = matrix.diag(), matrix.sum(1), matrix.sum(0)
        iou = (hits / (truth + predicted - hits))[present]
        accuracy = (hits / truth)[present]
        return {
            "miou": 100 * iou.mean().item(),
            "pixel_accuracy": 100 * (hits.sum() / matrix.sum()).item(),
            "mean_accuracy": 100 * accuracy.mean().item(),
        }


class DepthMeter:
    """Depth errors: each metric is averaged over the valid pixels of an image, then over images (FACTS.md §7)."""

    def __init__(self) -> None:
        self.rows: list[Tensor] = []

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch.

        Args:
            prediction: float (B, 1, H, W), metres, positive.
            target: float (B, 1, H, W), metres; 0 = no measurement. Images without any valid pixel are skipped.
        """
        for guess, truth in zip(prediction.double(), target.double(), strict=True):
            valid = truth > 0
            if valid.any():
                self.rows.append(_depth_errors(guess[valid], truth[valid]))

    def compute(self) -> dict[str, float]:
        """Results.

        Returns:
            delta1, delta2, delta3 in percent; abs_rel; rmse in metres; log10.

        Raises:
            ValueError: Nothing was counted.
        """
        if not self.rows:
            raise ValueError("no valid depth was evaluated: every target pixel is 0 (no measurement)")
        means = torch.stack(self.rows).mean(0).tolist()
        return dict(zip(("delta1", "delta2", "delta3", "abs_rel", "rmse", "log10"), means, strict=True))


def _depth_errors(guess: Tensor, truth: Tensor) -> Tensor:
    ratio = torch.maximum(guess / truth, truth / guess)
    within = [100 * (ratio < 1.25**k).double().mean() for k in (1, 2, 3)]
    abs_rel = ((guess - truth).abs() / truth).mean()
    rmse = (guess - truth).square().mean().sqrt()
    log10 = (guess.log10() - truth.log10()).abs().mean()
    return torch.stack([*within, abs_rel, rmse, log10])

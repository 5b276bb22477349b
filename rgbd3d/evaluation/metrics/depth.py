"""Depth: δ1 to δ3, AbsRel, SqRel, RMSE, RMSE of logarithms, log10 and SILog (FACTS.md §7)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rgbd3d.evaluation.metrics.base import Meter, check_mergeable

METRICS = ("delta1", "delta2", "delta3", "abs_rel", "rmse", "log10", "sq_rel", "rmse_log", "silog")
"""delta1 to delta3 are in percent, rmse and sq_rel in metres. log10 is the mean error of decimal logarithms, rmse_log
the root mean square of that of natural ones, silog the same without half of its squared mean (MIM-Depth's)."""

_SILOG_LAMBDA = 0.5


@dataclass(frozen=True)
class Window:
    """A box of pixels.

    Attributes:
        top: First row.
        bottom: Row after the last.
        left: First column.
        right: Column after the last.
    """

    top: int
    bottom: int
    left: int
    right: int

    def of(self, values: Tensor) -> Tensor:
        """That part of (..., H, W).

        Raises:
            ValueError: It does not lie within.
        """
        height, width = values.shape[-2:]
        if self.bottom > height or self.right > width:
            raise ValueError(
                f"rows {self.top}:{self.bottom}, columns {self.left}:{self.right} do not lie within {width} x {height} "
                "pixels: this protocol is for frames of another size"
            )
        return values[..., self.top : self.bottom, self.left : self.right]


EIGEN_CROP = Window(45, 471, 41, 601)
"""Where depth of NYUv2 (640 x 480) is scored since Eigen et al. (2014)."""


@dataclass(frozen=True)
class Scoring:
    """Which pixels are scored, and what is averaged.

    Attributes:
        near: Metres; true depth has to be larger, predictions are raised to it.
        far: Metres; true depth has to be smaller, predictions are lowered to it.
        window: Part of the frame; None is all of it.
        average: "images": over the pixels of an image, then over images. "pixels": over the pixels of all images.
    """

    near: float = 0.0
    far: float = math.inf
    window: Window | None = None
    average: Literal["images", "pixels"] = "images"


class DepthMeter(Meter):
    """Depth errors of metric predictions; nothing is aligned.

    Args:
        scoring: See `Scoring`; by default all measured pixels, averaged by image.
    """

    def __init__(self, scoring: Scoring = Scoring()) -> None:
        self.scoring = scoring
        self.sums = torch.zeros(len(METRICS) + 1, dtype=torch.float64)
        """By image: METRICS summed over images, then their number. By pixel: `pixel_sums` of all images."""

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds a batch.

        Args:
            prediction: float (B, 1, H, W), metres, positive.
            target: float (B, 1, H, W), metres; 0 = no measurement. Images without any valid pixel are skipped.

        Raises:
            ValueError: The shapes differ, a scored prediction is NaN, or not positive where `near` is 0.
        """
        if prediction.shape != target.shape:
            raise ValueError(f"predictions {tuple(prediction.shape)} and depth {tuple(target.shape)} differ in shape")
        if self.scoring.window is not None:
            prediction, target = self.scoring.window.of(prediction), self.scoring.window.of(target)
        near, far = self.scoring.near, self.scoring.far
        sums = pixel_sums(prediction.clamp(near, far), target, (target > near) & (target < far))
        if self.scoring.average == "images":
            sums = sums[sums[:, 0] > 0]
            sums = torch.cat([errors(sums), torch.ones_like(sums[:, :1])], 1)
        self.sums = self.sums.to(sums.device) + sums.sum(0)

    def merge(self, other: DepthMeter) -> None:
        """Adds the sums of another meter."""
        check_mergeable(self.scoring, other.scoring)
        self.sums = self.sums + other.sums.to(self.sums.device)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the results."""
        return METRICS

    def compute(self) -> dict[str, float]:
        """The means of `METRICS`.

        Raises:
            ValueError: Nothing was counted.
        """
        by_image = self.scoring.average == "images"
        if not self.sums[-1 if by_image else 0]:
            raise ValueError("no valid depth was evaluated: every target pixel is 0 (no measurement) or out of range")
        means = self.sums[:-1] / self.sums[-1] if by_image else errors(self.sums[None])[0]
        return dict(zip(METRICS, means.tolist(), strict=True))


def pixel_sums(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Sums over the valid pixels of each image, from which all errors follow.

    Args:
        prediction: float (B, 1, H, W), metres.
        target: As the prediction.
        valid: bool, as the prediction; what lies elsewhere has no influence.

    Returns:
        float64 (B, 10): number of pixels; within 1.25, 1.25² and 1.25³ of the truth; relative error; squared relative
        error; squared error; |ln ratio|; ln ratio; its square.

    Raises:
        ValueError: A valid prediction is not a positive number.
    """
    guess, truth = (torch.where(valid, x, 1.0).flatten(1).double() for x in (prediction, target))
    low, high = guess.aminmax() if guess.numel() else (guess.new_ones(()),) * 2
    if not (low > 0 and high < torch.inf):  # NaN is neither
        wrong = int((~((guess > 0) & (guess < torch.inf))).sum())
        raise ValueError(
            f"{wrong} of {int(valid.sum())} predictions are not positive and finite: metric depth in metres is expected"
        )
    # Pixels that are not valid are exact: they add nothing to any of these but the hits.
    ratio = torch.maximum(guess, truth) / torch.minimum(guess, truth)
    difference, distance = guess - truth, ratio.log()
    relative = difference / truth
    pixels = valid.flatten(1).sum(1)
    return torch.stack(
        [
            pixels,
            *(pixels - (ratio >= 1.25**k).sum(1) for k in (1, 2, 3)),
            relative.abs().sum(1),
            (relative * difference).sum(1),
            difference.square().sum(1),
            distance.sum(1),
            distance.copysign(difference).sum(1),
            distance.square().sum(1),
        ],
        1,
    ).double()


def errors(sums: Tensor) -> Tensor:
    """`METRICS`, float64 (B, 9), of `pixel_sums`."""
    means = sums[:, 1:] / sums[:, :1]
    within, (abs_rel, sq_rel, square, log, bias, log_square) = means[:, :3], means[:, 3:].unbind(1)
    silog = (log_square - _SILOG_LAMBDA * bias.square()).clamp(min=0).sqrt()
    others = (abs_rel, square.sqrt(), log / math.log(10), sq_rel, log_square.sqrt(), silog)
    return torch.cat([100 * within, torch.stack(others, 1)], 1)

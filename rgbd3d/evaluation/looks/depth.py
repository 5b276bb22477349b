"""What a depth estimation shows: maps with their errors, and how good it is near and far."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import matplotlib
import numpy as np
import torch
from torch import Tensor

from rgbd3d.data.inspection.colors import NONE, color_depth, depth_legend, end_of_colors
from rgbd3d.evaluation.looks import figures
from rgbd3d.evaluation.looks.base import Look
from rgbd3d.evaluation.metrics import DepthMeter, IbimsMeter
from rgbd3d.evaluation.metrics.depth import Scoring
from rgbd3d.evaluation.pictures import color_image
from rgbd3d.evaluation.protocols_base import Sample, ScoredProtocol
from rgbd3d.evaluation.protocols_depth import DepthProtocol
from rgbd3d.evaluation.tables import Rows, as_csv, as_markdown
from rgbd3d.files import write_atomic
from rgbd3d.report import Picture, Report

_EDGES = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0)
"""Metres at which a new row of the table begins."""
_FAR, _STEPS = 10.0, 100  # of the figure; a step is 0.1 m
_WITHIN = 1.25  # of δ1
_WORST = 0.5  # relative error at which its colours end
_ERRORS = matplotlib.colormaps["YlOrRd"]


class DepthLook(Look[DepthMeter | IbimsMeter]):
    """Depth and its errors."""

    titles: ClassVar[tuple[str, ...]] = ("input", "truth", "prediction", "relative error")
    headline: ClassVar[tuple[str, ...]] = ("delta1", "abs_rel", "rmse")
    explanation: ClassVar[str] = (
        "From left to right: input, truth, prediction, and the error as a part of the true depth, from light yellow "
        f"(none) to dark red ({_WORST:.0%} or more). Light grey is not measured. Depth has one scale in all pictures:"
    )

    def __init__(self, protocol: ScoredProtocol[Any], frames: int, shown: int) -> None:
        super().__init__(protocol, frames, shown)
        self.counts = DepthCounts(protocol.scoring if isinstance(protocol, DepthProtocol) else Scoring())

    def watch(self, samples: Any, prediction: Tensor) -> None:
        """Looks at a batch."""
        super().watch(samples, prediction)
        self.counts.add(prediction.cpu(), torch.stack([sample["depth"] for sample in samples]))

    def keep(self, prediction: Tensor, sample: Sample) -> Tensor:
        """Metres, (1, H, W)."""
        return prediction[0].cpu()

    @property
    def far(self) -> float:
        """Metres at which the colours end: most of the true depth that is shown is nearer."""
        return end_of_colors(kept.sample["depth"].numpy() for kept in self.kept)

    def pictures(self) -> list[list[Picture]]:
        """Input, truth, prediction, relative error."""
        far = self.far
        return [
            [
                color_image(kept.sample["image"]),
                color_depth(kept.sample["depth"][0].numpy(), far),
                color_depth(kept.prediction[0].float().numpy(), far),
                _error(kept.prediction[0].float(), kept.sample["depth"][0]),
            ]
            for kept in self.kept
        ]

    def legend(self, page: Report) -> None:
        """What the colours of depth stand for."""
        page.legend(depth_legend(self.far))

    def add_sections(self, page: Report, meter: DepthMeter | IbimsMeter, folder: Path) -> None:
        """Errors by true depth."""
        rows = self.counts.rows()
        write_atomic(folder / "ranges.csv", as_csv(rows))
        write_atomic(folder / "ranges.md", as_markdown(rows) + "\n")
        write_atomic(folder / "depth.png", figures.predicted_against_true(self.counts.shares(), _FAR))
        page.section("Near and far", "Over all pixels that are scored; bias is the mean of the signed relative error.")
        page.table(rows[0], rows[1:])
        page.image_file(
            folder / "depth.png", f"Of the pixels at each true depth up to {_FAR:g} m, where the predictions lie."
        )


class DepthCounts:
    """Sums over all scored pixels, by steps of the true depth.

    Args:
        scoring: Which pixels are scored.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.sums = torch.zeros(4, _STEPS + 1, dtype=torch.float64)
        """Pixels, those within δ1, relative error, signed relative error; the last step has all that is farther."""
        self.joint = torch.zeros((_STEPS + 1) ** 2, dtype=torch.int64)
        """Pixels by true and predicted depth."""

    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Adds float (B, 1, H, W), metres; 0 = no measurement."""
        near, far, window = self.scoring.near, self.scoring.far, self.scoring.window
        if window is not None:
            prediction, truth = window.of(prediction), window.of(truth)
        valid = (truth > near) & (truth < far)
        guess, depth = prediction.clamp(near, far)[valid], truth[valid]
        ratio = guess / depth
        error = ratio - 1
        within = (ratio < _WITHIN) & (ratio > 1 / _WITHIN)
        step, guessed = ((metres * (_STEPS / _FAR)).clamp(max=_STEPS).int() for metres in (depth, guess))
        self.joint += torch.bincount(step * (_STEPS + 1) + guessed, minlength=(_STEPS + 1) ** 2)
        for sums, weights in zip(self.sums, (None, within, error.abs(), error), strict=True):
            sums += torch.bincount(step, weights, minlength=_STEPS + 1)

    def rows(self) -> Rows:
        """The ranges that occur, and all of them, as a table."""
        names = [*(f"{low:g} to {high:g} m" for low, high in pairwise(_EDGES)), f"{_EDGES[-1]:g} m and more"]
        bounds = [round(edge * _STEPS / _FAR) for edge in _EDGES]
        ranges = [self.sums[:, low:high].sum(1) for low, high in pairwise([*bounds, None])]
        total = self.sums.sum(1)
        table = [("true depth", "share of pixels (%)", "δ1 (%)", "AbsRel", "bias")]
        for name, sums in [*zip(names, ranges, strict=True), ("all", total)]:
            if sums[0] > 0:
                _, hits, error, bias = (sums / sums[0]).tolist()
                share = 100 * float(sums[0] / total[0])
                table.append((name, f"{share:.1f}", f"{100 * hits:.1f}", f"{error:.3f}", f"{bias:+.3f}"))
        return table

    def shares(self) -> np.ndarray:
        """Of the pixels at each true depth, where predictions lie: (true, predicted), in equal steps up to 10 m."""
        counts = self.joint.view(_STEPS + 1, _STEPS + 1).double()
        return (counts / counts.sum(1, keepdim=True).clamp(min=1))[:-1, :-1].numpy()


def _error(prediction: Tensor, truth: Tensor) -> Picture:
    relative = ((prediction - truth).abs() / truth.clamp(min=1e-6)).numpy()
    colors = _ERRORS(np.clip(relative / _WORST, 0, 1), bytes=True)[..., :3]
    return np.where((truth > 0).numpy()[..., None], colors, np.array(NONE, np.uint8))

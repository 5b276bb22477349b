"""Depth estimation: metres per pixel from one image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from rgbd3d.downstream.base import DenseNetwork, Losses
from rgbd3d.downstream.heads import build_head, reading
from rgbd3d.heads.upsample import upsample
from rgbd3d.losses.depth import berhu, l1, measured, silog
from rgbd3d.tasks import DepthEstimation
from rgbd3d.types import SMALLEST_DEPTH


class DepthNetwork(DenseNetwork):
    """Predicts metres; the loss counts measured pixels only."""

    inputs: ClassVar[tuple[str, ...]] = ("image", "depth_metres")
    objective: DepthEstimation

    def prediction(self, decoded: Tensor) -> Tensor:
        """Metres, float32 (B, 1, h, w); a standardised output can be negative, `predict` raises it to a millimetre."""
        return self._metres(decoded.float())

    def compare(self, decoded: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """The loss of the objective.

        Args:
            decoded: Of `decode`.
            batch: `depth_metres`, float (B, 1, H, W), 0, NaN or infinity = no measurement.
        """
        truth = batch["depth_metres"].float()
        metres = upsample(self.prediction(decoded), (truth.shape[-2], truth.shape[-1]))
        loss = self._loss(metres, truth)
        return loss, {self.objective.loss: loss.detach()}

    def _predict(self, image: Tensor, frame: tuple[int, int]) -> Tensor:
        return super()._predict(image, frame).clamp(min=SMALLEST_DEPTH)

    def _metres(self, number: Tensor) -> Tensor:
        match self.objective.output:
            case "standardised":
                return self.objective.typical + self.objective.spread * number
            case "log":
                return self.objective.typical * number.exp()
            case "metres":
                return number

    def _loss(self, metres: Tensor, truth: Tensor) -> Tensor:
        match self.objective.loss:
            case "silog":
                return silog(metres, truth)
            case "l1":
                return l1(metres, truth)
            case "log-l1":
                predicted, true = (depth.clamp(min=SMALLEST_DEPTH).log() for depth in (metres, truth))
                return l1(predicted, true, measured(truth))
            case "berhu":
                # In the units in which MultiMAE computes it; the mean that it subtracts cancels out.
                spread = self.objective.spread
                return berhu(metres / spread, truth / spread)

    def _build_head(self) -> nn.Module:
        head = self.objective.head
        self.reading = reading(head, len(self.levels))
        return build_head(head, self.levels, 1, task="regression")

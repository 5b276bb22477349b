"""Semantic segmentation: one class per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from rgbd3d.downstream.base import DenseNetwork, Losses
from rgbd3d.downstream.heads import build_head, reading
from rgbd3d.heads.upsample import upsample
from rgbd3d.losses.segmentation import cross_entropy
from rgbd3d.tasks import Mask2Former, SemanticSegmentation


class SemanticNetwork(DenseNetwork):
    """Predicts logits; the loss is the cross-entropy over labelled pixels at the resolution of the labels.

    Mask2Former predicts scores for an argmax instead, and has a loss of its own.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image", "semantic")
    objective: SemanticSegmentation

    def decode(self, image: Tensor) -> Any:
        """Logits, or what all layers of a head with a loss of its own predict."""
        head: Any = self.head
        features = self._read(image, self.reading)
        return head.decode(features) if self._has_own_loss else head(features)

    def prediction(self, decoded: Any) -> Tensor:
        """Logits, or Mask2Former's scores, float (B, classes, h, w)."""
        head: Any = self.head
        return head.scores(decoded[-1]) if self._has_own_loss else decoded

    def compare(self, decoded: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """Cross-entropy, or the head's own loss.

        Args:
            decoded: Of `decode`.
            batch: `semantic`, int64 (B, H, W): train ids, 255 = ignore.

        Raises:
            ValueError: A label is no class of the network.
        """
        labels = batch["semantic"]
        if self._has_own_loss:
            head: Any = self.head
            total, parts = head.compare(decoded, labels)
            return total, parts
        loss = cross_entropy(upsample(decoded, (labels.shape[-2], labels.shape[-1])), labels)
        return loss, {"cross_entropy": loss.detach()}

    @property
    def _has_own_loss(self) -> bool:
        return isinstance(self.objective.head, Mask2Former)

    def _build_head(self) -> nn.Module:
        head = self.objective.head
        self.reading = reading(head, len(self.levels))
        return build_head(head, self.levels, len(self.classes), task="segmentation")

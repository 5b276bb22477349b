"""Instance segmentation: Mask R-CNN around the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rgbd3d.data.label_spaces import class_names
from rgbd3d.downstream.base import Losses, Size, TaskNetwork
from rgbd3d.downstream.heads import Reading, require_plain
from rgbd3d.heads.mask_rcnn import MaskRCNNHead, targets_from_instances
from rgbd3d.heads.regions import Target, paste_masks
from rgbd3d.losses.segmentation import require_labels
from rgbd3d.tasks import InstanceSegmentation


class InstanceNetwork(TaskNetwork):
    """Predicts objects with boxes and masks; the loss is the sum of Mask R-CNN's five.

    It draws the boxes of its loss from torch's global generator, as torchvision does.
    """

    inputs: ClassVar[tuple[str, ...]] = ("image", "semantic", "instance")
    objective: InstanceSegmentation
    head: MaskRCNNHead

    def forward(self, image: Tensor) -> list[Target]:
        """Objects of normalised images (B, 3, H, W), as `predict` gives them, in pixels of these images."""
        return self._detect(image, (image.shape[-2], image.shape[-1]))

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Losses]:
        """The sum of the losses of proposals, boxes and masks.

        Args:
            batch: `image`; `semantic`, int64 (B, H, W), train ids, 255 = ignore; `instance`, int (B, H, W), 0 = none.

        Raises:
            ValueError: Maps of different sizes, instance ids out of range, or a label that is not in the
                objective's label space.
        """
        image, classes = batch["image"], self.objective.classes
        if batch["semantic"].shape[-2:] != image.shape[-2:]:
            shapes = f"{tuple(batch['semantic'].shape[-2:])} and {tuple(image.shape[-2:])}"
            raise ValueError(f"labels and images differ in size: {shapes}; boxes are pixels of the image")
        if self.objective.labels is not None:  # else nobody knows how many there are
            require_labels(batch["semantic"], len(class_names(self.objective.labels)))
        pairs = zip(batch["instance"], batch["semantic"], strict=True)
        targets = [targets_from_instances(instance, semantic, classes) for instance, semantic in pairs]
        features = self._features(image)
        before = self.head.training
        self.head.train()  # torchvision's parts give losses in no other mode; nothing else in them depends on it
        try:
            _, losses = self.head(features, image, targets)
        finally:
            self.head.train(before)
        total = torch.stack(list(losses.values())).sum()
        return total, {name.removeprefix("loss_"): value.detach() for name, value in losses.items()}

    def trace(self, image: Tensor) -> Tensor:
        """Logits of the region proposals at the finest level and of the boxes' classes in one box, in one row."""
        levels = self.head.levels(self._features(image))
        scores, _ = self.head.proposals.head(list(levels.values()))
        height, width = image.shape[-2:]
        box = image.new_tensor([[0, 0, width, height]])
        pooled = self.head.regions.box_roi_pool(levels, [box], [(height, width)])
        logits, _ = self.head.regions.box_predictor(self.head.regions.box_head(pooled))
        return torch.cat([scores[0].flatten(), logits.flatten()])

    def _predict(self, image: Tensor, frame: Size) -> list[Target]:
        return self._detect(image, frame)

    @torch.no_grad()
    def _detect(self, image: Tensor, frame: Size) -> list[Target]:
        if self.head.training:
            raise ValueError("objects are found in evaluation mode only: call eval() first")
        found, _ = self.head(self._features(image), image)
        rows, columns = frame[0] / image.shape[-2], frame[1] / image.shape[-1]
        for objects in found:
            objects["boxes"] = objects["boxes"] * objects["boxes"].new_tensor([columns, rows, columns, rows])
            objects["masks"] = paste_masks(objects["masks"], objects["boxes"], frame)
        return found

    def _features(self, image: Tensor) -> list[Tensor]:
        return self._read(image, Reading((len(self.levels) - 1,), normed=False))

    def _build_head(self) -> nn.Module:
        require_plain("mask-rcnn", self.levels)
        level = self.levels[-1]
        return MaskRCNNHead(level.width, level.stride, len(self.classes), self.objective.width)

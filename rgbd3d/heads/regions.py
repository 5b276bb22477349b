"""The parts in which our Mask R-CNN differs from torchvision's.

torchvision's detectors assume that strides are powers of two, which a patch of 12 or 14 pixels does not give; they know
no regions without truth; and their mask targets and pasted masks are off by up to a pixel, which at 320 x 240 limits a
perfect mask to an IoU of 0.93 to 0.96. Here a box (x1, y1, x2, y2) is bounded by edges of pixels everywhere, as in
Detectron2: pixel i covers i to i + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_inference
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import box_iou, roi_align

Target = dict[str, Tensor]

MOSTLY = 0.5
"""Share of a box from which on it counts as lying in an ignored region."""

_CANONICAL_CELLS, _CANONICAL_LEVEL = 14, 2  # a box of 14 x 14 patches (224 pixels for 16) is read at the token grid
_CELLS_PER_ANCHOR = 8  # 32 pixels at stride 4


class PyramidAnchors(AnchorGenerator):
    """Anchors of three shapes per cell, 8 cells large, at the true strides of the levels.

    Args:
        strides: Pixels per cell of each level.
    """

    def __init__(self, strides: Sequence[float]) -> None:
        sizes = tuple((_CELLS_PER_ANCHOR * stride,) for stride in strides)
        super().__init__(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
        self.strides = tuple(strides)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Boxes (A, 4) in pixels for every image, level by level; the same for all of them."""
        device = feature_maps[0].device
        self.set_cell_anchors(torch.float32, device)  # half precision knows no odd pixel beyond 256
        grids = [list(level.shape[-2:]) for level in feature_maps]
        strides = [[torch.tensor(stride, device=device)] * 2 for stride in self.strides]
        anchors = torch.cat(self.grid_anchors(grids, strides))
        return [anchors] * len(image_list.image_sizes)


class PyramidPooler(nn.Module):
    """Crops boxes from the level that fits their size and resizes them to a square; samples as ROIAlign version 2.

    Args:
        strides: Pixels per cell of the levels that are read, finest first.
        patch: Pixels per token, the stride of level `_CANONICAL_LEVEL`.
        output_size: Cells per side of the result.
    """

    def __init__(self, strides: Sequence[float], patch: int, output_size: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.canonical = _CANONICAL_CELLS * patch
        self.output_size = output_size

    def forward(
        self, features: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Features of all boxes.

        Args:
            features: Levels (B, C, h, w), finest first; those beyond the strides are not read.
            boxes: Per image, float (N, 4) in pixels.
            image_shapes: Part of torchvision's interface, unused.

        Returns:
            (sum of N, C, output_size, output_size), image by image.
        """
        levels = self.levels(torch.cat(boxes))
        rois = torch.cat([functional.pad(box, (1, 0), value=i) for i, box in enumerate(boxes)])
        pooled, order = [], []
        for level, (stride, maps) in enumerate(zip(self.strides, features.values(), strict=False)):
            chosen = torch.where(levels == level)[0]
            size = (self.output_size, self.output_size)
            crops = roi_align(maps.float(), rois[chosen].float(), size, 1 / stride, aligned=True)  # bf16 has no kernel
            pooled.append(crops.to(maps.dtype))
            order.append(chosen)
        return torch.cat(pooled)[torch.cat(order).argsort()]

    def levels(self, boxes: Tensor) -> Tensor:
        """Index of the level that boxes (N, 4) are read from, int64 (N,)."""
        side = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=0).sqrt()
        level = (_CANONICAL_LEVEL + (side / self.canonical + 1e-8).log2()).floor().long()
        return level.clamp(0, len(self.strides) - 1)


class ProposalHead(RPNHead):
    """torchvision's, but its numbers are float32, which boxes need, whatever the features are."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels -> objectness (B, A, h, w) and changes of the anchors (B, 4 A, h, w) of every level."""
        objectness, changes = super().forward(x)
        return [level.float() for level in objectness], [level.float() for level in changes]


class RegionProposals(RegionProposalNetwork):
    """torchvision's, but anchors without an object that lie mostly in an ignored region are no negative examples."""

    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """As in torchvision: 1 object, 0 background, -1 neither."""
        labels, boxes = super().assign_targets_to_anchors(anchors, targets)
        for label, anchor, target in zip(labels, anchors, targets, strict=True):
            label[(label == 0) & mostly_ignored(anchor, target)] = -1
        return labels, boxes

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """As in torchvision, and 0 where every anchor is ignored."""
        if not any((label >= 0).any() for label in labels):
            return 0 * objectness.sum(), 0 * pred_bbox_deltas.sum()
        losses: tuple[Tensor, Tensor] = super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)
        return losses


class RegionHeads(RoIHeads):
    """torchvision's box and mask heads on proposals that are not ignored, with exact mask targets."""

    def forward(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Detections (evaluation) or losses (training) from proposals.

        Args:
            features: Levels of the pyramid.
            proposals: Boxes per image.
            image_shapes: (height, width) of each image.
            targets: Truth, in training.
        """
        if not self.training:
            return self._detect(features, proposals, image_shapes), {}
        if targets is None:
            raise ValueError("training needs targets")
        proposals = [_not_ignored(boxes, target) for boxes, target in zip(proposals, targets, strict=True)]
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        logits, deltas = self._classify(features, proposals, image_shapes)
        if len(logits):
            classifier, box = fastrcnn_loss(logits, deltas, labels, regression)
        else:
            classifier, box = 0 * logits.sum(), 0 * deltas.sum()
        mask = self._mask_loss(features, proposals, image_shapes, matched, labels, targets)
        return [], {"loss_classifier": classifier, "loss_box_reg": box, "loss_mask": mask}

    def _classify(
        self, features: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, boxes, image_shapes)))
        return logits.float(), deltas.float()

    def _mask_logits(
        self, features: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        logits: Tensor = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, image_shapes)))
        return logits.float()

    def _detect(
        self, features: Mapping[str, Tensor], proposals: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> list[Target]:
        logits, deltas = self._classify(features, proposals, image_shapes)
        boxes, scores, labels = self.postprocess_detections(logits, deltas, proposals, image_shapes)
        masks = maskrcnn_inference(self._mask_logits(features, boxes, image_shapes), labels)
        names = ("boxes", "labels", "scores", "masks")
        return [dict(zip(names, found, strict=True)) for found in zip(boxes, labels, scores, masks, strict=True)]

    def _mask_loss(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: list[Target],
    ) -> Tensor:
        """Cross-entropy of the mask of the true class, over the proposals that hold an object."""
        positive = [label > 0 for label in labels]
        boxes = [box[chosen] for box, chosen in zip(proposals, positive, strict=True)]
        truth = torch.cat(
            [
                crop_masks(target["masks"], index[chosen], box, 2 * self.mask_roi_pool.output_size)
                for target, index, chosen, box in zip(targets, matched, positive, boxes, strict=True)
            ]
        )
        logits = self._mask_logits(features, boxes, image_shapes)
        if not len(logits):
            return 0 * logits.sum()
        classes = torch.cat([label[chosen] for label, chosen in zip(labels, positive, strict=True)])
        own = logits[torch.arange(len(logits), device=logits.device), classes]
        return functional.binary_cross_entropy_with_logits(own, truth.to(own))


def crop_masks(masks: Tensor, index: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The part of a mask in each box, averaged into size x size cells.

    Args:
        masks: (M, H, W), 0 or 1.
        index: int64 (N,), which mask.
        boxes: float (N, 4).
        size: Cells per side.

    Returns:
        float (N, size, size), the share of each cell that is covered.
    """
    if not len(boxes):
        return boxes.new_zeros(0, size, size)
    rois = torch.cat([index[:, None].to(boxes), boxes], dim=1)
    return roi_align(masks[:, None].to(boxes), rois, (size, size), aligned=True)[:, 0]


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Puts the masks of boxes into images, bilinearly: the inverse of `crop_masks`.

    Args:
        masks: float (N, 1, m, m), probabilities.
        boxes: float (N, 4).
        size: (height, width) of the images.

    Returns:
        float (N, 1, height, width), 0 outside of the boxes.
    """
    height, width = size
    pasted = masks.new_zeros(len(masks), 1, height, width)
    for mask, box, image in zip(masks, boxes, pasted, strict=True):
        x1, y1, x2, y2 = box.tolist()
        left, right = max(int(x1), 0), min(int(-(-x2 // 1)), width)
        top, bottom = max(int(y1), 0), min(int(-(-y2 // 1)), height)
        if right <= left or bottom <= top or x2 <= x1 or y2 <= y1:
            continue
        x = (torch.arange(left, right, device=mask.device) + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(top, bottom, device=mask.device) + 0.5 - y1) / (y2 - y1) * 2 - 1
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(mask)
        image[:, top:bottom, left:right] = functional.grid_sample(mask[None], points[None], align_corners=False)[0]
    return pasted


def mostly_ignored(boxes: Tensor, target: Target) -> Tensor:
    """Which boxes lie mostly in the ignored region of their image, bool (N,)."""
    return ignored_share(boxes, target["ignore"]) > MOSTLY


def ignored_share(boxes: Tensor, ignore: Tensor) -> Tensor:
    """Share of the part of each box within the image that is ignored.

    Args:
        boxes: float (N, 4); edges are rounded to pixels.
        ignore: bool (H, W).

    Returns:
        float (N,); 0 for boxes without a pixel.
    """
    height, width = ignore.shape
    total = functional.pad(ignore.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    x1, y1, x2, y2 = boxes.round().long().unbind(1)
    x1, x2, y1, y2 = x1.clamp(0, width), x2.clamp(0, width), y1.clamp(0, height), y2.clamp(0, height)
    covered = total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1]
    return covered / ((x2 - x1) * (y2 - y1)).clamp(min=1)


def _not_ignored(boxes: Tensor, target: Target) -> Tensor:
    """The proposals (N, 4) that can be told right or wrong."""
    drop = mostly_ignored(boxes, target)
    if len(target["boxes"]):
        drop &= box_iou(boxes, target["boxes"].to(boxes)).amax(1) < MOSTLY
    return boxes[~drop]

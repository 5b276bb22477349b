"""Mask R-CNN on a plain ViT: object detection and instance segmentation (Mask3D §4; FACTS.md §1.2, §7).

ViTDet's detector from torchvision's parts: a simple feature pyramid, two convolutions in the region proposal network,
four convolutions and a linear layer in the box head, layer norms. The numbers are Detectron2's Base-RCNN-FPN. Different
are: torchvision's smooth L1 loss of boxes (beta 1/9 instead of 0), mask targets that are not rounded to 0 or 1, and
attention over the whole image without relative positions, because the backbone is the pre-trained one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from rgbd3d.heads.regions import (
    ProposalHead,
    PyramidAnchors,
    PyramidPooler,
    RegionHeads,
    RegionProposals,
    Target,
)
from rgbd3d.heads.simple_fpn import SCALES, SimpleFeaturePyramid
from rgbd3d.types import IGNORE_LABEL

_BOX_CELLS, _MASK_CELLS = 7, 14


class MaskRCNNHead(nn.Module):
    """All of the detector but the backbone: pyramid, region proposals, boxes and masks; freshly initialised.

    Args:
        dim: Width of the backbone, divisible by 4.
        patch: Pixels per patch side.
        classes: Number of thing classes, without background; labels are 1 to `classes`.
        width: Channels of the pyramid and of what works on it.

    Raises:
        ValueError: No class, or a width of the backbone that is not divisible by 4.
    """

    def __init__(self, dim: int, patch: int, classes: int, width: int) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"a detector needs at least one class, not {classes}")
        strides = [patch / scale for scale in SCALES]
        proposals, regions = _proposals(strides, width), _regions(strides[:-1], patch, classes, width)
        self.pyramid = SimpleFeaturePyramid(dim, width)  # drawn last: a seed gives the same weights as ever
        self.proposals, self.regions = proposals, regions

    def levels(self, features: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
        """The pyramid by number, finest first; see `SimpleFeaturePyramid`."""
        return OrderedDict((str(number), level) for number, level in enumerate(self.pyramid(features)))

    def forward(
        self, features: Sequence[Tensor], image: Tensor, targets: list[Target] | None = None
    ) -> tuple[list[Target], dict[str, Tensor]]:
        """Detections in evaluation, losses in training.

        Args:
            features: Maps of a backbone, (B, D, h, w) each; the last one is used: the raw output of the last block.
            image: (B, 3, H, W); its size counts.
            targets: Of `targets_from_instances`, for training.

        Returns:
            Detections, none in training: of each image at most 100, of a score of 0.05 or more, as `boxes` float
            (N, 4), `labels` int64 (N,), `scores` float (N,), falling, and `masks` float (N, 1, m, m), the probability
            that a part of the box belongs to the object (`rgbd3d.heads.regions.paste_masks`).
            And losses to sum up, none in evaluation.

        Raises:
            ValueError: Training without targets.
        """
        sizes = [(image.shape[-2], image.shape[-1])] * len(image)
        levels = self.levels(features)
        proposals, first = self.proposals(ImageList(image, sizes), levels, targets)
        detections, second = self.regions(levels, proposals, sizes, targets)
        return detections, {**first, **second}


def _proposals(strides: Sequence[float], width: int) -> RegionProposals:
    """What finds objects of any class on the levels of the pyramid."""
    anchors = PyramidAnchors(strides)
    return RegionProposals(
        anchors,
        ProposalHead(width, anchors.num_anchors_per_location()[0], conv_depth=2),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2000, "testing": 1000},
        post_nms_top_n={"training": 1000, "testing": 1000},
        nms_thresh=0.7,
    )


def _regions(strides: Sequence[float], patch: int, classes: int, width: int) -> RegionHeads:
    """What describes them, by class, box and mask; it does not read the coarsest level."""
    return RegionHeads(
        PyramidPooler(strides, patch, _BOX_CELLS),
        FastRCNNConvFCHead((width, _BOX_CELLS, _BOX_CELLS), [width] * 4, [4 * width], norm_layer=LayerNorm2d),
        FastRCNNPredictor(4 * width, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=512,
        positive_fraction=0.25,
        bbox_reg_weights=None,  # 10, 10, 5, 5
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=100,
        mask_roi_pool=PyramidPooler(strides, patch, _MASK_CELLS),
        mask_head=MaskRCNNHeads(width, [width] * 4, 1, norm_layer=LayerNorm2d),
        mask_predictor=MaskRCNNPredictor(width, width, classes + 1),
    )


def targets_from_instances(instance: Tensor, semantic: Tensor, thing_classes: Sequence[int]) -> Target:
    """The objects of a frame as a target of `MaskRCNNHead`.

    An object is what has one instance id and one thing class. Where no truth is known, a detector is neither right nor
    wrong: pixels without a label, and pixels of a thing class without an instance, such as a crowd.

    Args:
        instance: int (H, W); 0 = none.
        semantic: int (H, W), train ids; 255 = ignore.
        thing_classes: Train ids of the classes whose objects are counted; label k is the k-th of them, from 1.

    Returns:
        boxes: float32 (N, 4), x1, y1, x2, y2: the edges of the outermost pixels, so that x2 - x1 is the width.
        labels: int64 (N,), 1 to the number of thing classes.
        masks: uint8 (N, H, W).
        ignore: bool (H, W), where no truth is known.

    Raises:
        ValueError: Maps of different sizes, ids out of range, or thing classes that are repeated or no train ids.
    """
    if instance.ndim != 2 or instance.shape != semantic.shape:
        raise ValueError(
            f"instance and semantic maps should be (H, W) of one size, not {tuple(instance.shape)} and "
            f"{tuple(semantic.shape)}"
        )
    if instance.numel() and (instance.min() < 0 or semantic.min() < 0 or semantic.max() > IGNORE_LABEL):
        raise ValueError(
            f"ids out of range: instances {instance.min()} to {instance.max()} (0 is none), classes {semantic.min()} "
            f"to {semantic.max()} (train ids, 255 is unlabelled)"
        )
    label = _label_of_class(thing_classes, instance.device)[semantic.long()]
    things = (label > 0) & (instance > 0)
    pairs, objects = torch.unique(torch.stack([instance[things].long(), label[things]]), dim=1, return_inverse=True)
    masks = torch.zeros(pairs.shape[1], *instance.shape, dtype=torch.uint8, device=instance.device)
    rows, columns = torch.where(things)
    masks[objects, rows, columns] = 1
    return {
        "boxes": boxes_of_masks(masks),
        "labels": pairs[1],
        "masks": masks,
        "ignore": (semantic == IGNORE_LABEL) | ((label > 0) & (instance == 0)),
    }


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Extent of masks (N, H, W), none of them empty, as float32 (N, 4) edges of pixels."""

    def extent(used: Tensor) -> tuple[Tensor, Tensor]:
        used = used.to(torch.uint8)
        return used.argmax(1), used.shape[1] - used.flip(1).argmax(1)

    if not len(masks):
        return torch.zeros(0, 4, device=masks.device)
    (x1, x2), (y1, y2) = extent(masks.amax(1)), extent(masks.amax(2))
    return torch.stack([x1, y1, x2, y2], dim=1).float()


def _label_of_class(thing_classes: Sequence[int], device: torch.device) -> Tensor:
    """Lookup table, train id -> label, 0 for other classes."""
    things = torch.tensor(list(thing_classes), dtype=torch.int64, device=device)
    if not len(things) or len(things.unique()) != len(things) or int(things.min()) < 0 or int(things.max()) >= 255:
        raise ValueError(f"thing classes should be different train ids in 0..254, not {list(thing_classes)}")
    table = torch.zeros(IGNORE_LABEL + 1, dtype=torch.int64, device=device)
    table[things] = torch.arange(1, len(things) + 1, device=device)
    return table

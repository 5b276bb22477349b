"""What models of tasks predict -> maps at the size of the photographs, under the names that pipelines look for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rgbd3d.heads.upsample import upsample
from rgbd3d.types import SMALLEST_DEPTH

Sizes = Sequence[tuple[int, int]]
"""(height, width) of every image."""

NO_SEGMENT = -1
"""Id of the pixels that belong to no object."""


class PostProcessing:
    """The half of the image processor that follows the model.

    Attributes:
        task: Of the model, a key of `rgbd3d.tasks.TASKS`; None for a backbone.
    """

    task: str | None = None

    def post_process_semantic_segmentation(self, outputs: Any, target_sizes: Sizes | None = None) -> list[Tensor]:
        """The most likely class of every pixel.

        Args:
            outputs: Of `RgbdForSemanticSegmentation`.
            target_sizes: Of the results; the logits' own if not given.

        Returns:
            int64 (H, W) for each image: keys of `config.id2label`.

        Raises:
            ValueError: Another number of sizes than of images.
        """
        return [logits.argmax(0) for logits in _enlarged(outputs.logits, target_sizes)]

    def post_process_depth_estimation(self, outputs: Any, target_sizes: Sizes | None = None) -> list[dict[str, Tensor]]:
        """Depth of every pixel.

        Args:
            outputs: Of `RgbdForDepthEstimation`.
            target_sizes: Of the results; the prediction's own if not given.

        Returns:
            `predicted_depth`, float32 (H, W), metres, for each image.

        Raises:
            ValueError: Another number of sizes than of images.
        """
        maps = _enlarged(outputs.predicted_depth[:, None], target_sizes)
        return [{"predicted_depth": metres[0].clamp(min=SMALLEST_DEPTH)} for metres in maps]

    @property
    def post_process_instance_segmentation(self) -> Callable[..., list[dict[str, Any]]]:
        """The objects of every image as one map of segments: see `segments`.

        Only processors of instance models have it: a pipeline calls it, where it is there, for every model.
        """
        if self.task != "instance-segmentation":
            raise AttributeError(f"post_process_instance_segmentation is for instance models, not for {self.task}")
        return segments


def segments(
    outputs: Any,
    threshold: float = 0.5,
    mask_threshold: float = 0.5,
    overlap_mask_area_threshold: float = 0.5,
    target_sizes: Sizes | None = None,
) -> list[dict[str, Any]]:
    """The objects of every image as one map: where masks overlap, the object with the higher score is in front.

    Args:
        outputs: Of `RgbdForInstanceSegmentation` in evaluation mode.
        threshold: Smallest score.
        mask_threshold: Smallest probability of a pixel that belongs to an object.
        overlap_mask_area_threshold: An object of which a smaller share is in front is left out.
        target_sizes: Of the results; that of the images that the model saw if not given.

    Returns:
        For each image, `segmentation`, int64 (H, W): ids of segments, -1 = none; and `segments_info`, by falling score:
        `id`, `label_id` (a key of `config.id2label`), `score`.

    Raises:
        ValueError: Another number of sizes than of images.
    """
    masks = _enlarged([objects["masks"][:, 0] for objects in outputs.objects], target_sizes)
    results = []
    for objects, probability in zip(outputs.objects, masks, strict=True):
        segmentation = torch.full(probability.shape[-2:], NO_SEGMENT, device=probability.device)
        found: list[dict[str, Any]] = []
        for label, score, mask in zip(objects["labels"], objects["scores"], probability >= mask_threshold, strict=True):
            front = mask & (segmentation == NO_SEGMENT)
            if score < threshold or not front.any() or front.sum() < overlap_mask_area_threshold * mask.sum():
                continue
            segmentation[front] = len(found)
            found.append({"id": len(found), "label_id": int(label) - 1, "score": float(score)})
        results.append({"segmentation": segmentation, "segments_info": found})
    return results


def _enlarged(maps: Tensor | list[Tensor], sizes: Sizes | None) -> list[Tensor]:
    """Maps (C, h, w) of every image at its size, float32."""
    if sizes is None:
        return [channels.float() for channels in maps]
    if len(sizes) != len(maps):
        raise ValueError(f"predictions for {len(maps)} images, but target_sizes for {len(sizes)}")
    return [_resized(channels, (int(h), int(w))) for channels, (h, w) in zip(maps, sizes, strict=True)]


def _resized(channels: Tensor, size: tuple[int, int]) -> Tensor:
    """float32 (C, *size); C may be 0, which torch does not resize."""
    return upsample(channels[None], size)[0] if len(channels) else channels.new_zeros(0, *size, dtype=torch.float32)

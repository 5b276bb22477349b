"""Labelled frames in memory: small real data sets are decoded and resized once, then used by every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from rgbd3d.data.batch import normalise_image
from rgbd3d.data.resize import resize_color
from rgbd3d.data.sources import Source
from rgbd3d.types import RGBDSample


@dataclass(frozen=True)
class LabelledFrames:
    """Frames with depth and labels.

    Attributes:
        image: uint8 (N, 3, h, w), resized to the size that the network sees.
        depth: float32 (N, 1, H, W), metres at the size of the truth; 0 = no measurement.
        semantic: int64 (N, H, W), train ids at the size of the truth; 255 = ignore.
    """

    image: Tensor
    depth: Tensor
    semantic: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def select(self, index: Tensor | slice) -> LabelledFrames:
        """The frames at `index`."""
        return LabelledFrames(self.image[index], self.depth[index], self.semantic[index])

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[LabelledFrames]:
        """Batches of `size` frames, the last one smaller, in the given order or as stored."""
        order = torch.arange(len(self)) if order is None else order
        for index in order.split(size):
            yield self.select(index)

    def normalized(self) -> Tensor:
        """The images with ImageNet's mean and standard deviation removed, float32 (N, 3, h, w)."""
        return normalise_image(self.image / 255)


def load_frames(source: Source, image_size: tuple[int, int], indices: Sequence[int] | None = None) -> LabelledFrames:
    """Decodes frames of a source that has depth and semantic labels.

    Args:
        source: Any data source; all frames must have one size.
        image_size: (height, width) that the network sees.
        indices: Which frames; all by default.

    Raises:
        ValueError: A frame lacks depth or labels.
    """
    chosen = range(len(source)) if indices is None else indices
    samples = [source[i] for i in tqdm(chosen, desc=f"reading {source.name}", unit="frame", leave=False, disable=None)]
    for sample in samples:
        missing = {"depth", "semantic"} - sample.keys()
        if missing:
            raise ValueError(f"{source.name}: frame {_describe(sample)} has no {' and no '.join(sorted(missing))}")
    return LabelledFrames(
        image=torch.stack([resize_color(s["image"], image_size) for s in samples]),
        depth=torch.stack([s["depth"] for s in samples]),
        semantic=torch.stack([s["semantic"] for s in samples]),
    )


def _describe(sample: RGBDSample) -> str:
    return f"{sample.get('scene_id', '?')}/{sample.get('frame_id', '?')}"

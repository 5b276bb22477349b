"""The sections of a card about its data: which frames, how they are rendered and augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rgbd3d.strict_yaml import require

Rooms = Literal["compact", "deep"]
"""How far one sees in rendered rooms: as in homes, or with long views now and then, as in NYUv2."""


@dataclass(frozen=True, kw_only=True)
class Render:
    """How the embedded synthrooms data set is rendered for a recipe.

    Attributes:
        scenes: Number of rooms.
        frames_per_scene: Views per room.
        size: (height, width) of a frame in pixels.
        rooms: How far one sees in them.
    """

    scenes: int
    frames_per_scene: int
    size: tuple[int, int]
    rooms: Rooms = "compact"

    def __post_init__(self) -> None:
        for name in ("scenes", "frames_per_scene"):
            require(getattr(self, name) > 0, name, "should be positive")
        require(min(self.size) > 0, "size", "should be (height, width) in pixels, both positive")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Joint RGB-D augmentation.

    Attributes:
        crop_scale: (smallest, largest) area of the random resized crop as a fraction of the frame; (1, 1) only resizes.
        scale_depth: Multiply the depth of a crop by the crop's side as a fraction of the frame's, as if the same camera
            had come nearer: what is enlarged is near, and metres can be told from pictures. False leaves depth as it is
            measured, with a focal length that varies.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of brightness, contrast, saturation, gamma and channel-gain jitter; 0 turns it off.
        blur: Probability of a 3x3 box blur.
        depth_holes: Expected fraction of depth that is hidden in soft-edged blobs, as a sensor would; 0 turns it off.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    scale_depth: bool = False
    flip: float = 0.0
    color_jitter: float = 0.0
    blur: float = 0.0
    depth_holes: float = 0.0

    def __post_init__(self) -> None:
        smallest, largest = self.crop_scale
        require(
            0 < smallest <= largest <= 1,
            "crop_scale",
            "should be (smallest, largest) area, 0 < smallest <= largest <= 1",
        )
        for name in ("flip", "blur"):
            require(0 <= getattr(self, name) <= 1, name, "should be a probability in 0..1")
        require(0 <= self.depth_holes <= 0.5, "depth_holes", "should be an expected fraction in 0..0.5")
        require(0 <= self.color_jitter <= 1, "color_jitter", "should be a strength in 0..1")


LABEL_SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the frames that data-efficient runs train on."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the recipe is trained on.

    Attributes:
        source: Name of a data set (`rgbd3d data list`).
        split: Part of it.
        every: Take every k-th frame of a sequence (`rgbd3d.data.sources.open_source`); 1 takes all that the data hold.
        frames: [first, end] of the positions in what is left that are trained on; None is all.
        label_share: Train on this share of them, one of `LABEL_SHARES`: the same frames for everybody, and those of a
            smaller share are part of a larger one (`rgbd3d.data.subset`).
        render: Only for synthrooms: what to render.
        augment: Augmentation; left as it is where `transform` is given.
        transform: Preset of `rgbd3d.data.transforms` at the backbone's image size instead of `augment`.
    """

    source: str
    split: str = "train"
    every: int = 1
    frames: tuple[int, int] | None = None
    label_share: float = 1.0
    render: Render | None = None
    augment: Augment = Augment()
    transform: str | None = None

    def __post_init__(self) -> None:
        require(self.every > 0, "every", "should be positive: every k-th frame is taken")
        if self.frames is not None:
            first, end = self.frames
            require(0 <= first < end, "frames", "should be [first, end], 0 <= first < end")
        shares = ", ".join(map(str, LABEL_SHARES))
        require(self.label_share in LABEL_SHARES, "label_share", f"should be one of {shares}")
        rendered = self.source == "synthrooms"
        require(rendered or self.render is None, "render", f"belongs to source synthrooms only, not {self.source!r}")
        require(
            not rendered or self.render is not None, "render", "is needed for source synthrooms: scenes, frames, size"
        )
        require(
            self.transform is None or self.augment == Augment(),
            "transform",
            "replaces augment: give one of them, with data.augment={}",
        )

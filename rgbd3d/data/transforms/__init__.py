"""Joint transforms of RGB-D samples, and the sets that the papers trained with.

A transform takes a sample (`RGBDSample` or `ClipSample`) and a `torch.Generator` and returns a new dict; nothing is
changed in place. All maps of a sample, its intrinsics and its pose move together, and all frames of a clip alike. Names
that torchvision also has mean what they mean there, down to the draws.

    augment = transforms.preset("multimae-depth")
    sample = augment(source[0], seeding.generator(seed, step))
"""

from rgbd3d.data.transforms.color import (
    BrightnessContrast,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HueSaturationValue,
    Normalise,
    RandomGamma,
    ToFloat,
)
from rgbd3d.data.transforms.compose import Compose, RandomApply, Transform
from rgbd3d.data.transforms.crops import CenterCrop, HorizontalFlip, RandomCrop, RandomResizedCrop, RandomZoom
from rgbd3d.data.transforms.depth import CutDepth, NormaliseDepth, StandardiseDepth
from rgbd3d.data.transforms.presets import list_presets, preset
from rgbd3d.data.transforms.sizes import PadTo, RandomScale, Resize, ResizeToCover, ResizeWithin

__all__ = [
    "BrightnessContrast",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutDepth",
    "GaussianBlur",
    "Grayscale",
    "HorizontalFlip",
    "HueSaturationValue",
    "Normalise",
    "NormaliseDepth",
    "PadTo",
    "RandomApply",
    "RandomCrop",
    "RandomGamma",
    "RandomResizedCrop",
    "RandomScale",
    "RandomZoom",
    "Resize",
    "ResizeToCover",
    "ResizeWithin",
    "StandardiseDepth",
    "ToFloat",
    "Transform",
    "list_presets",
    "preset",
]

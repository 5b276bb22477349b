"""The sets of transforms that the papers' code trained with, by name.

Each builder states its source: FACTS.md and the file of the original code (repositories as named in FACTS.md §0). What
differs from that code in all sets: depth and labels are resized by nearest neighbour at pixel centres, and colour is
antialiased where it is made smaller, which OpenCV's bilinear resizing does not do.
"""

from __future__ import annotations

from collections.abc import Callable

from torchvision.transforms.v2 import InterpolationMode

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
from rgbd3d.data.transforms.compose import Compose, RandomApply
from rgbd3d.data.transforms.crops import CenterCrop, HorizontalFlip, RandomCrop, RandomResizedCrop, RandomZoom
from rgbd3d.data.transforms.depth import CutDepth, NormaliseDepth, StandardiseDepth
from rgbd3d.data.transforms.sizes import PadTo, RandomScale, Resize, ResizeToCover, ResizeWithin
from rgbd3d.strict_yaml import did_you_mean
from rgbd3d.types import MILLIMETRES_PER_METRE

Size = tuple[int, int]

_HALF_FLIPPED = RandomApply(HorizontalFlip(), 0.5)


def preset(name: str, size: Size | None = None) -> Compose:
    """A set of transforms by name.

    Args:
        name: One of `list_presets()`.
        size: (height, width) of the result; None is the size that the original code used.

    Raises:
        ValueError: There is no such set.
    """
    if name not in _PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(_PRESETS)}{did_you_mean(name, _PRESETS)}")
    build = _PRESETS[name]
    return build() if size is None else build(size)


def list_presets() -> tuple[str, ...]:
    """Names for `preset`."""
    return tuple(_PRESETS)


# ------------------------------------------------------------------------------------------------------------ MultiMAE


def multimae_pretrain(size: Size = (224, 224)) -> Compose:
    """Pre-training of MultiMAE (multimae:utils/datasets.py; depth as in FACTS.md §1.2).

    Random resized crop of area 0.2..1 and aspect ratio 3/4..4/3, bicubic as PIL's default there; flip; ImageNet
    normalisation; truncated standardisation of depth.

    Open: the original standardises over the whole map, because its pseudo-depth has no holes; here over valid pixels.
    Labels keep full resolution; the original shrinks them to a quarter for its adapter of stride 4.
    """
    return Compose(
        [
            RandomResizedCrop(size, (0.2, 1.0), (0.75, 1.3333), InterpolationMode.BICUBIC),
            _HALF_FLIPPED,
            Normalise(),
            StandardiseDepth(truncated=0.1),
        ]
    )


def multimae_semseg(size: Size = (640, 640)) -> Compose:
    """Fine-tuning for segmentation, with or without depth (FACTS.md §6.1; multimae:utils/datasets_semseg.py).

    Flip; longer side 640; jitter 0.4/0.4/0.2/0.1 with p 0.5; large scale jitter 0.1..2; padding with 128 (labels are
    ignored there) on the right and below; random crop; ImageNet normalisation; truncated standardisation of depth.
    """
    return Compose(
        [
            _HALF_FLIPPED,
            ResizeWithin(size),
            RandomApply(ColorJitter((0.6, 1.4), (0.6, 1.4), (0.8, 1.2), (-0.1, 0.1)), 0.5),
            RandomScale((0.1, 2.0)),
            PadTo(size, color=128),
            RandomCrop(size),
            Normalise(),
            StandardiseDepth(truncated=0.1, required=False),
        ]
    )


def multimae_semseg_eval(size: Size = (640, 640)) -> Compose:
    """Evaluation to `multimae_semseg` (FACTS.md §6.1): longer side 640, padded; the padding is ignored."""
    return Compose(
        [ResizeWithin(size), PadTo(size, color=128), Normalise(), StandardiseDepth(truncated=0.1, required=False)]
    )


def multimae_depth(size: Size = (256, 256)) -> Compose:
    """Fine-tuning for depth from colour on NYUv2 (FACTS.md §6.2; multimae:utils/dataset_regression.py).

    Shorter side 256; flip; jitter (0.1255, 0.4, 0.5..1.5, -0.2..0.2) with p 0.5; grey with p 0.3; random crop; ImageNet
    normalisation; depth by the constants of `_multimae_depth_target`.
    """
    return Compose(
        [
            ResizeToCover(size),
            _HALF_FLIPPED,
            RandomApply(ColorJitter((1 - 0.1255, 1 + 0.1255), (0.6, 1.4), (0.5, 1.5), (-0.2, 0.2)), 0.5),
            RandomApply(Grayscale(), 0.3),
            RandomCrop(size),
            Normalise(),
            _multimae_depth_target(),
        ]
    )


def multimae_depth_eval(size: Size = (256, 256)) -> Compose:
    """Evaluation to `multimae_depth` (FACTS.md §6.2): shorter side 256, centre crop, no Eigen crop."""
    return Compose([ResizeToCover(size), CenterCrop(size), Normalise(), _multimae_depth_target()])


def _multimae_depth_target() -> NormaliseDepth:
    """The literal reading of FACTS.md §6.2: 65536 values per 10 m, mean 2070.7764, deviation 777.5723.

    Open: the constants look like millimetres; then it would be `NormaliseDepth(2.0707764, 0.7775723)`. δ and relative
    errors are the same, since predictions are mapped back by the same constants, but not the size of the loss.
    """
    values_per_metre = 65536 / 10
    return NormaliseDepth(mean=2070.7764 / values_per_metre, deviation=777.5723 / values_per_metre)


# ---------------------------------------------------------------------------------------------------------- two-stage


def progressive_semseg(size: Size = (640, 640)) -> Compose:
    """Fine-tuning of the two-stage paper for segmentation on ScanNet and SUN RGB-D (FACTS.md §3.1, its Table 14).

    Flip and Gaussian blur, and no jitter. The paper names neither strengths nor a change of scale: here each has p 0.5,
    the blur is of 0.1..2 pixels as in `pri3d_pretrain`, and frames are padded to the size as in `multimae_semseg`.
    """
    return Compose(
        [
            _HALF_FLIPPED,
            ResizeWithin(size),
            RandomApply(GaussianBlur((0.1, 2.0)), 0.5),
            PadTo(size, color=128),
            Normalise(),
        ]
    )


# ----------------------------------------------------------------------------------------------------------- MIM-Depth


def mim_depth(size: Size = (480, 480)) -> Compose:
    """Fine-tuning for depth of MIM-Depth and MeSa (FACTS.md §5.2, augmentation; the set is GLPDepth's).

    Vertical CutDepth on a quarter of the samples; flip; random crop; brightness and contrast, gamma, and hue (40
    degrees, 20 in OpenCV's units), saturation (30 of 255) and value (20 of 255), each with p 0.5: the defaults of
    albumentations, which the code leaves unchanged. Colour ends in 0..1 without normalisation, depth in metres.

    Open: the code applies CutDepth to every 4th sample that a loader process makes, here each with probability 1/4. It
    writes millimetres into 8 bits, so the strip shows them modulo 256; that is kept. `CutDepth(0.75, 25.5)` would show
    0..10 m in one run from black to white.
    """
    return Compose(
        [
            RandomApply(CutDepth(widest=0.75, values_per_metre=MILLIMETRES_PER_METRE), 0.25),
            _HALF_FLIPPED,
            RandomCrop(size),
            RandomApply(BrightnessContrast(0.2), 0.5),
            RandomApply(RandomGamma((0.8, 1.2)), 0.5),
            RandomApply(HueSaturationValue(hue=40, saturation=30 / 255, value=20 / 255), 0.5),
            ToFloat(),
        ]
    )


def mim_depth_eval(size: Size | None = None) -> Compose:
    """Evaluation to `mim_depth` (FACTS.md §5.2, test): the whole frame in 0..1, in its own size unless one is given.

    Flipping, the two windows and the Eigen crop belong to the evaluation.
    """
    return Compose([ToFloat()] if size is None else [Resize(size), ToFloat()])


# --------------------------------------------------------------------------------------------------------------- Pri3D


def pri3d(size: Size = (240, 320)) -> Compose:
    """Fine-tuning and evaluation of Pri3D, and so of Mask3D (FACTS.md §1.2 and §1.3): no augmentation.

    Colour, too, is resized by nearest neighbour; ImageNet normalisation; depth stays in metres.
    """
    return Compose([Resize(size, InterpolationMode.NEAREST), Normalise()])


def pri3d_pretrain(size: Size = (240, 320)) -> Compose:
    """Each frame of a pair in the contrastive pre-training of Pri3D (pri3d:pretrain/pri3d/dataset/scannet.py).

    As `pri3d`, with jitter 0.4/0.4/0.4/0.1 with p 0.8, grey with p 0.2 and blur of 0.1..2 pixels with p 0.5. Geometry
    is untouched, so that pixels stay matched by depth and pose. FACTS.md has no row on it.

    Open: PIL's blur, three box filters, is a Gaussian here.
    """
    return Compose(
        [
            Resize(size, InterpolationMode.NEAREST),
            RandomApply(ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1)), 0.8),
            RandomApply(Grayscale(), 0.2),
            RandomApply(GaussianBlur((0.1, 2.0)), 0.5),
            Normalise(),
        ]
    )


# ------------------------------------------------------------------------------------------------------------ SC-Depth


def sc_depth(size: Size = (480, 480)) -> Compose:
    """Self-supervised training of SC-Depth and MeSa (FACTS.md §5.2, GP; scdepth:datasets/custom_transforms.py).

    Flip; width and height enlarged by up to 15 % each and cropped back; resized (480 x 480 is MeSa's size, §5.1;
    SC-Depth's own for NYUv2 is 256 x 320); (x - 0.45) / 0.225. Depth is neither rescaled nor standardised: the
    pseudo-depth of V3 is used as it is (§5.2, pseudo-depth).

    Open: flipping maps cx to W - 1 - cx, as the pixel centres of `rgbd3d.geometry` ask for; the original takes W - cx.
    """
    return Compose([_HALF_FLIPPED, RandomZoom(1.15), Resize(size), Normalise((0.45,) * 3, (0.225,) * 3)])


def sc_depth_eval(size: Size = (480, 480)) -> Compose:
    """Evaluation to `sc_depth` (scdepth:data_modules.py): resized and normalised."""
    return Compose([Resize(size), Normalise((0.45,) * 3, (0.225,) * 3)])


_PRESETS: dict[str, Callable[..., Compose]] = {
    "multimae-pretrain": multimae_pretrain,
    "multimae-semseg": multimae_semseg,
    "multimae-semseg-eval": multimae_semseg_eval,
    "multimae-depth": multimae_depth,
    "multimae-depth-eval": multimae_depth_eval,
    "progressive-semseg": progressive_semseg,
    "mim-depth": mim_depth,
    "mim-depth-eval": mim_depth_eval,
    "pri3d": pri3d,
    "pri3d-pretrain": pri3d_pretrain,
    "sc-depth": sc_depth,
    "sc-depth-eval": sc_depth_eval,
}

"""Image processor for RGB-D frames: anything that holds pixels in, the tensors that the models take out."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_processing_base import BatchFeature
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs

from rgbd3d.cards import Backbone
from rgbd3d.data.batch import standardise_depth
from rgbd3d.data.resize import resize_nearest, same_shape
from rgbd3d.postprocessing import PostProcessing
from rgbd3d.types import MILLIMETRES_PER_METRE

# Annotations are not postponed in this file: transformers checks arguments by the types in `RgbdImagesKwargs`.

DEPTH_NORMALIZATION = "truncated-standardization"
PLAUSIBLE_METRES = (0.05, 50.0)
"""A frame whose median depth lies outside is taken for one in another unit."""

_VALUES_PER_METRE = {"m": 1.0, "mm": MILLIMETRES_PER_METRE}
_STATE_THE_UNIT = 'state it with depth_unit="m", depth_unit="mm", or the number of values per metre (TUM: 5000)'


def values_per_metre(unit: str | float) -> float:
    """Number by which stored depth is divided to get metres.

    Args:
        unit: "m", "mm", or the number itself.

    Raises:
        ValueError: The unit is unknown or no positive number.
    """
    if isinstance(unit, str):
        if unit not in _VALUES_PER_METRE:
            raise ValueError(f"unknown depth unit {unit!r}; {_STATE_THE_UNIT}")
        return _VALUES_PER_METRE[unit]
    if not (math.isfinite(unit) and unit > 0):
        raise ValueError(f"depth_unit should be a positive number of values per metre, not {unit}")
    return float(unit)


def to_metres(depth: Any, unit: str | float) -> Tensor:
    """Depth of one frame in metres; refuses what looks like another unit.

    NaN and infinity mean "no measurement" as 0 does, and become 0. Negative values are refused: they are no depth, but
    what standardised or inverse depth looks like.

    Args:
        depth: PIL image, array or tensor, (H, W) with an optional axis of length 1; 0 = no measurement.
        unit: See `values_per_metre`; integers cannot be "m".

    Returns:
        float32 (1, H, W) on the CPU, metres, 0 = no measurement.

    Raises:
        ValueError: Wrong shape, negative values, integers without a unit, or a median of the valid pixels outside
            `PLAUSIBLE_METRES`; the message names the unit that was assumed.
    """
    raw = depth.detach().cpu() if isinstance(depth, Tensor) else torch.from_numpy(_readable_array(depth))
    if raw.ndim == 3 and 1 in (raw.shape[0], raw.shape[-1]):
        raw = raw.squeeze(0 if raw.shape[0] == 1 else -1)
    if raw.ndim != 2:
        raise ValueError(f"the depth of one frame should be (H, W) or (1, H, W), not {tuple(raw.shape)}")
    if not raw.is_floating_point() and unit == "m":
        raise ValueError(f"integer depth ({str(raw.dtype).removeprefix('torch.')}) is not in metres; {_STATE_THE_UNIT}")
    metres = torch.nan_to_num(raw.float() / values_per_metre(unit), nan=0.0, posinf=0.0, neginf=0.0)
    _check_plausible(metres, unit)
    return metres[None]


def _readable_array(depth: Any) -> np.ndarray:
    array = np.asarray(depth)
    if array.dtype == np.uint16 or array.dtype == np.uint32:
        return array.astype(np.int32 if array.dtype == np.uint16 else np.int64)  # torch computes little on these
    if array.dtype.kind not in "iuf":
        raise ValueError(f"depth should be numbers, not {array.dtype}")
    return np.array(array, dtype=array.dtype.newbyteorder("="))  # a copy: big-endian and read-only arrays are refused


def _check_plausible(metres: Tensor, unit: str | float) -> None:
    if (metres < 0).any():
        raise ValueError(
            f"depth has negative values (down to {metres.min():.3g} m): it should be raw depth, 0 where there is no "
            "measurement, and neither standardised nor inverse"
        )
    valid = metres[metres > 0]
    if valid.numel() == 0:
        return
    median, (low, high) = valid.median().item(), PLAUSIBLE_METRES
    if not low <= median <= high:
        stated = repr(unit) if isinstance(unit, str) else f"{unit:g} values per metre"
        raise ValueError(
            f"the median depth is {median:.4g} m when read as {stated}, outside {low:g} to {high:g} m: this looks like "
            f"the wrong unit; {_STATE_THE_UNIT}"
        )


class RgbdImagesKwargs(ImagesKwargs, total=False):
    """What can be given to the constructor or to a call, beyond the usual image arguments.

    Attributes:
        patch_size: Height and width of the result are multiples of it.
        depth_unit: "m" (floats only), "mm", or the number of stored values per metre.
        depth_normalization: How `depth_values` are made; there is one way.
        task: Of the model whose predictions are processed, a key of `rgbd3d.tasks.TASKS`; None for a backbone.
    """

    patch_size: int
    depth_unit: str | float | int
    depth_normalization: str
    task: str | None


class RgbdImageProcessor(PostProcessing, TorchvisionBackend):
    """RGB in `[0, 255]` and depth in a stated unit -> `pixel_values`, `depth_values`, `depth_metres`.

    Called with images (PIL, array or tensor; one, or a list) and optionally their depth. Colour is resized with
    antialiasing and normalised, by default with ImageNet's mean and deviation. Depth is resized by nearest neighbour,
    so that no pixel without a measurement is mixed into a valid one, and then standardised as in pre-training.

    `pixel_values` is (B, 3, H, W); `depth_values` is (B, 1, H, W), the encoder's input; `depth_metres` is (B, 1, H, W)
    in metres with 0 = no measurement, the target of pre-training.

    What a model of a task predicts from `pixel_values` is turned into maps by `rgbd3d.postprocessing`.
    """

    valid_kwargs = RgbdImagesKwargs
    model_input_names = ["pixel_values", "depth_values", "depth_metres"]  # noqa: RUF012 - as in every image processor

    do_convert_rgb = True
    do_resize = True
    size = {"height": 224, "width": 224}  # noqa: RUF012
    resample = PILImageResampling.BILINEAR
    do_rescale = True
    do_normalize = True
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    patch_size = 16
    depth_unit = "m"
    depth_normalization = DEPTH_NORMALIZATION

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    @classmethod
    def for_backbone(cls, backbone: Backbone, task: str | None = None) -> Self:
        """Processor with the patch and the image size of a card's backbone, for the model of a task on it."""
        height, width = backbone.image_size
        return cls(size={"height": height, "width": width}, patch_size=backbone.patch_size, task=task)

    def to_dict(self) -> dict[str, Any]:
        """What is saved; names the class for `trust_remote_code=True` too."""
        # A list, because pipelines take a string for a hint at a video processor and ask whether to run its code.
        return {**super().to_dict(), "auto_map": {"AutoImageProcessor": ["modeling_rgbd3d.RgbdImageProcessor"]}}

    def preprocess(self, images: Any, depth: Any = None, **kwargs: Any) -> BatchFeature:
        """Processes RGB images and, if given, their depth.

        Args:
            images: PIL image, (H, W, 3) or (3, H, W) array or tensor in [0, 255], a batch, or a list of them.
            depth: The same number of depth maps, (H, W) or (1, H, W) each; 0, NaN or infinity = no measurement.
            **kwargs: Constructor arguments for this call, for example `depth_unit="mm"`, `size=` or
                `return_tensors="pt"`.

        Returns:
            `pixel_values` and, with depth, `depth_values` and `depth_metres`.

        Raises:
            ValueError: A size that is no multiple of the patch, pixels outside the range that is expected, another
                number of depth maps than of images, depth of another shape than its image, or depth that `to_metres`
                refuses.
        """
        return super().preprocess(images, depth, **kwargs)

    def _preprocess_image_like_inputs(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        (depth,) = args
        if (given := kwargs["depth_normalization"]) != DEPTH_NORMALIZATION:
            raise ValueError(f"depth_normalization should be {DEPTH_NORMALIZATION!r}, not {given!r}")
        return_tensors = kwargs.pop("return_tensors")
        prepare = ("do_convert_rgb", "input_data_format", "device")
        colour = self._prepare_image_like_inputs(images, **{key: kwargs.pop(key) for key in prepare})
        sizes = _output_sizes(colour, kwargs["do_resize"], kwargs["size"], kwargs["patch_size"])
        for image in colour:
            _check_range(image, kwargs["do_rescale"])
        data = dict(self._preprocess(colour, return_tensors=None, **kwargs))
        if depth is not None:
            maps = [to_metres(frame, kwargs["depth_unit"]) for frame in _depth_frames(depth, len(colour))]
            for image, frame in zip(colour, maps, strict=True):
                _refuse_another_shape(frame, image)
            metres = [resize_nearest(frame, size) for frame, size in zip(maps, sizes, strict=True)]
            values = [standardise_depth(frame[None])[0] for frame in metres]
            data["depth_values"] = [frame.to(colour[0].device) for frame in values]
            data["depth_metres"] = [frame.to(colour[0].device) for frame in metres]
        return BatchFeature(data=data, tensor_type=return_tensors)


def _output_sizes(images: Sequence[Tensor], do_resize: bool, size: SizeDict, patch: int) -> list[tuple[int, int]]:
    """(height, width) of every result; refuses what the patch does not divide."""
    if do_resize and not (size.height and size.width):
        raise ValueError(f"size should have a height and a width, not {dict(size)}")
    sizes = [(size.height or 0, size.width or 0) if do_resize else _height_width(image) for image in images]
    for height, width in set(sizes):
        if height % patch or width % patch:
            nearest = [max(patch, round(side / patch) * patch) for side in (height, width)]
            remedy = "pass" if do_resize else "crop it, or leave do_resize on with"
            raise ValueError(
                f"an image of {height}x{width} (height x width) is no multiple of the patch, {patch} pixels; "
                f"{remedy} size={{'height': {nearest[0]}, 'width': {nearest[1]}}}"
            )
    return sizes


def _height_width(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _check_range(image: Tensor, do_rescale: bool) -> None:
    largest = float(image.float().max())  # torch has no maximum of uint16
    if do_rescale and image.is_floating_point() and 0 < largest <= 1:
        raise ValueError("the image has no value above 1: it seems to lie in [0, 1] already; pass do_rescale=False")
    if largest > (255 if do_rescale else 1):
        expected = "[0, 255]" if do_rescale else "[0, 1], because of do_rescale=False"
        raise ValueError(f"the image has values up to {largest:g}, but pixels are expected in {expected}")


def _refuse_another_shape(depth: Tensor, image: Tensor) -> None:
    (rows, columns), (height, width) = _height_width(depth), _height_width(image)
    if not same_shape((height, width), (rows, columns)):
        raise ValueError(
            f"depth is {columns} x {rows} but the image is {width} x {height} pixels: another shape, so they cannot be "
            "registered; crop or re-project first"
        )


def _depth_frames(depth: Any, images: int) -> list[Any]:
    """One entry per frame, from one map, a batch of maps or a list of maps."""
    is_array = isinstance(depth, (np.ndarray, Tensor))
    is_batch = is_array and (depth.ndim == 4 or (depth.ndim == 3 and len(depth) == images))
    frames = list(depth) if is_batch or isinstance(depth, (list, tuple)) else [depth]
    if len(frames) != images:
        raise ValueError(f"{images} images but {len(frames)} depth maps; every image needs its own")
    return frames

"""The operations that move every map of a sample, its intrinsics and its pose together.

Pixels are moved by torchvision, by type: colour is `tv_tensors.Image` or `Video` and may be interpolated; depth, labels
and all other maps are `PixelMap` and never are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from rgbd3d.data.codec import DataError
from rgbd3d.data.resize import resize_nearest
from rgbd3d.data.transforms.draws import check_size
from rgbd3d.geometry import crop_intrinsics, flip_intrinsics, flip_pose, resize_intrinsics
from rgbd3d.types import IGNORE_LABEL

Sample = dict[str, Any]
"""What a transform returns: the keys of `RGBDSample` or `ClipSample`, and what the last steps of a set add."""

COLOR: dict[str, type[tv_tensors.TVTensor]] = {"image": tv_tensors.Image, "frames": tv_tensors.Video}

MAPS = {
    "depth": 0,
    "depth_metres": 0,
    "depth_filled": 0,
    "depth_edges": 0,
    "planes": 0,
    "semantic": IGNORE_LABEL,
    "instance": 0,
    "depth_frames": 0,
    "depth_frames_metres": 0,
}
"""Maps that move along with the colour, and what they hold where there is no image."""


class PixelMap(tv_tensors.Mask):
    """Depth, labels or any other map (..., H, W) whose values are moved and never mixed."""


@F.register_kernel(F.resize, PixelMap)
def _resize_map(values: PixelMap, size: list[int], **_: Any) -> Tensor:
    # torchvision's, in some versions, takes the value at a pixel's corner, beside what colour and intrinsics do.
    return resize_nearest(values.as_subclass(Tensor), (size[0], size[1]))


# torchvision knows the other operations on a `PixelMap` from those on a `Mask`.


def size_of(sample: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of all maps of a sample.

    Raises:
        DataError: There is none, one is no tensor, or they differ.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for key in (key for key in sample if key in COLOR or key in MAPS):
        if not isinstance(sample[key], Tensor) or sample[key].ndim < 2:
            raise DataError(f"{key} should be a tensor (..., H, W), not {type(sample[key]).__name__}: decode it first")
        sizes[key] = (sample[key].shape[-2], sample[key].shape[-1])
    if not sizes:
        raise DataError(f"the sample has no map to transform, only {sorted(sample)}")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{key} {width} x {height}" for key, (height, width) in sizes.items())
        raise DataError(f"the maps of a sample should have one size, width x height: {listed}")
    return next(iter(sizes.values()))


def resize(
    sample: Mapping[str, Any], size: tuple[int, int], interpolation: InterpolationMode = InterpolationMode.BILINEAR
) -> Sample:
    """All maps in another size; colour is interpolated with antialiasing, the others take the nearest value.

    Args:
        sample: Sample or clip.
        size: (height, width).
        interpolation: Of colour.
    """
    check_size(size)
    old = size_of(sample)

    def kernel(key: str, pixels: Tensor) -> Tensor:
        if key in COLOR and interpolation == InterpolationMode.NEAREST:
            return resize_nearest(pixels, size)  # torchvision's takes the value at a pixel's corner
        return F.resize(pixels, list(size), interpolation=interpolation, antialias=True)

    moved = _move(sample, kernel)
    return _change(moved, "intrinsics", lambda intrinsics: resize_intrinsics(intrinsics, old, size))


def crop(sample: Mapping[str, Any], top: int, left: int, size: tuple[int, int]) -> Sample:
    """The box (height, width) at (top, left).

    Raises:
        DataError: It does not lie within the maps.
    """
    check_size(size)
    (height, width), (rows, columns) = size_of(sample), size
    if top < 0 or left < 0 or top + rows > height or left + columns > width:
        raise DataError(
            f"cannot crop {columns} x {rows} pixels at ({left}, {top}) out of {width} x {height}: enlarge or pad it"
        )
    moved = _move(sample, lambda _, pixels: F.crop(pixels, top, left, rows, columns))
    return _change(moved, "intrinsics", lambda intrinsics: crop_intrinsics(intrinsics, top, left))


def pad(sample: Mapping[str, Any], bottom: int, right: int, color: int) -> Sample:
    """Rows and columns added below and on the right, where the camera need not change.

    Args:
        sample: Sample or clip.
        bottom: Rows.
        right: Columns.
        color: Value of all channels of the colour there; the other maps get theirs of `MAPS`.
    """
    return _move(sample, lambda key, pixels: F.pad(pixels, [0, 0, right, bottom], fill=MAPS.get(key, color)))


def flip(sample: Mapping[str, Any]) -> Sample:
    """Left and right exchanged; the pose becomes `flip_pose`, which holds among frames that are all flipped."""
    width = size_of(sample)[1]
    moved = _move(sample, lambda _, pixels: F.horizontal_flip(pixels))
    moved = _change(moved, "intrinsics", lambda intrinsics: flip_intrinsics(intrinsics, width))
    moved = _change(moved, "plane_normals", lambda normals: normals * normals.new_tensor([1, -1, 1, 1]))
    return _change(moved, "pose", flip_pose)


def _move(sample: Mapping[str, Any], kernel: Callable[[str, Tensor], Tensor]) -> Sample:
    """The sample with the kernel applied to each of its maps, typed for torchvision."""
    moved = dict(sample)
    for key in sample:
        if key in COLOR or key in MAPS:
            moved[key] = kernel(key, COLOR.get(key, PixelMap)(sample[key])).as_subclass(Tensor)
    return moved


def _change(sample: Sample, key: str, change: Callable[[Tensor], Tensor]) -> Sample:
    return {**sample, key: change(sample[key])} if key in sample else sample

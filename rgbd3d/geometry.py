"""Pinhole geometry: intrinsics, unprojection, projection, warping between views, normals.

Conventions: OpenCV axes (x right, y down, z forward); depth is z in metres with 0 = invalid; poses map camera to world;
the centre of the top-left pixel is (0, 0), so its corner is (-0.5, -0.5). Functions take any leading batch dimensions
(`...`) that broadcast, and are differentiable where that makes sense.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# -------------------------------------------------------------------------------------------------------- intrinsics


def resize_intrinsics(intrinsics: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Intrinsics of a resized image.

    Args:
        intrinsics: (..., 3, 3).
        size: (height, width) before.
        new_size: (height, width) after.

    Returns:
        (..., 3, 3).
    """
    scale = intrinsics.new_tensor([new_size[1] / size[1], new_size[0] / size[0]])
    resized = intrinsics.clone()
    resized[..., :2, :2] *= scale[:, None]
    # Corners, not pixel centres, keep their relative position.
    resized[..., :2, 2] = (intrinsics[..., :2, 2] + 0.5) * scale - 0.5
    return resized


def crop_intrinsics(intrinsics: Tensor, top: int, left: int) -> Tensor:
    """Intrinsics (..., 3, 3) of the image without its first `top` rows and `left` columns."""
    cropped = intrinsics.clone()
    cropped[..., :2, 2] -= intrinsics.new_tensor([left, top])
    return cropped


def flip_intrinsics(intrinsics: Tensor, width: int) -> Tensor:
    """Intrinsics (..., 3, 3) of the mirrored image; the scene is mirrored too, and its pose is `flip_pose`."""
    flipped = intrinsics.clone()
    flipped[..., 0, 2] = width - 1 - intrinsics[..., 0, 2]
    flipped[..., 0, 1] = -intrinsics[..., 0, 1]
    return flipped


def flip_pose(pose: Tensor) -> Tensor:
    """Pose (..., 4, 4) of the mirrored image, from the mirrored camera to the world mirrored at its plane x = 0.

    A mirrored camera in the true world would be left-handed; in the mirrored world its pose is rigid. The relative
    poses of frames that are all mirrored fit what they show; a mirrored and an unmirrored frame share no world.
    """
    mirror = torch.ones_like(pose[..., 0, :])
    mirror[..., 0] = -1
    return mirror[..., :, None] * pose * mirror[..., None, :]


# ---------------------------------------------------------------------------------------------- pixels <-> 3-D points


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Points in camera coordinates.

    Args:
        depth: (..., 1, H, W), metres.
        intrinsics: (..., 3, 3).

    Returns:
        (..., 3, H, W), metres; (0, 0, 0) where depth is invalid.
    """
    height, width = depth.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=depth.dtype, device=depth.device),
        torch.arange(width, dtype=depth.dtype, device=depth.device),
        indexing="ij",
    )
    pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    rays = torch.linalg.inv(intrinsics) @ pixels
    return rays.unflatten(-1, (height, width)) * depth


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Where points are seen.

    Args:
        points: (..., 3, H, W) in camera coordinates, metres.
        intrinsics: (..., 3, 3).

    Returns:
        Pixel coordinates (x, y) as (..., 2, H, W), NaN for points that are not in front of the camera; and their depth
        (..., 1, H, W).
    """
    height, width = points.shape[-2:]
    homogeneous = (intrinsics @ points.flatten(-2)).unflatten(-1, (height, width))
    z = homogeneous[..., 2:, :, :]
    in_front = z > 0
    pixels = homogeneous[..., :2, :, :] / torch.where(in_front, z, 1)
    return torch.where(in_front, pixels, torch.nan), points[..., 2:, :, :]


def transform(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (..., 3, H, W) under a rigid or affine (..., 4, 4) matrix."""
    size = points.shape[-2:]
    return (matrix[..., :3, :3] @ points.flatten(-2) + matrix[..., :3, 3:]).unflatten(-1, size)


# ----------------------------------------------------------------------------------------------------- between views


def relative_pose(source: Tensor, target: Tensor) -> Tensor:
    """Matrix (..., 4, 4) from the camera of `source` to that of `target`; both are (..., 4, 4), camera to world."""
    return torch.linalg.inv(target) @ source


def reproject(
    depth: Tensor, intrinsics: Tensor, to_other: Tensor, other_intrinsics: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Where another camera sees the pixels of this one.

    Args:
        depth: (..., 1, H, W) of this camera, metres, 0 = invalid.
        intrinsics: (..., 3, 3) of this camera.
        to_other: (..., 4, 4) of `relative_pose(this, other)`.
        other_intrinsics: (..., 3, 3); None if the same.

    Returns:
        Pixel coordinates (x, y) in the other camera, (..., 2, H, W), NaN where depth is invalid or the point is behind
        the other camera; and the depth of the points there, (..., 1, H, W).
    """
    points = transform(unproject(depth, intrinsics), to_other)
    pixels, z = project(points, intrinsics if other_intrinsics is None else other_intrinsics)
    return torch.where(depth > 0, pixels, torch.nan), z


def sample(values: Tensor, pixels: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Values at pixel coordinates.

    Args:
        values: (B, C, H, W).
        pixels: (B, 2, h, w), (x, y); NaN is outside.
        mode: "bilinear", or "nearest" for depth and labels.

    Returns:
        (B, C, h, w), 0 outside the image's corners; and bool (B, 1, h, w), True inside.
    """
    height, width = values.shape[-2:]
    x, y = pixels.unbind(1)
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    grid = torch.where(inside[..., None], grid, 0)
    sampled = F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)
    return sampled * inside[:, None], inside[:, None]


def warp(image: Tensor, depth: Tensor, intrinsics: Tensor, to_other: Tensor) -> tuple[Tensor, Tensor]:
    """The image of another camera, as this camera would have seen it (inverse warping).

    Args:
        image: (B, C, H, W) of the other camera.
        depth: (B, 1, H, W) of this camera, metres, 0 = invalid.
        intrinsics: (B, 3, 3) of both.
        to_other: (B, 4, 4) of `relative_pose(this, other)`.

    Returns:
        (B, C, H, W), 0 where unknown; and bool (B, 1, H, W), True where the other camera's image covers the point
        (whether something there hides it is not looked at).
    """
    pixels, _ = reproject(depth, intrinsics, to_other)
    return sample(image, pixels)


def register_depth(
    depth: Tensor, intrinsics: Tensor, to_other: Tensor, other_intrinsics: Tensor, size: tuple[int, int] | None = None
) -> Tensor:
    """Depth as another camera would have measured it: every pixel is moved there, and the nearest surface wins.

    Args:
        depth: (..., 1, H, W) of this camera, metres, 0 = invalid.
        intrinsics: (..., 3, 3) of this camera.
        to_other: (..., 4, 4) from this camera to the other one.
        other_intrinsics: (..., 3, 3) of the other camera.
        size: (height, width) of the other camera; None if the same.

    Returns:
        (..., 1, *size), metres; 0 where no pixel of this camera lands.
    """
    height, width = size or depth.shape[-2:]
    pixels, z = reproject(depth, intrinsics, to_other, other_intrinsics)
    column, row = pixels.round().flatten(-2).unbind(-2)
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)  # NaN is not
    nowhere = height * width
    # Integers before the product: float32 skips some beyond 2^24. NaN has none, so the unseen get 0 first.
    column, row = (torch.where(seen, axis, 0).long() for axis in (column, row))
    target = torch.where(seen, row * width + column, nowhere)
    nearest = depth.new_full((*target.shape[:-1], nowhere + 1), torch.inf)
    nearest = nearest.scatter_reduce(-1, target, z.flatten(-3), "amin")[..., :nowhere]
    return torch.where(nearest.isinf(), 0, nearest).unflatten(-1, (1, height, width))


# ----------------------------------------------------------------------------------------------------------- surfaces


def normals(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Unit surface normals from central differences of the unprojected points.

    Args:
        depth: (..., 1, H, W), metres, 0 = invalid.
        intrinsics: (..., 3, 3).

    Returns:
        (..., 3, H, W) towards the camera; 0 at the border and where the pixel or one of its four neighbours is invalid.
    """
    points = unproject(depth, intrinsics)
    across = points[..., 1:-1, 2:] - points[..., 1:-1, :-2]
    down = points[..., 2:, 1:-1] - points[..., :-2, 1:-1]
    inner = F.normalize(torch.linalg.cross(down, across, dim=-3), dim=-3)
    valid = depth > 0
    around = valid[..., 1:-1, 2:] & valid[..., 1:-1, :-2] & valid[..., 2:, 1:-1] & valid[..., :-2, 1:-1]
    inner = torch.where(around & valid[..., 1:-1, 1:-1], inner, 0.0)
    return F.pad(inner, (1, 1, 1, 1))

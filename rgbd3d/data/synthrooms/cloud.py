"""Coloured, labelled point clouds of rooms, fused from rendered frames as a scanner would."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from rgbd3d.data.synthrooms.camera import viewpoints
from rgbd3d.data.synthrooms.layout import make_scene
from rgbd3d.data.synthrooms.raycast import Raster
from rgbd3d.data.synthrooms.render import RenderedFrame, default_renderer, one_thread, scene_name
from rgbd3d.geometry import transform, unproject

_FOV = 75.0
_STREAM = 4711
"""Keeps the draws of these cameras apart from those of the same seed's frames."""
_BITS = 21
"""Of a voxel coordinate in the key that voxels are sorted by."""


class ScenePoints(TypedDict):
    """N points of one room.

    Attributes:
        xyz: float32 (N, 3), metres, z up, a corner of the floor is the origin.
        rgb: uint8 (N, 3).
        normal: float32 (N, 3), unit.
        semantic: int64 (N,), train ids as in the frames; 255 = ignore.
        instance: int32 (N,).
        scene_id: Name of the room.
    """

    xyz: Tensor
    rgb: Tensor
    normal: Tensor
    semantic: Tensor
    instance: Tensor
    scene_id: str


def scene_cloud(seed: int, frames: int = 16, voxel: float = 0.02, size: tuple[int, int] = (120, 160)) -> ScenePoints:
    """Point cloud of room number `seed`.

    Args:
        seed: Not negative, as for `render_scene`.
        frames: Views that are fused.
        voxel: Edge in metres of the voxels of which each keeps one point.
        size: (height, width) in pixels of the views.

    Returns:
        Points sorted by voxel.
    """
    with one_thread():
        scene = make_scene(seed)
        rng = np.random.default_rng([seed, _STREAM])
        poses = viewpoints(scene, frames, rng)
        rendered = default_renderer().frames(scene, poses, Raster.from_fov(size, _FOV), rng)
        views = [_points(frame) for frame in rendered]
        xyz, rgb, normal, semantic, instance = (torch.cat(parts) for parts in zip(*views, strict=True))
        kept = _one_per_voxel(xyz, voxel)
        return ScenePoints(
            xyz=xyz[kept],
            rgb=rgb[kept],
            normal=normal[kept],
            semantic=semantic[kept],
            instance=instance[kept],
            scene_id=scene_name(seed),
        )


def _points(frame: RenderedFrame) -> tuple[Tensor, ...]:
    world = transform(unproject(frame["depth"], frame["intrinsics"]), frame["pose"]).reshape(3, -1)
    flat = (frame[key].reshape(3, -1).t() for key in ("image", "normal"))
    return world.t(), *flat, frame["semantic"].reshape(-1), frame["instance"].reshape(-1)


def _one_per_voxel(xyz: Tensor, voxel: float) -> Tensor:
    """Indices of the first point of every occupied voxel."""
    cell = torch.floor(xyz / voxel).long() + (1 << _BITS - 1)
    key = (cell[:, 0] << 2 * _BITS) | (cell[:, 1] << _BITS) | cell[:, 2]
    order = torch.argsort(key, stable=True)
    ordered = key[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]

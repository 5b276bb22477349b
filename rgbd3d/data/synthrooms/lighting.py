"""Light that reaches a surface: soft-shadowed lamps and windows, and light that bounces off the sides of the room."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rgbd3d.data.synthrooms.filters import box_blur
from rgbd3d.data.synthrooms.raycast import Raster, cast
from rgbd3d.data.synthrooms.scene import Light, Scene
from rgbd3d.data.synthrooms.surfaces import SurfaceTable

SHADOW_RESOLUTION = 160
SHADOW_TANGENT = 2.6
"""Tangent of half the opening angle of a shadow map; light beyond it passes unshadowed."""
NORMAL_OFFSET = 0.02
"""Metres that a point moves along its normal before the shadow look-up, against self-shadowing."""
BIAS = 0.02
LIGHT_BLEEDING = 0.3
"""Visibility below which a variance shadow map counts as dark."""
MIN_VARIANCE = 2e-4
SOURCE_AREA = 0.15
"""Square metres added to the squared distance: lamps are not points."""
BOUNCES = 4
WALL_SAMPLES = 6
FACING = 0.45
"""Share of the bounced light that comes from the side which a surface faces; the rest comes from all sides."""
FURNISHED = 0.75
"""Bounced light that is left when furniture absorbs its part."""
HIGHLIGHT = 0.05


class Lighting:
    """Lights of one scene with their shadow maps, and the radiance of the six sides of the room."""

    def __init__(self, scene: Scene, table: SurfaceTable) -> None:
        self._size = scene.size
        self._table = table
        self._room = len(scene.center)
        self._positions = torch.tensor(np.array([light.position for light in scene.lights]), dtype=torch.float32)
        self._colors = torch.tensor(np.array([light.color for light in scene.lights]), dtype=torch.float32)
        axes = [_light_axes(light) for light in scene.lights]
        to_light = [
            np.concatenate([a.T, -(a.T @ light.position)[:, None]], 1)
            for a, light in zip(axes, scene.lights, strict=True)
        ]
        self._to_light = torch.tensor(np.concatenate(to_light), dtype=torch.float32)
        casters = scene.half.max(1) > 0.02
        self._moments = [_shadow_map(scene, light, a, casters) for a, light in zip(axes, scene.lights, strict=True)]
        self._side_irradiance, self._bounced = self._bounce(scene)

    def _bounce(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Mean irradiance (6, 3) of the sides and the bounced light (3, 6) that arrives from each of them."""
        points, normals = _side_samples(scene.size)
        direct = self.direct(points, normals).reshape(3, 6, -1).mean(2).t()
        albedo = torch.tensor([material.tint for material in scene.materials[-6:]]) * 0.8
        radiance = albedo * direct
        for _ in range(BOUNCES):
            arriving = FURNISHED * radiance.mean(0)
            radiance = albedo * (direct + arriving)
        arriving = FURNISHED * (FACING * radiance + (1 - FACING) * radiance.mean(0))
        return direct + FURNISHED * radiance.mean(0), arriving.t().contiguous()

    def direct(self, point: Tensor, normal: Tensor) -> Tensor:
        """Irradiance (3, N) from the lights at (3, N) points, divided by pi."""
        shifted = torch.cat([point + NORMAL_OFFSET * normal, torch.ones_like(point[:1])])
        in_light = self._to_light @ shifted
        total = torch.zeros_like(point)
        for index, moments in enumerate(self._moments):
            z = in_light[3 * index + 2]
            near = z.clamp(min=0.03)
            grid = in_light[3 * index : 3 * index + 2] * (1 / (SHADOW_TANGENT * near))
            visible = _visibility(moments, grid, z)
            offset = self._positions[index][:, None] - point
            squared = (offset * offset).sum(0)
            cosines = (normal * offset).sum(0).clamp_(min=0) * z.clamp(min=0) / squared.clamp(min=1e-4)
            total.addcmul_(self._colors[index][:, None], (visible * cosines / (squared + SOURCE_AREA))[None])
        return total

    def ambient(self, normal: Tensor) -> Tensor:
        """Bounced light (3, N) that arrives at unoccluded surfaces with unit normals (3, N), divided by pi."""
        positive = normal.clamp(min=0).square()
        negative = normal.square() - positive
        return self._bounced @ torch.stack([negative, positive], 1).reshape(6, -1)

    def reflection(self, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """What glossy points mirror: radiance of the bare room along `direction`, and highlights; all (3, N)."""
        size = torch.tensor(self._size, dtype=torch.float32)[:, None]
        ahead = (direction > 0) * size - point
        distance = (ahead / (direction + 1e-9)).clamp(min=0).amin(0)
        hits = self._table.hits(torch.full_like(distance, self._room, dtype=torch.int32), point + distance * direction)
        albedo = self._table.albedo(hits, distance * 0.02)
        side = hits.face - 6 * self._room
        radiance = albedo * self._side_irradiance.index_select(0, side).t()
        highlight = torch.zeros_like(point)
        for position, color in zip(self._positions, self._colors, strict=True):
            to_light = position[:, None] - point
            cosine = (direction * to_light).sum(0).clamp_(min=0) * torch.rsqrt((to_light * to_light).sum(0))
            highlight.addcmul_(color[:, None], (cosine**64)[None], value=HIGHLIGHT)
        return radiance, highlight


def _light_axes(light: Light) -> npt.NDArray[np.float64]:
    """(3, 3) camera axes in columns of a view along the light's direction."""
    up = np.array([0.0, 0.0, 1.0]) if abs(light.direction[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    right = np.cross(light.direction, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(light.direction, right), light.direction], 1)


def _shadow_map(scene: Scene, light: Light, axes: npt.NDArray[np.float64], casters: npt.NDArray[np.bool_]) -> Tensor:
    """Blurred moments (1, 2, R, R) of the depth: a variance shadow map (Donnelly and Lauritzen, I3D 2006)."""
    size = SHADOW_RESOLUTION
    raster = Raster(size, size, size / 2 / SHADOW_TANGENT, (size - 1) / 2, (size - 1) / 2)
    depth = torch.from_numpy(cast(scene, raster, light.position, axes, casters)[0])
    moments = torch.stack([depth, depth * depth])
    return box_blur(box_blur(moments))[None]


def _visibility(moments: Tensor, grid: Tensor, depth: Tensor) -> Tensor:
    """Share (N,) of the light that reaches points at map coordinates `grid` (2, N) in [-1, 1] and depth (N,)."""
    mean, second = F.grid_sample(moments, grid.t()[None, None], padding_mode="border", align_corners=False)[0, :, 0]
    variance = (second - mean * mean).clamp_(min=MIN_VARIANCE)
    behind = (depth - mean - BIAS).clamp_(min=0)
    visible = ((variance / (variance + behind * behind) - LIGHT_BLEEDING) / (1 - LIGHT_BLEEDING)).clamp_(min=0)
    inside = (grid.abs().amax(0) < 1).float()
    return 1 + inside * (visible - 1)


def _side_samples(size: npt.NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Points and inward normals (3, 6 n) on a grid over the six sides of the room."""
    ticks = (np.arange(WALL_SAMPLES) + 0.5) / WALL_SAMPLES
    a, b = (grid.ravel() for grid in np.meshgrid(ticks, ticks))
    points, normals = [], []
    for side in range(6):
        axis, sign = side // 2, side % 2
        point = np.insert(np.stack([a, b]), axis, 0.99 if sign else 0.01, axis=0) * size[:, None]
        normal = np.zeros_like(point)
        normal[axis] = -1.0 if sign else 1.0
        points.append(point)
        normals.append(normal)
    return (torch.tensor(np.concatenate(x, 1), dtype=torch.float32) for x in (points, normals))  # type: ignore[return-value]

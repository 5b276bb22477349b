"""Radiance of every pixel: texture, light, ambient occlusion, reflections and mirrors.

Light varies slowly over a surface, so it is computed for every second pixel in both directions, interpolated where the
neighbours belong to the same face, and computed exactly elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.synthrooms.filters import box_blur, following, interleave
from rgbd3d.data.synthrooms.lighting import Lighting
from rgbd3d.data.synthrooms.raycast import Raster, cast, ray_directions
from rgbd3d.data.synthrooms.scene import Scene
from rgbd3d.data.synthrooms.surfaces import Hits, SurfaceTable
from rgbd3d.data.synthrooms.textures import Atlas

GLOSSY = 0.25
"""Gloss from which reflections are worth computing."""
REFLECTANCE = 0.04
"""Of a dielectric at normal incidence, Schlick's approximation."""
MIRROR_REFLECTANCE = 0.92
OCCLUSION_RADIUS = 0.45
OCCLUSION_SAMPLES = 8
OCCLUSION_STRENGTH = 2.2
GOLDEN_ANGLE = 2.39996
MIN_COSINE = 0.08


@dataclass(frozen=True)
class View:
    """Noise-free measurements of one frame.

    Attributes:
        radiance: (3, H, W) linear RGB, not negative.
        depth: (H, W) z-depth in metres.
        normal: (3, H, W) unit normals in world axes.
        label: uint8 (H, W) NYU40 ids.
        instance: int32 (H, W).
        primitive: int32 (H, W).
    """

    radiance: Tensor
    depth: Tensor
    normal: Tensor
    label: Tensor
    instance: Tensor
    primitive: Tensor


class Shader:
    """Everything that is prepared once per scene, and the shading of its frames."""

    def __init__(self, scene: Scene, atlas: Atlas, texels: Tensor) -> None:
        self.scene = scene
        self.table = SurfaceTable(scene, atlas, texels)
        self.lighting = Lighting(scene, self.table)
        self._mirrors = [p for p, material in enumerate(scene.materials[:-6]) if material.mirror > 0]

    @torch.inference_mode()
    def view(self, raster: Raster, pose: npt.NDArray[np.float64]) -> View:
        """The frame that a camera with the given (4, 4) camera-to-world pose takes."""
        position, axes = pose[:3, 3], pose[:3, :3]
        depth, primitive = cast(self.scene, raster, position, axes)
        hits, rays = self._surface(raster, position, axes, depth, primitive)
        shape = depth.shape
        radiance = self._lit(hits, rays, raster, torch.from_numpy(depth)).reshape(3, *shape)
        for mirror in self._mirrors:
            self._reflect_in(mirror, raster, position, axes, primitive, radiance)
        return View(
            radiance=radiance,
            depth=torch.from_numpy(depth),
            normal=hits.normal.reshape(3, *shape),
            label=self.table.label.index_select(0, hits.face).reshape(shape),
            instance=self.table.instance.index_select(0, hits.face).reshape(shape),
            primitive=torch.from_numpy(primitive),
        )

    def _surface(
        self,
        raster: Raster,
        position: npt.NDArray[np.float64],
        axes: npt.NDArray[np.float64],
        depth: npt.NDArray[np.float32],
        primitive: npt.NDArray[np.int32],
        pixels: Tensor | None = None,
    ) -> tuple[Hits, _Rays]:
        """Hits and viewing rays of all pixels, or of those with the given flat indices."""
        direction = torch.from_numpy(ray_directions(raster, axes)).reshape(3, -1)
        z, index = torch.from_numpy(depth).reshape(-1), torch.from_numpy(primitive).reshape(-1)
        if pixels is not None:
            direction, z, index = direction[:, pixels], z[pixels], index[pixels]
        point = direction * z + torch.tensor(position, dtype=torch.float32)[:, None]
        hits = self.table.hits(index, point)
        direction = direction * torch.rsqrt((direction * direction).sum(0))
        cosine = -(direction * hits.normal).sum(0)
        footprint = z / raster.focal * torch.rsqrt(cosine.clamp(min=MIN_COSINE))
        return hits, _Rays(direction, cosine, footprint)

    def _lit(self, hits: Hits, rays: _Rays, raster: Raster, depth: Tensor) -> Tensor:
        height, width = depth.shape
        albedo = self.table.albedo(hits, rays.footprint)
        coarse = torch.arange(height * width).reshape(height, width)[::2, ::2].reshape(-1)
        small = (3, (height + 1) // 2, (width + 1) // 2)
        point, normal = hits.point.index_select(1, coarse), hits.normal.index_select(1, coarse)
        direct, ambient, specular = self._light(hits, rays, coarse)
        occlusion = _occlusion(point.reshape(small), normal.reshape(small), depth[::2, ::2], raster.focal / 2)
        terms = torch.cat([direct, ambient, specular]).reshape(9, *small[1:])
        light = _interpolate(terms, (height, width)).reshape(9, -1)
        rough = _edges(hits.face.reshape(height, width))
        exact = self._light(hits, rays, rough)
        light[:, rough] = torch.cat(exact)
        access = _interpolate(occlusion[None], (height, width)).reshape(1, -1)
        light[:3].addcmul_(light[3:6], access)
        return albedo * (light[:3] + hits.emission) + light[6:]

    def _light(self, hits: Hits, rays: _Rays, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Direct and ambient irradiance and specular radiance, (3, n) each, of the pixels with flat indices (n,)."""
        point, normal = hits.point.index_select(1, pixels), hits.normal.index_select(1, pixels)
        specular = torch.zeros_like(point)
        gloss = hits.gloss.index_select(0, pixels)
        shiny = torch.nonzero(gloss > GLOSSY).squeeze(1)
        if len(shiny):
            chosen = pixels[shiny]
            cosine = rays.cosine.index_select(0, chosen)
            mirrored = rays.direction.index_select(1, chosen) + 2 * cosine * normal[:, shiny]
            fresnel = REFLECTANCE + (1 - REFLECTANCE) * (1 - cosine.clamp(0, 1)) ** 5
            radiance, highlight = self.lighting.reflection(point[:, shiny], mirrored)
            specular[:, shiny] = gloss[shiny] * (radiance * fresnel + highlight)
        return self.lighting.direct(point, normal), self.lighting.ambient(normal), specular

    def _reflect_in(
        self,
        mirror: int,
        raster: Raster,
        position: npt.NDArray[np.float64],
        axes: npt.NDArray[np.float64],
        primitive: npt.NDArray[np.int32],
        radiance: Tensor,
    ) -> None:
        """Replaces the pixels of a flat mirror by what a camera behind it sees."""
        rows, columns = np.nonzero(primitive == mirror)
        if not len(rows):
            return
        scene = self.scene
        thin = int(np.argmin(scene.half[mirror]))
        normal = scene.rotation[mirror, :, thin]
        normal = normal * np.sign((position - scene.center[mirror]) @ normal)
        surface = scene.center[mirror] + normal * scene.half[mirror, thin]
        flip = np.eye(3) - 2 * np.outer(normal, normal)
        window = raster.crop(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        reach = (np.abs(np.einsum("pij,i->pj", scene.rotation, normal)) * scene.half).sum(1)
        in_front = (scene.center - surface) @ normal + reach > 0.01
        virtual = surface + flip @ (position - surface)
        depth, index = cast(scene, window, virtual, flip @ axes, in_front)
        pixels = torch.from_numpy((rows - rows.min()) * window.width + columns - columns.min())
        hits, rays = self._surface(window, virtual, flip @ axes, depth, index, pixels)
        direct, ambient, specular = self._light(hits, rays, torch.arange(len(pixels)))
        image = self.table.albedo(hits, rays.footprint) * (direct + 0.8 * ambient + hits.emission) + specular
        share = scene.materials[mirror].mirror * MIRROR_REFLECTANCE
        target = (torch.from_numpy(rows), torch.from_numpy(columns))
        radiance[:, target[0], target[1]] = torch.lerp(radiance[:, target[0], target[1]], image, share)


@dataclass(frozen=True)
class _Rays:
    """Unit directions (3, N), cosines with the surface normals (N,) and pixel footprints in metres (N,)."""

    direction: Tensor
    cosine: Tensor
    footprint: Tensor


def _interpolate(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    """Linear interpolation (C, H, W) of values (C, ceil(H / 2), ceil(W / 2)) at every second pixel."""
    for axis, length in ((1, size[0]), (2, size[1])):
        coarse = interleave(coarse, (coarse + following(coarse, axis)) * 0.5, axis, length)
    return coarse


def _edges(face: Tensor) -> Tensor:
    """Flat indices of the pixels whose interpolation would mix faces, from the face numbers (H, W)."""
    low = high = face[None, ::2, ::2]
    for axis, length in ((1, face.shape[0]), (2, face.shape[1])):
        low = interleave(low, torch.minimum(low, following(low, axis)), axis, length)
        high = interleave(high, torch.maximum(high, following(high, axis)), axis, length)
    return torch.nonzero(((low != face) | (high != face)).reshape(-1)).squeeze(1)


def _occlusion(point: Tensor, normal: Tensor, depth: Tensor, focal: float) -> Tensor:
    """Screen-space ambient occlusion: share (h, w) of the ambient light that gets through, from (3, h, w) geometry."""
    height, width = depth.shape
    points, normals = point.reshape(3, -1), normal.reshape(3, -1)
    x, y = torch.arange(width, dtype=torch.float32), torch.arange(height, dtype=torch.float32)[:, None]
    radius = (OCCLUSION_RADIUS * focal / depth).clamp_(3, 60)
    phase = ((x * 3 + y * 5) % 8) * (math.pi / 16)
    cos, sin = torch.cos(phase) * radius, torch.sin(phase) * radius
    occluded = torch.zeros(height * width)
    for sample in range(OCCLUSION_SAMPLES):
        reach = math.sqrt((sample + 0.5) / OCCLUSION_SAMPLES)
        c, s = reach * math.cos(sample * GOLDEN_ANGLE), reach * math.sin(sample * GOLDEN_ANGLE)
        column = (x + c * cos - s * sin).clamp_(0, width - 1).int()
        row = (y + c * sin + s * cos).clamp_(0, height - 1).int()
        offset = points.index_select(1, (row * width + column).reshape(-1)) - points
        squared = (offset * offset).sum(0)
        rise = (offset * normals).sum(0) * torch.rsqrt(squared + 1e-6)
        occluded += (rise - 0.08).clamp_(min=0) * (1 - squared / OCCLUSION_RADIUS**2).clamp_(min=0)
    access = (1 - OCCLUSION_STRENGTH / OCCLUSION_SAMPLES * occluded).clamp_(0.12, 1).reshape(1, height, width)
    return box_blur(box_blur(access))[0]

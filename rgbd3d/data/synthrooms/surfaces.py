"""Geometry and appearance of what the rays hit: one row of constants per face, looked up for all pixels at once.

A primitive has six faces in the order -x, +x, -y, +y, -z, +z of its own axes; face `f` of primitive `p` is row
`6 p + f`. The room itself is primitive number P, a box seen from the inside. Curved surfaces use the row of the axis
that their normal is closest to. Points, normals and colours are component-major (3, N): memory stays contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.scene import Scene
from rgbd3d.data.synthrooms.shapes import Shape
from rgbd3d.data.synthrooms.textures import Atlas, texture_index

CAP = 0.9995
"""|z| in the unit cylinder above which a hit is on its flat end."""

_U_AXIS, _V_AXIS = np.array([1, 0, 0]), np.array([2, 2, 1])
"""Part axes of the texture coordinates on x-, y- and z-faces, see `Material`."""


@dataclass(frozen=True)
class Hits:
    """What N rays hit.

    Attributes:
        point, normal: (3, N) world position in metres and unit normal towards the viewer's side.
        face: int32 (N,) row of the face table.
        uv: (2, N) texture coordinates.
        tint: (3, N) linear RGB.
        gloss, emission: (N,).
        density: (N,) texture repeats per metre.
    """

    point: Tensor
    normal: Tensor
    face: Tensor
    uv: Tensor
    tint: Tensor
    gloss: Tensor
    emission: Tensor
    density: Tensor


class SurfaceTable:
    """Constants of all faces of a scene, and the look-up of hits and texture colours."""

    def __init__(self, scene: Scene, atlas: Atlas, texels: Tensor) -> None:
        """`texels` is the atlas' array as a tensor, shared by all scenes."""
        self.texels = texels
        self.resolution, self.levels = atlas.resolution, atlas.levels
        self._level_offsets = torch.from_numpy(atlas.level_offsets.astype(np.int32))
        room_half = scene.size / 2
        to_local = np.concatenate([scene.to_local, np.diag(1 / room_half)[None]])
        center = np.concatenate([scene.center, room_half[None]])
        half = np.concatenate([scene.half, room_half[None]])
        rotation = np.concatenate([scene.rotation, np.eye(3)[None]])
        shape = np.concatenate([scene.shape, [int(Shape.SHELL)]])
        shift = np.einsum("pij,pj->pi", to_local, center)
        self._local = _columns(np.concatenate([to_local.reshape(-1, 9), -shift], 1))
        self._unit_normal = _columns(np.concatenate([1 / half, rotation.reshape(-1, 9)], 1))
        self._ellipsoid = torch.from_numpy(shape == Shape.ELLIPSOID)
        self._cylinder = torch.from_numpy(shape == Shape.CYLINDER)

        count = len(scene.center)
        part = np.concatenate([np.repeat(np.arange(count), 6), np.arange(count, count + 6)])
        self.label = torch.from_numpy(scene.label[part])
        self.instance = torch.from_numpy(scene.instance[part])
        self._faces = _columns(_face_rows(scene, center, half, rotation, part))
        self._texture = _texture_bases(scene, atlas, part)

    def hits(self, primitive: Tensor, point: Tensor) -> Hits:
        """Normals and materials of the surfaces at `point` (3, N) of the primitives int32 (N,)."""
        local = self._local.index_select(1, primitive)
        x, y, z = (
            local[3 * k] * point[0] + local[3 * k + 1] * point[1] + local[3 * k + 2] * point[2] + local[9 + k]
            for k in range(3)
        )
        face = 6 * primitive + _nearest_face(x, y, z)
        curved = self._curved(primitive, z)
        if len(curved):
            normal_local, normal_world = self._curved_normals(primitive[curved], x[curved], y[curved], z[curved])
            face[curved] = 6 * primitive[curved] + _nearest_face(*normal_local)
        rows = self._faces.index_select(1, face)
        normal = rows[:3]
        if len(curved):
            normal[:, curved] = normal_world
        uv = torch.stack(
            [rows[k] * point[0] + rows[k + 1] * point[1] + rows[k + 2] * point[2] + rows[k + 3] for k in (3, 7)]
        )
        return Hits(point, normal, face, uv, rows[11:14], rows[14], rows[15], rows[16])

    def _curved(self, primitive: Tensor, z: Tensor) -> Tensor:
        side = self._cylinder.index_select(0, primitive) & (z.abs() < CAP)
        return torch.nonzero(self._ellipsoid.index_select(0, primitive) | side).squeeze(1)

    def _curved_normals(self, primitive: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        rows = self._unit_normal.index_select(1, primitive)
        local = torch.stack([x * rows[0], y * rows[1], z * rows[2] * self._ellipsoid.index_select(0, primitive)])
        local *= torch.rsqrt((local * local).sum(0))
        world = [rows[3 + 3 * k] * local[0] + rows[4 + 3 * k] * local[1] + rows[5 + 3 * k] * local[2] for k in range(3)]
        return local, torch.stack(world)

    def albedo(self, hits: Hits, metres_per_pixel: Tensor) -> Tensor:
        """Texture times tint (3, N), bilinear in the mip level whose texels are about as large as the pixels."""
        texels_per_pixel = metres_per_pixel * hits.density * self.resolution
        # The exponent bits of a float are its log2, rounded down; the factor sqrt(2) makes that the nearest level.
        level = ((texels_per_pixel * 2**0.5).view(torch.int32) >> 23) - 127
        level = level.clamp_(0, self.levels - 1)
        side = self.resolution >> level
        base = self._texture.index_select(0, hits.face) + self._level_offsets.index_select(0, level)
        u, v = (hits.uv * side).sub_(0.5)
        left, top = torch.floor(u), torch.floor(v)
        a, b = u - left, v - top
        mask = side - 1
        column, row = left.int(), top.int()
        c0, c1 = column & mask, (column + 1) & mask
        r0, r1 = base + (row & mask) * side, base + ((row + 1) & mask) * side
        index = torch.stack([r0 + c0, r0 + c1, r1 + c0, r1 + c1], 1)
        ab = a * b
        weights = torch.stack([1 - a - b + ab, a - ab, b - ab, ab], 1)
        texture = F.embedding_bag(index, self.texels, mode="sum", per_sample_weights=weights)
        return texture.t() * hits.tint


def _columns(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows.T, np.float32))


def _nearest_face(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """int32 face number of the largest of three coordinates."""
    ax, ay, az = x.abs(), y.abs(), z.abs()
    is_x = (ax >= ay) & (ax >= az)
    is_y = ~is_x & (ay >= az)
    is_z = ~(is_x | is_y)
    positive = (is_x & (x > 0)) | (is_y & (y > 0)) | (is_z & (z > 0))
    return is_y.int() * 2 + is_z.int() * 4 + positive.int()


def _face_rows(
    scene: Scene, center: np.ndarray, half: np.ndarray, rotation: np.ndarray, part: np.ndarray
) -> np.ndarray:
    """(faces, 17): normal 3, u row 4, v row 4 (affine in world position), tint 3, gloss, emission, texture density."""
    count = len(scene.center)
    faces = np.arange(6 * count + 6)
    primitive, axis, sign = faces // 6, faces % 6 // 2, faces % 2 * 2.0 - 1.0
    inside_out = np.where(primitive == count, -1.0, 1.0)
    normal = rotation[primitive, :, axis] * (sign * inside_out)[:, None]
    grain = np.concatenate([scene.grain, [0]])[primitive]
    swap = np.where(axis == 2, grain == 1, grain == 2)
    u_axis = np.where(swap, _V_AXIS[axis], _U_AXIS[axis])
    v_axis = np.where(swap, _U_AXIS[axis], _V_AXIS[axis])
    look = np.array([_look(material) for material in scene.materials])[part]
    fit = np.array([material.fit for material in scene.materials])[part]
    rows = [normal]
    density = np.zeros((2, len(faces)))
    for k, along in enumerate((u_axis, v_axis)):
        repeats = np.where(fit, 0.5 / half[primitive, along], look[:, 5])
        direction = rotation[primitive, :, along] * repeats[:, None]
        offset = look[:, 6 + k] + 0.5 * fit - np.einsum("fi,fi->f", direction, center[primitive])
        rows += [direction, offset[:, None]]
        density[k] = repeats
    return np.concatenate([*rows, look[:, :5], density.max(0)[:, None]], 1)


def _look(material: Material) -> tuple[float, ...]:
    return (*material.tint, material.gloss, material.emission, material.scale, *material.offset)


def _texture_bases(scene: Scene, atlas: Atlas, part: np.ndarray) -> Tensor:
    bases = [
        texture_index(material.texture, int(variant) % atlas.variants) * atlas.stride
        for material, variant in zip(scene.materials, scene.variant, strict=True)
    ]
    return torch.from_numpy(np.array(bases, np.int32)[part])

"""Z-buffer of a scene in numpy: every primitive is intersected only inside its rectangle on the screen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms.scene import Scene
from rgbd3d.data.synthrooms.shapes import Shape

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]
Hit = tuple[Image, npt.NDArray[np.bool_]]

NEAR = 0.02
"""Metres in front of the camera where primitives are clipped."""
MIN_HIT = 1e-3
"""Rays that start inside a primitive don't see it."""
TINY = np.float32(1e-9)
"""Stands for 0 in ray directions: rays exactly along a face would give 0 / 0."""
SMALL = 600
"""Pixels up to which rectangles are drawn together."""
HITTABLE = (int(Shape.BOX), int(Shape.CYLINDER), int(Shape.ELLIPSOID))

_CORNERS = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * 2.0 - 1.0
_EDGES = np.array([(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit])


@dataclass(frozen=True)
class Raster:
    """Pixel grid of a pinhole camera: square pixels, centres at integer coordinates (OpenCV).

    Attributes:
        height, width: Pixels.
        focal: Focal length in pixels.
        cx, cy: Principal point in pixels.
    """

    height: int
    width: int
    focal: float
    cx: float
    cy: float

    @classmethod
    def from_fov(cls, size: tuple[int, int], fov: float) -> Raster:
        """Centred camera with a horizontal field of view of `fov` degrees."""
        height, width = size
        focal = width / 2 / math.tan(math.radians(fov) / 2)
        return cls(height, width, focal, (width - 1) / 2, (height - 1) / 2)

    def crop(self, x0: int, y0: int, x1: int, y1: int) -> Raster:
        """The part of the grid with columns x0 to x1 and rows y0 to y1 (ends excluded)."""
        return replace(self, height=y1 - y0, width=x1 - x0, cx=self.cx - x0, cy=self.cy - y0)

    def slopes(self) -> tuple[Image, Image]:
        """Ray slopes x/z (W,) of the columns and y/z (H,) of the rows."""
        u = (np.arange(self.width) - self.cx) / self.focal
        v = (np.arange(self.height) - self.cy) / self.focal
        return u.astype(np.float32), v.astype(np.float32)

    def intrinsics(self) -> Image:
        """(3, 3) camera matrix in pixels."""
        matrix = [[self.focal, 0, self.cx], [0, self.focal, self.cy], [0, 0, 1]]
        return np.array(matrix, np.float32)


def ray_directions(raster: Raster, axes: Array) -> Image:
    """World directions (3, H, W) with unit z-depth of all pixels; `axes` (3, 3) are camera axes in columns."""
    u, v = raster.slopes()
    turn = axes.astype(np.float32)
    return turn[:, 0, None, None] * u + (turn[:, 1, None] * v + turn[:, 2, None])[:, :, None]


def cast(
    scene: Scene, raster: Raster, position: Array, axes: Array, keep: npt.NDArray[np.bool_] | None = None
) -> tuple[Image, Ids]:
    """What each pixel sees.

    Args:
        scene: The room.
        raster: Pixel grid.
        position: (3,) camera centre.
        axes: (3, 3) camera x, y, z axes in the columns; a left-handed triple is a mirrored camera.
        keep: (P,) primitives to intersect; all by default.

    Returns:
        z-depth in metres (H, W), and the index of the primitive (H, W), P for the sides of the room.
    """
    count = len(scene.center)
    depth = _room_depth(scene.size, ray_directions(raster, axes), position)
    index = np.full(depth.shape, count, np.int32)
    x0, x1, y0, y1 = _screen_rectangles(scene, raster, position, axes)
    visible = (x1 > x0) & (y1 > y0)
    if keep is not None:
        visible &= keep
    rays = _LocalRays(scene, raster, position, axes)
    area = (x1 - x0) * (y1 - y0)
    with np.errstate(divide="ignore", invalid="ignore"):
        for p in np.flatnonzero(visible & (area > SMALL)).tolist():
            window = slice(y0[p], y1[p]), slice(x0[p], x1[p])
            near, hit = rays.rectangle(p, *window)
            hit &= near < depth[window]
            np.copyto(depth[window], near, where=hit)
            np.copyto(index[window], np.int32(p), where=hit)
        for shape in HITTABLE:
            small = np.flatnonzero(visible & (area <= SMALL) & (scene.shape == shape))
            if len(small):
                _cast_small(rays, shape, small, (x0[small], x1[small], y0[small], area[small]), depth, index)
    return depth, index


class _LocalRays:
    """The camera's rays in the coordinates in which each primitive spans [-1, 1]."""

    def __init__(self, scene: Scene, raster: Raster, position: Array, axes: Array) -> None:
        to_local = scene.to_local
        self.shape = scene.shape
        self.directions = (to_local @ axes).astype(np.float32)
        self.origins = np.einsum("pij,pj->pi", to_local, position - scene.center).astype(np.float32)
        self.u, self.v = raster.slopes()

    def rectangle(self, p: int, rows: slice, columns: slice) -> Hit:
        """Hits of primitive `p` in a rectangle of pixels."""
        m, u, v = self.directions[p], self.u[columns], self.v[rows]
        dx, dy, dz = (_nonzero(m[k, 0] * u + (m[k, 1] * v + m[k, 2])[:, None]) for k in range(3))
        return _unit_hit(int(self.shape[p]), self.origins[p], (dx, dy, dz))

    def pairs(self, shape: int, primitive: Ids, row: Ids, column: Ids) -> Hit:
        """Hits of primitives of one shape at single pixels, (N,) each."""
        table = np.concatenate([self.directions.reshape(-1, 9), self.origins], 1).T
        m = np.take(table, primitive, axis=1)
        u, v = self.u.take(column), self.v.take(row)
        dx, dy, dz = (_nonzero(m[3 * k] * u + m[3 * k + 1] * v + m[3 * k + 2]) for k in range(3))
        return _unit_hit(shape, m[9:], (dx, dy, dz))


def _nonzero(direction: Image) -> Image:
    return np.where(direction == 0, TINY, direction)


def _cast_small(
    rays: _LocalRays,
    shape: int,
    primitives: npt.NDArray[np.int64],
    rectangles: tuple[npt.NDArray[np.int64], ...],
    depth: Image,
    index: Ids,
) -> None:
    """Draws many small primitives at once: what a rectangle costs does not depend on its area when it is small."""
    x0, x1, y0, area = (values.astype(np.int32) for values in rectangles)
    within = np.arange(area.sum(), dtype=np.int32) - np.repeat(np.cumsum(area, dtype=np.int32) - area, area)
    width = np.repeat(x1 - x0, area)
    row, column = within // width, within % width
    row += np.repeat(y0, area)
    column += np.repeat(x0, area)
    primitive = np.repeat(primitives.astype(np.int32), area)
    pixel = row * np.int32(depth.shape[1]) + column
    near, hit = rays.pairs(shape, primitive, row, column)
    flat_depth, flat_index = depth.reshape(-1), index.reshape(-1)
    seen = np.flatnonzero(hit & (near < flat_depth[pixel]))
    far_to_near = seen[np.argsort(near[seen], kind="stable")[::-1]]  # of equals the first primitive stays
    flat_depth[pixel[far_to_near]] = near[far_to_near]  # the last, nearest value of a pixel stays
    flat_index[pixel[far_to_near]] = primitive[far_to_near]


def _room_depth(size: Array, directions: Image, position: Array) -> Image:
    exits = []
    for axis in range(3):
        d = directions[axis]
        far = np.where(d > 0, np.float32(size[axis] - position[axis]), np.float32(-position[axis]))
        parallel = d == 0
        exits.append(np.where(parallel, np.float32(np.inf), far / np.where(parallel, np.float32(1), d)))
    return np.minimum(np.minimum(exits[0], exits[1]), exits[2])


def _screen_rectangles(scene: Scene, raster: Raster, position: Array, axes: Array) -> tuple[npt.NDArray[np.int64], ...]:
    """Pixel ranges x0, x1, y0, y1 (ends excluded) that the box around each primitive can cover, clipped at `NEAR`."""
    extent = scene.rotation * scene.half[:, None]
    corners = scene.center[:, None] + np.einsum("pij,kj->pki", extent, _CORNERS)
    corners = (corners - position) @ axes
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    crosses = (start[..., 2] < NEAR) != (end[..., 2] < NEAR)
    rise = np.where(crosses, end[..., 2] - start[..., 2], 1.0)
    share = np.where(crosses, (NEAR - start[..., 2]) / rise, 0.0)
    clipped = start + share[..., None] * (end - start)
    points = np.concatenate([corners, clipped], 1)
    in_front = np.concatenate([corners[..., 2] >= NEAR, crosses], 1)
    z = np.maximum(points[..., 2], NEAR)

    def span(coordinate: Array, center: float, limit: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        pixel = coordinate / z * raster.focal + center
        low = np.ceil(np.where(in_front, pixel, np.inf).min(1)).clip(0, limit)
        high = np.floor(np.where(in_front, pixel, -np.inf).max(1) + 1).clip(0, limit)
        return low.astype(np.int64), high.astype(np.int64)

    return *span(points[..., 0], raster.cx, raster.width), *span(points[..., 1], raster.cy, raster.height)


def _hit_box(origin: Image, direction: tuple[Image, Image, Image]) -> Hit:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    ix, iy, iz = 1 / dx, 1 / dy, 1 / dz
    ax, ay, az = -ox * ix, -oy * iy, -oz * iz
    np.abs(ix, out=ix), np.abs(iy, out=iy), np.abs(iz, out=iz)
    near = np.maximum(np.maximum(ax - ix, ay - iy), az - iz)
    far = np.minimum(np.minimum(ax + ix, ay + iy), az + iz)
    return near, (near <= far) & (near > MIN_HIT)


def _hit_ellipsoid(origin: Image, direction: tuple[Image, Image, Image]) -> Hit:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    a = dx * dx + dy * dy + dz * dz
    b = ox * dx + oy * dy + oz * dz
    discriminant = b * b - a * (ox * ox + oy * oy + oz * oz - 1)
    near = -(b + np.sqrt(np.maximum(discriminant, 0))) / a
    return near, (discriminant > 0) & (near > MIN_HIT)


def _hit_cylinder(origin: Image, direction: tuple[Image, Image, Image]) -> Hit:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    a = dx * dx + dy * dy
    b = ox * dx + oy * dy
    discriminant = b * b - a * (ox * ox + oy * oy - 1)
    root = np.sqrt(np.maximum(discriminant, 0))
    iz = 1 / dz
    az, reach = -oz * iz, np.abs(iz)
    near = np.maximum(-(b + root) / a, az - reach)
    far = np.minimum((root - b) / a, az + reach)
    return near, (discriminant > 0) & (near <= far) & (near > MIN_HIT)


def _unit_hit(shape: int, origin: Image, direction: tuple[Image, Image, Image]) -> Hit:
    """Nearest entry into the unit shape, as z-depth, and whether there is one; `origin` is (3,) or (3, N)."""
    return (_hit_box, _hit_cylinder, _hit_ellipsoid)[shape](origin, direction)

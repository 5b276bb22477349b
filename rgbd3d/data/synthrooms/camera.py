"""Where a person with an RGB-D camera would stand and look: single viewpoints and smooth paths.

Height, pitch and distances follow NYUv2: half of its training frames have a median depth of 2.1 m to 3.2 m, a tenth of
their pixels is floor and hardly any is ceiling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms.raycast import Raster
from rgbd3d.data.synthrooms.rooms import EXTENTS
from rgbd3d.data.synthrooms.scene import Scene

Array = npt.NDArray[np.float64]

CLEARANCE = 0.2
"""Metres that the camera keeps from furniture and walls."""
CANDIDATES = 14
EYE_HEIGHT = (1.4, 0.2)
"""Mean and standard deviation in metres."""
PITCH = (math.radians(-3.5), math.radians(9))
"""Mean and standard deviation of the upward pitch, on top of turning towards what is looked at."""
PITCH_RANGE = (math.radians(-40), math.radians(16))
WALL_SHARE, FLOOR_SHARE = 0.1, 0.06
"""Shares of the picture from which bare wall and floor make a view less interesting."""
INTEREST: Mapping[str, float] = MappingProxyType({
    "bed": 5.0, "sofa": 4.0, "toilet": 4.0, "counter": 4.0, "cabinet": 2.5, "desk": 1.5, "dresser": 1.3, "table": 1.5,
    "mirror": 4.0, "picture": 4.0, "whiteboard": 4.0, "sink": 2.5, "bathtub": 1.5, "night_stand": 2.0, "towel": 2.0,
    "clothes": 2.5, "shelves": 2.5, "bookshelf": 1.2, "window": 1.2, "tv": 2.0, "paper": 2.0, "box": 0.1,
    "bag": 0.2, "otherstructure": 3.0, "wall": 0.1, "otherprop": 2.5, "pillow": 2.0, "person": 2.0, "lamp": 1.5,
})  # fmt: skip
"""How much a landmark of a label attracts the camera: rare labels more, so that label shares come near NYUv2's."""
DULL = 0.5
"""Interest below which a landmark makes a view worse."""
PATH_TRIES = 6
_PROBE = Raster.from_fov((6, 8), 62.0)


def viewpoints(scene: Scene, count: int, rng: np.random.Generator) -> Array:
    """Independent good views.

    Args:
        scene: The room.
        count: Number of views.
        rng: Decides everything.

    Returns:
        (count, 4, 4) camera-to-world poses, OpenCV axes.
    """
    poses = _random_poses(scene, count * CANDIDATES, rng)
    extent = EXTENTS[scene.rooms]
    targets = extent.median_depth * np.exp(rng.normal(0, extent.depth_spread, count)).repeat(CANDIDATES)
    scores = _scores(scene, poses, targets).reshape(count, CANDIDATES)
    return poses.reshape(count, CANDIDATES, 4, 4)[np.arange(count), scores.argmax(1)]


def path(scene: Scene, count: int, rng: np.random.Generator, rate: float = 10.0) -> Array:
    """A smooth walk that starts from a good view.

    Args:
        scene: The room.
        count: Number of frames.
        rng: Decides everything.
        rate: Frames per second; people move at about 0.4 m/s and 20 degrees/s.

    Returns:
        (count, 4, 4) camera-to-world poses, OpenCV axes.
    """
    middle = viewpoints(scene, 1, rng)[0]
    yaw, pitch, roll = _angles(middle[:3, :3])
    time = (np.arange(count) - (count - 1) / 2) / rate
    for attempt in range(PATH_TRIES):
        pace = 0.6**attempt
        velocity, sway = rng.normal(0, [0.3, 0.3, 0.05]), rng.normal(0, [0.05, 0.05, 0.02])
        positions = middle[:3, 3] + pace * (velocity * time[:, None] + sway * np.sin(1.7 * time)[:, None])
        if is_free(scene, positions).all():
            break
    else:
        positions = np.repeat(middle[None, :3, 3], count, 0)
    swing, period = rng.normal(0, [0.35, 0.12]), rng.uniform(0.6, 1.0, 2)
    yaws = yaw + swing[0] * np.sin(period[0] * time)
    pitches = pitch + swing[1] * np.sin(period[1] * time)
    return _poses(positions, yaws, pitches, np.full(count, roll))


def is_free(scene: Scene, positions: Array) -> npt.NDArray[np.bool_]:
    """Whether a camera may be at `positions` (N, 3): inside the room, not in or right above furniture. Bool (N,)."""
    inside = ((positions >= CLEARANCE) & (positions <= scene.size - CLEARANCE)).all(1)
    boxes = np.array([(f.x0, f.y0, f.x1, f.y1, f.height) for f in scene.footprints]).reshape(-1, 5)
    x, y, z = positions.T[:, :, None]
    over = (x > boxes[:, 0] - CLEARANCE) & (x < boxes[:, 2] + CLEARANCE)
    over &= (y > boxes[:, 1] - CLEARANCE) & (y < boxes[:, 3] + CLEARANCE)
    return inside & ~(over & (z < boxes[:, 4] + CLEARANCE)).any(1)


def _random_poses(scene: Scene, count: int, rng: np.random.Generator) -> Array:
    """Poses (count, 4, 4) at free places, each turned towards a landmark."""
    positions = _free_positions(scene, count, rng)
    interest = _interest(scene)
    goals = rng.choice(len(interest), count, p=interest / interest.sum())
    low, high = _landmark_boxes(scene)
    towards = rng.uniform(low[goals], high[goals]) - positions
    yaws = np.arctan2(towards[:, 1], towards[:, 0]) + rng.normal(0, 0.25, count)
    levels = np.arctan2(towards[:, 2], np.hypot(towards[:, 0], towards[:, 1]))
    pitches = np.clip(0.4 * levels + rng.normal(*PITCH, count), *PITCH_RANGE)
    return _poses(positions, yaws, pitches, rng.normal(0, 0.03, count))


def _free_positions(scene: Scene, count: int, rng: np.random.Generator) -> Array:
    """Places (count, 3); a room without a free one is looked at from under the middle of its ceiling."""
    drawn = rng.uniform(CLEARANCE, scene.size - CLEARANCE, (8 * count, 3))
    drawn[:, 2] = np.minimum(rng.normal(*EYE_HEIGHT, 8 * count), scene.size[2] - 2 * CLEARANCE)
    free = drawn[is_free(scene, drawn)]
    if not len(free):
        free = scene.size[None] * [0.5, 0.5, 1] - [0, 0, CLEARANCE]
    return np.resize(free, (count, 3))


def _interest(scene: Scene) -> Array:
    return np.array([INTEREST.get(landmark.label, 1.0) for landmark in scene.landmarks])


def _landmark_boxes(scene: Scene) -> tuple[Array, Array]:
    """Lower and upper corners, (L, 3) each."""
    low, high = zip(*((landmark.low, landmark.high) for landmark in scene.landmarks), strict=True)
    return np.stack(low), np.stack(high)


def _poses(positions: Array, yaws: Array, pitches: Array, rolls: Array) -> Array:
    """Poses (N, 4, 4) with headings `yaws` (0 = +x), upward `pitches` and clockwise `rolls`, all in radians."""
    zero = np.zeros_like(yaws)
    forward = np.stack([np.cos(yaws) * np.cos(pitches), np.sin(yaws) * np.cos(pitches), np.sin(pitches)], 1)
    level = np.stack([np.sin(yaws), -np.cos(yaws), zero], 1)
    down = np.stack([np.cos(yaws) * np.sin(pitches), np.sin(yaws) * np.sin(pitches), -np.cos(pitches)], 1)
    cos, sin = np.cos(rolls)[:, None], np.sin(rolls)[:, None]
    poses = np.tile(np.eye(4), (len(yaws), 1, 1))
    poses[:, :3, 0], poses[:, :3, 1] = cos * level + sin * down, cos * down - sin * level
    poses[:, :3, 2], poses[:, :3, 3] = forward, positions
    return poses


def _angles(axes: Array) -> tuple[float, float, float]:
    """Yaw, pitch and roll of camera axes (3, 3); inverse of `_poses`."""
    forward = axes[:, 2]
    yaw, pitch = math.atan2(forward[1], forward[0]), math.asin(forward[2])
    level = _poses(np.zeros((1, 3)), np.array([yaw]), np.array([pitch]), np.zeros(1))[0, :3, :3]
    return yaw, pitch, math.atan2(axes[:, 0] @ level[:, 1], axes[:, 0] @ level[:, 0])


def _scores(scene: Scene, poses: Array, targets: Array) -> Array:
    """How good views are, judged by a few rays against the boxes of the landmarks: (N,), larger is better."""
    depth, seen = _probe(scene, poses)
    count = len(scene.landmarks)
    share = np.stack([(seen == box).mean(1) for box in range(count + 3)], 1)
    objects, (wall, floor, ceiling) = share[:, :count], share[:, count:].T
    reward = np.minimum(objects, 0.25) @ (_interest(scene) - DULL) + 0.1 * np.minimum((objects > 0.02).sum(1), 6)
    wall = wall + objects @ np.array([landmark.label == "door" for landmark in scene.landmarks])
    median, near = np.median(depth, 1), np.quantile(depth, 0.05, 1)
    reward -= 1.5 * np.abs(np.log(median / targets)) + 4.0 * np.maximum(0.8 - near, 0)
    reward -= 6.0 * np.maximum(wall - WALL_SHARE, 0) + 3.0 * np.maximum(floor - FLOOR_SHARE, 0)
    return reward - 2.0 * np.maximum(ceiling - 0.1, 0) - 8.0 * np.maximum(objects.max(1) - 0.45, 0)


def _probe(scene: Scene, poses: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """z-depth and what is seen by a few rays, (N, rays) each: number of the landmark, then wall, floor, ceiling."""
    u, v = _PROBE.slopes()
    rays = np.stack([*(grid.ravel() for grid in np.meshgrid(u, v)), np.ones(u.size * v.size)]).astype(np.float32)
    directions = np.moveaxis(poses[:, :3, :3].astype(np.float32) @ rays, 1, 0)[..., None]
    inverse = 1 / np.where(np.abs(directions) < 1e-6, np.float32(1e-6), directions)
    origins = poses[:, :3, 3].T.astype(np.float32)[:, :, None, None]
    low, high = (corners.T.astype(np.float32)[:, None, None] for corners in _landmark_boxes(scene))
    enter, leave = (low - origins) * inverse, (high - origins) * inverse
    near, far = np.minimum(enter, leave).max(0), np.maximum(enter, leave).min(0)
    hits = np.where((near < far) & (near > 0), near, np.float32(np.inf))
    exits = (np.where(inverse > 0, scene.size[:, None, None, None], 0.0) - origins)[..., 0] * inverse[..., 0]
    room = exits.min(0)
    count = len(scene.landmarks)
    side = np.where(exits.argmin(0) < 2, count, np.where(inverse[2, ..., 0] < 0, count + 1, count + 2))
    nearest = hits.min(2)
    return np.minimum(nearest, room), np.where(nearest < room, hits.argmin(2), side)

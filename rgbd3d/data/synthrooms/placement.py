"""Free space of a room: what fits on the floor and on the walls, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms.scene import Footprint, Landmark, SceneBuilder
from rgbd3d.data.synthrooms.shapes import Furniture, rotation_z

Array = npt.NDArray[np.float64]

GAP = 0.03
"""Metres between neighbours, and between furniture and its wall."""
DOOR_SWING = 0.9
TRIES = 25


@dataclass(frozen=True)
class WallPatch:
    """Rectangle of a wall in metres: `left` to `right` along it, `low` to `high` above the floor."""

    left: float
    right: float
    low: float
    high: float

    def overlaps(self, other: WallPatch, gap: float = GAP) -> bool:
        """Whether the two rectangles come closer than `gap` metres."""
        return (
            self.left < other.right + gap and other.left < self.right + gap
            and self.low < other.high + gap and other.low < self.high + gap
        )  # fmt: skip


@dataclass(frozen=True)
class Spot:
    """Where a piece stands or hangs.

    Attributes:
        piece: The piece.
        position: (3,) world position of its local origin.
        yaw: Turn about z.
        wall: Number of the wall behind it, -1 = none: 0 at x = 0, 1 at the far x, 2 at y = 0, 3 at the far y.
        along: Metres along that wall of the piece's middle.
    """

    piece: Furniture
    position: Array
    yaw: float
    wall: int = -1
    along: float = 0.0

    def beside(self, x: float, y: float) -> Array:
        """World position of a point given in the piece's frame, on the floor."""
        offset = rotation_z(self.yaw) @ np.array([x, y, 0.0])
        return np.array([*(self.position + offset)[:2], 0.0])


@dataclass
class Placer:
    """Finds free places and puts pieces there.

    Attributes:
        builder: Receives what is placed.
        rng: Decides everything.
        walls: What hangs on or stands against each of the four walls.
    """

    builder: SceneBuilder
    rng: np.random.Generator
    walls: tuple[list[WallPatch], ...] = field(default_factory=lambda: ([], [], [], []))

    def wall_length(self, wall: int) -> float:
        """Metres."""
        return float(self.builder.size[1 if wall < 2 else 0])

    def wall_pose(self, wall: int, along: float, away: float, height: float = 0.0) -> tuple[Array, float]:
        """Position `away` metres from a wall, and the yaw that turns a piece's back to it."""
        width, depth, _ = self.builder.size
        return (
            (np.array([away, along, height]), -math.pi / 2),
            (np.array([width - away, along, height]), math.pi / 2),
            (np.array([along, away, height]), 0.0),
            (np.array([along, depth - away, height]), math.pi),
        )[wall]

    def against_wall(self, piece: Furniture) -> Spot | None:
        """Stands a piece with its back to a wall, at a random place or in a corner; None if nothing is free."""
        for _ in range(TRIES):
            wall = int(self.rng.integers(4))
            slack = self.wall_length(wall) - piece.width - 2 * GAP
            if slack < 0:
                continue
            share = min(max(self.rng.uniform(-0.3, 1.3), 0.0), 1.0)  # corners are popular
            along = GAP + piece.width / 2 + slack * share
            position, yaw = self.wall_pose(wall, along, piece.depth / 2 + GAP)
            spot = Spot(piece, position, yaw, wall, along)
            if self.put(spot):
                return spot
        return None

    def put(self, spot: Spot, gap: float = GAP) -> bool:
        """Places a piece on the floor if it fits there."""
        height = total_height(spot.piece)
        footprint = _footprint(spot, height)
        if not self._inside(footprint) or any(footprint.overlaps(other, gap) for other in self.builder.footprints):
            return False
        if spot.wall >= 0:
            half = spot.piece.width / 2
            patch = WallPatch(spot.along - half, spot.along + half, 0.0, height)
            if any(patch.overlaps(other) for other in self.walls[spot.wall]):
                return False
            self.walls[spot.wall].append(patch)
        self.builder.footprints.append(footprint)
        self._add(spot, height)
        return True

    def put_flat(self, spot: Spot) -> bool:
        """Lays something on the floor that furniture may stand on, such as a rug."""
        if not self._inside(_footprint(spot, 0.0)):
            return False
        self.builder.add(spot.piece, spot.position, spot.yaw)
        return True

    def somewhere(self, piece: Furniture, yaw: float) -> Spot | None:
        """Puts a piece anywhere on the free floor."""
        for _ in range(TRIES):
            x, y = self.rng.uniform([0.1, 0.1], self.builder.size[:2] - 0.1)
            spot = Spot(piece, np.array([x, y, 0.0]), yaw)
            if self.put(spot):
                return spot
        return None

    def hang(
        self, piece: Furniture, low: float, high: float, wall: int | None = None, along: float | None = None
    ) -> Spot | None:
        """Hangs a piece on a wall with its lower edge between `low` and `high` metres; None if nothing is free."""
        ceiling = float(self.builder.size[2])
        high = min(high, ceiling - piece.height - 0.05)
        if high < low:
            low = high
        for _ in range(TRIES):
            where = int(self.rng.integers(4)) if wall is None else wall
            slack = self.wall_length(where) - piece.width - 0.2
            if slack < 0:
                continue
            middle = 0.1 + piece.width / 2 + slack * float(self.rng.random()) if along is None else along
            bottom = float(self.rng.uniform(low, high))
            patch = WallPatch(middle - piece.width / 2, middle + piece.width / 2, bottom, bottom + piece.height)
            if bottom < 0 or any(patch.overlaps(other, 0.06) for other in self.walls[where]):
                continue
            position, yaw = self.wall_pose(where, middle, piece.depth / 2 + 0.002, bottom)
            if piece.depth > 0.1 and bottom < 1.9 and self._blocked(position, piece):
                continue
            self.walls[where].append(patch)
            spot = Spot(piece, position, yaw, where, middle)
            self._add(spot, piece.height)
            return spot
        return None

    def _add(self, spot: Spot, height: float) -> None:
        self.builder.add(spot.piece, spot.position, spot.yaw)
        area, bottom = _footprint(spot, height), float(spot.position[2])
        low, high = np.array([area.x0, area.y0, bottom]), np.array([area.x1, area.y1, bottom + height])
        self.builder.landmarks.append(Landmark(spot.piece.label, low, high))

    def claim(self, wall: int, along: float, width: float, low: float, high: float, depth: float) -> bool:
        """Keeps a part of a wall, and the floor below it if it comes down to it, free of furniture; False if taken."""
        patch = WallPatch(along - width / 2, along + width / 2, low, high)
        if low < 0.3:
            position, _ = self.wall_pose(wall, along, depth / 2)
            half = (depth / 2, width / 2) if wall < 2 else (width / 2, depth / 2)
            x, y = position[:2]
            footprint = Footprint(x - half[0], y - half[1], x + half[0], y + half[1], high)
            if any(footprint.overlaps(other) for other in self.builder.footprints):
                return False
            self.builder.footprints.append(footprint)
        self.walls[wall].append(patch)
        return True

    def _blocked(self, position: Array, piece: Furniture) -> bool:
        reach = max(piece.width, piece.depth) / 2
        own = Footprint(position[0] - reach, position[1] - reach, position[0] + reach, position[1] + reach, 0.0)
        return any(own.overlaps(other) and other.height > position[2] for other in self.builder.footprints)

    def reserve(self, wall: int, along: float, width: float, depth: float) -> None:
        """Keeps the floor in front of a wall free, for a door to swing."""
        position, _ = self.wall_pose(wall, along, depth / 2)
        half = (depth / 2, width / 2) if wall < 2 else (width / 2, depth / 2)
        x, y = position[:2]
        self.builder.footprints.append(Footprint(x - half[0], y - half[1], x + half[0], y + half[1], 0.0))

    def _inside(self, footprint: Footprint) -> bool:
        width, depth, _ = self.builder.size
        slack = 1e-6
        return (
            footprint.x0 >= -slack
            and footprint.y0 >= -slack
            and footprint.x1 <= width + slack
            and footprint.y1 <= depth + slack
        )


def total_height(piece: Furniture) -> float:
    """Metres from a piece's own bottom to the top of what stands on it."""
    return max([piece.height, *(child.z + total_height(child.furniture) for child in piece.children)])


def _footprint(spot: Spot, height: float) -> Footprint:
    cos, sin = abs(math.cos(spot.yaw)), abs(math.sin(spot.yaw))
    half_x = (spot.piece.width * cos + spot.piece.depth * sin) / 2
    half_y = (spot.piece.width * sin + spot.piece.depth * cos) / 2
    x, y = spot.position[:2]
    return Footprint(x - half_x, y - half_y, x + half_x, y + half_y, height)

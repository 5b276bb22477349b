"""Furnishes a room: shell, doors and windows, furniture in groups, things on the walls, lights.

Nothing on the floor overlaps, and nothing covers a door or, if tall, a window.
"""

from __future__ import annotations

import math

import numpy as np

from rgbd3d.card_data import Rooms
from rgbd3d.data.synthrooms.decoration import decorate
from rgbd3d.data.synthrooms.furniture import FURNITURE
from rgbd3d.data.synthrooms.furniture.openings import blinds, curtain, window
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.placement import GAP, Placer, Spot
from rgbd3d.data.synthrooms.rooms import EXTENTS, ROOM_KINDS, RoomKind
from rgbd3d.data.synthrooms.scene import Footprint, Light, Scene, SceneBuilder
from rgbd3d.data.synthrooms.shapes import Furniture, rotation_z
from rgbd3d.data.synthrooms.style import Style

_STREAM = 77
"""Keeps the draws of the layout apart from those of cameras and sensors of the same seed."""
_FILL_MISSES = 4
_WALL_INSTANCE = 3
_HANGING_HEIGHTS = {
    "wall_cabinet": (1.4, 1.5), "wall_shelves": (1.1, 1.6), "whiteboard": (0.8, 1.0), "pin_board": (1.0, 1.3),
    "mirror": (0.9, 1.2), "towel_rail": (0.7, 1.1), "towel_hook": (0.8, 1.0), "hanging_clothes": (0.8, 1.0),
    "wall_tv": (0.9, 1.3), "clock": (1.7, 2.0), "radiator": (0.1, 0.15), "wall_lamp": (1.5, 1.8),
    "wall_papers": (1.0, 1.5), "picture": (1.05, 1.6), "range_hood": (1.5, 1.65),
}  # fmt: skip


def make_scene(seed: int, kind: str | None = None, rooms: Rooms = "compact") -> Scene:
    """Room number `seed`.

    Args:
        seed: Not negative; equal seeds give equal rooms.
        kind: Name in `ROOM_KINDS`; drawn by their weights by default.
        rooms: How long they are.

    Raises:
        KeyError: There is no such kind.
    """
    rng = np.random.default_rng([seed, _STREAM])
    names = list(ROOM_KINDS)
    weights = np.array([room.weight for room in ROOM_KINDS.values()])
    drawn = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    name = kind or drawn
    return _Decorator(rng, ROOM_KINDS[name], rooms).furnish(seed, name)


class _Decorator:
    """Furnishes one room, from the walls inwards."""

    def __init__(self, rng: np.random.Generator, room: RoomKind, rooms: Rooms) -> None:
        self.rng, self.room, self.rooms = rng, room, rooms
        self.style = Style.draw(rng)
        size = np.array([rng.uniform(*room.width), rng.uniform(*room.depth), rng.uniform(2.4, 2.9)])
        if lengthening := EXTENTS[rooms].lengthening:
            size[rng.integers(2)] *= math.exp(abs(rng.normal(0, lengthening)))
        self.builder = SceneBuilder(size, self._finishes(), rng)
        self.placer = Placer(self.builder, rng)
        self.daylight: list[tuple[Spot, float, float]] = []

    def furnish(self, seed: int, name: str) -> Scene:
        self._shell()
        self._openings()
        for wish in self._granted(self.room.against):
            self._furniture(wish)
        self._centre()
        for wish in self._granted(self.room.hung):
            low, high = _HANGING_HEIGHTS[wish]
            self.placer.hang(self._make(wish), low, high)
        self._fill()
        for wish in self._granted(self.room.loose):
            self._loose(wish)
        self._lights()
        return self.builder.pack(seed, name, self.rooms)

    def _fill(self) -> None:
        """Takes the rest of the walls, until pieces no longer find a place."""
        misses = 0
        while misses < _FILL_MISSES:
            misses += not self._furniture(self.room.filler[int(self.rng.integers(len(self.room.filler)))])

    def _granted(self, wishes: tuple[tuple[str, float], ...]) -> list[str]:
        return [name for name, probability in wishes if self.rng.random() < probability]

    def _chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def _make(self, name: str) -> Furniture:
        piece = FURNITURE[name](self.rng, self.style)
        decorate(piece, name, self.rng, self.style)
        return piece

    # ------------------------------------------------------------------------------------------------- shell

    def _finishes(self) -> tuple[Material, ...]:
        rng, style, wet = self.rng, self.style, self.room.wet
        wall = style.wall_finish(rng, wet)
        other = style.wall_finish(rng, wet, feature=True) if self._chance(0.3) else wall
        floor, ceiling = style.floor_finish(rng, wet), style.ceiling_finish(rng)
        return wall, wall, other, wall, floor, ceiling

    def _shell(self) -> None:
        """Skirting boards, and now and then a pier in a corner."""
        width, depth, height = self.builder.size
        shell = Furniture("wall", width, depth, height)
        if not self.room.wet:
            board = self.style.frame(self.rng)
            for y in ((0.0, 0.014), (depth - 0.014, depth)):
                shell.box((0, width), y, (0, 0.09), board)
            for x in ((0.0, 0.014), (width - 0.014, width)):
                shell.box(x, (0, depth), (0, 0.09), board)
        if min(width, depth) > 3.0 and self._chance(0.45):
            self._pier(shell)
        if shell.parts:
            self.builder.add(shell, np.zeros(3), 0.0, instance=_WALL_INSTANCE)

    def _pier(self, shell: Furniture) -> None:
        """Fills a corner up to the ceiling; a slender pier is a column, a structure of its own."""
        width, depth, height = self.builder.size
        a, b = self.rng.uniform(0.25, 1.1, 2)
        x0 = 0.0 if self._chance(0.5) else width - a
        y0 = 0.0 if self._chance(0.5) else depth - b
        label = "otherstructure" if max(a, b) < 0.7 else None
        shell.box((x0, x0 + a), (y0, y0 + b), (0, height), self.builder.shell[0], label)
        self.builder.footprints.append(Footprint(x0, y0, x0 + a, y0 + b, height))

    def _openings(self) -> None:
        for _ in range(1 + self._chance(0.12)):
            spot = self.placer.hang(FURNITURE["door"](self.rng, self.style), 0.0, 0.0)
            if spot:
                self.placer.reserve(spot.wall, spot.along, spot.piece.width, 0.9)
        for _ in range(int(self.rng.integers(self.room.windows[0], self.room.windows[1] + 1))):
            self._window()

    def _window(self) -> None:
        ceiling = self.builder.size[2]
        piece = window(self.rng, self.style)
        spot = self.placer.hang(piece, 0.75, max(0.76, ceiling - piece.height - 0.25))
        if spot is None:
            return
        bottom = float(spot.position[2])
        drawn = self.rng.random()
        open_share = 1.0
        if drawn < 0.3:
            self._curtains(spot, bottom)
        elif drawn < 0.85:
            tall = piece.height * float(self.rng.uniform(0.3, 1.0))
            cover = blinds(self.rng, self.style, piece.width - 0.06, tall)
            position, yaw = self.placer.wall_pose(spot.wall, spot.along, 0.17, bottom + piece.height + 0.03 - tall)
            self.builder.add(cover, position, yaw)
            open_share = 1.15 - tall / piece.height
        self.daylight.append((spot, piece.height, open_share))

    def _curtains(self, spot: Spot, bottom: float) -> None:
        top = min(self.builder.size[2] - 0.05, bottom + spot.piece.height + 0.15)
        low = 0.03 if self._chance(0.4) else bottom - 0.12
        width = float(self.rng.uniform(0.25, 0.5))
        piece = curtain(self.rng, self.style, width, top - low)
        for side in (-1, 1):
            along = spot.along + side * (spot.piece.width / 2 + 0.02)
            half = width / 2
            along = float(np.clip(along, half, self.placer.wall_length(spot.wall) - half))
            position, yaw = self.placer.wall_pose(spot.wall, along, 0.16, low)
            if self.placer.claim(spot.wall, along, width, low, top, depth=0.24):
                self.builder.add(piece, position, yaw)

    # --------------------------------------------------------------------------------------------- furniture

    def _furniture(self, name: str) -> bool:
        """Stands a piece against a wall together with what belongs to it; False if there is no place for it."""
        piece = self._make(name)
        spot = self.placer.against_wall(piece)
        if spot is None:
            return False
        companions = {
            "bed": self._by_the_bed,
            "sofa": self._by_the_sofa,
            "desk": self._at_the_desk,
            "counter": self._over_the_counter,
            "stove": self._over_the_stove,
            "basin": self._over_the_basin,
        }
        if name in companions:
            companions[name](spot)
        return True

    def _beside(self, spot: Spot, name: str, side: int, gap: float = 0.06) -> Spot | None:
        """Stands a piece next to another at the same wall, at its left (-1) or right (1)."""
        piece = self._make(name)
        x = side * (spot.piece.width + piece.width) / 2 + side * gap
        position = spot.beside(x, (piece.depth - spot.piece.depth) / 2)
        along = float(position[1] if spot.wall < 2 else position[0])
        neighbour = Spot(piece, position, spot.yaw, spot.wall, along)
        return neighbour if self.placer.put(neighbour) else None

    def _before(self, spot: Spot, name: str, distance: float, turn: float = 0.0, shift: float = 0.0) -> Spot | None:
        """Stands a piece in front of another, `distance` metres between them."""
        piece = self._make(name)
        reach = max(piece.depth, piece.width * abs(math.sin(turn)))
        position = spot.beside(shift, spot.piece.depth / 2 + distance + reach / 2)
        neighbour = Spot(piece, position, spot.yaw + turn)
        return neighbour if self.placer.put(neighbour, GAP / 3) else None

    def _by_the_bed(self, spot: Spot) -> None:
        for side in (-1, 1):
            if self._chance(0.85):
                self._beside(spot, "night_stand", side)
        if self._chance(0.2):
            self._before(spot, "bench", 0.05)
        if self._chance(0.35):
            rug = FURNITURE["rug"](self.rng, self.style)
            self.placer.put_flat(Spot(rug, spot.beside(0, spot.piece.depth * 0.4), spot.yaw))

    def _by_the_sofa(self, spot: Spot) -> None:
        if self._chance(0.8):
            self._before(spot, "coffee_table", float(self.rng.uniform(0.3, 0.45)))
        for side in (-1, 1):
            if self._chance(0.5):
                self._beside(spot, str(self.rng.choice(["side_table", "floor_lamp", "armchair", "large_plant"])), side)
        if self._chance(0.45):
            rug = FURNITURE["rug"](self.rng, self.style)
            self.placer.put_flat(Spot(rug, spot.beside(0, spot.piece.depth / 2 + 0.6), spot.yaw))

    def _at_the_desk(self, spot: Spot) -> None:
        if self._chance(0.92):
            turn = math.pi + float(self.rng.normal(0, 0.4))
            shift = float(self.rng.uniform(-0.15, 0.15)) * spot.piece.width
            self._before(spot, "office_chair" if self._chance(0.65) else "chair", 0.0, turn, shift)
        if self._chance(0.3):
            self._beside(spot, "computer_case", int(self.rng.choice([-1, 1])))

    def _over_the_counter(self, spot: Spot) -> None:
        if self._chance(0.75):
            self.placer.hang(self._make("wall_cabinet"), 1.4, 1.5, spot.wall, spot.along)

    def _over_the_stove(self, spot: Spot) -> None:
        if self._chance(0.75):
            self.placer.hang(self._make("range_hood"), 1.5, 1.65, spot.wall, spot.along)

    def _over_the_basin(self, spot: Spot) -> None:
        if self._chance(0.85):
            self.placer.hang(self._make("mirror"), 1.08, 1.2, spot.wall, spot.along)

    def _centre(self) -> None:
        for name in self._granted(self.room.centre)[:1]:
            piece = self._make(name)
            middle = self.builder.size / 2 * self.rng.uniform(0.8, 1.2, 3) * np.array([1, 1, 0])
            yaw = float(self.rng.choice([0.0, math.pi / 2]))
            spot = Spot(piece, middle, yaw)
            if piece.label == "floor_mat":
                self.placer.put_flat(spot)
            elif self.placer.put(spot):
                self._chairs_around(spot)
                if self._chance(0.4):
                    lamp = FURNITURE["pendant_lamp"](self.rng, self.style)
                    self.builder.add(lamp, middle + np.array([0, 0, self.builder.size[2] - lamp.height]), 0.0)

    def _chairs_around(self, spot: Spot) -> None:
        chair = FURNITURE["chair"](self.rng, self.style)
        table = spot.piece
        round_table = table.width == table.depth
        count = int(self.rng.integers(2, 7))
        for index in range(count):
            if round_table:
                angle, shift = 2 * math.pi * index / count, 0.0
            else:
                angle, shift = math.pi * (index % 2), (index // 2 - (count - 1) // 2 / 2) * 0.62
            out = table.depth / 2 + chair.depth / 2 + float(self.rng.uniform(0.02, 0.25))
            offset = rotation_z(angle) @ np.array([shift, out, 0.0])
            turn = angle + math.pi + (0.0 if round_table else float(self.rng.normal(0, 0.1)))
            self.placer.put(Spot(chair, spot.beside(offset[0], offset[1]), spot.yaw + turn), gap=0.005)

    def _loose(self, name: str) -> None:
        yaw = 0.0 if self._chance(0.3) else float(self.rng.uniform(-math.pi, math.pi))
        self.placer.somewhere(self._make(name), yaw)

    # ------------------------------------------------------------------------------------------------ lights

    def _lights(self) -> None:
        size = self.builder.size
        bulbs_on = not self.daylight or self._chance(0.75)
        count = 2 if size[:2].max() > 4.3 and self._chance(0.6) else 1
        warm = np.array([1.0, self.rng.uniform(0.78, 1.0), self.rng.uniform(0.5, 0.98)])
        lamp = FURNITURE["ceiling_lamp"](self.rng, self.style)
        share = (np.arange(count) + 1) / (count + 1)
        long_side = int(np.argmax(size[:2]))
        for part in share:
            place = size[:2] / 2
            place[long_side] = size[long_side] * part
            place = place + self.rng.normal(0, 0.15, 2)
            self.builder.add(lamp, np.array([*place, size[2] - lamp.height]), 0.0)
            if bulbs_on:
                power = warm * float(self.rng.uniform(4.5, 7.0)) / count
                position = np.array([*place, size[2] - 0.2])
                self.builder.lights.append(Light(position, np.array([0.0, 0.0, -1.0]), power))
        for spot, height, open_share in self.daylight[:2]:
            self._daylight(spot, height, open_share)

    def _daylight(self, spot: Spot, height: float, open_share: float) -> None:
        bottom = float(spot.position[2])
        position, yaw = self.placer.wall_pose(spot.wall, spot.along, 0.3, bottom + height / 2)
        direction = rotation_z(yaw) @ np.array([0.0, 1.0, -0.3])
        sky = np.array([self.rng.uniform(0.75, 1.0), self.rng.uniform(0.9, 1.0), 1.1])
        power = sky * float(self.rng.uniform(2.5, 6.0)) * spot.piece.width * height * open_share
        self.builder.lights.append(Light(position, direction / np.linalg.norm(direction), power))

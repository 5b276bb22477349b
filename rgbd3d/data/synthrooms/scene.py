"""A room ready to be rendered: primitives in flat arrays, materials, lights and the floor space that is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rgbd3d.card_data import Rooms
from rgbd3d.data.synthrooms.labels import LABEL_ID
from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.shapes import Furniture, Part, rotation_z

Array = npt.NDArray[np.float64]

SHELL_LABELS = ("wall", "wall", "wall", "wall", "floor", "ceiling")
"""Labels of the six sides of the room box, in the order -x, +x, -y, +y, -z, +z."""


@dataclass(frozen=True)
class Light:
    """A small area light: `color` is linear RGB intensity, it shines into the half space of `direction`."""

    position: Array
    direction: Array
    color: Array


@dataclass(frozen=True)
class Footprint:
    """Axis-aligned floor rectangle in metres that something up to `height` stands on."""

    x0: float
    y0: float
    x1: float
    y1: float
    height: float

    def overlaps(self, other: Footprint, gap: float = 0.0) -> bool:
        """Whether the two rectangles come closer than `gap` metres."""
        return (
            self.x0 < other.x1 + gap and other.x0 < self.x1 + gap
            and self.y0 < other.y1 + gap and other.y0 < self.y1 + gap
        )  # fmt: skip


@dataclass(frozen=True)
class Landmark:
    """Axis-aligned box around a piece worth looking at: NYU40 name, lower and upper corner (3,)."""

    label: str
    low: Array
    high: Array


@dataclass(frozen=True)
class Scene:
    """One furnished room; world z is up, a corner of the floor is the origin, metres.

    Attributes:
        seed: Number that the room was made from.
        kind: Name of the room kind.
        rooms: How far one is to see.
        size: (3,) extents of the room.
        shape: int (P,) `Shape` of each primitive.
        center: (P, 3) world positions.
        half: (P, 3) half extents along the primitive's own axes.
        rotation: (P, 3, 3) primitive axes to world axes.
        grain: int (P,) `Part.grain_axis`.
        materials: P materials, then six of the room's sides in the order of `SHELL_LABELS`.
        variant: int (P + 6,) draw of the texture variant; reduce it modulo the variants of the atlas.
        label: uint8 (P + 6,) NYU40 ids.
        instance: int32 (P + 6,) from 1; every side of the room is an instance of its own.
        lights: Lights that cast shadows.
        footprints: Floor space that furniture takes.
        landmarks: What a photographer would look at.
    """

    seed: int
    kind: str
    rooms: Rooms
    size: Array
    shape: npt.NDArray[np.int64]
    center: Array
    half: Array
    rotation: Array
    grain: npt.NDArray[np.int64]
    materials: tuple[Material, ...]
    variant: npt.NDArray[np.int64]
    label: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    lights: tuple[Light, ...]
    footprints: tuple[Footprint, ...]
    landmarks: tuple[Landmark, ...]

    @property
    def to_local(self) -> Array:
        """(P, 3, 3): world offsets from `center` to coordinates in which the primitive spans [-1, 1]."""
        return self.rotation.transpose(0, 2, 1) / self.half[:, :, None]


@dataclass
class SceneBuilder:
    """Collects placed furniture and packs it into a `Scene`.

    Attributes:
        size: (3,) extents of the room in metres.
        shell: Six materials, order of `SHELL_LABELS`.
        rng: Draws the texture variants.
    """

    size: Array
    shell: tuple[Material, ...]
    rng: np.random.Generator
    parts: list[tuple[Part, Array, Array, int, int, int]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    landmarks: list[Landmark] = field(default_factory=list)
    instances: int = 6

    def add(self, furniture: Furniture, position: Array, yaw: float, instance: int | None = None) -> None:
        """Places a piece and everything on it.

        Args:
            furniture: The piece.
            position: (3,) world position of its local origin.
            yaw: Turn about z in radians.
            instance: Instance that the piece belongs to; a new one by default.
        """
        if instance is None:
            instance = self._new_instance()
        turn = rotation_z(yaw)
        variant = int(self.rng.integers(1 << 16))
        own: dict[tuple[str, int], int] = {(furniture.label, 0): instance}
        for part in furniture.parts:
            key = (part.label or furniture.label, part.instance)
            if key not in own:
                own[key] = self._new_instance()
            center = position + turn @ part.center
            self.parts.append((part, center, turn @ part.rotation, LABEL_ID[key[0]], own[key], variant))
        for child in furniture.children:
            offset = turn @ np.array([child.x, child.y, child.z])
            self.add(child.furniture, position + offset, yaw + child.yaw)

    def _new_instance(self) -> int:
        self.instances += 1
        return self.instances

    def pack(self, seed: int, kind: str, rooms: Rooms = "compact") -> Scene:
        """The finished scene."""
        parts, centers, rotations, labels, instances, variants = zip(*self.parts, strict=True)
        shell_labels = [LABEL_ID[name] for name in SHELL_LABELS]
        return Scene(
            seed=seed,
            kind=kind,
            rooms=rooms,
            size=self.size,
            shape=np.array([part.shape for part in parts], np.int64),
            center=np.stack(centers),
            half=np.stack([part.half for part in parts]),
            rotation=np.stack(rotations),
            grain=np.array([part.grain_axis for part in parts], np.int64),
            materials=(*(part.material for part in parts), *self.shell),
            variant=np.array([*variants, *[seed] * 6], np.int64),
            label=np.array([*labels, *shell_labels], np.uint8),
            instance=np.array([*instances, *range(1, 7)], np.int32),
            lights=tuple(self.lights),
            footprints=tuple(self.footprints),
            landmarks=tuple(self.landmarks),
        )

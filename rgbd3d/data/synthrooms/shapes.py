"""Solid primitives and furniture: parts in a local frame plus the pieces that stand on or in it.

Local frame of every piece: x = width, y = depth with the front towards +y, z up from 0; metres. Width and depth are
centred on the origin, so a piece against a wall has its back at y = -depth / 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from rgbd3d.data.synthrooms.materials import Material
from rgbd3d.data.synthrooms.textures import GRAINED

Array = npt.NDArray[np.float64]
Vector = Sequence[float] | Array

MIN_HALF = 2e-3
"""Smallest half extent of a part in metres: thinner ones would fall below the depth resolution of a shadow map."""


class Shape(IntEnum):
    """Kinds of primitives; all are scaled to the half extents of their part.

    A CYLINDER is elliptic with its axis along local z. SHELL is the inside of the room box: only the room has it.
    """

    BOX = 0
    CYLINDER = 1
    ELLIPSOID = 2
    SHELL = 3


@dataclass
class Part:
    """One primitive of a piece of furniture.

    Attributes:
        shape: Kind of primitive.
        center: (3,) metres in the furniture's frame.
        half: (3,) half extents in metres along the part's own axes, at least `MIN_HALF`.
        rotation: (3, 3) part axes to furniture axes.
        material: Appearance.
        label: NYU40 name; None = the furniture's.
        instance: Key of a sub-instance; 0 = the furniture's own instance.
    """

    shape: Shape
    center: Array
    half: Array
    rotation: Array
    material: Material
    label: str | None = None
    instance: int = 0

    @property
    def grain_axis(self) -> int:
        """Part axis (0, 1, 2) along which a grained texture runs: the longest one; 0 for every other texture.

        Texture coordinates u and v change places on z-faces when this is 1, and on x- and y-faces when this is 2.
        """
        if self.material.fit or self.material.texture not in GRAINED:
            return 0
        return int(np.argmax(self.half))

    def extent(self) -> tuple[Array, Array]:
        """Lower and upper corner (3,) of the axis-aligned box around the part, in the furniture's frame."""
        if self.shape is Shape.ELLIPSOID:
            reach = np.sqrt(((self.rotation * self.half) ** 2).sum(1))
        elif self.shape is Shape.CYLINDER:
            scaled = self.rotation * self.half
            reach = np.hypot(scaled[:, 0], scaled[:, 1]) + np.abs(scaled[:, 2])
        else:
            reach = (np.abs(self.rotation) * self.half).sum(1)
        return self.center - reach, self.center + reach


@dataclass
class Furniture:
    """A labelled piece made of parts, carrying other pieces.

    Attributes:
        label: NYU40 name of the parts that have none of their own.
        width, depth, height: Extents in metres that every part keeps to.
        top: Height in metres of a flat top on which small things may stand; None where nothing should stand.
        parts: Primitives.
        children: Pieces placed in this one's frame.
    """

    label: str
    width: float
    depth: float
    height: float
    top: float | None = None
    parts: list[Part] = field(default_factory=list)
    children: list[Placed] = field(default_factory=list)

    def add(
        self,
        shape: Shape,
        center: Vector,
        half: Vector,
        material: Material,
        rotation: Array | None = None,
        label: str | None = None,
        instance: int = 0,
    ) -> Furniture:
        """Adds one primitive; see `Part`."""
        turn = np.eye(3) if rotation is None else rotation
        size = np.maximum(np.asarray(half, np.float64), MIN_HALF)
        self.parts.append(Part(shape, np.asarray(center, np.float64), size, turn, material, label, instance))
        return self

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        material: Material,
        label: str | None = None,
        instance: int = 0,
    ) -> Furniture:
        """Adds an axis-aligned box that spans the given (from, to) ranges in metres."""
        spans = np.array([x, y, z], np.float64)
        center, half = spans.mean(1), (spans[:, 1] - spans[:, 0]) / 2
        return self.add(Shape.BOX, center, half, material, label=label, instance=instance)

    def cylinder(
        self,
        x: float,
        y: float,
        z: tuple[float, float],
        radius: float | tuple[float, float],
        material: Material,
        label: str | None = None,
        instance: int = 0,
    ) -> Furniture:
        """Adds an upright cylinder around (x, y); two radii make it elliptic (along x, along y)."""
        radius_x, radius_y = radius if isinstance(radius, tuple) else (radius, radius)
        center, half = (x, y, (z[0] + z[1]) / 2), (radius_x, radius_y, (z[1] - z[0]) / 2)
        return self.add(Shape.CYLINDER, center, half, material, label=label, instance=instance)

    def ellipsoid(
        self,
        center: Vector,
        half: Vector,
        material: Material,
        rotation: Array | None = None,
        label: str | None = None,
        instance: int = 0,
    ) -> Furniture:
        """Adds an ellipsoid with the given half axes."""
        return self.add(Shape.ELLIPSOID, center, half, material, rotation, label, instance)

    def place(self, piece: Furniture, x: float, y: float, z: float, yaw: float = 0.0) -> Furniture:
        """Puts another piece into this one's frame, turned by `yaw` radians about z."""
        self.children.append(Placed(piece, x, y, z, yaw))
        return self

    def own_bounds(self) -> tuple[Array, Array]:
        """Lower and upper corner (3,) of the box around this piece's own parts."""
        lows, highs = zip(*(part.extent() for part in self.parts), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def walk(self) -> Iterator[Furniture]:
        """This piece and everything placed on it, depth first."""
        yield self
        for child in self.children:
            yield from child.furniture.walk()


@dataclass
class Placed:
    """A piece in the frame of another: position in metres, `yaw` in radians about z."""

    furniture: Furniture
    x: float
    y: float
    z: float
    yaw: float = 0.0


def rotation_x(angle: float) -> Array:
    """(3, 3) rotation by `angle` radians about x."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def rotation_y(angle: float) -> Array:
    """(3, 3) rotation by `angle` radians about y."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def rotation_z(angle: float) -> Array:
    """(3, 3) rotation by `angle` radians about z."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

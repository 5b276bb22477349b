"""The catalogue: every piece of furniture by name.

A builder draws a new design each time: `FURNITURE["chair"](rng, style)`. Equal generators and styles give equal
pieces; a set of equal chairs is one piece placed several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rgbd3d.data.synthrooms.furniture import (
    bathroom,
    bedding,
    electronics,
    kitchen,
    lighting,
    openings,
    people,
    seating,
    small_items,
    storage,
    tables,
    textiles,
    wall_items,
)
from rgbd3d.data.synthrooms.furniture.common import Builder

_GROUPS = (
    seating.BUILDERS,
    bedding.BUILDERS,
    tables.BUILDERS,
    storage.BUILDERS,
    kitchen.BUILDERS,
    bathroom.BUILDERS,
    openings.BUILDERS,
    wall_items.BUILDERS,
    textiles.BUILDERS,
    lighting.BUILDERS,
    electronics.BUILDERS,
    small_items.BUILDERS,
    people.BUILDERS,
)

FURNITURE: Mapping[str, Builder] = MappingProxyType({build.__name__: build for group in _GROUPS for build in group})
"""Name -> builder(rng, style). Wall pieces have their back at y = -depth / 2; ceiling lamps hang from z = height."""

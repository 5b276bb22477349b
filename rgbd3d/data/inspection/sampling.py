"""Which rows of a data set are looked at: few, spread over it, and cheap to read."""

from __future__ import annotations

import numpy as np

from rgbd3d.data.base import Source
from rgbd3d.types import Kind

SHOWN: dict[Kind, int] = {"frames": 12, "clouds": 8, "clips": 6}
"""Rows at most that a sheet shows."""

GAPS = (1, 15)
"""Distances of the rows whose poses are compared."""

_PLACES = 12
# Close enough to lie in one row group of a Parquet file, with several pairs at either gap.
_OFFSETS: dict[Kind, tuple[int, ...]] = {"frames": (0, 1, 15, 16, 30, 45), "clouds": (0,), "clips": (0, 1)}
_ALL_UP_TO: dict[Kind, int] = {"frames": 80, "clouds": 12, "clips": 24}


def rows_to_read(source: Source) -> list[int]:
    """Indices in ascending order: all of a small data set, a few at each of twelve places of a larger one."""
    total = len(source)
    if total <= _ALL_UP_TO[source.kind]:
        return list(range(total))
    starts = np.cumsum((0, *source.row_groups()[:-1]))
    if len(starts) < _PLACES:
        starts = np.arange(total)
    places = starts[spread(len(starts), _PLACES)]
    rows = {int(place) + offset for place in places for offset in _OFFSETS[source.kind]}
    return sorted(row for row in rows if row < total)


def spread(count: int, chosen: int) -> list[int]:
    """At most `chosen` indices below `count`, evenly spread, the first and the last among them."""
    return sorted({round(position) for position in np.linspace(0, count - 1, min(chosen, count)).tolist()})

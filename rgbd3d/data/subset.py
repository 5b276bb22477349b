"""Fixed shares of a data set, for runs with fewer labels: the same frames for everybody, smaller shares within larger.

The positions 0 .. length - 1 are put into an order that only depends on the length: by the SHA-256 of "rgbd3d", length
and position. A share is the first part of that order. A hash, unlike a random generator of some library, gives the same
order with every version and in every language.
"""

from __future__ import annotations

import hashlib


def subset(length: int, share: float) -> tuple[int, ...]:
    """Positions that belong to a share of a data set.

    Args:
        length: Number of frames.
        share: In 0..1, 0 excluded; a card's `data.label_share`.

    Returns:
        round(share * length) positions, at least one, increasing. Those of a smaller share are among them.

    Raises:
        ValueError: No frame, or a share out of its range.
    """
    if length < 1:
        raise ValueError("there are no frames to take a share of")
    if not 0 < share <= 1:
        raise ValueError(f"the share should lie in 0..1, 0 excluded, not {share}")
    if share == 1:
        return tuple(range(length))
    order = sorted(range(length), key=lambda position: _rank(length, position))
    return tuple(sorted(order[: max(round(share * length), 1)]))


def _rank(length: int, position: int) -> bytes:
    return hashlib.sha256(f"rgbd3d {length} {position}".encode()).digest()

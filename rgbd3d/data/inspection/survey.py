"""What a data set holds, found out from a few of its rows: facts, distributions, checks and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from rgbd3d.data.base import Source
from rgbd3d.data.inspection.looks import LOOKS
from rgbd3d.data.inspection.pose_check import PoseCheck
from rgbd3d.data.inspection.sampling import SHOWN, rows_to_read, spread
from rgbd3d.data.inspection.statistics import ClassCounts, DepthStatistics
from rgbd3d.data.inspection.tiles import Tile
from rgbd3d.types import Kind


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        name: Of the data set.
        kind: "frames", "clouds" or "clips".
        rows: Of the data set.
        read: How many of them were looked at; all but `rows` and the facts that say so is about these.
        facts: What goes into a table, by name.
        depth: Of frames and clips.
        classes: What `classes_of` has; None without labels.
        classes_of: "pixels", "points", "frames" or "clips".
        poses: One check per distance of rows.
        tiles: Pictures of some rows.
    """

    name: str
    kind: Kind
    rows: int
    read: int
    facts: dict[str, str]
    depth: DepthStatistics | None
    classes: ClassCounts | None
    classes_of: str
    poses: list[PoseCheck]
    tiles: list[Tile]

    @property
    def far(self) -> float:
        """Depth in metres at which the colours of depth end."""
        reach = self.depth.quantile(0.98) if self.depth else None
        return reach or 1.0


def survey(source: Source, pictures: bool) -> Survey:
    """Looks at a few rows of a data set.

    Args:
        source: The data set.
        pictures: Whether to make the tiles.

    Raises:
        DataError: One of the rows cannot be read.
    """
    rows = rows_to_read(source)
    shown = {rows[position] for position in spread(len(rows), SHOWN[source.kind])} if pictures else set()
    look = LOOKS[source.kind](source)
    tiles = []
    for row in rows:
        sample = source[row]
        look.add(row, sample)
        if row in shown:
            tiles.append(look.tile(sample))
    return Survey(
        name=source.name,
        kind=source.kind,
        rows=len(source),
        read=len(rows),
        facts={
            source.kind: f"{len(source)}",
            "columns": ", ".join(source.columns),
            **look.facts(),
            "labels": source.label_space or "none",
            "digest": source.digest(),
        },
        depth=look.depth,
        classes=look.classes,
        classes_of=look.classes_of,
        poses=look.poses(),
        tiles=tiles,
    )

"""Rooms as a source that renders when asked, without files."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl

from rgbd3d.card_data import Rooms
from rgbd3d.data import schema
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.stream import WINDOW
from rgbd3d.data.synthrooms.render import LABEL_SPACE
from rgbd3d.data.synthrooms.splits import split_seeds
from rgbd3d.data.synthrooms.write import COLUMNS, RenderSettings, scene_rows
from rgbd3d.types import RGBDSample

_DEFAULTS = {"frames": "8", "size": "320x240", "rooms": "compact"}


class Synthrooms(Source):
    """Rendered rooms, bit for bit the frames that `rgbd3d.data.synthrooms.write` stores with the same settings.

    For that, a frame passes through the same lossy files (JPEG colour, depth in whole millimetres). A room is rendered
    as a whole when one of its frames is asked for, in about a second, and kept while the shuffle window of
    `rgbd3d.data.stream` may come back to it. Every loader process renders for itself: to train for more than a look,
    render to Parquet once.

    Args:
        settings: What to render.
        every: Keep every k-th frame of each room.
        columns: What to decode; None decodes all there are.

    Raises:
        DataError: Unknown split or column.
    """

    label_space = LABEL_SPACE

    def __init__(self, settings: RenderSettings, every: int = 1, columns: Iterable[str] | None = None) -> None:
        height, width = settings.size
        scenes, frames = settings.scenes, settings.frames_per_scene
        rooms = "" if settings.rooms == "compact" else f"&rooms={settings.rooms}"
        self.name = f"synthrooms?scenes={scenes}&frames={frames}&size={width}x{height}{rooms}, split {settings.split}"
        self.columns = schema.check_columns(COLUMNS if columns is None else columns)
        if missing := set(self.columns) - set(COLUMNS):
            raise DataError(f"{self.name}: has no {sorted(missing)}; it has {list(COLUMNS)}")
        try:
            self._seeds = split_seeds(settings.split, scenes)
        except ValueError as error:
            raise DataError(f"{self.name}: {error}") from error
        self._settings, self._every = settings, every
        self._kept = range(0, frames, every)
        self._rooms: OrderedDict[int, list[Mapping[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seeds) * len(self._kept)

    def __getitem__(self, index: int) -> RGBDSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} of {len(self)} frames")
        room, frame = divmod(index, len(self._kept))
        return schema.decode_row(self._rows(room)[frame], self.columns, f"{self.name}, frame {index}")

    def row_groups(self) -> tuple[int, ...]:
        """Frames of each room."""
        return (len(self._kept),) * len(self._seeds)

    def digest(self) -> str:
        """Fingerprint of the settings and of the version of the renderer, which decide the pixels."""
        settings = str(self._settings).replace(", rooms='compact'", "")  # as before there were other rooms
        return hashlib.sha256(f"{settings} every {self._every}".encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rooms": OrderedDict()}

    def _rows(self, room: int) -> list[Mapping[str, Any]]:
        """Encoded frames of a room: compressed, many rooms fit into memory."""
        if room not in self._rooms:
            rows = list(scene_rows(self._settings, self._seeds[room], self.columns))
            self._rooms[room] = rows[:: self._every]
            if len(self._rooms) > WINDOW // len(self._kept) + 1:
                self._rooms.popitem(last=False)
        self._rooms.move_to_end(room)
        return self._rooms[room]


def open_synthrooms(spec: str, split: str, every: int, columns: Iterable[str] | None) -> Synthrooms:
    """Source of `synthrooms?scenes=N[&frames=N][&size=WIDTHxHEIGHT][&rooms=deep]`.

    Raises:
        DataError: Another spelling, or settings that cannot be rendered.
    """
    try:
        given = dict(parse_qsl(spec.partition("?")[2], strict_parsing=True))
        values = _DEFAULTS | given
        if values.keys() != {"scenes", *_DEFAULTS}:
            raise ValueError(f"scenes, frames, size and rooms are known, not {sorted(given)}")
        width, height = (int(side) for side in values["size"].split("x"))
        rooms = cast(Rooms, values["rooms"])
        settings = RenderSettings(split, int(values["scenes"]), int(values["frames"]), (height, width), rooms=rooms)
    except ValueError as error:
        raise DataError(
            f"{spec}: cannot be rendered ({error}); write synthrooms?scenes=N&frames=N&size=WIDTHxHEIGHT&rooms=compact"
        ) from error
    return Synthrooms(settings, every, columns)

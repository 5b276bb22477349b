"""Renders a data set to Parquet, in parallel processes; can be killed at any time and started again.

A shard holds a fixed group of scenes and appears complete or not at all, so what is left to do is the set of missing
files, and the result is the same bytes however often the run was interrupted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from rgbd3d.card_data import Rooms
from rgbd3d.data.codec import DataError
from rgbd3d.data.processes import run_tasks, step
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.synthrooms.render import LABEL_SPACE, RENDERER, Cameras, render_scene
from rgbd3d.data.synthrooms.rooms import EXTENTS
from rgbd3d.data.synthrooms.splits import split_seeds
from rgbd3d.files import locked, sha256, write_atomic

COLUMNS = ("image", "depth", "semantic", "instance", "intrinsics", "pose", "scene_id", "frame_id")
"""What is stored of a rendered frame."""


@dataclass(frozen=True)
class RenderSettings:
    """What decides the bytes of a data set.

    Attributes:
        split: "train", "val" or "test".
        scenes: Number of rooms.
        frames_per_scene: Frames of each.
        size: (height, width) in pixels.
        cameras: See `render_scene`.
        scenes_per_shard: Rooms in one file.
        renderer: Version of the renderer.
        rooms: See `render_scene`.
    """

    split: str
    scenes: int
    frames_per_scene: int
    size: tuple[int, int]
    cameras: Cameras = "views"
    scenes_per_shard: int = 32
    renderer: int = RENDERER
    rooms: Rooms = "compact"

    def __post_init__(self) -> None:
        if min(self.scenes, self.frames_per_scene, self.scenes_per_shard, *self.size) < 1:
            raise DataError(f"numbers of scenes and frames and both sides of the size must be positive: {self}")
        if self.rooms not in EXTENTS:
            raise DataError(f"rooms are {' or '.join(EXTENTS)}, not {self.rooms!r}")

    @property
    def shards(self) -> int:
        """Number of files."""
        return -(-self.scenes // self.scenes_per_shard)

    def shard_name(self, shard: int) -> str:
        """File name of a shard."""
        return f"{self.split}-{shard:05d}-of-{self.shards:05d}.parquet"

    def shard_seeds(self, shard: int) -> list[int]:
        """Seeds of the scenes of a shard."""
        first = shard * self.scenes_per_shard
        return split_seeds(self.split, min(first + self.scenes_per_shard, self.scenes))[first:]


def write_dataset(
    out: str | Path,
    split: str,
    scenes: int,
    frames_per_scene: int = 8,
    size: tuple[int, int] = (240, 320),
    workers: int | None = None,
    cameras: Cameras = "views",
    scenes_per_shard: int = 32,
    rooms: Rooms = "compact",
) -> Path:
    """Renders `scenes` rooms of a split into a folder of Parquet files that `rgbd3d.data.sources` reads.

    Call it again with the same arguments to finish an interrupted run; complete files are kept.

    Args:
        out: Folder; one may hold several splits.
        split: "train", "val" or "test".
        scenes: Number of rooms.
        frames_per_scene: Frames of each.
        size: (height, width) in pixels.
        workers: Processes; one per CPU core by default. 1 renders in this process.
        cameras: See `render_scene`.
        scenes_per_shard: Rooms in one file.
        rooms: See `render_scene`.

    Returns:
        The manifest `<split>-manifest.json`: settings, and rows and sha256 of every file.

    Raises:
        DataError: The folder holds this split rendered with other settings.
        ValueError: Unknown split.
    """
    settings = RenderSettings(
        split, scenes, frames_per_scene, (int(size[0]), int(size[1])), cameras, scenes_per_shard, rooms=rooms
    )
    split_seeds(split, 1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{split}-manifest.json"
    with locked(folder):
        _claim(manifest, settings)
        _finish(folder, settings, workers)
        shards = [_describe(folder, settings, shard) for shard in range(settings.shards)]
        _write_json(manifest, {"settings": _plain(settings), "shards": shards})
    return manifest


def _finish(folder: Path, settings: RenderSettings, workers: int | None) -> None:
    for leftover in folder.glob(f".{settings.split}-*.tmp"):
        leftover.unlink(missing_ok=True)
    missing = [shard for shard in range(settings.shards) if not (folder / settings.shard_name(shard)).exists()]
    processes = min(workers or os.cpu_count() or 1, max(len(missing), 1))
    if not missing:
        return
    total = settings.scenes * settings.frames_per_scene
    done = total - sum(len(settings.shard_seeds(shard)) for shard in missing) * settings.frames_per_scene
    with tqdm(total=total, initial=done, unit="frame", desc=f"render {settings.split}") as bar:
        for _ in run_tasks(partial(_render_shard, folder, settings), missing, processes, bar):
            pass


def _claim(manifest: Path, settings: RenderSettings) -> None:
    """Leaves the settings in the folder before the first file, and refuses to mix two data sets."""
    if manifest.exists():
        found = {"rooms": "compact"} | json.loads(manifest.read_text())["settings"]  # the first folders don't say it
        wanted = _plain(settings)
        changed = [
            f"{key}: {found.get(key)!r} there, {value!r} asked"
            for key, value in wanted.items()
            if found.get(key) != value
        ]
        if changed:
            raise DataError(
                f"{manifest.parent} holds the split {settings.split!r} with other settings ({'; '.join(changed)}): "
                f"choose another folder, or delete {manifest.name} and the {settings.split}-*.parquet files"
            )
        return
    _write_json(manifest, {"settings": _plain(settings), "shards": None})


def _render_shard(folder: Path, settings: RenderSettings, shard: int) -> int:
    """Writes one file; number of its rows."""
    return write_shard(folder / settings.shard_name(shard), _rows(settings, shard), LABEL_SPACE)


def _rows(settings: RenderSettings, shard: int) -> Iterator[Mapping[str, Any]]:
    for seed in settings.shard_seeds(shard):
        for row in scene_rows(settings, seed):
            yield row
            step()


def scene_rows(settings: RenderSettings, seed: int, columns: Iterable[str] = COLUMNS) -> Iterator[Mapping[str, Any]]:
    """Frames of one room as the rows of a file.

    Args:
        settings: Frames, size and cameras.
        seed: Of the room.
        columns: Out of `COLUMNS`.
    """
    for frame in render_scene(
        seed, settings.frames_per_scene, settings.size, cameras=settings.cameras, rooms=settings.rooms
    ):
        yield encode_sample({name: frame[name] for name in columns})  # type: ignore[literal-required]


def _describe(folder: Path, settings: RenderSettings, shard: int) -> dict[str, Any]:
    path = folder / settings.shard_name(shard)
    return {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": sha256(path)}


def _plain(settings: RenderSettings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings)))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=2) + "\n")

"""Renders a data set to Parquet, in parallel processes; can be killed at any time and started again.

A shard holds a fixed group of scenes and appears complete or not at all, so what is left to do is the set of missing
files, and the result is the same bytes however often the run was interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from rgbd3d import __version__
from rgbd3d.data.codec import DataError
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.synthrooms.render import LABEL_SPACE, Cameras, render_scene
from rgbd3d.data.synthrooms.splits import split_seeds
from rgbd3d.files import sha256, write_atomic
from rgbd3d.types import RGBDSample


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
        version: Version of this package.
    """

    split: str
    scenes: int
    frames_per_scene: int
    size: tuple[int, int]
    cameras: Cameras = "views"
    scenes_per_shard: int = 32
    version: str = __version__

    def __post_init__(self) -> None:
        if min(self.scenes, self.frames_per_scene, self.scenes_per_shard, *self.size) < 1:
            raise DataError(f"numbers of scenes and frames and both sides of the size must be positive: {self}")

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

    Returns:
        The manifest `<split>-manifest.json`: settings, and rows and sha256 of every file.

    Raises:
        DataError: The folder holds this split rendered with other settings.
        ValueError: Unknown split.
    """
    settings = RenderSettings(split, scenes, frames_per_scene, (int(size[0]), int(size[1])), cameras, scenes_per_shard)
    split_seeds(split, 1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{split}-manifest.json"
    _claim(manifest, settings)
    for leftover in folder.glob(f".{split}-*.tmp"):
        leftover.unlink(missing_ok=True)
    missing = [shard for shard in range(settings.shards) if not (folder / settings.shard_name(shard)).exists()]
    processes = min(workers or os.cpu_count() or 1, max(len(missing), 1))
    if missing:
        _render_missing(folder, settings, missing, processes)
    _write_json(
        manifest,
        {"settings": _plain(settings), "shards": [_describe(folder, settings, s) for s in range(settings.shards)]},
    )
    return manifest


def _claim(manifest: Path, settings: RenderSettings) -> None:
    """Leaves the settings in the folder before the first file, and refuses to mix two data sets."""
    if manifest.exists():
        found = json.loads(manifest.read_text())["settings"]
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


def _render_missing(folder: Path, settings: RenderSettings, missing: list[int], processes: int) -> None:
    total = settings.scenes * settings.frames_per_scene
    done = total - sum(len(settings.shard_seeds(shard)) for shard in missing) * settings.frames_per_scene
    with tqdm(total=total, initial=done, unit="frame", desc=f"render {settings.split}") as bar:
        if processes == 1:
            for shard in missing:
                bar.update(_render_shard(folder, settings, shard))
        else:
            _render_parallel(folder, settings, missing, processes, bar)


def _render_parallel(
    folder: Path, settings: RenderSettings, missing: list[int], processes: int, bar: tqdm[Any]
) -> None:
    context = multiprocessing.get_context("spawn")  # forking a process that has used torch threads may hang
    stop = context.Event()
    with ProcessPoolExecutor(processes, context, _start_worker, (stop,)) as pool:
        futures: list[Future[int]] = [pool.submit(_render_shard, folder, settings, shard) for shard in missing]
        try:
            for future in as_completed(futures):
                bar.update(future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stop: Event | None = None


def _start_worker(stop: Event) -> None:
    global _stop  # the only way to hand an event to the tasks of a pool
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    torch.set_num_threads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A killed parent cannot stop its workers; idle ones would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _render_shard(folder: Path, settings: RenderSettings, shard: int) -> int:
    """Writes one file; number of its rows."""
    return write_shard(folder / settings.shard_name(shard), _rows(settings, shard), LABEL_SPACE)


def _rows(settings: RenderSettings, shard: int) -> Iterator[Mapping[str, Any]]:
    for seed in settings.shard_seeds(shard):
        if _stop is not None and _stop.is_set():
            raise KeyboardInterrupt
        for frame in render_scene(seed, settings.frames_per_scene, settings.size, cameras=settings.cameras):
            frame.pop("normal")
            yield encode_sample(cast(RGBDSample, frame))


def _describe(folder: Path, settings: RenderSettings, shard: int) -> dict[str, Any]:
    path = folder / settings.shard_name(shard)
    return {"file": path.name, "rows": pq.read_metadata(path).num_rows, "sha256": sha256(path)}


def _plain(settings: RenderSettings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings)))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(content, indent=2) + "\n")

"""Turns a raw data set into Parquet files; can be stopped at any time and started again, and split over machines.

The units of a reader are grouped into tasks. A task writes the files `SPLIT-TASK-PART.parquet` and then its record;
what is left to do is the tasks without a record, so a killed run neither repeats nor loses a row. Tasks don't depend on
who does them: folders made by several machines merge into one data set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq
from tqdm import tqdm

from rgbd3d.data.catalog import DataSet, find
from rgbd3d.data.codec import MAX_PIXELS, DataError, DepthEncoding, FileBytes, MissingDataError
from rgbd3d.data.manifest import FORMAT, File, Outcome, Plan, Record, Settings, Skipped, finish, open_work, records
from rgbd3d.data.processes import run_tasks, step
from rgbd3d.data.readers import open_reader
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit
from rgbd3d.data.rows import DepthModel, Encoder
from rgbd3d.data.schema import row_bytes, write_shard
from rgbd3d.files import locked, sha256

TASK_ROWS = 256
"""Units are joined into tasks of about this many rows: few enough files, little to repeat after a kill."""
MOST_WORKERS = 4
"""Unless more are asked for: each takes about 400 MB, and 2 GB together shall be enough."""
FILE_BYTES = 450 * 2**20
"""A file ends with the row that reaches this size, so that files stay below 500 MB."""


@dataclass(frozen=True)
class Task:
    """Some units of a split, one process's work.

    Attributes:
        number: Within the split, in the order of the units.
        split: Of all its units.
        units: In the reader's order.
    """

    number: int
    split: str
    units: tuple[Unit, ...]

    @property
    def name(self) -> str:
        """Of its files and its record."""
        return f"{self.split}-{self.number:05d}"

    @property
    def rows(self) -> int:
        """Expected rows."""
        return sum(unit.rows for unit in self.units)


@dataclass(frozen=True)
class _Work:
    """What every process needs to know."""

    data_set: DataSet
    raw: Path
    out: Path
    settings: Settings
    depth_model: DepthModel | None
    skip_bad: bool


def prepare(
    name: str,
    raw: Path,
    out: Path,
    options: Options | None = None,
    size: tuple[int, int] | None = None,
    depth_encoding: DepthEncoding = "png",
    pseudo_depth: DepthModel | None = None,
    shard: tuple[int, int] = (1, 1),
    workers: int | None = None,
    skip_bad: bool = False,
) -> Outcome:
    """Prepares a data set, or one share of it; the same call goes on where an earlier one stopped.

    Args:
        name: Of the catalogue (`rgbd3d data list`).
        raw: The user's copy of the data set.
        out: Folder to write.
        options: What to read.
        size: (height, width) that frames are resized to; None keeps theirs.
        depth_encoding: How depth is stored: "png" or "tiff" (`rgbd3d.data.codec.encode_depth`).
        pseudo_depth: Model of transformers that estimates depth for rows without any (`rgbd3d.data.rows.DepthModel`).
        shard: (i, n): do the i-th of n shares, from 1; merge the folders afterwards (`rgbd3d.data.manifest.merge`).
        workers: Processes; one per CPU core by default, but not more than `MOST_WORKERS`.
        skip_bad: Leave out rows that cannot be used, and count them in the manifest, instead of stopping.

    Returns:
        What the folder holds now.

    Raises:
        DataError: The raw data cannot be used, or the folder holds something else.
        ValueError: An unknown name or option.
    """
    data_set = find(name)
    _check_arguments(raw, out, size, depth_encoding, shard)
    try:
        reader = open_reader(data_set, raw, options)
        tasks = group_units(reader.units(), TASK_ROWS)
    except MissingDataError as error:
        raise MissingDataError(f"{error}\nNeeded for {name}: {data_set.needs}") from error
    if size is not None and reader.kind != "frames":
        raise ValueError(f"{name} has {reader.kind}: only frames can be resized")
    pseudo_depth, model_name = (None, None) if pseudo_depth is None else pseudo_depth.pinned()
    settings = Settings(
        data_set=name,
        reader_version=reader.version,
        kind=reader.kind,
        label_space=reader.label_space,
        stride=reader.stride,
        clip_frames=reader.clip_frames if reader.kind == "clips" else None,
        size=size,
        depth_encoding=depth_encoding,
        pseudo_depth=model_name,
        format=FORMAT,
    )
    plan = Plan(settings, {task.name: [unit.name for unit in task.units] for task in tasks})
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        open_work(out, plan)
        work = _Work(data_set, raw, out, settings, pseudo_depth, skip_bad)
        share = [task for number, task in enumerate(tasks) if number % shard[1] == shard[0] - 1]
        try:
            _do(work, plan, share, workers)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{out} keeps what is complete; the same command goes on") from None
        return finish(out, plan)


def _check_arguments(
    raw: Path, out: Path, size: tuple[int, int] | None, depth_encoding: str, shard: tuple[int, int]
) -> None:
    if depth_encoding not in get_args(DepthEncoding):
        raise ValueError(f"no depth encoding {depth_encoding!r}; there are {list(get_args(DepthEncoding))}")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard is {shard[0]}/{shard[1]}: the share counts from 1 to the number of shares")
    if size is not None and not (min(size) >= 1 and size[0] * size[1] <= MAX_PIXELS):
        raise ValueError(f"size is {size[1]}x{size[0]}: at most {MAX_PIXELS} pixels can be read back")
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder")
    if out.resolve().is_relative_to(raw.resolve()):
        raise DataError(f"{out} lies within the raw data {raw}: choose a folder outside")


def group_units(units: list[Unit], rows: int) -> list[Task]:
    """Consecutive units of one split, joined until they have `rows` rows together.

    Raises:
        DataError: Two units of one name.
    """
    if len({(unit.split, unit.name) for unit in units}) < len(units):
        raise DataError("two units of the raw data have the same name")
    groups: dict[str, list[list[Unit]]] = {}
    for unit in units:
        of_split = groups.setdefault(unit.split, [[]])
        if sum(one.rows for one in of_split[-1]) >= rows:
            of_split.append([])
        of_split[-1].append(unit)
    return [
        Task(number, split, tuple(group)) for split, of_split in groups.items() for number, group in enumerate(of_split)
    ]


def _do(work: _Work, plan: Plan, tasks: list[Task], workers: int | None) -> None:
    done = records(work.out, plan)
    # Without --skip-bad, what was left out before is tried again: the files may have been mended.
    missing = [t for t in tasks if t.name not in done or (done[t.name].skipped and not work.skip_bad)]
    if not missing:
        return
    _opened.cache_clear()  # the raw data may have changed since an earlier call
    total = sum(task.rows for task in tasks)
    initial = total - sum(task.rows for task in missing)
    processes = min(workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS), len(missing))
    with tqdm(total=total, initial=initial, unit="row", desc=f"prepare {work.data_set.name}") as bar:
        for _ in run_tasks(partial(_do_task, work), missing, processes, bar):
            pass


def _do_task(work: _Work, task: Task) -> None:
    for leftover in work.out.glob(f"{task.name}-*.parquet"):
        leftover.unlink()
    reader = _opened(work.data_set, work.raw, work.settings.options)
    skipped: list[Skipped] = []
    rows = _rows(work, reader, task, skipped)
    files: list[File] = []
    settings = work.settings
    stride = settings.stride if settings.kind == "frames" else 1  # of clips it is that of the frames within
    try:
        while (first := next(rows, None)) is not None:
            path = work.out / f"{task.name}-{len(files):02d}.parquet"
            shard = _up_to(FILE_BYTES, first, rows)
            written = write_shard(path, shard, settings.label_space, settings.kind, stride)
            columns = tuple(pq.read_schema(path).names)
            files.append(File(path.name, written, path.stat().st_size, sha256(path), columns))
    except BaseException:
        for file in files:
            (work.out / file.file).unlink(missing_ok=True)
        raise
    Record(task.name, tuple(files), tuple(skipped)).save(work.out)


@lru_cache(maxsize=1)
def _opened(data_set: DataSet, raw: Path, options: Options) -> Reader:
    """One reader for all tasks of a process: listing a large data set takes minutes."""
    return open_reader(data_set, raw, options)


def _up_to(size: int, first: Row, rows: Iterator[Row]) -> Iterator[Row]:
    """The first row and as many of the others as reach `size` bytes together."""
    reached = row_bytes(first)
    yield first
    while reached < size and (row := next(rows, None)) is not None:
        reached += row_bytes(row)
        yield row


def _rows(work: _Work, reader: Reader, task: Task, skipped: list[Skipped]) -> Iterator[Row]:
    """Encoded rows of a task; what cannot be used is noted in `skipped`, if the user allows that."""
    encode = Encoder(work.settings, work.depth_model)
    for unit in task.units:
        for number, lazy in _lazy_rows(work, reader, unit, skipped):
            try:
                row = _encoded(encode, lazy(), work.raw / unit.source)
            except DataError as error:
                skipped.append(_skip(work, error, unit, number))
            else:
                yield row
            step()


def _encoded(encode: Encoder, row: Row, source: Path) -> Row:
    try:
        return encode(row)
    except DataError as error:
        if any(isinstance(value, FileBytes) and value.where in str(error) for value in row.values()):
            raise
        scene, frame = row.get("scene_id", "row"), row.get("frame_id", "")
        raise DataError(f"{source}, {scene} {frame}: {error}") from error


def _lazy_rows(work: _Work, reader: Reader, unit: Unit, skipped: list[Skipped]) -> Iterator[tuple[int, LazyRow]]:
    try:
        yield from enumerate(reader.read(unit))
    except DataError as error:
        skipped.append(_skip(work, error, unit, None))


def _skip(work: _Work, error: DataError, unit: Unit, row: int | None) -> Skipped:
    if not work.skip_bad:
        raise DataError(
            f"{error}\nNothing of this part was written. Mend the file, or leave such rows out with --skip-bad."
        ) from error
    return Skipped(unit.name, row, str(error))

"""What a prepared folder says about itself: the plan, a record per finished task, the manifest; and how folders merge.

.prepare/plan.json            settings and tasks, written first; every share of the work has the same
.prepare/train-00000.json     record of a finished task: its files and what was left out
train-00000-00.parquet        rows
manifest.json, README.md      written when all tasks are finished
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rgbd3d.data.catalog import find
from rgbd3d.data.codec import DataError, DepthEncoding
from rgbd3d.data.dataset_card import dataset_card
from rgbd3d.data.readers.base import Options, check_name
from rgbd3d.data.readers.bounded import read_json
from rgbd3d.files import locked, sha256, write_atomic
from rgbd3d.types import Kind

OWN = "frames"
"""The data set of the catalogue that is anyone's own frames."""

RENDERED = "synthrooms"
"""The data set that is rendered, not prepared: its folders have a manifest for each split."""

WORK, PLAN, MANIFEST, CARD = ".prepare", "plan.json", "manifest.json", "README.md"

FORMAT = 2
"""Of the files that are written; folders of another one neither go on nor merge. 2: the files know their stride."""


@dataclass(frozen=True)
class Settings:
    """All that decides the rows, given the raw data.

    Attributes:
        data_set: Name in the catalogue.
        reader_version: `Reader.version`.
        kind: What a row is.
        label_space: Of its labels.
        stride: Every k-th frame.
        clip_frames: Frames of a clip.
        size: (height, width), or None for that of the raw frames.
        depth_encoding: Of `rgbd3d.data.codec.encode_depth`.
        pseudo_depth: MODEL@REVISION:KIND that estimated the depth, or None.
        format: `FORMAT` of the version that began.
    """

    data_set: str
    reader_version: int
    kind: Kind
    label_space: str | None
    stride: int
    clip_frames: int | None
    size: tuple[int, int] | None
    depth_encoding: DepthEncoding
    pseudo_depth: str | None
    format: int

    @property
    def options(self) -> Options:
        """For the reader."""
        return Options(self.stride, self.label_space, self.clip_frames or Options.clip_frames)


@dataclass(frozen=True)
class Plan:
    """Settings, and task -> names of its units."""

    settings: Settings
    tasks: Mapping[str, Sequence[str]]

    def content(self) -> dict[str, Any]:
        """As in `plan.json`."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class Skipped:
    """A row that was left out, or with row None the rest of a unit, and why."""

    unit: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class File:
    """A finished Parquet file."""

    file: str
    rows: int
    bytes: int
    sha256: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Record:
    """A finished task."""

    task: str
    files: tuple[File, ...]
    skipped: tuple[Skipped, ...]

    def save(self, out: Path) -> None:
        """Declares the task finished."""
        write_atomic(out / WORK / f"{self.task}.json", json.dumps(asdict(self), indent=1) + "\n")


@dataclass(frozen=True)
class Outcome:
    """What a folder holds.

    Attributes:
        rows: By split.
        skipped: What was left out.
        missing: Tasks that are not finished.
    """

    rows: dict[str, int]
    skipped: list[Skipped]
    missing: list[str]

    @property
    def finished(self) -> bool:
        """Whether no task is missing."""
        return not self.missing

    def __str__(self) -> str:
        lines = [", ".join(f"{split}: {rows} rows" for split, rows in self.rows.items()) or "no rows yet"]
        if self.skipped:
            lines.append(f"{len(self.skipped)} rows or parts left out, the first: {self.skipped[0].reason}")
        if self.missing:
            lines.append(f"{len(self.missing)} parts are missing, the first: {self.missing[0]}")
        return "\n".join(lines)


def is_unfinished(folder: Path) -> bool:
    """Whether a preparation was begun there and has not ended."""
    return (folder / WORK).is_dir() and not (folder / MANIFEST).is_file()


def data_set_of(spec: str | Path) -> str | None:
    """Name in the catalogue of the data set that was prepared or rendered in a folder; None for anything else.

    Args:
        spec: The folder, or a file in it.

    Raises:
        DataError: The manifest cannot be read.
    """
    path = Path(spec).expanduser()
    folder = path.parent if path.is_file() else path
    try:
        if (folder / MANIFEST).is_file():
            return str(read_json(folder / MANIFEST)["settings"]["data_set"])
        rendered = sorted(folder.glob(f"*-{MANIFEST}"))
        return RENDERED if rendered and "renderer" in read_json(rendered[0])["settings"] else None
    except (KeyError, TypeError):
        return None


def open_work(out: Path, plan: Plan) -> None:
    """Writes the plan into a folder where nothing was prepared yet, or checks that it was begun with the same plan.

    Raises:
        DataError: It holds something else; names what differs.
    """
    file = out / WORK / PLAN
    if file.exists():
        _remove_leftovers(out)
    if file.exists() and _has_results(out):
        if differences := _differences(_plan(out).content(), plan.content()):
            raise DataError(f"{out} was begun otherwise ({differences}): choose another folder, or delete this one")
        return
    if others := sorted(path.name for path in out.iterdir() if path.name != WORK):
        raise DataError(f"{out} is not empty ({', '.join(others[:3])}, ...): choose a new folder")
    file.parent.mkdir(exist_ok=True)
    write_atomic(file, json.dumps(plan.content(), indent=1) + "\n")


def _has_results(out: Path) -> bool:
    return any(path.name != PLAN for path in (out / WORK).glob("*.json")) or any(out.glob("*.parquet"))


def _remove_leftovers(out: Path) -> None:
    """Files that a killed run had not finished."""
    for pattern in (".*.parquet.*.tmp", f".{CARD}.*", f".{MANIFEST}.*"):
        for leftover in out.glob(pattern):
            leftover.unlink()


def _remove_strays(out: Path, plan: Plan, recorded: set[str]) -> None:
    """Parts that a killed run wrote before its task was done again otherwise; they would be read as rows."""
    for path in out.glob("*-*.parquet"):
        if path.stem.rsplit("-", 1)[0] in plan.tasks and path.name not in recorded:
            path.unlink()


def _differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    old, new = there["settings"], asked["settings"]
    changed = [f"{key}: {old.get(key)!r} there, {value!r} asked" for key, value in new.items() if old.get(key) != value]
    if not changed and there["tasks"] != asked["tasks"]:
        changed = ["the raw data hold other scenes or frames than before"]
    return "; ".join(changed)


def records(out: Path, plan: Plan) -> dict[str, Record]:
    """Finished tasks of a folder whose files are there, by name.

    Raises:
        DataError: A record that is damaged, or not of this plan.
    """
    found = (_record(path, plan) for path in sorted((out / WORK).glob("*.json")) if path.name != PLAN)
    return {
        record.task: record
        for record in found
        if all((out / f.file).is_file() and (out / f.file).stat().st_size == f.bytes for f in record.files)
    }


def _record(path: Path, plan: Plan) -> Record:
    """A record may come from another machine: it can name the files of its own task and nothing else."""
    content = read_json(path)
    try:
        record = Record(
            content["task"],
            tuple(File(**{**file, "columns": tuple(file["columns"])}) for file in content["files"]),
            tuple(Skipped(**entry) for entry in content["skipped"]),
        )
        sound = record.task == path.stem and record.task in plan.tasks
        for number, file in enumerate(record.files):
            sound &= file.file == f"{record.task}-{number:02d}.parquet" and len(file.sha256) == 64
            sound &= all(type(count) is int and count > 0 for count in (file.rows, file.bytes))
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it to prepare its part again") from error
    if not sound:
        raise DataError(f"{path}: names a task or files that are not its own; delete it to prepare its part again")
    return record


def finish(out: Path, plan: Plan) -> Outcome:
    """Writes manifest and data set card if all tasks are done.

    Raises:
        DataError: All are done and there is not a single row, or rows differ in their columns.
    """
    done = records(out, plan)
    rows: dict[str, int] = {}
    for task, record in done.items():
        split = task.rsplit("-", 1)[0]
        rows[split] = rows.get(split, 0) + sum(file.rows for file in record.files)
    skipped = [entry for record in done.values() for entry in record.skipped]
    outcome = Outcome(rows, skipped, [task for task in plan.tasks if task not in done])
    if outcome.finished:
        _complete(out, plan, outcome, [file for task in plan.tasks for file in done[task].files])
    return outcome


def _complete(out: Path, plan: Plan, outcome: Outcome, files: Sequence[File]) -> None:
    if not files:
        reason = f"; the first reason: {outcome.skipped[0].reason}" if outcome.skipped else ": the raw data give none"
        raise DataError(f"{out}: not a single row could be used{reason}")
    if differing := [file for file in files if file.columns != files[0].columns]:
        raise DataError(
            f"{out}: rows differ in their columns, {list(files[0].columns)} in {files[0].file} but "
            f"{list(differing[0].columns)} in {differing[0].file}: some of the raw data lack something"
        )
    content = {
        "settings": plan.content()["settings"],
        "rows": outcome.rows,
        "files": [asdict(file) for file in files],
        "skipped": [asdict(entry) for entry in outcome.skipped],
    }
    _remove_strays(out, plan, {file.file for file in files})
    write_atomic(out / CARD, dataset_card(find(plan.settings.data_set), content))
    write_atomic(out / MANIFEST, json.dumps(content, indent=1) + "\n")


def merge(out: Path, folders: Sequence[Path]) -> Outcome:
    """Joins the shares of one data set that were prepared apart.

    Args:
        out: New folder, or one of an earlier merge to add to.
        folders: Made with the same command but for --shard and --out. Their files are linked where the disk allows it,
            and otherwise copied.

    Raises:
        DataError: A folder of another plan, a damaged file, or no prepared folder.
    """
    plans = [_plan(folder) for folder in folders]
    for folder, plan in zip(folders, plans, strict=True):
        if differences := _differences(plan.content(), plans[0].content()):
            raise DataError(f"{folder} does not belong to {folders[0]} ({differences})")
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        open_work(out, plans[0])
        for folder in folders:
            _take_over(folder, out, plans[0])
        return finish(out, plans[0])


def _plan(folder: Path) -> Plan:
    file = folder / WORK / PLAN
    if not file.is_file():
        raise DataError(f"{folder}: not made by `rgbd3d data prepare` ({WORK}/{PLAN} is missing)")
    content = read_json(file)
    try:
        size = content["settings"]["size"]
        if content["settings"].get("format") != FORMAT:
            raise DataError(f"{file}: damaged, or begun by another version of rgbd3d: prepare the data in a new folder")
        settings = Settings(**{**content["settings"], "size": tuple(size) if size else None})
        return Plan(settings, {check_name(task, file): list(units) for task, units in content["tasks"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: damaged, or of another version of rgbd3d ({error})") from error


def _take_over(folder: Path, out: Path, plan: Plan) -> None:
    there = records(out, plan)
    for task, record in records(folder, plan).items():
        if task in there:
            continue
        for file in record.files:
            _check(folder, file)
            _link(folder / file.file, out / file.file)
        record.save(out)


def _check(folder: Path, file: File) -> None:
    path = folder / file.file
    if sha256(path) != file.sha256 or pq.read_metadata(path).num_rows != file.rows:
        raise DataError(f"{path}: damaged since it was written (another sha256); prepare it again")


def verify(folder: Path) -> dict[str, Any]:
    """Checks that a finished data set is whole: every file of the manifest, byte by byte.

    Returns:
        The manifest.

    Raises:
        DataError: It is not finished, or a file is missing or damaged; names it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} has no {MANIFEST}: finish it first (`rgbd3d data prepare`, `rgbd3d data merge`)")
    manifest = read_json(path)
    try:
        files = [File(**{**file, "columns": tuple(file["columns"])}) for file in manifest["files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); prepare the data set again") from error
    for file in files:
        if not check_name(file.file, path).endswith(".parquet") or not (folder / file.file).is_file():
            raise DataError(f"{folder / file.file} is missing: prepare the data set again")
        _check(folder, file)
    return manifest


def _link(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    source = source.resolve()  # a link to a link would point nowhere
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)

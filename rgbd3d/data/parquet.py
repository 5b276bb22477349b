"""Parquet files as a source: whole row groups are read and the last few are kept, on disk and on the Hub alike."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem
from huggingface_hub.errors import HTTPError

from rgbd3d.data import schema
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.columns import COLUMNS
from rgbd3d.data.stream import WINDOW
from rgbd3d.types import Kind, RGBDSample


@dataclass(frozen=True)
class _Shard:
    path: str
    footer: pq.FileMetaData
    footer_sha256: str


class _Schema(NamedTuple):
    columns: list[str]
    kind: Kind
    label_space: str | None
    stride: int


@dataclass(frozen=True)
class _Group:
    """Rows of one row group that are part of the source; `rows` None means all `size` of them."""

    shard: int
    number: int
    size: int
    rows: np.ndarray | None = None


class ParquetSource(Source):
    """Frames in Parquet files of `rgbd3d.data.schema`.

    Reads a row group at a time and keeps as many as the shuffle window of `rgbd3d.data.stream` needs. Opens files only
    while it reads, so forked and spawned workers share nothing.

    Args:
        paths: Files of one split, in order.
        filesystem: Where they are.
        name: For logs and errors.
        every: Keep every k-th frame of each sequence (rows with the same scene_id), a multiple of the stride: of data
            that hold every 25th, `every=50` keeps every other row. Rows are counted, so what was left out when the
            data were prepared shifts the later ones. 1 keeps all rows.
        columns: What to decode; None decodes all columns that the schema knows.

    Raises:
        DataError: A file that is no Parquet file, no rows, differing columns, or missing ones.
        ValueError: `every` is no multiple of the stride of the data.
    """

    def __init__(
        self,
        paths: Sequence[str],
        filesystem: AbstractFileSystem,
        name: str,
        every: int = 1,
        columns: Iterable[str] | None = None,
    ) -> None:
        self.name = name
        self._filesystem = filesystem
        with ThreadPoolExecutor(8) as pool:  # remote footers are a round trip each
            self._shards = list(pool.map(self._open_shard, paths))
        available, self.kind, self.label_space, self.stride = self._common_schema()
        self.columns = _choose(columns, available, name, self.kind)
        self._every = _rows_apart(every, self.stride, name)
        self._groups = self._all_groups() if self._every == 1 else self._every_kth("scene_id" in available)
        if not self._groups:
            raise DataError(f"{name}: its {len(paths)} Parquet files have no rows")
        self._ends = np.cumsum([group.size for group in self._groups])
        self._capacity = WINDOW + max(self.row_groups())
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> RGBDSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} of {len(self)} frames")
        position = int(np.searchsorted(self._ends, index, side="right"))
        group = self._groups[position]
        row = index - int(self._ends[position]) + group.size
        where = f"{self._shards[group.shard].path}, row group {group.number}, kept row {row}"
        return schema.decode_row(_values(self._table(position), row), self.columns, where, self.kind)

    def row_groups(self) -> tuple[int, ...]:
        """Sizes of the Parquet row groups, after thinning by `every`."""
        return tuple(group.size for group in self._groups)

    def digest(self) -> str:
        """Fingerprint of the files' names and footers (which hold the compressed size of every column chunk)."""
        state = hashlib.sha256(f"every {self._every}".encode())
        for shard in self._shards:
            state.update(f"\n{shard.path.rsplit('/', 1)[-1]} {shard.footer_sha256}".encode())
        return state.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": OrderedDict()}

    # ------------------------------------------------------------------------------------------------------- reading

    def _open_shard(self, path: str) -> _Shard:
        try:
            with self._filesystem.open(path, "rb") as file:
                footer = pq.ParquetFile(file).metadata
                file.seek(-(footer.serialized_size + 8), 2)
                return _Shard(path, footer, hashlib.sha256(file.read()).hexdigest())
        except pa.ArrowInvalid as error:
            raise DataError(f"{path}: not a complete Parquet file ({error}); fetch or write it again") from error

    def _read(self, group: _Group, columns: Sequence[str]) -> pa.Table:
        shard = self._shards[group.shard]
        remote = "file" not in self._filesystem.protocol
        options = {"cache_type": "none"} if remote else {}  # Arrow asks for exact ranges
        try:
            with self._filesystem.open(shard.path, "rb", **options) as file:
                parquet = pq.ParquetFile(file, metadata=shard.footer, pre_buffer=remote)
                return parquet.read_row_group(group.number, columns=list(columns), use_threads=False)
        except (pa.ArrowInvalid, OSError, HTTPError) as error:
            raise DataError(f"{shard.path}: cannot read row group {group.number} ({error})") from error

    def _table(self, position: int) -> pa.Table:
        if position in self._tables:
            self._tables.move_to_end(position)
            return self._tables[position]
        group = self._groups[position]
        table = self._read(group, self.columns)
        if group.rows is not None:
            table = table.take(group.rows)
        self._tables[position] = table
        while sum(kept.num_rows for kept in self._tables.values()) > self._capacity:
            self._tables.popitem(last=False)
        return table

    # -------------------------------------------------------------------------------------------------------- layout

    def _common_schema(self) -> _Schema:
        first, *others = (_schema_of(shard) for shard in self._shards)
        for shard, other in zip(self._shards[1:], others, strict=True):
            if other != first:
                like = self._shards[0].path
                raise DataError(f"{shard.path}: columns, kind, label space or stride differ from {like}")
        return first

    def _all_groups(self) -> list[_Group]:
        return [
            _Group(number, group, shard.footer.row_group(group).num_rows)
            for number, shard in enumerate(self._shards)
            for group in range(shard.footer.num_row_groups)
            if shard.footer.row_group(group).num_rows
        ]

    def _every_kth(self, has_scenes: bool) -> list[_Group]:
        groups = self._all_groups()
        position = np.arange(sum(group.size for group in groups))
        if has_scenes:
            scenes = np.concatenate([self._read(group, ["scene_id"])["scene_id"].to_numpy() for group in groups])
            new_scene = np.flatnonzero(np.concatenate(([True], scenes[1:] != scenes[:-1])))
            position -= np.repeat(new_scene, np.diff(np.append(new_scene, len(scenes))))
        kept = np.split(position % self._every == 0, np.cumsum([group.size for group in groups])[:-1])
        thinned = [
            _Group(group.shard, group.number, int(mask.sum()), np.flatnonzero(mask))
            for group, mask in zip(groups, kept, strict=True)
        ]
        return [group for group in thinned if group.size]


def _rows_apart(every: int, stride: int, name: str) -> int:
    """How far apart rows are that hold every k-th frame."""
    if every == 1:
        return 1
    if every % stride:
        raise ValueError(
            f"{name} holds one frame in {stride} of its sequences, so one in {every} cannot be taken: prepare it with "
            f"--stride {every}, or take all that there are with every = 1"
        )
    return every // stride


def _schema_of(shard: _Shard) -> _Schema:
    said = shard.footer.schema.to_arrow_schema()
    try:
        return _Schema(
            said.names, schema.stored_kind(said), schema.stored_label_space(said), schema.stored_stride(said)
        )
    except DataError as error:
        raise DataError(f"{shard.path}: {error}") from error


def _values(table: pa.Table, row: int) -> dict[str, Any]:
    """One row; long lists of numbers as arrays, which Python lists would take seconds for."""
    scalars = {name: table.column(name)[row] for name in table.column_names}
    return {
        name: scalar.values.to_numpy() if _is_numbers(scalar) else scalar.as_py() for name, scalar in scalars.items()
    }


def _is_numbers(scalar: pa.Scalar) -> bool:
    kind = scalar.type
    return scalar.is_valid and pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type)


def _choose(wanted: Iterable[str] | None, available: Sequence[str], name: str, kind: Kind) -> tuple[str, ...]:
    if wanted is None:
        return schema.check_columns([column for column in available if column in COLUMNS[kind]], kind)
    chosen = schema.check_columns(wanted, kind)
    if missing := [column for column in chosen if column not in available]:
        raise DataError(f"{name}: has no {missing}; it has {list(available)}")
    return chosen

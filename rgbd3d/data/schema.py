"""The Parquet schema of an RGB-D data set.

Columns are those of `RGBDSample`: images and label maps as struct{bytes, path} holding JPEG or PNG files (depth: 16-bit
PNG in millimetres), matrices as fixed-size float lists. The `datasets` library finds its feature types in the schema's
metadata, so `load_dataset("parquet", ...)` decodes the images without this package.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.files import sync
from rgbd3d.types import RGBDSample

ROW_GROUP_ROWS = 64
"""Rows that are read together: large enough for few requests, small enough to shuffle between."""

_METADATA_KEY = b"rgbd3d"


# ----------------------------------------------------------------------------------------------------------- columns


@dataclass(frozen=True)
class _Column:
    """How one key of a sample is stored.

    Attributes:
        arrow: Type in the file.
        feature: The same for `datasets`, as it writes its features to JSON.
        encode: Value of a sample -> value of a row.
        decode: (value of a row, where it is) -> value of a sample.
    """

    arrow: pa.DataType
    feature: dict[str, Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any, str], Any]


def _image(encode: Callable[[Any], bytes], decode: Callable[[bytes, str], Any] = codec.decode_color) -> _Column:
    def decode_struct(value: Mapping[str, Any], where: str) -> Any:
        if value["bytes"] is None:
            raise DataError(f"{where} holds a path instead of the file's bytes: embed the images when writing")
        return decode(value["bytes"], where)

    return _Column(
        arrow=pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        feature={"_type": "Image"},
        encode=lambda value: {"bytes": encode(value), "path": None},
        decode=decode_struct,
    )


def _matrix(side: int) -> _Column:
    def encode(matrix: Tensor) -> list[float]:
        if tuple(matrix.shape) != (side, side):
            raise DataError(f"a ({side}, {side}) matrix is expected, not {tuple(matrix.shape)}")
        return matrix.to(torch.float32).flatten().tolist()

    return _Column(
        arrow=pa.list_(pa.float32(), side * side),
        feature={"feature": {"dtype": "float32", "_type": "Value"}, "length": side * side, "_type": "List"},
        encode=encode,
        decode=lambda value, where: torch.tensor(value, dtype=torch.float32).view(side, side),
    )


def _scalar(arrow: pa.DataType, kind: type) -> _Column:
    return _Column(
        arrow=arrow,
        feature={"dtype": str(arrow), "_type": "Value"},
        encode=kind,
        decode=lambda value, where: kind(value),
    )


_COLUMNS: dict[str, _Column] = {
    "image": _image(codec.encode_color),
    "depth": _image(codec.encode_depth, codec.decode_depth),
    "semantic": _image(
        lambda labels: codec.encode_labels(labels, np.uint8),
        lambda data, where: torch.from_numpy(codec.decode_labels(data, where).astype(np.int64)),
    ),
    "instance": _image(
        lambda labels: codec.encode_labels(labels, np.uint16),
        lambda data, where: torch.from_numpy(codec.decode_labels(data, where).astype(np.int32)),
    ),
    "intrinsics": _matrix(3),
    "pose": _matrix(4),
    "scene_id": _scalar(pa.string(), str),
    "frame_id": _scalar(pa.int64(), int),
}

COLUMNS = tuple(_COLUMNS)
"""All columns, in the order of a file; a data set may leave out what it does not have."""


def arrow_schema(columns: Iterable[str], label_space: str | None = None) -> pa.Schema:
    """Arrow schema of a data set.

    Args:
        columns: Names out of `COLUMNS`.
        label_space: Names the classes behind `semantic`, for example "nyu40"; needed if and only if it is a column.

    Returns:
        Fields in the order of `COLUMNS`; the metadata hold the `datasets` features and the label space.

    Raises:
        DataError: Unknown column, or semantic labels without a label space.
    """
    chosen = check_columns(columns)
    if ("semantic" in chosen) != (label_space is not None):
        raise DataError(
            f"label_space is {label_space!r} but the columns are {list(chosen)}: name it with 'semantic' only"
        )
    features = {name: _COLUMNS[name].feature for name in chosen}
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}),
        _METADATA_KEY: json.dumps({"label_space": label_space}),
    }
    return pa.schema([(name, _COLUMNS[name].arrow) for name in chosen], metadata=metadata)


def check_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """The columns in the order of a file.

    Raises:
        DataError: A name that is not in `COLUMNS`.
    """
    wanted = set(columns)
    if unknown := wanted - set(COLUMNS):
        raise DataError(f"unknown columns {sorted(unknown)}; a sample has {list(COLUMNS)}")
    return tuple(name for name in COLUMNS if name in wanted)


def stored_label_space(schema: pa.Schema) -> str | None:
    """Label space that a file names in its schema, or None."""
    metadata = (schema.metadata or {}).get(_METADATA_KEY)
    return json.loads(metadata)["label_space"] if metadata else None


# -------------------------------------------------------------------------------------------------------------- rows


def encode_sample(sample: RGBDSample, quality: int | None = 95) -> dict[str, Any]:
    """One row of a file.

    Args:
        sample: A frame; keys that it lacks are left out.
        quality: JPEG quality of the image, or None for a lossless PNG.

    Returns:
        Column -> value, ready for `write_shard`.

    Raises:
        DataError: A key that is no column, or a value of another type, shape or range than `RGBDSample` states.
    """
    _check_sizes(sample, "sample")
    values = cast(Mapping[str, Any], sample)
    row: dict[str, Any] = {}
    for name in check_columns(sample):
        column = _image(partial(codec.encode_color, quality=quality)) if name == "image" else _COLUMNS[name]
        try:
            row[name] = column.encode(values[name])
        except DataError as error:
            raise DataError(f"column {name!r}: {error}") from error
    return row


def decode_row(row: Mapping[str, Any], columns: Iterable[str] | None = None, where: str = "row") -> RGBDSample:
    """A frame of one row; only the asked columns are decoded.

    Args:
        row: Column -> value.
        columns: What to decode; None decodes everything the row has.
        where: Names the row in errors.

    Raises:
        DataError: A missing or empty column, an unreadable image, maps of different sizes.
    """
    chosen = check_columns(row if columns is None else columns)
    for name in chosen:
        if row.get(name) is None:
            raise DataError(
                f"{where}: no value in column {name!r}; it has {[key for key in row if row[key] is not None]}"
            )
    sample = cast(RGBDSample, {name: _COLUMNS[name].decode(row[name], f"{where}, column {name!r}") for name in chosen})
    _check_sizes(sample, where)
    return sample


def _check_sizes(sample: RGBDSample, where: str) -> None:
    maps = cast(Mapping[str, Any], sample)
    sizes = {key: tuple(maps[key].shape[-2:]) for key in ("image", "depth", "semantic", "instance") if key in maps}
    if len(set(sizes.values())) > 1:
        raise DataError(f"{where}: maps differ in (height, width): {sizes}")


# ------------------------------------------------------------------------------------------------------------- files


def write_shard(path: str | Path, rows: Iterable[Mapping[str, Any]], label_space: str | None = None) -> int:
    """Write one Parquet file; it appears complete or not at all.

    Args:
        path: File to (over)write; its folder is made.
        rows: Of `encode_sample`, all with the same columns; at most 64 are held at a time.
        label_space: As for `arrow_schema`.

    Returns:
        Number of rows.

    Raises:
        DataError: No rows, or rows with different columns.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            written = _write_rows(file, iter(rows), label_space, str(path))
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's files are private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return written


def _write_rows(file: Any, rows: Iterable[Mapping[str, Any]], label_space: str | None, where: str) -> int:
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        raise DataError(f"{where}: no rows to write")
    schema, written = arrow_schema(first, label_space), 0
    iterator = itertools.chain([first], iterator)
    # Dictionaries and statistics of compressed images cost time and space and help nobody.
    with pq.ParquetWriter(
        file, schema, use_dictionary=["scene_id"], write_statistics=["scene_id", "frame_id"]
    ) as writer:
        while group := list(itertools.islice(iterator, ROW_GROUP_ROWS)):
            _check_same_columns(group, schema.names, where)
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=ROW_GROUP_ROWS)
            written += len(group)
    return written


def _check_same_columns(rows: Sequence[Mapping[str, Any]], names: list[str], where: str) -> None:
    for row in rows:
        if set(row) != set(names):
            raise DataError(f"{where}: rows with columns {names} and {sorted(row)} cannot share a file")

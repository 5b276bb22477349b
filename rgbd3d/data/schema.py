"""Rows and files of a data set in Parquet.

The columns are the keys of a sample (`rgbd3d.data.columns`). The `datasets` library finds its feature types in the
schema's metadata, so `load_dataset("parquet", ...)` decodes the images without this package.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.data.columns import COLUMNS, DEPTHS, Column, film, image
from rgbd3d.files import sync
from rgbd3d.types import Kind, RGBDSample

ROW_GROUP_ROWS = 64
"""Rows that are read together: large enough for few requests, small enough to shuffle between."""
ROW_GROUP_BYTES = 2**26
"""A row group ends early where its rows are larger than this together."""

_METADATA_KEY = b"rgbd3d"
_LABELLED = {"semantic", "class_id"}


def arrow_schema(
    columns: Iterable[str], label_space: str | None = None, kind: Kind = "frames", stride: int = 1
) -> pa.Schema:
    """Arrow schema of a data set.

    Args:
        columns: Names out of `COLUMNS[kind]`.
        label_space: Names the classes behind `semantic` or `class_id`, for example "nyu40"; `semantic` needs it.
        kind: What a row is.
        stride: Of the frames that were recorded, every k-th is a row.

    Returns:
        Fields in the order of `COLUMNS`; the metadata hold the `datasets` features, and what is not the usual: label
        space, kind, stride.

    Raises:
        DataError: Unknown column, semantic labels without a label space, or a label space without labels.
    """
    chosen = check_columns(columns, kind)
    if ("semantic" in chosen and label_space is None) or (label_space is not None and not _LABELLED & set(chosen)):
        raise DataError(
            f"label_space is {label_space!r} but the columns are {list(chosen)}: name it with 'semantic' or 'class_id' "
            "only, and always with 'semantic'"
        )
    features = {name: COLUMNS[kind][name].feature for name in chosen}
    unusual = ({} if kind == "frames" else {"kind": kind}) | ({} if stride == 1 else {"stride": stride})
    metadata = {
        b"huggingface": json.dumps({"info": {"features": features}}),
        _METADATA_KEY: json.dumps({"label_space": label_space} | unusual),
    }
    return pa.schema([(name, COLUMNS[kind][name].arrow) for name in chosen], metadata=metadata)


def check_columns(columns: Iterable[str], kind: Kind = "frames") -> tuple[str, ...]:
    """The columns in the order of a file.

    Raises:
        DataError: A name that is not in `COLUMNS[kind]`.
    """
    wanted = set(columns)
    if unknown := wanted - set(COLUMNS[kind]):
        raise DataError(f"unknown columns {sorted(unknown)}; a sample of {kind} has {list(COLUMNS[kind])}")
    return tuple(name for name in COLUMNS[kind] if name in wanted)


def stored_label_space(schema: pa.Schema) -> str | None:
    """Label space that a file names in its schema, or None.

    Raises:
        DataError: It is no name, as for the kind and the stride, or there is no telling what the schema says.
    """
    space = _stored(schema).get("label_space")
    if not (space is None or isinstance(space, str)):
        raise DataError(f"the label space in the schema should be a name, not {space!r}")
    return space


def stored_kind(schema: pa.Schema) -> Kind:
    """Kind that a file names in its schema; files that name none hold frames."""
    kind = _stored(schema).get("kind", "frames")
    if not isinstance(kind, str) or kind not in COLUMNS:
        raise DataError(f"rows of kind {kind!r} are not known, only {list(COLUMNS)}: a newer version may read them")
    return cast(Kind, kind)


def stored_stride(schema: pa.Schema) -> int:
    """Stride that a file names in its schema; 1 in files that name none."""
    stride = _stored(schema).get("stride", 1)
    if type(stride) is not int or stride < 1:
        raise DataError(f"the stride in the schema should be a positive number, not {stride!r}")
    return stride


def _stored(schema: pa.Schema) -> dict[str, Any]:
    text = (schema.metadata or {}).get(_METADATA_KEY, b"{}")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"what the schema says for rgbd3d is no JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise DataError(f"what the schema says for rgbd3d should be a mapping, not {metadata!r}")
    return metadata


# -------------------------------------------------------------------------------------------------------------- rows


def encode_sample(
    sample: Mapping[str, Any],
    quality: int | None = 95,
    kind: Kind = "frames",
    depth_encoding: codec.DepthEncoding = "png",
) -> dict[str, Any]:
    """One row of a file.

    Args:
        sample: A frame, cloud or clip; keys that it lacks are left out. A picture may be the bytes of a JPEG or PNG
            file (depth: of a 16-bit PNG in millimetres), which are decoded to check them and stored as they are
            (depth: unless `depth_encoding` is another one).
        quality: JPEG quality of pictures, or None for a lossless PNG.
        kind: What the sample is.
        depth_encoding: Of `rgbd3d.data.codec.encode_depth`.

    Returns:
        Column -> value, ready for `write_shard`.

    Raises:
        DataError: A key that is no column, or a value of another type, shape or range than the sample's type states.
    """
    row: dict[str, Any] = {}
    sizes = {}
    for name in check_columns(sample, kind):
        column = _column(name, kind, quality, depth_encoding)
        try:
            value = decoded(sample[name], column)
            as_it_is = name not in DEPTHS or depth_encoding == "png"
            row[name] = column.encode(sample[name] if as_it_is else value)
            if column.is_map:
                sizes[name] = tuple(value.shape[-2:])
        except DataError as error:
            raise DataError(f"column {name!r}: {error}") from error
    _check_same_size(sizes, "sample")
    return row


def _column(name: str, kind: Kind, quality: int | None, depth_encoding: codec.DepthEncoding) -> Column:
    if name == "image" and kind == "frames":
        return image(partial(codec.encode_color, quality=quality), codec.decode_color)
    if name in DEPTHS:
        encode = partial(codec.encode_depth, encoding=depth_encoding)
        return (film if kind == "clips" else image)(encode, codec.decode_depth)
    return COLUMNS[kind][name]


def decoded(value: Any, column: Column) -> Any:
    """A value as pixels, where it may be the bytes of a picture (or a list of them), which nobody has looked at yet."""
    from_files = isinstance(value, bytes) or (isinstance(value, Sequence) and not isinstance(value, str))
    where = value.where if isinstance(value, codec.FileBytes) else "file"
    return column.decode(column.encode(value), where) if column.is_map and from_files else value


def decode_row(
    row: Mapping[str, Any], columns: Iterable[str] | None = None, where: str = "row", kind: Kind = "frames"
) -> RGBDSample:
    """A sample of one row; only the asked columns are decoded.

    Args:
        row: Column -> value.
        columns: What to decode; None decodes everything the row has.
        where: Names the row in errors.
        kind: What the row is; a cloud or clip is returned as a `PointSample` or `ClipSample`.

    Raises:
        DataError: A missing or empty column, an unreadable image, maps of different sizes.
    """
    chosen = check_columns(row if columns is None else columns, kind)
    for name in chosen:
        if row.get(name) is None:
            raise DataError(
                f"{where}: no value in column {name!r}; it has {[key for key in row if row[key] is not None]}"
            )
    sample = {name: COLUMNS[kind][name].decode(row[name], f"{where}, column {name!r}") for name in chosen}
    _check_same_size({name: tuple(sample[name].shape[-2:]) for name in chosen if COLUMNS[kind][name].is_map}, where)
    return cast(RGBDSample, sample)


def _check_same_size(sizes: Mapping[str, tuple[int, ...]], where: str) -> None:
    if len(set(sizes.values())) > 1:
        raise DataError(f"{where}: maps differ in (height, width): {dict(sizes)}")


# ------------------------------------------------------------------------------------------------------------- files


def write_shard(
    path: str | Path,
    rows: Iterable[Mapping[str, Any]],
    label_space: str | None = None,
    kind: Kind = "frames",
    stride: int = 1,
) -> int:
    """Write one Parquet file; it appears complete or not at all.

    Args:
        path: File to (over)write; its folder is made.
        rows: Of `encode_sample`, all with the same columns; one row group of them is held at a time.
        label_space: As for `arrow_schema`, and so are the others.
        kind: What a row is.
        stride: Every k-th frame is a row.

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
            written = _write_rows(file, iter(rows), label_space, kind, stride, str(path))
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp's files are private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return written


def row_bytes(row: Mapping[str, Any]) -> int:
    """Bytes of the large values of a row: pictures and points."""
    return sum(_value_bytes(value) for value in row.values())


def _value_bytes(value: Any) -> int:
    if isinstance(value, Mapping):
        return len(value["bytes"])
    if isinstance(value, list):
        return sum(_value_bytes(item) for item in value)
    return int(getattr(value, "nbytes", 8))


def _write_rows(
    file: Any, rows: Iterator[Mapping[str, Any]], label_space: str | None, kind: Kind, stride: int, where: str
) -> int:
    first = next(rows, None)
    if first is None:
        raise DataError(f"{where}: no rows to write")
    schema, written = arrow_schema(first, label_space, kind, stride), 0
    # Dictionaries and statistics of compressed images cost time and space and help nobody.
    with pq.ParquetWriter(
        file, schema, use_dictionary=["scene_id"], write_statistics=["scene_id", "frame_id"]
    ) as writer:
        for group in _row_groups(itertools.chain([first], rows)):
            _check_same_columns(group, schema.names, where)
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=len(group))
            written += len(group)
    return written


def _row_groups(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += row_bytes(row)
        if len(group) == ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _check_same_columns(rows: Sequence[Mapping[str, Any]], names: list[str], where: str) -> None:
    for row in rows:
        if set(row) != set(names):
            raise DataError(f"{where}: rows with columns {names} and {sorted(row)} cannot share a file")

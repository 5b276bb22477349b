"""How each key of a sample is stored in a Parquet file.

Images and label maps are struct{bytes, path} holding JPEG or PNG files (depth: 16-bit PNG or TIFF in millimetres),
matrices are fixed-size float lists, points are lists of rows. The `datasets` library finds its feature types here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.types import Kind


@dataclass(frozen=True)
class Column:
    """One key of a sample.

    Attributes:
        arrow: Type in the file.
        feature: The same for `datasets`, as it writes its features to JSON.
        encode: Value of a sample -> value of a row.
        decode: (value of a row, where it is) -> value of a sample.
        is_map: Pixels (..., H, W), which have to agree in size within a sample.
    """

    arrow: pa.DataType
    feature: dict[str, Any]
    encode: Callable[[Any], Any]
    decode: Callable[[Any, str], Any]
    is_map: bool = False


_FILE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def image(encode: Callable[[Any], bytes], decode: Callable[[bytes, str], Any]) -> Column:
    """A picture or a map of (..., H, W) as an image file; a value of type `bytes` is such a file already."""
    return Column(
        arrow=_FILE,
        feature={"_type": "Image"},
        encode=lambda value: {"bytes": value if isinstance(value, bytes) else encode(value), "path": None},
        decode=lambda value, where: decode(_content(value, where), where),
        is_map=True,
    )


def film(encode: Callable[[Any], bytes], decode: Callable[[bytes, str], Any]) -> Column:
    """Pictures or maps (T, ..., H, W) as a list of image files."""

    def decode_all(values: list[Mapping[str, Any]], where: str) -> Tensor:
        frames = [
            decode(_content(value, f"{where}, frame {t}"), f"{where}, frame {t}") for t, value in enumerate(values)
        ]
        if len({frame.shape for frame in frames}) != 1:
            raise DataError(f"{where}: frames of shapes {sorted({tuple(frame.shape) for frame in frames})}")
        return torch.stack(frames)

    single = image(encode, decode)
    return Column(
        arrow=pa.list_(_FILE),
        feature={"feature": single.feature, "length": -1, "_type": "List"},
        encode=lambda frames: [single.encode(frame) for frame in frames],
        decode=decode_all,
        is_map=True,
    )


def _content(value: Mapping[str, Any], where: str) -> bytes:
    if value["bytes"] is None:
        raise DataError(f"{where} holds a path instead of the file's bytes: embed the images when writing")
    return value["bytes"]


def _labels(pixel: type[np.uint8] | type[np.uint16], decoded: type[np.generic]) -> Column:
    return image(
        lambda labels: codec.encode_labels(labels, pixel),
        lambda data, where: torch.from_numpy(codec.decode_labels(data, where).astype(decoded)),
    )


def _matrix(side: int) -> Column:
    def encode(matrix: Tensor) -> list[float]:
        if tuple(matrix.shape) != (side, side):
            raise DataError(f"a ({side}, {side}) matrix is expected, not {tuple(matrix.shape)}")
        return matrix.to(torch.float32).flatten().tolist()

    return Column(
        arrow=pa.list_(pa.float32(), side * side),
        feature={"feature": {"dtype": "float32", "_type": "Value"}, "length": side * side, "_type": "List"},
        encode=encode,
        decode=lambda value, where: torch.tensor(np.asarray(value), dtype=torch.float32).view(side, side),
    )


def _points(stored: type[np.generic], decoded: type[np.generic], width: int = 1) -> Column:
    """Values (N, width) of N points, or (N,) where the width is 1, as a flat list of numbers."""
    arrow = pa.from_numpy_dtype(stored)

    def encode(values: Tensor) -> np.ndarray:
        array = values.numpy()
        if array.dtype != decoded or array.shape[1:] != ((width,) if width > 1 else ()):
            raise DataError(f"points must be {np.dtype(decoded)} {f'(N, {width})' if width > 1 else '(N,)'}")
        flat = np.ascontiguousarray(array.astype(stored)).reshape(-1)
        if not np.array_equal(flat, array.reshape(-1)):
            raise DataError(f"points have values that {np.dtype(stored)} cannot hold, or that are not finite")
        return flat

    def decode(values: Any, where: str) -> Tensor:
        flat = np.array(values, stored).astype(decoded)
        if flat.size % width:
            raise DataError(f"{where}: {flat.size} numbers are no rows of {width}")
        return torch.from_numpy(flat.reshape(-1, width) if width > 1 else flat)

    return Column(
        arrow=pa.list_(arrow),
        feature={"feature": {"dtype": str(arrow), "_type": "Value"}, "length": -1, "_type": "List"},
        encode=encode,
        decode=decode,
    )


def _scalar(arrow: pa.DataType, kind: type) -> Column:
    return Column(
        arrow=arrow,
        feature={"dtype": str(arrow), "_type": "Value"},
        encode=kind,
        decode=lambda value, where: kind(value),
    )


_TEXT, _NUMBER = _scalar(pa.string(), str), _scalar(pa.int64(), int)
_DEPTH = image(codec.encode_depth, codec.decode_depth)

COLUMNS: Mapping[Kind, Mapping[str, Column]] = MappingProxyType({
    "frames": {
        "image": image(codec.encode_color, codec.decode_color),
        "depth": _DEPTH,
        "depth_filled": _DEPTH,
        "depth_edges": _labels(np.uint8, np.uint8),
        "planes": _labels(np.uint8, np.uint8),
        "plane_normals": _points(np.float32, np.float32, 4),
        "semantic": _labels(np.uint8, np.int64),
        "instance": _labels(np.uint16, np.int32),
        "intrinsics": _matrix(3),
        "pose": _matrix(4),
        "scene_id": _TEXT,
        "frame_id": _NUMBER,
        "class_id": _NUMBER,
    },
    "clouds": {
        "position": _points(np.float32, np.float32, 3),
        "color": _points(np.uint8, np.uint8, 3),
        "normal": _points(np.float32, np.float32, 3),
        "semantic": _points(np.uint8, np.int64),
        "instance": _points(np.int32, np.int32),
        "scene_id": _TEXT,
    },
    "clips": {
        "frames": film(codec.encode_color, codec.decode_color),
        "depth_frames": film(codec.encode_depth, codec.decode_depth),
        "class_id": _NUMBER,
        "scene_id": _TEXT,
        "frame_id": _NUMBER,
    },
})  # fmt: skip
"""Columns by kind of data set, in the order of a file; a data set may leave out what it does not have."""

DEPTHS = frozenset({"depth", "depth_filled", "depth_frames"})
"""Columns with depth, for which there is a choice of encodings."""

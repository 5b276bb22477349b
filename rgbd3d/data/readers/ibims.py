"""iBims-1 (Koch et al., ECCV Workshops 2018): 100 images of rooms with depth by a laser scanner, for evaluation.

    raw/
        imagelist.txt               corridor_01, ..., one name a line
        ibims1_core_mat/            or the files beside the list
            NAME.mat                MATLAB 5, a struct `data` with the fields, all 480 x 640 unless stated:
                rgb                 480 x 640 x 3 uint8
                depth               metres, 0 = none
                calib               3 x 3 camera matrix, transposed, pixels counted from 1
                edges               1 = depth discontinuity
                mask_invalid, mask_transp   1 = valid, 1 = not transparent; both have to hold
                mask_wall, mask_floor, mask_table   number of the planar surface from 1, 0 = none
                mask_wall_paras, ...    8 numbers for each of them; the 5th to 7th are its normal: right, forward, up

`depth` is 0 where it is invalid or transparent. `intrinsics` counts pixels from 0, so its principal point is one less
than that of `calib`. `planes` is 64 * kind + number, where kind is 0 for walls, 1 for floors and 2 for tables, and
number is that of its mask (1 to 63); where masks overlap, the table is given, and the floor before the wall
(`split_planes` takes it apart). `plane_normals` are the annotated ones, turned to the axes of samples. `scene_id` is
the name of the image, `frame_id` its place in the list, from 0. All is "test".

No file of the set was seen: fields and conventions are those that the authors' evaluation script reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.codec import MAX_DEPTH_METRES, DataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit, check_name, numbered_rows
from rgbd3d.data.readers.bounded import check_intrinsics, read_text
from rgbd3d.data.readers.matfile import load_mat
from rgbd3d.data.readers.pictures import numbered_units

SIZE = (480, 640)
"""Height and width of all images."""
PLANE_KINDS = ("wall", "floor", "table")

_IMAGE_LIST = "imagelist.txt"
_MATRICES = "ibims1_core_mat"
_MOST_IMAGES = 1000
_IMAGES_OF_A_UNIT = 25
_PLANES_OF_A_KIND = 64
_PLANE_NUMBERS = 8
_NORMAL_TOLERANCE = 0.01


class IbimsReader(Reader):
    """Reads iBims-1 for evaluation.

    Raises:
        DataError: imagelist.txt is missing, empty or names something else than files of the folder.
    """

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        if not raw.is_dir():
            raise DataError(f"{raw}: a folder with {_IMAGE_LIST} is expected")
        self._folder = raw / _MATRICES if (raw / _MATRICES).is_dir() else raw

    def units(self) -> list[Unit]:
        """Stretches of the list."""
        source = self._folder.relative_to(self.raw).as_posix()
        return numbered_units("images", "test", source, len(self._kept), _IMAGES_OF_A_UNIT)

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Rows of a unit."""
        return numbered_rows(unit.start, unit.stop, lambda index: self._row(*self._kept[index]))

    @cached_property
    def _kept(self) -> list[tuple[int, str]]:
        """Place in the list and name of every k-th image."""
        path = self.raw / _IMAGE_LIST
        names = [name for line in read_text(path).splitlines() if (name := line.strip().removesuffix(".mat"))]
        if not 0 < len(names) <= _MOST_IMAGES or len(set(names)) < len(names):
            raise DataError(f"{path}: {len(set(names))} different names in {len(names)} lines; 100 are expected")
        for name in names:
            if not (self._folder / f"{check_name(name, path)}.mat").is_file():
                raise DataError(f"{self._folder / name}.mat: missing, but {path} lists it")
        return list(enumerate(names))[:: self.stride]

    def _row(self, number: int, name: str) -> Row:
        path = self._folder / f"{name}.mat"
        data = load_mat(path, ("data",))["data"]
        if not isinstance(data, Mapping):
            raise DataError(f"{path}: `data` is no struct")
        fields = _Fields(data, str(path))
        depth = fields.map("depth")
        if depth.min() < 0 or depth.max() > MAX_DEPTH_METRES:
            raise DataError(f"{path}, field 'depth': from {depth.min()} to {depth.max()}; metres are expected")
        planes = fields.planes()
        measured = (fields.mask("mask_invalid") & fields.mask("mask_transp")) * depth
        return {
            "image": torch.from_numpy(fields.color("rgb")),
            "depth": torch.from_numpy(measured.astype(np.float32))[None],
            "depth_edges": torch.from_numpy(fields.mask("edges").astype(np.uint8)),
            "planes": torch.from_numpy(planes),
            "plane_normals": torch.from_numpy(fields.plane_normals(planes)),
            "intrinsics": torch.from_numpy(fields.intrinsics("calib")),
            "scene_id": name,
            "frame_id": number,
        }


def split_planes(planes: Tensor) -> dict[tuple[str, int], Tensor]:
    """Masks of the planar surfaces of a frame.

    Args:
        planes: uint8 (H, W) of a row.

    Returns:
        (kind, number of its kind) -> bool (H, W); walls first, then floors and tables.
    """
    found = [code for code in planes.unique().tolist() if code]
    return {(PLANE_KINDS[code // _PLANES_OF_A_KIND], code % _PLANES_OF_A_KIND): planes == code for code in found}


class _Fields:
    """The struct of an image, each field checked as it is read."""

    def __init__(self, data: Mapping[str, Any], path: str) -> None:
        self._data, self._path = data, path

    def map(self, name: str) -> npt.NDArray[Any]:
        """Finite numbers (480, 640)."""
        return self._array(name, SIZE)

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """Where a map of 0 and 1 is 1."""
        values = self.map(name)
        if not np.isin(values, (0, 1)).all():
            raise DataError(f"{self._path}, field {name!r}: values other than 0 and 1")
        return values.astype(np.bool_)

    def color(self, name: str) -> npt.NDArray[np.uint8]:
        """uint8 (3, 480, 640)."""
        values = self._array(name, (*SIZE, 3))
        if values.dtype != np.uint8:
            raise DataError(f"{self._path}, field {name!r}: {values.dtype} instead of uint8")
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def intrinsics(self, name: str) -> npt.NDArray[np.float32]:
        """float32 (3, 3), pixels from 0."""
        matrix = self._array(name, (3, 3)).astype(np.float64).T
        if abs(matrix[2] - [0, 0, 1]).max() > 1e-6:
            raise DataError(f"{self._path}, field {name!r}: not a transposed camera matrix: {matrix.T.tolist()}")
        matrix[:2, 2] -= 1
        return check_intrinsics(matrix, f"{self._path}, field {name!r}")

    def planes(self) -> npt.NDArray[np.uint8]:
        """uint8 (480, 640), numbered as the module states."""
        planes = np.zeros(SIZE, np.uint8)
        for kind, name in enumerate(PLANE_KINDS):
            numbers = self.map(f"mask_{name}")
            if numbers.min() < 0 or numbers.max() >= _PLANES_OF_A_KIND or (numbers != numbers.round()).any():
                raise DataError(f"{self._path}, field 'mask_{name}': values that are no numbers of up to 63 planes")
            np.copyto(planes, (_PLANES_OF_A_KIND * kind + numbers).astype(np.uint8), where=numbers > 0)
        return planes

    def plane_normals(self, planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """float32 (P, 4) of the surfaces in `planes`: number there, unit normal in the axes of samples."""
        rows = []
        for code in np.unique(planes[planes > 0]).tolist():
            name, number = f"mask_{PLANE_KINDS[code // _PLANES_OF_A_KIND]}_paras", code % _PLANES_OF_A_KIND
            equations = np.atleast_2d(self._value(name))
            if equations.ndim != 2 or len(equations) < number or equations.shape[1] != _PLANE_NUMBERS:
                raise DataError(
                    f"{self._path}, field {name!r}: {equations.shape}; {_PLANE_NUMBERS} numbers are expected for each "
                    f"plane, and there is a plane {number}"
                )
            right, forward, up = equations[number - 1, 4:7].astype(np.float64)
            length = float(np.linalg.norm([right, forward, up]))
            if not abs(length - 1) < _NORMAL_TOLERANCE:
                raise DataError(f"{self._path}, field {name!r}: the normal of plane {number} has length {length:.3g}")
            rows.append([code, right / length, -up / length, forward / length])
        return np.array(rows, np.float32).reshape(-1, 4)

    def _array(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        values = self._value(name)
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(f"{self._path}, field {name!r}: {values.dtype} {values.shape}; finite {shape} is expected")
        return values

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name not in self._data:
            raise DataError(f"{self._path}: no field {name!r} in `data`; it has {sorted(self._data)[:20]}")
        values = np.asarray(self._data[name])
        if values.dtype.kind not in "fuib":
            raise DataError(f"{self._path}, field {name!r}: {values.dtype}; numbers are expected")
        return values

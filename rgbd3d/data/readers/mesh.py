"""Vertices of a coloured triangle mesh as a point cloud with normals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.ply import read_ply
from rgbd3d.types import PointSample

_CORNERS = ("vertex_indices", "vertex_index")
_FACES_AT_ONCE = 2**18


def read_mesh(path: Path) -> PointSample:
    """Position, colour and normal of each vertex of a PLY mesh.

    Raises:
        DataError: As for `read_ply`; no vertices, faces or colours, a position that is not a finite floating-point
            number, or a face that names a vertex which does not exist.
    """
    position, color, corners = _read_arrays(path)
    return {
        "position": torch.from_numpy(position),
        "color": torch.from_numpy(color),
        "normal": torch.from_numpy(vertex_normals(position, corners)),
    }


def _read_arrays(path: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray]:
    """Positions and colours, (N, 3), and corners, (F, 3), apart from the rest of the file, which can be freed."""
    elements = read_ply(path)
    vertex, face = elements.get("vertex", {}), elements.get("face", {})
    corners = next((face[name] for name in _CORNERS if name in face), None)
    if missing := [name for name in ("x", "y", "z", "red", "green", "blue") if name not in vertex]:
        raise DataError(f"{path}: the vertices have no {missing}, only {list(vertex)}")
    if corners is None or corners.ndim != 2:
        raise DataError(f"{path}: no faces to compute normals from: the mesh is needed, not its points alone")
    if any(vertex[axis].dtype.kind != "f" for axis in "xyz"):
        raise DataError(f"{path}: positions that are no floating-point numbers")
    position = np.stack([vertex[axis] for axis in "xyz"], -1, dtype=np.float32)
    color = np.stack([vertex[channel] for channel in ("red", "green", "blue")], -1)
    if not len(position) or not np.isfinite(position).all() or color.dtype != np.uint8:
        raise DataError(f"{path}: no vertices, positions that are NaN or infinite, or colours that are {color.dtype}")
    if corners.size and not (corners.min() >= 0 and corners.max() < len(position)):
        raise DataError(f"{path}: faces name vertices {corners.min()} to {corners.max()}, there are {len(position)}")
    return position, color, corners


def vertex_normals(position: npt.NDArray[np.float32], faces: npt.NDArray) -> npt.NDArray[np.float32]:
    """Normals of the vertices of a triangle mesh: those of the faces around them, weighted by area.

    Args:
        position: (N, 3).
        faces: (F, 3), numbers of vertices, counter-clockwise when seen from outside.

    Returns:
        float32 (N, 3), unit length; 0 for vertices without a face.
    """
    total = np.zeros((3, len(position)))
    for start in range(0, len(faces), _FACES_AT_ONCE):
        corners = faces[start : start + _FACES_AT_ONCE].T.astype(np.intp)
        a, b, c = (position[corner].astype(np.float64) for corner in corners)
        area = np.cross(b - a, c - a).T  # its length is twice the area
        for corner in corners:
            for axis in range(3):
                np.add.at(total[axis], corner, area[axis])
    length = np.sqrt(np.einsum("an,an->n", total, total))
    np.divide(total, length, out=total, where=length > 0)
    return total.T.astype(np.float32, order="C")

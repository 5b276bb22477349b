from pathlib import Path

import numpy as np
import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.bounded import check_intrinsics, list_folder

CAMERA = np.array([[500.0, 0.5, 320], [0, 500, 240], [0, 0, 1]])


def changed(row: int, column: int, value: float) -> np.ndarray:
    matrix = CAMERA.copy()
    matrix[row, column] = value
    return matrix


def test_a_camera_is_taken_with_or_without_the_fourth_row():
    large = np.eye(4)
    large[:3, :3] = CAMERA
    for matrix in (CAMERA, large, CAMERA.flatten()):
        found = check_intrinsics(matrix, "a.txt")
        assert found.dtype == np.float32
        assert np.array_equal(found, CAMERA)


@pytest.mark.parametrize(
    "matrix",
    [
        changed(0, 0, 1e300),
        changed(0, 0, np.nan),
        changed(1, 1, 0),
        changed(1, 1, 1e-300),
        CAMERA.T,
        changed(2, 2, 0),
        changed(0, 1, 1e9),
        changed(1, 0, 1),
    ],
)
def test_what_is_no_camera_is_refused(matrix):
    with pytest.raises(DataError, match=r"a\.txt: not a pinhole camera"):
        check_intrinsics(matrix, "a.txt")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "b").touch()
    (tmp_path / "a").mkdir()
    assert list_folder(tmp_path) == [tmp_path / "a", tmp_path / "b"]

    def refuse(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=f"{tmp_path}: cannot be listed .*Permission denied"):
        list_folder(tmp_path)

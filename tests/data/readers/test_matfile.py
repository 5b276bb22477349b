"""MATLAB 5 files: equal to what SciPy reads, on files that MATLAB wrote; damaged and hostile ones are refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from mutations import assert_survives

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers import matfile
from rgbd3d.data.readers.matfile import load_mat

MATLAB_FILES = Path(scipy.io.__file__).parent / "matlab/tests/data"


def names_in(path: Path) -> list[str]:
    return [name for name, _, _ in scipy.io.whosmat(path)]


def assert_same(actual: object, expected: object) -> None:
    assert type(actual) is type(expected)
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, list):
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        assert actual.shape == expected.shape
        if expected.dtype == object:
            assert_same(list(actual.ravel()), list(expected.ravel()))
        else:
            np.testing.assert_array_equal(actual, expected)
    else:
        assert actual == expected


def matlab_files() -> list[Path]:
    """Of versions 5 to 7, compressed or not, of either byte order, written by MATLAB on several systems."""
    kinds = (
        "3dmatrix",
        "bool",
        "cell",
        "complex",
        "double",
        "emptycell",
        "matrix",
        "minus",
        "multi",
        "onechar",
        "string",
    )
    kinds += ("struct", "unicode", "_empty_struct")
    chosen = {path for kind in kinds for path in MATLAB_FILES.glob(f"test{kind}*.mat") if "_4.2c_" not in path.name}
    chosen |= {path for name in ("little", "big") for path in MATLAB_FILES.glob(f"{name}_endian.mat")}
    return sorted(chosen)


@pytest.mark.skipif(not MATLAB_FILES.is_dir(), reason="this SciPy was installed without its test data")
def test_reads_what_matlab_wrote() -> None:
    assert len(matlab_files()) > 50
    for path in matlab_files():
        names = names_in(path)
        expected = scipy.io.loadmat(path, simplify_cells=True)
        assert_same(load_mat(path, names), {name: expected[name] for name in names})


@pytest.mark.parametrize("name", ["splits", "classMapping40", "class13Mapping"])
def test_reads_the_files_of_nyuv2(rgbd_frames: Path, name: str) -> None:
    path = rgbd_frames / f"formats/nyuv2_meta/{name}.mat"
    expected = scipy.io.loadmat(path, simplify_cells=True)
    assert_same(load_mat(path, names_in(path)), {key: expected[key] for key in names_in(path)})


def saved(path: Path, compressed: bool = True, **variables: object) -> Path:
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def test_unwanted_variables_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.mat", large=np.zeros(2**20), small=np.arange(3.0))
    monkeypatch.setattr(matfile, "MAX_BYTES", 2**16)
    np.testing.assert_array_equal(load_mat(path, ["small"])["small"], [0, 1, 2])
    with pytest.raises(DataError, match=r"a\.mat.*'large'"):
        load_mat(path, ["large"])


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(array_class: int, dims: tuple[int, ...], *parts: bytes, name: bytes = b"x") -> bytes:
    head = element(6, struct.pack("<II", array_class, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, head + element(1, name) + b"".join(parts))


def mat_file(path: Path, *variables: bytes) -> Path:
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(variables))
    return path


def nested(depth: int) -> bytes:
    content = matrix(9, (1, 1), element(2, b"\x01"), name=b"")
    for _ in range(depth):
        content = matrix(1, (1, 1), content, name=b"")
    return matrix(1, (1, 1), content)


HOSTILE = {
    "more numbers than bytes": (matrix(6, (2**20, 2**10), element(9, bytes(64))), "MiB of memory"),
    "fewer numbers than bytes": (matrix(6, (2, 2), element(9, bytes(64))), "64 bytes of type 9 for 4 numbers"),
    "no numbers of no type": (matrix(6, (0, 0), element(0, b"")), "0 bytes of type 0 for 0 numbers"),
    "negative dimensions": (matrix(6, (-1, 2), element(9, b"")), "negative"),
    "a million empty cells": (matrix(1, (2**10, 2**10)), "1048576 cells"),
    "empty structs without fields": (matrix(2, (2**14, 2**14), element(5, b"\x20\0\0\0"), element(1, b"")), "MiB"),
    "field names of no length": (matrix(2, (1, 1), element(5, bytes(4)), element(1, b"abc")), "field names"),
    "characters from nowhere": (matrix(4, (1, 2**30), element(16, b"ab")), "1073741824 characters"),
    "blanks without end": (matrix(4, (2**15, 2**15), element(16, b"")), "MiB of memory"),
    "a function": (matrix(16, (1, 1)), "class 16"),
    "a sparse matrix": (matrix(5, (1, 1)), "sparse"),
    "cells in cells": (nested(200), "nested too deeply"),
    "a long element": (struct.pack("<II", 14, 2**31), "2147483648 bytes"),
    "a bomb": (
        element(15, zlib.compress(struct.pack("<II", 14, 2**22) + matrix(6, (1, 1))[8:] + bytes(2**22))),
        "fewer|more",
    ),
    "an honest bomb": (
        element(15, zlib.compress(matrix(9, (2**11, 2**11), element(2, bytes(2**22))))),
        "states 4194360 bytes",
    ),
    "no zlib data": (element(15, b"nonsense"), "compressed variable is damaged"),
    "no variable": (element(9, bytes(8)), "data type 9 where a variable"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    content, message = HOSTILE[what]
    monkeypatch.setattr(matfile, "MAX_BYTES", 2**20 if "honest" in what else 2**28)
    with pytest.raises(DataError, match=message) as caught:
        load_mat(mat_file(tmp_path / "hostile.mat", content), ["x"])
    assert "hostile.mat" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MATLAB file"),
        (bytes(200), "not a MATLAB file"),
        (b" " * 124 + b"\x00\x02IM", "7.3"),
        (b" " * 124 + b"\x00\x07IM", "0x700"),
        (b" " * 124 + b"\x00\x01IM", "no variable 'x'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "other.mat").write_bytes(content)
    with pytest.raises(DataError, match=rf"other\.mat.*{message}"):
        load_mat(tmp_path / "other.mat", ["x"])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.mat: no such file"):
        load_mat(tmp_path / "none.mat", ["x"])


def varied(path: Path, compressed: bool) -> Path:
    """One file with all that is read: numbers, text, cells, structs, complex and logical values."""
    rng = np.random.default_rng(0)
    struct_value = {"map": rng.random((8, 9)), "name": "wall", "mask": np.eye(4, dtype=bool), "none": np.zeros((0, 0))}
    cells = np.array(["a", np.arange(5, dtype="u1"), struct_value], dtype=object)
    return saved(path, compressed, x=struct_value, cells=cells, z=rng.random(6) + 1j, n=rng.integers(0, 9, (3, 4, 5)))


@pytest.mark.parametrize("compressed", [True, False])
def test_damaged_files_are_read_or_refused(tmp_path: Path, compressed: bool) -> None:
    original = varied(tmp_path / "varied.mat", compressed)
    (tmp_path / "work").mkdir()
    assert_survives(original, 50, lambda path: load_mat(path, ["x", "cells", "z", "n"]), tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [True, False])
def test_many_damaged_files_are_read_or_refused(tmp_path: Path, compressed: bool) -> None:
    original = varied(tmp_path / "varied.mat", compressed)
    (tmp_path / "work").mkdir()
    assert_survives(original, 3000, lambda path: load_mat(path, ["x", "cells", "z", "n"]), tmp_path / "work", seed=1)


def test_byte_orders_agree(tmp_path: Path) -> None:
    """A big-endian file made by swapping each number of a small-endian one."""
    values = struct.pack(">6d", *range(6))
    head = (
        struct.pack(">II II", 6, 8, 6, 0)
        + struct.pack(">II 2i", 5, 8, 2, 3)
        + struct.pack(">II", 1, 1)
        + b"x"
        + bytes(7)
    )
    body = head + struct.pack(">II", 9, 48) + values
    path = tmp_path / "big.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(body)) + body)
    np.testing.assert_array_equal(load_mat(path, ["x"])["x"], np.arange(6.0).reshape(3, 2).T)
    assert scipy.io.whosmat(io.BytesIO(path.read_bytes())) == [("x", (2, 3), "double")]

"""MATLAB 7.3 files: equal to h5py's own reading; links, bombs and damage are refused."""

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from mutations import EXTREMES, assert_survives
from nyuv2_files import write_mat73

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers import hdf5_rows
from rgbd3d.data.readers.matfile73 import MatFile73

MATLAB_FILE = Path(scipy.io.__file__).parent / "matlab/tests/data/testhdf5_7.4_GLNX86.mat"


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, (7, 5, 11, 13)).astype("u2")


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"chunks": (3, 2, 4, 5), "compression": "gzip"},
        {"chunks": (2, 5, 11, 13)},
        {"chunks": None},
        {"chunks": (7, 5, 11, 13), "compression": "gzip"},
    ],
    ids=["by row", "odd", "not compressed", "contiguous", "one chunk"],
)
def test_rows_are_those_of_h5py(tmp_path: Path, values: np.ndarray, storage: dict) -> None:
    path = tmp_path / "a.mat"
    write_mat73(path, {"x": values}, {}, **storage)
    with MatFile73(path) as file:
        rows = file.array("x")
        assert rows.shape == values.shape
        for index in (0, 6, 3, 1, 2, 5, 4):
            np.testing.assert_array_equal(rows[index], values[index])
        np.testing.assert_array_equal(rows.whole(), values)


@pytest.mark.skipif(not MATLAB_FILE.is_file(), reason="this SciPy was installed without its test data")
def test_reads_what_matlab_wrote() -> None:
    with h5py.File(MATLAB_FILE) as plain, MatFile73(MATLAB_FILE) as file:
        numbers = [name for name, item in plain.items() if isinstance(item, h5py.Dataset) and item.dtype.kind in "fui"]
        assert "testdouble" in numbers
        for name in numbers:
            np.testing.assert_array_equal(file.array(name).whole(), plain[name][()])


def test_rows_of_the_real_pixels(rgbd_frames: Path) -> None:
    path = rgbd_frames / "formats/constructed/nyu_depth_v2_labeled_3frames.mat"
    with h5py.File(path) as plain, MatFile73(path) as file:
        for name in ("images", "depths", "labels"):
            np.testing.assert_array_equal(file.array(name)[1], plain[name][1])
        assert file.texts("names")[:3] == ["wall", "floor", "cabinet"]


def test_texts(tmp_path: Path) -> None:
    texts = ["kitchen_0004", "", "living_room_0001a", "señal π"]
    write_mat73(tmp_path / "a.mat", {}, {"scenes": texts})
    with MatFile73(tmp_path / "a.mat") as file:
        assert file.texts("scenes") == texts
        assert "scenes" in file
        assert "names" not in file
        with pytest.raises(DataError, match=r"a\.mat, variable 'scenes': 4 items.*up to 3"):
            file.texts("scenes", most=3)


def test_cells_of_numbers(tmp_path: Path, values: np.ndarray) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        cells = file.create_dataset("meta/labels", (1, 3), h5py.ref_dtype)
        for index in range(2):
            cells[0, index] = file.create_dataset(f"#refs#/{index}", data=values[index], compression="gzip").ref
        empty = file.create_dataset("#refs#/2", data=np.zeros(2, "u8"))
        empty.attrs["MATLAB_empty"] = np.uint8(1)
        cells[0, 2] = empty.ref
    with MatFile73(path) as file:
        found = file.cells("meta/labels")
        assert len(found) == 3
        np.testing.assert_array_equal(found[1], values[1])
        for index, message in ((2, "empty"), (3, "3 cells")):
            with pytest.raises(DataError, match=rf"a\.mat, variable 'meta/labels', cell {index}: .*{message}"):
                found[index]


def bad_file(path: Path, what: str) -> None:
    """A file whose variable `x` cannot be used."""
    secret = path.with_name("secret.mat")
    write_mat73(secret, {"x": np.ones((2, 3), "u1")}, {})
    with h5py.File(path, "w") as file:
        match what:
            case "external link":
                file["x"] = h5py.ExternalLink(secret, "x")
            case "link to a folder outside":
                file["x"] = h5py.ExternalLink(secret, "/")
            case "soft link":
                file["y"] = np.ones((2, 3))
                file["x"] = h5py.SoftLink("/y")
            case "external storage":
                file.create_dataset("x", (2, 3), "u1", external=[(str(secret), 0, 6)])
            case "virtual":
                layout = h5py.VirtualLayout((2, 3), "u1")
                layout[:] = h5py.VirtualSource(str(secret), "x", (2, 3))
                file.create_virtual_dataset("x", layout)
            case "group":
                file.create_group("x")
            case "text":
                file["x"] = np.array(["wall", "floor"], h5py.string_dtype())
            case "scalar":
                file["x"] = 1.0
            case "huge row":
                file.create_dataset("x", (2, 2**14, 2**14), "u1", chunks=(1, 2**6, 2**6))
            case "huge chunk":
                file.create_dataset("x", (2**10, 2**14), "f8", chunks=(2**10, 2**14))
            case "unwritten":
                file.create_dataset("x", (2, 3), "u1", chunks=(1, 3))
            case "other filter":
                file.create_dataset("x", (2, 3), "u1", chunks=(1, 3), compression="lzf")
            case "several filters":
                file.create_dataset("x", (2, 3), "u2", chunks=(1, 3), compression="gzip", shuffle=True)


BAD = {
    "external link": "a link, which is not followed",
    "link to a folder outside": "a link, which is not followed",
    "soft link": "a link, which is not followed",
    "external storage": "another file",
    "virtual": "another file",
    "group": "a group",
    "text": "not numbers",
    "scalar": "shape",
    "huge row": "a row may take",
    "huge chunk": "chunks of",
    "unwritten": "chunk at .* is missing",
    "other filter": "other than deflate",
    "several filters": "other than deflate",
    "missing": "missing; is it the right file",
}


@pytest.mark.parametrize("what", BAD)
def test_unusable_arrays_are_refused(tmp_path: Path, what: str) -> None:
    bad_file(tmp_path / "bad.mat", what)
    with (
        MatFile73(tmp_path / "bad.mat") as file,
        pytest.raises(DataError, match=rf"bad\.mat, variable 'x'.*{BAD[what]}"),
    ):
        file.array("x")[0]


@pytest.mark.parametrize("what", ["external link", "external storage", "virtual", "group", "text", "missing"])
def test_unusable_cells_are_refused(tmp_path: Path, what: str) -> None:
    bad_file(tmp_path / "bad.mat", what)
    with MatFile73(tmp_path / "bad.mat") as file:
        for read in (file.texts, file.cells):
            with pytest.raises(DataError, match=r"bad\.mat, variable 'x'"):
                read("x")


def test_bombs_are_refused(tmp_path: Path) -> None:
    """Chunks that inflate to more, or to less, than their values."""
    path = tmp_path / "bomb.mat"
    with h5py.File(path, "w") as file:
        chunks = file.create_dataset("x", (3, 2**16), "u1", chunks=(1, 2**16), compression="gzip")
        chunks.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**24)))
        chunks.id.write_direct_chunk((1, 0), zlib.compress(bytes(2**10)))
        chunks.id.write_direct_chunk((2, 0), b"nonsense")
    with MatFile73(path) as file:
        rows = file.array("x")
        for index, message in enumerate(("more than the 65536 bytes", "fewer than the 65536 bytes", "not zlib data")):
            with pytest.raises(DataError, match=rf"bomb\.mat, variable 'x', row {index}: .*{message}"):
                rows[index]


def test_want_of_memory_is_no_damage() -> None:
    with pytest.raises(MemoryError), hdf5_rows.hdf5_errors("data.mat"):
        raise MemoryError


def test_a_large_array_of_small_rows_is_not_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_rows, "MAX_ROW_BYTES", 2**20)
    write_mat73(tmp_path / "a.mat", {"x": np.zeros((3, 2**19), "u1")}, {})
    with MatFile73(tmp_path / "a.mat") as file:
        rows = file.array("x")
        assert not rows[2].any()
        with pytest.raises(DataError, match="not read at once"):
            rows.whole()


def test_rows_outside(tmp_path: Path, values: np.ndarray) -> None:
    write_mat73(tmp_path / "a.mat", {"x": values}, {})
    with MatFile73(tmp_path / "a.mat") as file:
        for index in (-1, 7):
            with pytest.raises(DataError, match=f"row {index}: there are 7 rows"):
                file.array("x")[index]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "HDF5"), (b"MATLAB 5.0".ljust(600), "HDF5"), (None, "no such file")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "other.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"other\.mat.*{message}"):
        MatFile73(path)


def read_all(path: Path) -> None:
    with MatFile73(path) as file:
        for name in ("images", "depths"):
            rows = file.array(name)
            for index in range(min(len(rows), 10)):
                rows[index]
        file.texts("scenes")


def small_file(path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"images": rng.integers(0, 255, (3, 3, 8, 6)).astype("u1"), "depths": rng.random((3, 8, 6)).astype("f4")}
    write_mat73(path, arrays, {"scenes": ["kitchen_0004", "office_0001", ""]})
    return path


def damaged_in_place(data: bytes, seed: int) -> bytes:
    """Bits, extreme numbers and noise where HDF5 keeps its structure, at the same size: it sees truncation at once."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(512, len(data) - 16))
        match rng.integers(0, 3):
            case 0:
                damaged[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                width = int(rng.choice([1, 2, 4, 8]))
                value = EXTREMES[rng.integers(0, len(EXTREMES))] & (2 ** (8 * width) - 1)
                damaged[at : at + width] = value.to_bytes(width, "little")
            case _:
                length = int(rng.integers(1, 16))
                damaged[at : at + length] = rng.bytes(length)
    return bytes(damaged)


def assert_survives_in_place(original: Path, count: int, work: Path) -> None:
    refusals, data = [], original.read_bytes()
    for seed in range(count):
        (work / "copy.mat").write_bytes(damaged_in_place(data, seed))
        try:
            read_all(work / "copy.mat")
        except DataError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < count
    assert all("copy.mat" in refusal for refusal in refusals)


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    original = small_file(tmp_path / "small.mat")
    assert_survives(original, 50, read_all, tmp_path / "work")
    assert_survives_in_place(original, 50, tmp_path / "work")


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    original = small_file(tmp_path / "small.mat")
    assert_survives(original, 2000, read_all, tmp_path / "work", seed=1)
    assert_survives_in_place(original, 4000, tmp_path / "work")

from pathlib import Path

import numpy as np
import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.ply import read_ply
from tests.data.readers.mutations import assert_survives
from tests.data.readers.scannet_files import write_ply

HEADER = "ply\nformat binary_little_endian 1.0\n{}\nend_header\n"


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    vertex = {name: rng.random(300, np.float32) for name in "xyz"}
    vertex |= {name: rng.integers(0, 256, 300, np.uint8) for name in ("red", "green", "blue")}
    path = tmp_path / "mesh.ply"
    write_ply(path, vertex, rng.integers(0, 300, (500, 3)).astype(np.int32))
    return path


def compare_with_plyfile(path: Path) -> None:
    plyfile = pytest.importorskip("plyfile", reason="plyfile, an independent reader, is not installed")
    elements = read_ply(path)
    expected = plyfile.PlyData.read(str(path))
    assert list(elements) == [element.name for element in expected]
    for element in expected:
        assert list(elements[element.name]) == [prop.name for prop in element.properties]
        for name, values in elements[element.name].items():
            other = element[name]
            np.testing.assert_array_equal(values, np.stack(list(other)) if other.dtype == object else other)
            assert values.dtype.isnative


@pytest.mark.parametrize(
    "name", ["scannet_scene0000_00_vh_clean_2_vertices", "open3d_coloredicp_frag115", "sunrgbd_000004"]
)
def test_real_clouds_are_read_as_another_library_does(rgbd_frames: Path, name: str) -> None:
    compare_with_plyfile(rgbd_frames / "clouds" / f"{name}.ply")


@pytest.mark.parametrize("order", ["<", ">"])
def test_meshes_of_both_byte_orders_are_read_as_another_library_does(tmp_path: Path, order: str) -> None:
    vertex = {"x": np.arange(4, dtype=np.float32), "label": np.arange(4, dtype=np.uint16)}
    path = tmp_path / "mesh.ply"
    write_ply(path, vertex, np.array([[0, 1, 2], [1, 3, 2]], np.int32), order)
    compare_with_plyfile(path)
    assert read_ply(path)["face"]["vertex_indices"].tolist() == [[0, 1, 2], [1, 3, 2]]


def test_headers_may_end_lines_as_windows_does(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    path.write_bytes(HEADER.format("element vertex 2\nproperty uchar red").replace("\n", "\r\n").encode() + b"\x07\x08")
    assert read_ply(path)["vertex"]["red"].tolist() == [7, 8]


def test_a_mesh_may_have_no_faces(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    write_ply(path, {"x": np.zeros(1, np.float32)}, np.zeros((0, 3), np.int32))
    assert read_ply(path)["face"]["vertex_indices"].shape == (0, 3)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("element vertex 999999999999\nproperty float x", "would need 3999999999996 bytes"),
        ("element vertex 99999999999999999999\nproperty float x", "invalid line"),
        ("element vertex -1\nproperty float x", "invalid line"),
        ("element vertex 1\nproperty quad x", "invalid line"),
        ("property float x", "invalid line"),
        ("element vertex 1\nproperty list float uchar", "invalid line"),
        ("element vertex 1\nproperty uchar x\nproperty uchar x", "a name twice"),
        ("element vertex 1\nproperty uchar x\nelement vertex 1\nproperty uchar x", "a name twice"),
        ("format ascii 1.0\nelement vertex 1\nproperty uchar x", "save it as binary"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "hostile.ply"
    path.write_bytes(HEADER.format(header).encode() + bytes(100))
    with pytest.raises(DataError, match=f"hostile.ply.*{message}"):
        read_ply(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at byte 0: not a PLY file"),
        (b"obj\n", "at byte 0: not a PLY file"),
        (b"ply\nformat binary_little_endian 1.0\n" + b"comment x\n" * 10_000, "no end of the header"),
        (b"ply\nelement vertex 0\nend_header\n", "names no format"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "other.ply"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"other.ply.*{message}"):
        read_ply(path)


def test_a_truncated_file_is_refused_with_its_offset(mesh: Path) -> None:
    mesh.write_bytes(mesh.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"mesh.ply at byte \d+: element 'face' of 500 entries would need 6500"):
        read_ply(mesh)


def test_quads_are_refused_with_their_offset(tmp_path: Path) -> None:
    path = tmp_path / "quads.ply"
    write_ply(path, {"x": np.zeros(4, np.float32)}, np.array([[0, 1, 2, 3]] * 2, np.int32))
    with pytest.raises(DataError, match=r"quads.ply at byte \d+: a list 'vertex_indices' of 4 numbers"):
        read_ply(path)


def test_damaged_files_are_read_or_refused(mesh: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert_survives(mesh, 100, read_ply, tmp_path / "work")


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(mesh: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert_survives(mesh, 4000, read_ply, tmp_path / "work", seed=1)

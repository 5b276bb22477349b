"""ARKitScenes' meshes, made of real points: a depth frame of another sensor, triangulated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.arkitscenes_scenes import ARKitScenesScenesReader
from rgbd3d.geometry import crop_intrinsics, normals, unproject
from tests.data.readers.mutations import assert_survives

VIDEO = "41048190"
FRAME = "000450"
TOP, LEFT, HEIGHT, WIDTH = 100, 120, 60, 80


@pytest.fixture(scope="module")
def frame(rgbd_frames: Path) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Depth (1, H, W) in metres, intrinsics and colours (H, W, 3) of a window."""
    folder = rgbd_frames / "frames7" / "7scenes_redkitchen_b"
    window = np.s_[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    depth = np.array(Image.open(folder / "depth_reg" / f"{FRAME}.png"))[window].astype(np.float32) / 1000
    intrinsics = torch.from_numpy(np.loadtxt(folder / "intrinsics_color.txt")).float()
    color = np.array(Image.open(folder / "color" / f"{FRAME}.jpg"))[window]
    return torch.from_numpy(depth)[None], crop_intrinsics(intrinsics, TOP, LEFT), color


@pytest.fixture
def raw(tmp_path: Path, frame: tuple[torch.Tensor, torch.Tensor, np.ndarray]) -> Path:
    depth, intrinsics, color = frame
    vertex = np.zeros(depth.numel(), [*((axis, "<f4") for axis in "xyz"), *((c, "u1") for c in ("r", "g", "b", "a"))])
    points = unproject(depth, intrinsics).flatten(1).numpy()
    for name, values in zip("xyzrgb", (*points, *color.reshape(-1, 3).T), strict=True):
        vertex[name] = values
    vertex["a"] = 255
    number = np.arange(depth.numel()).reshape(depth.shape[1:])
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[:-1, 1:], number[1:, 1:]
    corners = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (c, b, d))])
    face = np.zeros(len(corners), [("count", "u1"), ("corners", "<i4", 3)])
    face["count"], face["corners"] = 3, corners
    header = "ply\nformat binary_little_endian 1.0\n" + f"element vertex {len(vertex)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "".join(f"property uchar {channel}\n" for channel in ("red", "green", "blue", "alpha"))
    header += f"element face {len(face)}\nproperty list uchar int vertex_indices\nend_header\n"
    path = tmp_path / "raw" / "Training" / VIDEO / f"{VIDEO}_3dod_mesh.ply"
    path.parent.mkdir(parents=True)
    path.write_bytes(header.encode() + vertex.tobytes() + face.tobytes())
    return tmp_path / "raw"


def test_vertices_are_read_with_colours_and_normals(
    raw: Path, frame: tuple[torch.Tensor, torch.Tensor, np.ndarray]
) -> None:
    depth, intrinsics, color = frame
    reader = ARKitScenesScenesReader(raw)
    (unit,) = reader.units()
    (row,) = [row() for row in reader.read(unit)]
    torch.testing.assert_close(row["position"], unproject(depth, intrinsics).flatten(1).T)
    np.testing.assert_array_equal(row["color"], color.reshape(-1, 3))
    expected = normals(depth, intrinsics)
    seen = expected.norm(dim=0) > 0
    cosines = (row["normal"].T.reshape(expected.shape) * expected).sum(0)[seen]
    assert cosines.median() > 0.98
    assert (cosines < 0).float().mean() < 0.01
    assert (unit.split, row["scene_id"], reader.kind) == ("train", VIDEO, "clouds")


def test_folders_are_the_split_and_videos_without_a_mesh_are_left_out(raw: Path) -> None:
    (raw / "Training" / "40753679").mkdir()
    other = raw / "Validation" / "41069021" / "41069021_3dod_mesh.ply"
    other.parent.mkdir(parents=True)
    (raw / "Training" / VIDEO / f"{VIDEO}_3dod_mesh.ply").rename(other)
    assert [(unit.split, unit.name) for unit in ARKitScenesScenesReader(raw).units()] == [("val", "41069021")]


def test_no_mesh_at_all_is_refused(raw: Path) -> None:
    (raw / "Training" / VIDEO / f"{VIDEO}_3dod_mesh.ply").unlink()
    with pytest.raises(DataError, match=r"raw: no video has a VIDEO_3dod_mesh\.ply; download"):
        ARKitScenesScenesReader(raw).units()


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_meshes_are_refused_or_read(raw: Path, tmp_path: Path, count: int) -> None:
    target = raw / "Training" / VIDEO / f"{VIDEO}_3dod_mesh.ply"
    undamaged = tmp_path / target.name
    target.rename(undamaged)

    def read(path: Path) -> None:
        reader = ARKitScenesScenesReader(raw)
        assert [row() for unit in reader.units() for row in reader.read(unit)]

    assert_survives(undamaged, count, read, target.parent)

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers import mesh
from rgbd3d.data.readers.mesh import read_mesh, vertex_normals
from tests.data.readers.scannet_files import write_ply

LARGEST = 100 * 2**20
PEAK = """
import resource
import sys
from pathlib import Path
from rgbd3d.data.readers.mesh import read_mesh
before = Path("/proc/self/statm").read_text().split()[1]
read_mesh(Path(sys.argv[1]))
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024 - int(before) * resource.getpagesize())
"""


def test_normals_do_not_depend_on_how_many_faces_are_added_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    position, faces = rng.random((50, 3), np.float32), rng.integers(0, 50, (203, 3)).astype(np.int32)
    at_once = vertex_normals(position, faces)
    monkeypatch.setattr(mesh, "_FACES_AT_ONCE", 20)
    np.testing.assert_allclose(vertex_normals(position, faces), at_once, atol=1e-6)


def test_positions_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    """They would be small in the file and large in memory."""
    path = tmp_path / "mesh.ply"
    vertex = {name: np.zeros(3, np.uint8) for name in ("x", "y", "z", "red", "green", "blue")}
    write_ply(path, vertex, np.array([[0, 1, 2]], np.int32))
    with pytest.raises(DataError, match=r"mesh\.ply: positions that are no floating-point numbers"):
        read_mesh(path)


def test_larger_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mesh.ply"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(DataError, match=r"mesh\.ply: 100 MiB, at most 100 MiB are expected"):
        read_mesh(path)


@pytest.mark.slow
@pytest.mark.parametrize(("vertices", "faces"), [(LARGEST // 15 - 100, 10), (1000, LARGEST // 13 - 2000)])
def test_the_largest_meshes_take_little_memory(tmp_path: Path, vertices: int, faces: int) -> None:
    """Measured in another process: its peak is not that of the tests before."""
    vertex = {name: np.linspace(0, 1, vertices, dtype=np.float32) for name in "xyz"}
    vertex |= {name: np.zeros(vertices, np.uint8) for name in ("red", "green", "blue")}
    path = tmp_path / "large.ply"
    write_ply(path, vertex, np.arange(3 * faces, dtype=np.int32).reshape(faces, 3) % vertices)
    assert path.stat().st_size > 99 * 2**20
    run = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 420 * 2**20, "with the libraries, a process would take more than 1 GB"

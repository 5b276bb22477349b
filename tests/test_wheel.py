"""What is installed: built, unpacked far from the repository, and used."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    build = subprocess.run(command, capture_output=True, text=True, check=False)
    assert build.returncode == 0, build.stdout + build.stderr
    (path,) = out.glob("*.whl")  # built from the source distribution, so that one is whole too
    return zipfile.ZipFile(path)


def test_everything_is_in_it(wheel: zipfile.ZipFile):
    package = REPOSITORY / "rgbd3d"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {f"rgbd3d/{path.relative_to(package).as_posix()}" for path in files}
    cards = [path for path in (REPOSITORY / "hub_configs").rglob("*") if path.is_file()]
    expected |= {f"rgbd3d/{path.relative_to(REPOSITORY).as_posix()}" for path in cards}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel.namelist())


def test_it_works_without_the_repository(wheel: zipfile.ZipFile, tmp_path: Path):
    wheel.extractall(tmp_path / "site")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import rgbd3d
assert rgbd3d.__file__.startswith({str(tmp_path)!r}), rgbd3d.__file__
from rgbd3d import card_weights, registry
assert registry.cards_folder().is_relative_to({str(tmp_path)!r})
names = rgbd3d.list_models()
assert "mask3d-vitt-synthrooms" in names, names
for name in rgbd3d.list_models(pretrained=True):
    card_weights.backbone_weights(name)
from rgbd3d.cli import main
sys.exit(main(["list"]))
"""
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stderr
    assert "mask3d-vitb-scannet" in run.stdout

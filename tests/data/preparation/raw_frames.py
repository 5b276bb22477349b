"""The size of the small raw data set, and how two prepared folders are compared."""

from pathlib import Path

from rgbd3d.files import sha256

SCENES, FRAMES = 7, 5


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir() if path.is_file()}

"""A small card, and folders on the loopback server, for the tests of everything that touches the Hub."""

from pathlib import Path

from loopback_hub import LFS_SUFFIXES, Commit, File, LoopbackHub, Repository
from tiny import tiny_card

REPO = "me/tiny"
CARD = tiny_card("objective.depth_encoder_depth=1")


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def publish(hub: LoopbackHub, folder: Path, *, private: bool = False, name: str = REPO, kind: str = "models") -> Commit:
    """Puts a folder on the server as it is, without rgbd3d."""
    repository = hub.repositories.setdefault((kind, name), Repository(name, private))
    files = {path: File(data, lfs=path.endswith(LFS_SUFFIXES)) for path, data in content(folder).items()}
    return repository.commit("main", files)

"""Where the reference data lies: `RGBD3D_SHARED`, or the folder `shared` beside the repository."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; threads that wait for each other cost minutes
REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("RGBD3D_SHARED", REPOSITORY.parent / "shared"))


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"reference data not found: {folder} (set RGBD3D_SHARED)")
    return folder


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Cards that the test registers are forgotten after it."""
    from rgbd3d import card_index

    before = dict(card_index._known())
    yield
    card_index._known().clear()
    card_index._known().update(before)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with reference inputs, outputs and checkpoints."""
    return _folder("golden")


@pytest.fixture(scope="session")
def rgbd_frames() -> Path:
    """Folder with real RGB-D frames."""
    return _folder("rgbd")

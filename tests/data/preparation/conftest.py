"""A small raw data set, and the same prepared."""

import numpy as np
import pytest
from PIL import Image
from raw_frames import FRAMES, SCENES

from rgbd3d.data import prepare as preparation
from rgbd3d.data.prepare import prepare


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Seven scenes of five small frames, with depth, labels, poses and intrinsics."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for scene in range(SCENES):
        segment = folder / ("val" if scene == 6 else "train") / f"scene{scene}"
        for name in ("color", "depth", "label40"):
            (segment / name).mkdir(parents=True)
        np.savetxt(segment / "intrinsics.txt", [[30, 0, 16], [0, 30, 12], [0, 0, 1]])
        lines = [f"{frame:04d} " + " ".join(map(str, np.eye(4).ravel())) for frame in range(FRAMES)]
        (segment / "poses.txt").write_text("\n".join(lines))
        for frame in range(FRAMES):
            color = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(color).save(segment / "color" / f"{frame:04d}.jpg")
            Image.fromarray(rng.integers(0, 5000, (24, 32), dtype=np.uint16)).save(
                segment / "depth" / f"{frame:04d}.png"
            )
            Image.fromarray(rng.integers(0, 41, (24, 32), dtype=np.uint8)).save(
                segment / "label40" / f"{frame:04d}.png"
            )
    return folder


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Four tasks rather than one."""
    monkeypatch.setattr(preparation, "TASK_ROWS", 2 * FRAMES)


@pytest.fixture(scope="session")
def whole(raw, tmp_path_factory):
    """The raw data prepared in one go; tests copy it before they change it."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "TASK_ROWS", 2 * FRAMES)
        prepare("frames", raw, out, workers=1)
    return out

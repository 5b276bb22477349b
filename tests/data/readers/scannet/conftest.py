"""A release of streams and an export, both of real frames."""

import shutil
from pathlib import Path

import pytest

from tests.data.readers.scannet.real_frames import TEST, TRAIN, VAL, write_export, write_stream
from tests.data.readers.scannet_files import write_lists, write_tsv


@pytest.fixture(scope="module")
def nyu(rgbd_frames: Path) -> Path:
    return rgbd_frames / "labelled" / "nyuv2_train795"


@pytest.fixture(scope="module")
def whole_release(nyu: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("scannet")
    write_stream(raw / "scans" / TRAIN, nyu)
    write_stream(raw / "scans" / VAL, nyu, large=False)
    write_stream(raw / "scans_test" / TEST, nyu, labelled=False)
    write_tsv(raw)
    write_lists(raw / "Tasks" / "Benchmark", [TRAIN, "scene0001_00"], [VAL])
    return raw


@pytest.fixture
def release(whole_release: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(whole_release, tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def export(nyu: Path, tmp_path: Path) -> Path:
    for name in (TRAIN, VAL):
        write_export(tmp_path / "scannet_frames_25k" / name, nyu)
    write_lists(tmp_path, [TRAIN], [VAL])
    return tmp_path / "scannet_frames_25k"

"""Where ScanNet's scenes lie, and which split they are of."""

import shutil
import warnings
from pathlib import Path

import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.scannet import ScanNetReader
from tests.data.readers.scannet.real_frames import TEST, TRAIN, VAL
from tests.data.readers.scannet_files import write_lists

pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


def test_units_are_the_scenes_of_the_official_splits(whole_release: Path) -> None:
    units = ScanNetReader(whole_release, Options(stride=2)).units()
    assert [(unit.name, unit.split, unit.source, unit.rows) for unit in units] == [
        (TRAIN, "train", f"scans/{TRAIN}", 2),
        (VAL, "val", f"scans/{VAL}", 2),
        (TEST, "test", f"scans_test/{TEST}", 2),
    ]


def test_without_lists_all_scenes_are_train(release: Path) -> None:
    shutil.rmtree(release / "Tasks")
    with pytest.warns(UserWarning, match=r"no scannetv2_train.txt and scannetv2_val.txt"):
        reader = ScanNetReader(release)
    assert [unit.split for unit in reader.units()] == ["train", "train", "test"]


def test_with_lists_nothing_is_warned_of(whole_release: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ScanNetReader(whole_release)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ([TRAIN], None, "scannetv2_val.txt is missing"),
        ([TRAIN], [TRAIN], "'scene0000_00' is no scene, or is in both lists"),
        (["../../etc"], [VAL], "'../../etc' is no scene"),
    ],
)
def test_contradictory_lists_are_refused(release: Path, train: list[str], val: list[str] | None, message: str) -> None:
    write_lists(release / "Tasks" / "Benchmark", train, val or [])
    if val is None:
        (release / "Tasks" / "Benchmark" / "scannetv2_val.txt").unlink()
    with pytest.raises(DataError, match=message):
        ScanNetReader(release)


def test_a_scene_in_both_folders_is_refused(release: Path) -> None:
    shutil.copytree(release / "scans" / VAL, release / "scans_test" / VAL)
    with pytest.raises(DataError, match="a scene is in `scans` and in `scans_test`"):
        ScanNetReader(release)


def test_labels_that_are_not_there_cannot_be_asked_for(release: Path) -> None:
    shutil.rmtree(release / "scans")
    with pytest.raises(DataError, match="scannet20 labels were asked for, but no scene has any"):
        ScanNetReader(release, Options(label_space="scannet20"))


def test_another_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "scans.zip"
    file.touch()
    with pytest.raises(DataError, match=r"scans.zip: not a folder"):
        ScanNetReader(file)
    with pytest.raises(DataError, match=r"no scene with a .sens file or a folder `color`; looked for sceneNNNN_NN in"):
        ScanNetReader(tmp_path)

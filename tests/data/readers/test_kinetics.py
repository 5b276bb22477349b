"""Both layouts of Kinetics around small videos."""

import shutil
from pathlib import Path

import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.kinetics import KineticsReader
from tests.data.readers.videos import shown_numbers, write_video

NAMES = ["a/one.mp4", "a/two words.mp4", "b/one.mkv"]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    for name in NAMES:
        write_video(tmp_path / name, 12)
    (tmp_path / "train.csv").write_text(f"{NAMES[0]} 6\n{NAMES[1]} 399\n\n")
    (tmp_path / "val.csv").write_text(f"{tmp_path / NAMES[2]},0\n")
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("train/arm wrestling/x.mp4", "train/abseiling/y.mp4", "val/petting_animal_(not_cat)/x.avi"):
        write_video(tmp_path / name, 12)
    (tmp_path / "train" / "abseiling" / "notes.txt").write_text("not a video")
    (tmp_path / "train" / "abseiling" / "._y.mp4").write_bytes(b"left by another file system")
    return tmp_path


def classes(reader: KineticsReader) -> dict[tuple[str, str], str]:
    rows = {(unit.split, unit.name): next(reader.read(unit))() for unit in reader.units()}
    return {key: class_names("kinetics400")[row["class_id"]] for key, row in rows.items()}


def test_lists(listed: Path):
    assert classes(KineticsReader(listed)) == {
        ("train", "a--one"): "arm wrestling",
        ("train", "a--two words"): "zumba",
        ("val", "b--one"): "abseiling",
    }


def test_folders(folders: Path):
    assert classes(KineticsReader(folders)) == {
        ("train", "train--abseiling--y"): "abseiling",
        ("train", "train--arm wrestling--x"): "arm wrestling",
        ("val", "val--petting_animal_(not_cat)--x"): "petting animal (not cat)",
    }


def test_rows(listed: Path):
    reader = KineticsReader(listed, Options(stride=1, clip_frames=6))
    rows = [read() for read in reader.read(reader.units()[0])]
    assert [(row["scene_id"], row["frame_id"]) for row in rows] == [("a--one", 0), ("a--one", 6)]
    assert shown_numbers(rows[1]["frames"]) == [6, 7, 8, 9, 10, 11]


def test_lists_without_classes(listed: Path):
    (listed / "train.csv").write_text("\n".join(NAMES))
    (listed / "val.csv").unlink()
    reader = KineticsReader(listed)
    assert reader.label_space is None
    rows = [next(reader.read(unit))() for unit in reader.units()]
    assert len(rows) == 3
    assert all("class_id" not in row for row in rows)


def test_a_real_video(rgbd_frames: Path, listed: Path):
    """280 frames hold four windows of 64."""
    shutil.copy(rgbd_frames / "video" / "kinetics400_arm_wrestling.mp4", listed / NAMES[0])
    reader = KineticsReader(listed)
    unit = reader.units()[0]
    rows = [read() for read in reader.read(unit)]
    assert abs(unit.rows - 4) <= 1
    assert [row["frame_id"] for row in rows] == [0, 64, 128, 192]
    assert {class_names("kinetics400")[row["class_id"]] for row in rows} == {"arm wrestling"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a/one.mp4 400", r"train\.csv line 4: class 400, but Kinetics-400 ends at 399"),
        ("label,youtube_id,time_start,time_end,split", r"train\.csv line 4: .* is not the path of a video"),
        ("a/one.mp4 300 6", r"train\.csv line 4: .* is not the path of a video"),
        ("a/one.mp4 -1", r"train\.csv line 4: .* is not the path of a video"),
        ("../one.mp4 1", r"train\.csv line 4: the name '\.\.' is not a plain name"),
        ("/srv/one.mp4 1", r"train\.csv line 4: '/srv/one\.mp4' is not below .*; write paths relative"),
        ("a/one.avi 6", "two videos of the split train are called a--one"),
        ("b/one.mkv", "some of the listed videos have a class and some have none"),
    ],
)
def test_lines_that_make_no_sense(listed: Path, line: str, message: str):
    with (listed / "train.csv").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=message):
        KineticsReader(listed)


def test_a_long_line_takes_linear_time(listed: Path):
    """Two million blanks would take days if every stretch of them were tried."""
    (listed / "train.csv").write_text(f"{NAMES[0]}{' ' * 2_000_000}x")
    with pytest.raises(DataError, match=r"train\.csv line 1: .* is not the path of a video"):
        KineticsReader(listed)


def test_a_folder_that_is_no_class(folders: Path):
    write_video(folders / "val" / "whistling at night" / "x.mp4", 2)
    with pytest.raises(DataError, match=r"whistling at night: no class of Kinetics-400; name .* in val\.csv"):
        KineticsReader(folders)


def test_neither_lists_nor_folders(tmp_path: Path):
    with pytest.raises(DataError, match=r"none of train\.csv, val\.csv, test\.csv and no folder train"):
        KineticsReader(tmp_path)


def test_nothing_in_the_lists(tmp_path: Path):
    (tmp_path / "train.csv").write_text("\n")
    with pytest.raises(DataError, match="none of its 0 listed videos exists"):
        KineticsReader(tmp_path)

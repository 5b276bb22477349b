"""UCF-101's layout around its real video and small ones."""

import shutil
from pathlib import Path

import pytest

from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.ucf101 import UCF101Reader
from tests.data.readers.videos import shown_numbers, write_video

TRAIN = [
    "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1",
    "HandstandPushups/v_HandStandPushups_g08_c01.avi 37",
    "YoYo/v_YoYo_g25_c05.avi 101",
]
TEST = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "CricketShot/v_CricketShot_g04_c01.avi"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_bytes("\r\n".join([*TRAIN, ""]).encode())
    (lists / "testlist01.txt").write_bytes("\r\n".join([*TEST, ""]).encode())
    for line in TRAIN + TEST:
        write_video(tmp_path / "UCF-101" / line.split()[0], 30)
    return tmp_path


def add_to_list(raw: Path, line: str, name: str = "trainlist01.txt") -> None:
    with (raw / "ucfTrainTestlist" / name).open("a") as file:
        file.write(f"{line}\n")


def test_units(raw: Path):
    units = UCF101Reader(raw).units()
    assert [(unit.split, unit.name) for unit in units] == [
        ("train", "v_ApplyEyeMakeup_g08_c01"),
        ("train", "v_HandStandPushups_g08_c01"),
        ("train", "v_YoYo_g25_c05"),
        ("test", "v_ApplyEyeMakeup_g01_c01"),
        ("test", "v_CricketShot_g04_c01"),
    ]
    assert units[0].source == "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi"
    assert all(unit.rows >= 1 for unit in units)


def test_rows(raw: Path):
    reader = UCF101Reader(raw, Options(stride=2, clip_frames=5))
    assert reader.kind == "clips"
    assert reader.label_space == "ucf101"
    for unit, name in zip(reader.units(), ("ApplyEyeMakeup", "HandstandPushups", "YoYo"), strict=False):
        rows = [read() for read in reader.read(unit)]
        assert [row["frame_id"] for row in rows] == [0, 10, 20]
        assert {row["scene_id"] for row in rows} == {unit.name}
        assert {class_names("ucf101")[row["class_id"]] for row in rows} == {name}
        assert shown_numbers(rows[1]["frames"]) == [10, 12, 14, 16, 18]


def test_a_row_that_is_passed_over_does_not_shift_the_next(raw: Path):
    reader = UCF101Reader(raw, Options(stride=1, clip_frames=10))
    _, _, last = reader.read(reader.units()[0])
    row = last()
    assert row["frame_id"] == 20
    assert shown_numbers(row["frames"]) == list(range(20, 30))


def test_the_usual_clip_is_sixteen_frames_of_every_fourth(rgbd_frames: Path, raw: Path):
    """164 frames hold two windows of 64."""
    shutil.copy(rgbd_frames / "video" / "ucf101_ApplyEyeMakeup.avi", raw / "UCF-101" / TEST[0])
    reader = UCF101Reader(raw)
    (unit,) = (unit for unit in reader.units() if unit.name == "v_ApplyEyeMakeup_g01_c01")
    rows = [read() for read in reader.read(unit)]
    assert unit.rows in (1, 2)
    assert [(row["frame_id"], row["class_id"]) for row in rows] == [(0, 0), (64, 0)]
    assert [tuple(row["frames"].shape) for row in rows] == [(16, 3, 240, 320)] * 2


def test_a_video_that_is_missing_concerns_its_unit_alone(raw: Path):
    (raw / "UCF-101" / TEST[1]).unlink()
    reader = UCF101Reader(raw)
    *others, unit = reader.units()
    with pytest.raises(DataError, match=r"v_CricketShot_g04_c01\.avi: no such file"):
        list(reader.read(unit))
    assert all(list(reader.read(other)) for other in others)


def test_all_videos_missing(raw: Path):
    (raw / "UCF-101").rename(raw / "elsewhere")
    with pytest.raises(DataError, match=r"none of its 5 listed videos exists \(.*v_ApplyEyeMakeup_g08_c01\.avi\)"):
        UCF101Reader(raw)


def test_no_lists(raw: Path):
    (raw / "ucfTrainTestlist" / "testlist01.txt").unlink()
    with pytest.raises(DataError, match=r"testlist01\.txt: no such file"):
        UCF101Reader(raw)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g09_c01.avi 2", "line 4: ApplyEyeMakeup is class 1, the list says 2"),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g09_c01.avi x y", "line 4: ApplyEyeMakeup is class 1, the list says x y"),
        ("Sleeping/v_Sleeping_g01_c01.avi 1", "line 4: 'Sleeping/v_Sleeping_g01_c01.avi' is not CLASS/VIDEO"),
        ("v_ApplyEyeMakeup_g09_c01.avi 1", "line 4: .* is not CLASS/VIDEO"),
        ("../v_ApplyEyeMakeup_g09_c01.avi 1", r"line 4: the name '\.\.' is not a plain name"),
        ("YoYo/../../etc/passwd 101", r"line 4: the name '\.\.' is not a plain name"),
        ("/etc/passwd 1", "line 4: '/etc/passwd' is not below"),
        (TRAIN[0], "two videos of the split train are called v_ApplyEyeMakeup_g08_c01"),
    ],
)
def test_lines_that_make_no_sense(raw: Path, line: str, message: str):
    add_to_list(raw, line)
    with pytest.raises(DataError, match=message):
        UCF101Reader(raw)


def test_a_list_that_is_no_text(raw: Path):
    (raw / "ucfTrainTestlist" / "trainlist01.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"trainlist01\.txt at byte 0: not a text file"):
        UCF101Reader(raw)

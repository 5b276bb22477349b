"""The layout for operating-room videos, filled with small videos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.or_ar import ORARReader
from tests.data.readers.videos import shown_numbers, write_video

OPTIONS = Options(stride=2, clip_frames=4)
HEADER = "start_frame,end_frame,phase"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two videos of 40 frames; depth is the number of the frame in millimetres, plus 1000."""
    for name, split in (("case 1", "train"), ("case 2", "test")):
        write_video(tmp_path / "videos" / f"{name}.mp4", 40)
        (tmp_path / f"{split}.txt").write_text(f"{name}\n\n")
        write_phases(tmp_path, "0,18,1", "18,21,4", "", "24,40,9", name=name)
        folder = tmp_path / "depth" / name
        folder.mkdir(parents=True)
        for number in range(40):
            Image.fromarray(np.full((48, 64), 1000 + number, np.uint16)).save(folder / f"{number:06d}.png")
    return tmp_path


def write_phases(raw: Path, *lines: str, name: str = "case 1", header: str = HEADER) -> None:
    path = raw / "phases" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *lines]))


def test_rows(raw: Path):
    """Windows of 8: two in the first phase, none in its last two frames; the second phase is shorter than a clip."""
    reader = ORARReader(raw, OPTIONS)
    units = reader.units()
    assert [(unit.split, unit.name, unit.rows) for unit in units] == [("train", "case 1", 5), ("test", "case 2", 5)]
    rows = [read() for read in reader.read(units[0])]
    expected = {
        (0, 0): [0, 2, 4, 6],
        (8, 0): [8, 10, 12, 14],
        (18, 3): [18, 20, 20, 20],
        (24, 8): [24, 26, 28, 30],
        (32, 8): [32, 34, 36, 38],
    }
    assert [(row["frame_id"], row["class_id"]) for row in rows] == list(expected)
    for row, numbers in zip(rows, expected.values(), strict=True):
        assert row["scene_id"] == "case 1"
        assert shown_numbers(row["frames"]) == numbers
        assert row["depth_frames"].shape == (4, 1, 48, 64)
        assert row["depth_frames"].dtype == torch.float32
        depth = row["depth_frames"].mean((1, 2, 3))
        torch.testing.assert_close(depth, 1 + torch.tensor(numbers) / 1000, atol=1e-6, rtol=0)


def test_without_depth(raw: Path):
    (raw / "depth").rename(raw / "elsewhere")
    reader = ORARReader(raw, OPTIONS)
    assert set(next(reader.read(reader.units()[0]))()) == {"frames", "class_id", "scene_id", "frame_id"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0,18,0"], r"case 1\.csv line 2: phase 0; phases are numbered 1 to 9"),
        (["0,18,10"], r"case 1\.csv line 2: phase 10; phases are numbered 1 to 9"),
        (["0,18,-1"], r"case 1\.csv line 2: phase -1"),
        (["18,18,1"], r"case 1\.csv line 2: frames 18 to 18 are no stretch"),
        (["-4,18,1"], r"case 1\.csv line 2: frames -4 to 18 are no stretch"),
        (["0,18,1", "17,20,2"], r"case 1\.csv: a phase starts at 17, before the one in front of it ends"),
        (["0,18"], r"case 1\.csv line 2: '0,18' are not three whole numbers"),
        (["0,18,docking"], r"case 1\.csv line 2: '0,18,docking' are not three whole numbers"),
        ([], r"case 1\.csv: the line 'start_frame,end_frame,phase' and one or more phases"),
    ],
)
def test_phases_that_make_no_sense(raw: Path, lines: list[str], message: str):
    write_phases(raw, *lines)
    with pytest.raises(DataError, match=message):
        ORARReader(raw).units()


def test_phases_without_their_header(raw: Path):
    write_phases(raw, "18,20,2", header="0,18,1")
    with pytest.raises(DataError, match=r"case 1\.csv: the line 'start_frame,end_frame,phase'"):
        ORARReader(raw).units()


def test_empty_and_missing_phases(raw: Path):
    (raw / "phases" / "case 1.csv").write_text("")
    with pytest.raises(DataError, match=r"case 1\.csv: the line 'start_frame"):
        ORARReader(raw).units()
    (raw / "phases" / "case 1.csv").unlink()
    with pytest.raises(DataError, match=r"case 1\.csv: no such file"):
        ORARReader(raw).units()


def test_a_phase_behind_the_end_of_the_video(raw: Path):
    write_phases(raw, "0,8,1", "8,100,2")
    reader = ORARReader(raw, OPTIONS)
    rows = reader.read(reader.units()[0])
    assert [next(rows)()["frame_id"] for _ in range(5)] == [0, 8, 16, 24, 32]
    with pytest.raises(DataError, match=r"case 1\.mp4 ends after frame 39, but frames 8 to 99 are wanted"):
        next(rows)


def test_depth_that_is_missing_concerns_its_row_alone(raw: Path):
    (raw / "depth" / "case 1" / "000010.png").unlink()
    reader = ORARReader(raw, OPTIONS)
    rows = reader.read(reader.units()[0])
    next(rows)()
    with pytest.raises(DataError, match=r"depth/case 1/000010\.png: no such file"):
        next(rows)()
    assert next(rows)()["frame_id"] == 18


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((24, 32), 1000, np.uint16), r"000000\.png: \(24, 32\) pixels, but the video has \(48, 64\): register"),
        (np.full((48, 64), 100, np.uint8), r"000000\.png: depth must be a 16-bit single-channel PNG"),
        (np.full((48, 64), 65000, np.uint16), r"000000\.png: the median depth would be 65 m"),
    ],
)
def test_depth_of_another_kind(raw: Path, pixels: np.ndarray, message: str):
    Image.fromarray(pixels).save(raw / "depth" / "case 1" / "000000.png")
    reader = ORARReader(raw, OPTIONS)
    with pytest.raises(DataError, match=message):
        next(reader.read(reader.units()[0]))()


@pytest.mark.parametrize("name", ["../case 1", "videos/case 1", ".hidden"])
def test_names_that_lead_elsewhere(raw: Path, name: str):
    (raw / "train.txt").write_text(f"{name}\n")
    with pytest.raises(DataError, match=r"train\.txt: the name .* is not a plain name"):
        ORARReader(raw)


def test_a_listed_video_that_is_missing(raw: Path):
    (raw / "val.txt").write_text("case 3\n")
    with pytest.raises(DataError, match=r"val\.txt: there is no video videos/case 3"):
        ORARReader(raw)


def test_no_lists(tmp_path: Path):
    with pytest.raises(DataError, match=r"none of train\.txt, val\.txt and test\.txt"):
        ORARReader(tmp_path)


def test_a_label_space_that_it_does_not_have(raw: Path):
    with pytest.raises(ValueError, match="or_ar9"):
        ORARReader(raw, Options(label_space="ucf101"))

import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data import tum_lists
from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.tum import TumReader
from rgbd3d.data.schema import encode_sample
from tests.data.readers.frame_files import all_rows, matrix_text, png
from tests.data.readers.mutations import assert_survives

NAME = "rgbd_dataset_freiburg2_desk"


def sequence(folder: Path, tracked: bool = True, count: int = 6) -> Path:
    """Images at 30 Hz from second 10 on, depth 15 ms later, the fourth depth 30 ms later; poses at 100 Hz to 10.1 s."""
    colors, depths = [], []
    for index in range(count):
        for kind, pixels in (
            ("rgb", np.full((12, 16, 3), index, np.uint8)),
            ("depth", np.full((12, 16), 5000 * (index + 1), np.uint16)),
        ):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{index}.png")
        colors.append(f"{10 + index / 30:.6f} rgb/{index}.png")
        depths.append(f"{10.015 + index / 30 + 0.015 * (index == 3):.6f} depth/{index}.png")
    (folder / "rgb.txt").write_text("# color images\n" + "\n".join(colors))
    (folder / "depth.txt").write_text("# depth maps\n" + "\n".join(depths))
    if tracked:
        root = 0.5**0.5
        poses = [f"{10.001 + step / 100:.4f} {step} 2 3 0 0 {root} {root}" for step in range(11)]
        (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(poses))
    return folder


def test_frames_are_put_together_by_time(tmp_path):
    rows = all_rows(TumReader(sequence(tmp_path / NAME)))
    assert [row["frame_id"] for row in rows] == [0, 1, 2], "3 has no depth within 20 ms; 4 and 5 have no pose"
    assert [row["depth"].unique().tolist() for row in rows] == [[1], [2], [3]]
    assert [round(row["pose"][0, 3].item()) for row in rows] == [0, 3, 7]
    # A quarter turn about z takes x to y.
    expected = [[0, -1, 0, 3], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    torch.testing.assert_close(rows[1]["pose"], torch.tensor(expected).float(), atol=1e-6, rtol=0)
    assert rows[0]["intrinsics"].flatten().tolist() == pytest.approx([520.9, 0, 325.1, 0, 521.0, 249.7, 0, 0, 1])
    assert rows[2]["image"] == (tmp_path / NAME / "rgb" / "2.png").read_bytes()
    assert rows[0]["scene_id"] == NAME
    assert all(encode_sample(row) for row in rows)


def official_association(first: list[float], second: list[float], most: float) -> list[tuple[int, int]]:
    """The rule of the benchmark's associate.py: of all near pairs the closest first, every time used once."""
    near = sorted((abs(a - b), i, j) for i, a in enumerate(first) for j, b in enumerate(second) if abs(a - b) <= most)
    pairs: list[tuple[int, int]] = []
    for _, i, j in near:
        if i not in {pair[0] for pair in pairs} and j not in {pair[1] for pair in pairs}:
            pairs.append((i, j))
    return sorted(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_association_is_that_of_the_benchmark(seed):
    rng = np.random.default_rng(seed)
    first, second = (np.cumsum(rng.uniform(0.021, 0.045, 200)) for _ in range(2))
    pairs = tum_lists.associate(first, second)
    assert 100 < len(pairs) < 200
    assert pairs == official_association(first.tolist(), second.tolist(), tum_lists.TOLERANCE)


def test_association_of_equal_times_does_not_compare_all_pairs():
    same = np.zeros(100_000)
    tracemalloc.start()
    try:
        pairs = tum_lists.associate(same, same)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pairs == [(0, 0)]
    assert peak < 64 * 2**20, "10^10 pairs would take gigabytes"
    assert tum_lists.associate(same[:0], same) == tum_lists.associate(same, same[:0]) == []


def test_all_sequences_of_a_folder(tmp_path):
    sequence(tmp_path / "rgbd_dataset_freiburg1_xyz")
    sequence(tmp_path / "rgbd_dataset_freiburg3_office")
    (tmp_path / "notes").mkdir()
    reader = TumReader(tmp_path, Options(stride=2))
    assert [(unit.name, unit.split, unit.rows) for unit in reader.units()] == [
        ("rgbd_dataset_freiburg1_xyz", "train", 2),
        ("rgbd_dataset_freiburg3_office", "train", 2),
    ]
    assert [row["intrinsics"][0, 0].item() for row in all_rows(reader)] == pytest.approx([517.3, 517.3, 535.4, 535.4])


def test_poses_are_given_if_all_sequences_have_them(tmp_path):
    sequence(tmp_path / "rgbd_dataset_freiburg1_xyz")
    sequence(tmp_path / "rgbd_dataset_freiburg1_xyz_validation", tracked=False)
    rows = all_rows(TumReader(tmp_path))
    assert len(rows) == 3 + 5
    assert not any("pose" in row for row in rows)


def test_own_intrinsics_go_first(tmp_path):
    folder = sequence(tmp_path / "office")
    with pytest.raises(DataError, match=r"office: neither intrinsics.txt .* the camera is not known"):
        TumReader(tmp_path).units()
    (folder / "intrinsics.txt").write_text(matrix_text(np.diag([600, 601, 1])))
    assert all_rows(TumReader(tmp_path))[0]["intrinsics"].diagonal().tolist() == [600, 601, 1]


def test_the_real_recording(rgbd_frames, tmp_path):
    """193 frames are listed, the files of one are there; its depth is in millimetres, so 5000 units are 5 m."""
    original = rgbd_frames / "formats" / "tum_style_realsense"
    folder = Path(shutil.copytree(original, tmp_path / "realsense"))
    (folder / "intrinsics.txt").write_text(matrix_text([[615, 0, 320], [0, 615, 240], [0, 0, 1]]))
    (unit,) = (reader := TumReader(tmp_path)).units()
    listed = (original / "rgb.txt").read_text().splitlines()
    assert 0 < unit.rows <= len([line for line in listed if not line.startswith("#")]) == 193
    lazy = list(reader.read(unit))
    there = [index for index, frame in enumerate(reader.frames(folder)) if frame.color.is_file()]
    assert len(there) == 1
    with pytest.raises(DataError, match="no such file"):
        lazy[there[0] - 1]()
    row = lazy[there[0]]()
    raw = png(original / "depths" / "depth00100.png")
    assert np.array_equal(row["depth"][0].numpy(), raw.astype(np.float32) / np.float32(5000))
    assert row["image"] == (original / "rgb" / "rgb00100.png").read_bytes()


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "rgb/../../x.png", "rgb/.hidden", "a\\b.png"])
@pytest.mark.parametrize("listing", ["rgb.txt", "depth.txt"])
def test_files_outside_the_folder_are_refused(tmp_path, name, listing):
    folder = sequence(tmp_path / NAME)
    (folder / listing).write_text(f"10.0 {name}\n")
    with pytest.raises(DataError, match=f"{listing}: the name .* is not a plain name"):
        TumReader(tmp_path).units()


@pytest.mark.parametrize(
    ("listing", "text", "message"),
    [
        ("rgb.txt", "10.0\n", "lines of a time in seconds and a value are expected"),
        ("rgb.txt", "now rgb/0.png\n", "lines of a time in seconds and a value are expected"),
        ("rgb.txt", "nan rgb/0.png\n", "times that are not finite"),
        ("rgb.txt", "# nothing\n", "no image of rgb.txt has depth of depth.txt and a pose"),
        ("depth.txt", "99 depth/0.png\n", "no image of rgb.txt has depth of depth.txt and a pose"),
        ("groundtruth.txt", "10.0 1 2 3\n", "'time tx ty tz qx qy qz qw' is expected"),
        ("groundtruth.txt", "10.0 1 2 3 0 0 0 0\n", "its quaternion has length 0"),
        ("groundtruth.txt", "10.0 1 2 3 nan 0 0 1\n", "its quaternion has length nan"),
        ("groundtruth.txt", "10.0 1 2 x 0 0 0 1\n", "'time tx ty tz qx qy qz qw' is expected"),
        ("groundtruth.txt", "", "no image of rgb.txt has depth of depth.txt and a pose"),
    ],
)
def test_bad_lists_are_named(tmp_path, listing, text, message):
    folder = sequence(tmp_path / NAME)
    (folder / listing).write_text(text)
    with pytest.raises(DataError, match=message) as error:
        TumReader(tmp_path).units()
    assert str(folder) in str(error.value)


def test_binary_lists_are_named(tmp_path):
    (sequence(tmp_path / NAME) / "rgb.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"rgb.txt at byte 0: not a text file"):
        TumReader(tmp_path).units()


@pytest.mark.parametrize("listing", ["rgb.txt", "depth.txt", "groundtruth.txt"])
@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_lists_are_survived(tmp_path, listing, count):
    folder = sequence(tmp_path / NAME)
    original = tmp_path / listing
    shutil.copy(folder / listing, original)
    assert_survives(original, count, lambda copy: TumReader(folder).units(), folder)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no rgb.txt, here or one folder down; unpack"):
        TumReader(tmp_path).units()


def test_bad_frames_concern_their_row_only(tmp_path):
    folder = sequence(tmp_path / NAME)
    Image.new("L", (16, 12)).save(folder / "depth" / "0.png")
    text = (folder / "groundtruth.txt").read_text()
    (folder / "groundtruth.txt").write_text(text.replace("10.0310 3 ", "10.0310 1e9 "))
    reader = TumReader(tmp_path)
    eight_bit, far, good = reader.read(reader.units()[0])
    with pytest.raises(DataError, match=r"depth/0.png: depth must be a 16-bit"):
        eight_bit()
    with pytest.raises(DataError, match=r"groundtruth.txt, for 1.png: the pose is no rigid motion"):
        far()
    assert good()["frame_id"] == 2

"""Folders of frames as a source: real ones, the layouts that data sets have, and what is refused."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source


def save_frame(color: Path, depth: Path, index: int, units: int = 1000, size=(16, 12), depth_size=None) -> None:
    """Depth is 1 + index metres, with one pixel of 0 and one of 65535."""
    color.parent.mkdir(parents=True, exist_ok=True)
    depth.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (index, 2 * index, 3 * index)).save(color, quality=100)
    width, height = depth_size or size
    values = np.full((height, width), (1 + index) * units, np.uint16)
    values[0, 0], values[0, 1] = 0, 65535
    Image.fromarray(values).save(depth)


def save_plain(folder: Path, count: int = 4, **options) -> Path:
    for index in range(count):
        save_frame(folder / "color" / f"{index}.png", folder / "depth" / f"{index}.png", index, **options)
    return folder


def matrix_text(values: np.ndarray) -> str:
    return "\n".join(" ".join(str(value) for value in row) for row in values)


def ids(source) -> list[int]:
    return [source[index]["frame_id"] for index in range(len(source))]


# ------------------------------------------------------------------------------------------------------- real frames


def test_plain_folder_of_real_frames(rgbd_frames):
    folder = rgbd_frames / "frames7" / "sun3d_lounge_a"
    source = open_source(folder)
    assert len(source) == 50
    sample = source[7]
    raw = np.array(Image.open(folder / "depth" / "000942.png"))
    assert torch.equal(sample["depth"][0], torch.from_numpy(raw.astype(np.float32) / np.float32(1000)))
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), np.array(Image.open(folder / "color/000942.jpg")))
    assert (sample["scene_id"], sample["frame_id"]) == ("sun3d_lounge_a", 942)
    assert sample["intrinsics"][0].tolist() == pytest.approx([285.171103, 0, 160])
    line = (folder / "poses.txt").read_text().splitlines()[7].split()
    assert sample["pose"].flatten().tolist() == pytest.approx([float(value) for value in line[1:]])


def test_registered_depth_comes_with_the_colour_camera(rgbd_frames):
    folder = rgbd_frames / "frames7" / "7scenes_redkitchen_a"
    sample = open_source(folder)[3]
    raw = np.array(Image.open(folder / "depth_reg" / "000003.png"))
    assert np.array_equal(sample["depth"][0].numpy(), raw.astype(np.float32) / np.float32(1000))
    assert sample["intrinsics"].flatten().tolist() == pytest.approx(
        np.loadtxt(folder / "intrinsics_color.txt").flatten().tolist()
    )
    line = (folder / "poses_color.txt").read_text().splitlines()[3].split()
    assert sample["pose"].flatten().tolist() == pytest.approx([float(value) for value in line[1:]])


def test_folder_of_segments(rgbd_frames):
    source = open_source(rgbd_frames / "frames7", columns=["scene_id", "frame_id"])
    assert len(source) == 410
    assert sum(source.row_groups()) == 410
    assert source[0] == {"scene_id": "7scenes_redkitchen_a", "frame_id": 0}
    assert source[409] == {"scene_id": "sun3d_lounge_b", "frame_id": 3209}
    thinned = open_source(rgbd_frames / "frames7", every=30, columns=["scene_id", "frame_id"])
    assert [thinned[index]["frame_id"] for index in range(len(thinned))] == [
        *(0, 30, 60, 90, 120),
        *(450, 480, 510),
        *(850, 880, 910),
        *(935, 965),
        *(3160, 3190),
    ]


def test_nyu_labels_become_train_ids(rgbd_frames):
    folder = rgbd_frames / "labelled" / "nyuv2_train795"
    source = open_source(folder)
    assert (len(source), source.label_space) == (795, "nyu40")
    sample = source[10]
    raw = np.array(Image.open(folder / "label40" / f"{sample['frame_id']:04d}.png")).astype(np.int64)
    assert {0, 1} < set(np.unique(raw))
    assert np.array_equal(sample["semantic"].numpy(), np.where(raw == 0, 255, raw - 1))
    assert sample["semantic"].dtype == torch.int64


def test_instances_of_real_frames(rgbd_frames):
    source = open_source(rgbd_frames / "labelled" / "osd_learn")
    sample = source[0]
    assert sample["instance"].dtype == torch.int32
    assert sample["instance"].max() >= 2
    assert source.label_space is None


# ------------------------------------------------------------------------------------------------- layouts and units


def test_zero_and_65535_mean_no_measurement(tmp_path):
    depth = open_source(save_plain(tmp_path))[2]["depth"]
    assert depth[0, 0, :3].tolist() == [0, 0, 3]


def test_frames_are_ordered_by_number(tmp_path):
    source = open_source(save_plain(tmp_path, count=12))
    assert ids(source) == list(range(12))


def test_seven_scenes_layout(tmp_path):
    for index in range(3):
        stem = tmp_path / "seq-01" / f"frame-{index:06d}"
        save_frame(Path(f"{stem}.color.png"), Path(f"{stem}.depth.png"), index)
        pose = np.eye(4)
        pose[0, 3] = index
        Path(f"{stem}.pose.txt").write_text(matrix_text(pose))
    (tmp_path / "camera-intrinsics.txt").write_text(matrix_text(np.diag([585, 585, 1])))
    source = open_source(tmp_path)
    assert ids(source) == [0, 1, 2]
    sample = source[2]
    assert sample["scene_id"] == "seq-01"
    assert sample["pose"][0, 3] == 2
    assert sample["intrinsics"].diagonal().tolist() == [585, 585, 1]
    assert sample["depth"].max() == 3


def test_scannet_export_layout(tmp_path):
    scene, sizes = tmp_path / "scene0000_00", {"size": (52, 39), "depth_size": (40, 30)}
    (scene / "pose").mkdir(parents=True)
    for index in range(11):
        save_frame(scene / f"color/{index}.jpg", scene / f"depth/{index}.png", index, **sizes)
        (scene / f"pose/{index}.txt").write_text(matrix_text(np.full((4, 4), -np.inf) if index == 4 else np.eye(4)))
    (scene / "intrinsic").mkdir()
    (scene / "intrinsic/intrinsic_color.txt").write_text(matrix_text(np.diag([1170, 1168, 1, 1])))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = open_source(scene, every=2)
        sample, lost = source[5], source[2]
    assert {str(warning.message) for warning in caught} == {
        "depth is 40 x 30 but the image is 52 x 39 pixels: resized to the image by nearest neighbour"
    }
    assert sample["frame_id"] == 10
    assert sample["depth"].shape == (1, 39, 52)
    assert sample["depth"].unique().tolist() == [0, 11], "nearest: nothing between"
    assert sample["intrinsics"].diagonal().tolist() == [1170, 1168, 1]
    assert lost["pose"].isinf().all()


def test_tum_layout(tmp_path):
    def listing(name: str, rows: list[str]) -> None:
        (tmp_path / name).write_text("# a comment\n" + "\n".join(rows) + "\n")

    for index in range(4):
        save_frame(tmp_path / f"rgb/{index}.png", tmp_path / f"depth/{index}.png", index, units=5000)
    listing("rgb.txt", [f"{10 + index} rgb/{index}.png" for index in range(4)])
    # Shifted by 15 ms; the third is 30 ms away and has no pair.
    listing("depth.txt", [f"{10.015 + index + 0.015 * (index == 2)} depth/{index}.png" for index in range(4)])
    root = 0.5**0.5
    poses = [f"{9.99 + index / 100} {index} 0 0 0 0 {root} {root}" for index in range(250)]
    listing("groundtruth.txt", poses)
    source = open_source(tmp_path)
    assert ids(source) == [0, 1], "frame 2 has no depth, frame 3 no pose"
    sample = source[1]
    assert sample["depth"].max() == 2, "5000 units are a metre"
    # A quarter turn about z takes x to y.
    expected = torch.tensor([[0.0, -1, 0, 101], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(sample["pose"], expected, atol=1e-6, rtol=0)
    assert open_source(tmp_path, units_per_metre=1000)[0]["depth"].max() == 5


def test_tum_list_without_its_files(rgbd_frames):
    with pytest.raises(DataError, match=r"name .*rgb00\d+.png, which does not exist"):
        open_source(rgbd_frames / "formats" / "tum_style_realsense")


def test_other_units(tmp_path):
    save_plain(tmp_path, count=2, units=10_000)
    assert open_source(tmp_path, units_per_metre=10_000)[1]["depth"].max() == 2
    save_plain(tmp_path, count=1, units=60_000)
    with pytest.raises(DataError, match=r"0.png: the median depth would be 60 m at 1000 units per metre"):
        open_source(tmp_path)


def test_folder_digest_changes_with_files_and_unit(tmp_path):
    source = open_source(save_plain(tmp_path))
    digests = {source.digest(), open_source(tmp_path).digest()}
    assert len(digests) == 1
    digests.add(open_source(tmp_path, units_per_metre=999).digest())
    os.truncate(tmp_path / "depth" / "3.png", 50)
    digests.add(source.digest())
    assert len(digests) == 3


# --------------------------------------------------------------------------------------------------- what is refused


def test_folders_without_frames_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        open_source(tmp_path / "missing")
    with pytest.raises(DataError, match="neither Parquet files nor frames"):
        open_source(tmp_path)
    (tmp_path / "color").mkdir()
    with pytest.raises(DataError, match=r"no .jpg or .png"):
        open_source(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "color" / "0.png")
    with pytest.raises(DataError, match="neither depth_reg/ nor depth/"):
        open_source(tmp_path)


def test_unequal_counts_are_refused(tmp_path):
    save_plain(tmp_path)
    (tmp_path / "depth" / "2.png").unlink()
    with pytest.raises(DataError, match="4 colour images but 3 files in depth; '2' is the first of 1"):
        open_source(tmp_path)


def test_missing_poses_are_refused(tmp_path):
    save_plain(tmp_path)
    rows = [f"{index} " + " ".join(str(value) for value in np.eye(4).flatten()) for index in range(3)]
    (tmp_path / "poses.txt").write_text("\n".join(rows))
    with pytest.raises(DataError, match="1 frames without a pose, the first is '3'"):
        open_source(tmp_path)
    (tmp_path / "poses.txt").write_text("0 1 2 3")
    with pytest.raises(DataError, match=r"poses.txt:1: an ID and 16 numbers"):
        open_source(tmp_path)


def test_unusable_files_are_named(tmp_path):
    save_plain(tmp_path)
    Image.new("L", (16, 12), 100).save(tmp_path / "depth" / "0.png")
    with pytest.raises(DataError, match=r"depth/0.png: depth must be a 16-bit"):
        open_source(tmp_path)
    save_plain(tmp_path)
    source = open_source(tmp_path)
    (tmp_path / "color" / "3.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"color/3.png: not a readable"):
        source[3]
    save_frame(tmp_path / "color" / "1.png", tmp_path / "depth" / "1.png", 1, depth_size=(12, 12))
    with pytest.raises(DataError, match=r"color/1.png: depth is 12 x 12 but the image is 16 x 12.*another shape"):
        source[1]


def test_frame_folders_have_no_other_splits(tmp_path):
    save_plain(tmp_path / "all")
    with pytest.raises(DataError, match="no split 'val'"):
        open_source(tmp_path / "all", split="val")
    save_plain(tmp_path / "both" / "train", count=3)
    save_plain(tmp_path / "both" / "val", count=2)
    assert [len(open_source(tmp_path / "both", split=split)) for split in ("train", "val")] == [3, 2]

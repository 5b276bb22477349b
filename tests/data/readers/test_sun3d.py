import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.rotated_depth import decode_rotated_depth
from rgbd3d.data.readers.seven_scenes import to_color_camera
from rgbd3d.data.readers.sun3d import Sun3dReader
from rgbd3d.data.schema import encode_sample
from tests.data.readers.frame_files import all_rows, matrix_text, png, save_posed
from tests.data.readers.mutations import assert_survives

FRAMES = (935, 940, 960, 984)


def lounge(rgbd_frames: Path):
    """(id, JPEG file, depth in mm, pose) of real frames."""
    folder = rgbd_frames / "frames7" / "sun3d_lounge_a"
    poses = {int(row[0]): row[1:].reshape(4, 4) for row in np.loadtxt(folder / "poses.txt")}
    for number in FRAMES:
        yield number, folder / f"color/{number:06d}.jpg", png(folder / f"depth/{number:06d}.png"), poses[number]


@pytest.fixture
def original(rgbd_frames, tmp_path):
    """SUN3D's own form: depth 10 ms after its image, an older trajectory, one more depth than images."""
    folder = tmp_path / "lounge" / "scan1"
    for kind in ("image", "depth", "extrinsics"):
        (folder / kind).mkdir(parents=True)
    poses = []
    for position, (_, color, depth, pose) in enumerate(lounge(rgbd_frames)):
        shutil.copy(color, folder / "image" / f"{position + 1:07d}-{position * 33_000:012d}.jpg")
        rotated = (depth << 3) | (depth >> 13)
        Image.fromarray(rotated).save(folder / "depth" / f"{position + 2:07d}-{position * 33_000 + 10_000:012d}.png")
        poses.append(matrix_text(pose[:3]))
    Image.fromarray(depth).save(folder / "depth" / "0000009-000000900000.png")
    (folder / "extrinsics" / "20140101000000.txt").write_text("".join(poses))
    (folder / "extrinsics" / "20130101000000.txt").write_text("0 " * 48)
    (folder / "intrinsics.txt").write_text("570.34 0 320\n0 570.34 240\n0 0 1\n")
    return folder


@pytest.fixture
def matched(rgbd_frames, tmp_path):
    """3DMatch's form, of a training scene and one of the test."""
    raw = tmp_path / "3dmatch"
    for scene in ("sun3d-lounge", "sun3d-hotel_uc-scan3"):
        for number, color, depth, pose in lounge(rgbd_frames):
            stem = raw / scene / "seq-01" / f"frame-{number:06d}"
            save_posed(stem, depth, np.array(Image.open(color)), pose)
        (raw / scene / "camera-intrinsics.txt").write_text("570.34 0 320\n0 570.34 240\n0 0 1\n")
    return raw


def test_the_form_of_3dmatch(matched, rgbd_frames):
    units = Sun3dReader(matched).units()
    assert [(unit.split, unit.name, unit.source, unit.rows) for unit in units] == [
        ("train", "sun3d-lounge-seq-01", "sun3d-lounge/seq-01", 4),
        ("test", "sun3d-hotel_uc-scan3-seq-01", "sun3d-hotel_uc-scan3/seq-01", 4),
    ]
    rows = all_rows(Sun3dReader(matched))
    for row, (number, _, depth, pose) in zip(rows, lounge(rgbd_frames), strict=False):
        assert (row["scene_id"], row["frame_id"]) == ("sun3d-lounge-seq-01", number)
        assert np.array_equal((row["depth"][0] * 1000).round().numpy(), depth)
        assert np.allclose(row["pose"], pose, atol=1e-6)
        assert row["intrinsics"][0].tolist() == pytest.approx([570.34, 0, 320])
        assert row["image"] == (matched / f"sun3d-lounge/seq-01/frame-{number:06d}.color.png").read_bytes()
        encode_sample(row)


@pytest.mark.parametrize("below", ["", "sun3d-lounge", "sun3d-lounge/seq-01"])
def test_any_level_may_be_the_raw_folder(matched, below):
    first = Sun3dReader(matched / below).units()[0]
    assert first.name == "sun3d-lounge-seq-01"
    assert all_rows(Sun3dReader(matched / below, Options(stride=3)))[1]["frame_id"] == 984


def test_a_sequence_is_in_one_split_in_either_form(original, tmp_path):
    moved = tmp_path / "raw" / "hotel_umd" / "maryland_hotel3"
    moved.parent.mkdir(parents=True)
    original.rename(moved)
    shutil.copytree(moved, moved.with_name("maryland_hotel2"))
    assert [(unit.split, unit.source) for unit in Sun3dReader(tmp_path / "raw").units()] == [
        ("train", "hotel_umd/maryland_hotel2"),
        ("test", "hotel_umd/maryland_hotel3"),
    ]


def test_scenes_of_7_scenes_are_registered(matched):
    scene = matched / "7-scenes-chess"
    depth = np.random.default_rng(0).integers(900, 3000, (480, 640)).astype(np.uint16)
    depth[:9] = 65535
    save_posed(scene / "seq-01" / "frame-000000", depth)
    (scene / "camera-intrinsics.txt").write_text("585 0 320\n0 585 240\n0 0 1\n")
    (row,) = all_rows(Sun3dReader(scene))
    metres = torch.from_numpy(np.where(depth == 65535, 0, depth).astype(np.float32) / 1000)[None]
    registered, pose = to_color_camera(metres, torch.eye(4), "")
    assert torch.equal(row["depth"], registered)
    assert torch.equal(row["pose"], pose)
    assert row["pose"][0, 3].item() == pytest.approx(0.025)
    assert row["intrinsics"][0, 0] == 525


def test_the_form_of_sun3d(original, rgbd_frames):
    (unit,) = Sun3dReader(original.parents[1]).units()
    assert (unit.split, unit.name, unit.source) == ("train", "lounge-scan1", "lounge/scan1")
    rows = all_rows(Sun3dReader(original.parents[1]))
    assert [row["frame_id"] for row in rows] == [1, 2, 3, 4]
    for row, (_, color, depth, pose) in zip(rows, lounge(rgbd_frames), strict=True):
        assert row["image"] == color.read_bytes()
        assert np.array_equal((row["depth"][0] * 1000).round().numpy(), depth)
        assert np.allclose(row["pose"], pose, atol=1e-6)
        assert row["scene_id"] == "lounge-scan1"
        encode_sample(row)


def test_rotated_depth_of_real_files(rgbd_frames):
    """The medians that the files' own toolbox formula gives."""
    medians = []
    for scene in ("img_0063", "2014-12-18_11-31-54_260595134347"):
        (file,) = (rgbd_frames / "formats" / "sunrgbd_scene" / scene / "depth").iterdir()
        depth = decode_rotated_depth(file.read_bytes(), str(file))
        stored = png(file).astype(np.int64)
        expected = ((stored >> 3) | (stored << 13)) & 0xFFFF
        assert np.array_equal(depth[0].numpy(), expected.astype(np.float32) / np.float32(1000))
        medians.append(depth[depth > 0].median().item())
    assert medians == pytest.approx([1.96, 2.40], abs=0.01)


# ---------------------------------------------------------------------------------------------------------- bad input


def test_folders_without_sequences_are_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(DataError, match=r"neither SCENE/seq-01/frame-000000.color.png"):
        Sun3dReader(tmp_path).units()


@pytest.mark.parametrize("name", ["depth/*.png", "extrinsics/2014*.txt", "intrinsics.txt"])
@pytest.mark.parametrize("count", [20, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_survived(original, tmp_path, name, count):
    for kind in ("image", "depth"):  # one frame, small and quick to read
        for file in sorted((original / kind).iterdir())[1:]:
            file.unlink()
        (only,) = (original / kind).iterdir()
        Image.open(only).resize((32, 24), Image.Resampling.NEAREST).save(only)
    rows = (original / "extrinsics" / "20140101000000.txt").read_text().splitlines()
    (original / "extrinsics" / "20140101000000.txt").write_text("\n".join(rows[:3]))
    damaged = next(original.glob(name))
    whole = Path(shutil.copy(damaged, tmp_path))
    assert len(all_rows(Sun3dReader(original))) == 1
    assert_survives(whole, count, lambda copy: all_rows(Sun3dReader(original)), damaged.parent)


def test_missing_intrinsics_are_named(matched, original):
    (matched / "sun3d-lounge" / "camera-intrinsics.txt").unlink()
    with pytest.raises(DataError, match=r"seq-01: no intrinsics.txt in it, and no camera-intrinsics.txt"):
        all_rows(Sun3dReader(matched))
    (original / "intrinsics.txt").write_text("0 0 0 0 0 0 0 0 0")
    with pytest.raises(DataError, match=r"scan1/intrinsics.txt: not a pinhole camera"):
        Sun3dReader(original).units()


def test_missing_poses_are_named(matched, original):
    for file in (matched / "sun3d-lounge" / "seq-01").glob("*.pose.txt"):
        file.unlink()
    with pytest.raises(DataError, match=r"seq-01: files frame-ID.color.png, .depth.png and .pose.txt"):
        all_rows(Sun3dReader(matched))
    newest = original / "extrinsics" / "20140101000000.txt"
    newest.write_text("1 2 3")
    with pytest.raises(DataError, match=r"20140101000000.txt: 3 numbers, 12 for each of 4 images"):
        Sun3dReader(original).units()
    newest.write_text("x" * 12)
    with pytest.raises(DataError, match="not a list of numbers"):
        Sun3dReader(original).units()
    newest.write_text("1 " * 10_000)
    with pytest.raises(DataError, match="MiB are expected"):
        Sun3dReader(original).units()
    shutil.rmtree(original / "extrinsics")
    with pytest.raises(DataError, match=r"extrinsics: no .txt file"):
        Sun3dReader(original).units()


def test_odd_file_names_are_refused(original):
    (original / "image" / "one.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"one.jpg: names like 0000001-000000033369.jpg are expected"):
        Sun3dReader(original).units()


def test_images_without_depth_in_time_are_left_out(original):
    first, *others = sorted((original / "depth").iterdir())
    for file in others:
        file.unlink()
    late = original / "image" / "0000005-000000900000.jpg"
    (original / "image" / "0000004-000000099000.jpg").rename(late)
    assert [row["frame_id"] for row in all_rows(Sun3dReader(original))] == [1, 2, 3]
    first.rename(original / "depth" / "0000001-000009000000.png")
    with pytest.raises(DataError, match=r"scan1: no image has depth within 0.1 s"):
        Sun3dReader(original).units()
    (original / "depth" / "0000001-000009000000.png").unlink()
    with pytest.raises(DataError, match=r"depth: no .png files"):
        Sun3dReader(original).units()


def test_bad_frames_concern_their_row_only(matched):
    folder = matched / "sun3d-lounge" / "seq-01"
    (folder / "frame-000935.pose.txt").write_text(matrix_text(np.zeros((4, 4))))
    (folder / "frame-000940.depth.png").write_bytes(b"")
    reader = Sun3dReader(matched)
    lost, empty, good, _ = reader.read(reader.units()[0])
    with pytest.raises(DataError, match=r"frame-000935.pose.txt: the pose is no rigid motion"):
        lost()
    with pytest.raises(DataError, match=r"frame-000940.depth.png: not a readable"):
        empty()
    assert good()["frame_id"] == 960

import shutil
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.seven_scenes import SIZE, SevenScenesReader, to_color_camera
from tests.data.readers.frame_files import all_rows, png, save_posed

SEGMENT = "7scenes_redkitchen_a"
FRAMES = (0, 75, 149)


def listed_poses(file) -> dict[int, np.ndarray]:
    return {int(row[0]): row[1:].reshape(4, 4) for row in np.loadtxt(file)}


def full_size(depth: np.ndarray, repeat: bool) -> np.ndarray:
    """The pack keeps the even pixels: the odd ones are lost, so they are repeated from their neighbours or empty."""
    full = np.zeros(SIZE, np.uint16)
    full[::2, ::2] = depth
    if repeat:
        full[1::2, ::2] = depth
        full[:, 1::2] = full[:, ::2]
    return full


@pytest.fixture(scope="module")
def raw(rgbd_frames, tmp_path_factory):
    """RedKitchen in its original layout: frame 2i has every pixel, frame 2i + 1 only those that the pack has kept."""
    folder = tmp_path_factory.mktemp("raw") / "redkitchen"
    segment = rgbd_frames / "frames7" / SEGMENT
    poses = listed_poses(segment / "poses.txt")
    for position, number in enumerate(FRAMES):
        color = Image.open(segment / "color" / f"{number:06d}.jpg").resize(SIZE[::-1])
        depth = png(segment / "depth" / f"{number:06d}.png")
        for repeat in (True, False):
            stem = folder / "seq-03" / f"frame-{2 * position + (not repeat):06d}"
            pixels = full_size(depth, repeat)
            pixels[pixels == 0] = 65535 if repeat else 0
            save_posed(stem, pixels, np.asarray(color), poses[number])
    shutil.copytree(folder / "seq-03", folder / "seq-12")
    (folder / "TrainSplit.txt").write_text("sequence12\r\n\r\n")
    (folder / "TestSplit.txt").write_text("sequence3\n")
    return folder.parent


def test_splits_follow_the_lists(raw):
    units = SevenScenesReader(raw).units()
    assert [(unit.split, unit.name, unit.source, unit.rows) for unit in units] == [
        ("train", "redkitchen-seq-12", "redkitchen/seq-12", 6),
        ("test", "redkitchen-seq-03", "redkitchen/seq-03", 6),
    ]
    one_scene = SevenScenesReader(raw / "redkitchen", Options(stride=4)).units()
    assert [(unit.name, unit.source, unit.rows) for unit in one_scene] == [
        ("redkitchen-seq-12", "seq-12", 2),
        ("redkitchen-seq-03", "seq-03", 2),
    ]


def test_depth_and_pose_are_those_of_the_colour_camera(raw, rgbd_frames):
    """Against the pack, which was registered at full size before every second pixel was dropped."""
    segment = rgbd_frames / "frames7" / SEGMENT
    rows = all_rows(SevenScenesReader(raw))[:6]
    poses = listed_poses(segment / "poses_color.txt")
    for position, number in enumerate(FRAMES):
        theirs = png(segment / "depth_reg" / f"{number:06d}.png") / 1000
        for row in rows[2 * position : 2 * position + 2]:
            assert np.abs(row["pose"].numpy() - poses[number]).max() < 2e-6
            assert row["intrinsics"].tolist() == [[525, 0, 320], [0, 525, 240], [0, 0, 1]]
            half = np.loadtxt(segment / "intrinsics_color.txt")
            assert np.allclose(row["intrinsics"][:2] / 2, half[:2])
        repeated, sparse = (row["depth"][0, ::2, ::2].numpy() for row in rows[2 * position : 2 * position + 2])
        both = (repeated > 0) & (theirs > 0)
        assert both.sum() > 0.98 * (theirs > 0).sum()
        assert (np.abs(repeated - theirs)[both] / theirs[both] < 0.01).mean() > 0.985
        # A pixel that the pack has kept lands on its very place there, unless a lost neighbour is nearer.
        landed = sparse > 0
        assert (theirs[landed] > 0).all()
        assert landed.mean() > 0.2
        assert (np.abs(sparse - theirs)[landed] < 6e-4).mean() > 0.92
        assert (theirs - sparse > 6e-4)[landed].mean() < 3e-4


def test_original_colour_is_kept(raw):
    row = all_rows(SevenScenesReader(raw))[0]
    assert row["image"] == (raw / "redkitchen/seq-12/frame-000000.color.png").read_bytes()
    assert (row["scene_id"], row["frame_id"]) == ("redkitchen-seq-12", 0)


def edges(values: np.ndarray) -> np.ndarray:
    down, across = np.gradient(values)
    return np.hypot(down, across)


def test_full_size_frames_fit_their_colour_better_when_registered(rgbd_frames):
    """Depth edges over colour edges, in the six full-size frames that there are (container written for tests)."""
    gains = []
    for color, depth in sens_frames(rgbd_frames / "formats/constructed/redkitchen_6frames.sens"):
        grey = edges(codec.decode_color(color, "color").float().mean(0).numpy())
        metres = torch.from_numpy(np.where(depth == 65535, 0, depth).astype(np.float32) / 1000)[None]
        registered, _ = to_color_camera(metres, torch.eye(4), "depth")
        scores = []
        for values in (metres[0].numpy(), registered[0].numpy()):
            jumps = edges(values).clip(0, 0.3)
            inner = (slice(40, -40), slice(50, -50))
            known = (values > 0)[inner]
            scores.append(np.corrcoef(jumps[inner][known], grey[inner][known])[0, 1])
        gains.append(scores[1] - scores[0])
    assert len(gains) == 6
    assert min(gains) > 0, gains


def sens_frames(file):
    """Colour bytes and depth of a version-4 file; offsets by its documentation."""
    data = file.read_bytes()
    at = 12 + int.from_bytes(data[4:12], "little") + 4 * 64 + 2 * 4
    color_size, depth_size = np.frombuffer(data, "<u4", 4, at).reshape(2, 2)
    assert tuple(depth_size) == SIZE[::-1] == tuple(color_size)
    count = int.from_bytes(data[at + 20 : at + 28], "little")
    at += 28
    for _ in range(count):
        color_bytes, depth_bytes = np.frombuffer(data, "<u8", 2, at + 64 + 16)
        at += 64 + 16 + 16
        color, depth = (
            data[at : at + int(color_bytes)],
            data[at + int(color_bytes) : at + int(color_bytes + depth_bytes)],
        )
        at += int(color_bytes + depth_bytes)
        yield color, np.frombuffer(zlib.decompress(depth), "<u2").reshape(SIZE)


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.fixture
def copy(raw, tmp_path):
    return shutil.copytree(raw / "redkitchen", tmp_path / "redkitchen")


def test_a_folder_without_scenes_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no TrainSplit.txt or TestSplit.txt, here or one folder down"):
        SevenScenesReader(tmp_path).units()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a folder is expected"):
        SevenScenesReader(tmp_path / "file")


def test_a_packed_sequence_is_named(copy):
    shutil.rmtree(copy / "seq-12")
    (copy / "seq-12.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"seq-12: no such folder; unpack seq-12.zip there"):
        all_rows(SevenScenesReader(copy))


@pytest.mark.parametrize("line", ["sequence../../etc", "seq-01", "sequence1234", "sequence١"])
def test_odd_split_lines_are_refused(copy, line):
    (copy / "TestSplit.txt").write_text(f"sequence3\n{line}\n")
    with pytest.raises(DataError, match=r"TestSplit.txt: lines like 'sequence1' are expected"):
        SevenScenesReader(copy).units()


def test_a_missing_list_is_named(copy):
    (copy / "TestSplit.txt").unlink()
    with pytest.raises(DataError, match=r"TestSplit.txt: missing"):
        SevenScenesReader(copy).units()


def test_frames_without_poses_are_refused(copy):
    for file in (copy / "seq-03").glob("*.pose.txt"):
        file.unlink()
    with pytest.raises(DataError, match=r"seq-03: files frame-ID.color.png, .depth.png and .pose.txt are expected"):
        all_rows(SevenScenesReader(copy))
    shutil.rmtree(copy / "seq-03")
    (copy / "seq-03" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="seq-03: neither"):
        all_rows(SevenScenesReader(copy))


def test_bad_frames_concern_their_row_only(copy):
    sequence = copy / "seq-12"
    Image.fromarray(np.full((240, 320), 1500, np.uint16)).save(sequence / "frame-000000.depth.png")
    (sequence / "frame-000001.pose.txt").write_text("1 0 0 0\n0 nan 0 0\n0 0 1 0\n0 0 0 1\n")
    (sequence / "frame-000002.pose.txt").write_text("1 0 0 0\n")
    (sequence / "frame-000003.depth.png").write_bytes(b"\x89PNG")
    reader = SevenScenesReader(copy)
    rows = list(reader.read(reader.units()[0]))
    expected = [
        r"frame-000000.depth.png: 320 x 240 pixels; the cameras of 7-Scenes are known for 640 x 480 only",
        r"frame-000001.pose.txt: the pose has NaN",
        r"frame-000002.pose.txt: 4 numbers",
        r"frame-000003.depth.png: not a readable",
    ]
    for row, message in zip(rows, expected, strict=False):
        with pytest.raises(DataError, match=message):
            row()
    assert rows[4]()["frame_id"] == 4

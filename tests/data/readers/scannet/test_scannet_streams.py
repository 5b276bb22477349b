"""Frames of ScanNet's `.sens` streams."""

import io
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from rgbd3d import geometry
from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.ply import read_ply
from rgbd3d.data.readers.scannet import ScanNetReader
from tests.data.readers.frame_files import all_rows, png, rows_of
from tests.data.readers.scannet.real_frames import (
    FRAMES,
    INTRINSICS,
    LARGE,
    LOST,
    SIZE,
    TRAIN,
    VAL,
    instances,
    jpeg,
    pose,
    train_ids,
)
from tests.data.readers.scannet_files import sens_bytes

pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


@pytest.mark.parametrize("space", ["nyu40", "scannet20"])
def test_a_stream_gives_resized_colour_and_labels(whole_release: Path, nyu: Path, golden: Path, space: str) -> None:
    reader = ScanNetReader(whole_release, Options(stride=1, label_space=space))
    rows = rows_of(reader, reader.units()[0])
    assert [row["frame_id"] for row in rows] == [0, 1, 2]
    for number, (row, name) in enumerate(zip(rows, FRAMES, strict=True)):
        assert row["scene_id"] == TRAIN
        millimetres = png(nyu / f"depth/{name:04d}.png").astype(np.float32)
        np.testing.assert_array_equal(row["depth"][0].numpy(), millimetres / 1000)
        np.testing.assert_array_equal(row["intrinsics"].numpy(), INTRINSICS)
        np.testing.assert_allclose(row["pose"].numpy(), pose(number), atol=1e-6)
        # Enlarging and shrinking by nearest neighbour gives back every pixel.
        np.testing.assert_array_equal(row["semantic"].numpy(), train_ids(nyu, name, space, golden))
        labels = png(nyu / f"label40/{name:04d}.png")
        np.testing.assert_array_equal(row["instance"].numpy(), instances(labels))
        picture = Image.open(nyu / f"color/{name:04d}.jpg").resize(LARGE[::-1])
        expected = np.array(Image.open(io.BytesIO(jpeg(picture))).resize(SIZE[::-1], Image.Resampling.BILINEAR))
        assert np.abs(row["image"].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_colour_of_the_depth_maps_size_stays_the_original_file(whole_release: Path, nyu: Path) -> None:
    reader = ScanNetReader(whole_release, Options(stride=1))
    for row, name in zip(rows_of(reader, reader.units()[1]), FRAMES, strict=True):
        assert row["image"] == (nyu / f"color/{name:04d}.jpg").read_bytes()
        assert row["semantic"].shape == row["instance"].shape == SIZE


def test_test_scenes_have_no_labels(whole_release: Path) -> None:
    reader = ScanNetReader(whole_release, Options(stride=1))
    for row in rows_of(reader, reader.units()[2]):
        assert set(row) == {"image", "depth", "intrinsics", "pose", "scene_id", "frame_id"}


def test_every_25th_frame_is_kept_unless_told_otherwise(nyu: Path, tmp_path: Path) -> None:
    frame = (np.eye(4), (nyu / "color/0003.jpg").read_bytes(), png(nyu / "depth/0003.png"))
    folder = tmp_path / "scans" / TRAIN
    folder.mkdir(parents=True)
    (folder / f"{TRAIN}.sens").write_bytes(sens_bytes([frame] * 52, SIZE, INTRINSICS))
    reader = ScanNetReader(tmp_path)
    assert [row["frame_id"] for row in all_rows(reader)] == [0, 25, 50]
    assert [unit.rows for unit in reader.units()] == [3]
    assert reader.label_space is None


def test_neighbours_of_a_real_sequence_see_the_same_surface(rgbd_frames: Path, tmp_path: Path) -> None:
    folder = tmp_path / TRAIN
    folder.mkdir()
    shutil.copy(rgbd_frames / "formats/constructed/redkitchen_6frames.sens", folder / f"{TRAIN}.sens")
    rows = all_rows(ScanNetReader(tmp_path, Options(stride=1)))
    for one, other in itertools.pairwise(rows):
        pixels, z = geometry.reproject(
            one["depth"][None],
            one["intrinsics"][None],
            geometry.relative_pose(one["pose"], other["pose"])[None],
        )
        seen, inside = geometry.sample(other["depth"][None], pixels, mode="nearest")
        valid = inside & (seen > 0)
        error = ((seen - z).abs() / z)[valid].median()
        assert valid.float().mean() > 0.5
        assert error < 0.01


def test_real_colour_fits_the_real_points_of_its_scene(rgbd_frames: Path, tmp_path: Path) -> None:
    """Points of scene0000_00 seen from its cameras are the depth; what comes back has to have the points' colours."""
    posed = rgbd_frames / "formats" / "scannet_posed" / TRAIN
    vertex = read_ply(rgbd_frames / "clouds" / f"scannet_{TRAIN}_vh_clean_2_vertices.ply")["vertex"]
    aligned = np.stack([vertex[axis] for axis in "xyz"], -1).astype(np.float64)
    grey = np.stack([vertex[name] for name in ("red", "green", "blue")], -1).mean(-1)
    alignment = np.array((posed / f"{TRAIN}.txt").read_text().split("=")[1].split(), float).reshape(4, 4)
    points = (aligned - alignment[:3, 3]) @ alignment[:3, :3]
    camera = np.loadtxt(posed / "intrinsic.txt")[:3, :3]
    camera[:2] *= [[640 / 1296], [480 / 968]]
    frames = []
    for path in sorted(posed.glob("*.jpg")):
        matrix = np.loadtxt(path.with_suffix(".txt"))
        seen = (points - matrix[:3, 3]) @ matrix[:3, :3] @ camera.T
        column, row = np.rint(seen[:, :2] / seen[:, 2:]).astype(int).T
        inside = (seen[:, 2] > 0.3) & (column >= 0) & (column < 640) & (row >= 0) & (row < 480)
        column, row, z = column[inside], row[inside], seen[inside, 2]
        nearest = np.full((30, 40), np.inf)  # what is far behind its surroundings is hidden, though points have gaps
        np.minimum.at(nearest, (row // 16, column // 16), z)
        visible = z < 1.05 * nearest[row // 16, column // 16]
        depth = np.zeros((480, 640), np.uint16)
        depth[row[visible], column[visible]] = np.rint(1000 * z[visible])
        frames.append((matrix, path.read_bytes(), depth))
    (tmp_path / TRAIN).mkdir()
    (tmp_path / TRAIN / f"{TRAIN}.sens").write_bytes(sens_bytes(frames, (968, 1296), camera))

    tree, correlations = cKDTree(points), []
    for row in all_rows(ScanNetReader(tmp_path, Options(stride=1))):
        assert row["image"].shape == (3, 480, 640)
        seen = geometry.transform(geometry.unproject(row["depth"], row["intrinsics"]), row["pose"])
        distance, nearest = tree.query(seen[:, row["depth"][0] > 0].T.numpy())
        assert np.median(distance) < 0.005
        colors = row["image"].float().mean(0)[row["depth"][0] > 0].numpy()
        correlations.append(np.corrcoef(colors, grey[nearest])[0, 1])
    assert min(correlations) > 0.7, correlations


def test_frames_without_tracking_are_left_out(release: Path, nyu: Path) -> None:
    frame = ((nyu / "color/0003.jpg").read_bytes(), png(nyu / "depth/0003.png"))
    (release / "scans" / VAL / f"{VAL}.sens").write_bytes(
        sens_bytes([(np.eye(4), *frame), (LOST, *frame), (np.eye(4), *frame)], SIZE, INTRINSICS)
    )
    reader = ScanNetReader(release, Options(stride=1))
    assert [row["frame_id"] for row in rows_of(reader, reader.units()[1])] == [0, 2]


@pytest.mark.parametrize("bad", [np.full((4, 4), np.nan), np.diag([-np.inf, 1, 1, 1]), np.diag([2, 2, 2, 1])])
def test_a_wrong_pose_concerns_its_row(release: Path, nyu: Path, bad: np.ndarray) -> None:
    frame = ((nyu / "color/0003.jpg").read_bytes(), png(nyu / "depth/0003.png"))
    (release / "scans" / VAL / f"{VAL}.sens").write_bytes(
        sens_bytes([(bad, *frame), (np.eye(4), *frame)], SIZE, INTRINSICS)
    )
    reader = ScanNetReader(release, Options(stride=1))
    rows = reader.read(reader.units()[1])
    with pytest.raises(DataError, match=r"scene0011_01.sens at byte \d+, frame 0.*pose"):
        next(rows)()
    assert next(rows)()["frame_id"] == 1


def test_a_damaged_scene_does_not_hide_the_others(release: Path) -> None:
    (release / "scans" / TRAIN / f"{TRAIN}.sens").write_bytes(b"nothing")
    reader = ScanNetReader(release, Options(stride=1))
    units = reader.units()
    with pytest.raises(DataError, match=r"scene0000_00.sens at byte"):
        rows_of(reader, units[0])
    assert len(rows_of(reader, units[1])) == 3


def test_colour_of_another_view_is_refused(release: Path, nyu: Path) -> None:
    depth = png(nyu / "depth/0003.png")[:200]
    (release / "scans" / VAL / f"{VAL}.sens").write_bytes(
        sens_bytes([(np.eye(4), (nyu / "color/0003.jpg").read_bytes(), depth)], SIZE, INTRINSICS)
    )
    reader = ScanNetReader(release)
    with pytest.raises(DataError, match=r"frame 0, colour: .*\(240, 320\): another view than depth of \(200, 320\)"):
        rows_of(reader, reader.units()[1])

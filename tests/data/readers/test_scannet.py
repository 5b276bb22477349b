"""ScanNet's two layouts, holding real frames with real labels: NYUv2's, since their ids are ScanNet's, too."""

import io
import itertools
import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from rgbd3d import geometry
from rgbd3d.data import codec
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.ply import read_ply
from rgbd3d.data.readers.scannet import ScanNetReader
from tests.data.readers.frame_files import all_rows, matrix_text, png, rows_of
from tests.data.readers.mutations import assert_survives
from tests.data.readers.scannet_files import (
    SPARE_ID,
    png_bytes,
    raw_ids,
    sens_bytes,
    write_lists,
    write_tsv,
    write_zip,
)

TRAIN, VAL, TEST = "scene0000_00", "scene0011_01", "scene0707_00"
FRAMES = (3, 19, 494)
SIZE, LARGE = (240, 320), (484, 648)
INTRINSICS = np.array([[288.9, 0, 159.5], [0, 288.9, 119.5], [0, 0, 1]], np.float32)
LOST = np.full((4, 4), -np.inf)
pytestmark = pytest.mark.filterwarnings("ignore:.*all scenes of `scans` count as train")


def pose(number: int) -> np.ndarray:
    matrix = np.eye(4)
    angle = 0.1 * number
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = [number, 2, 1]
    return matrix


def jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def nyu(rgbd_frames: Path) -> Path:
    return rgbd_frames / "labelled" / "nyuv2_train795"


def enlarged(labels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(labels).resize(LARGE[::-1], Image.Resampling.NEAREST))


def instances(labels: np.ndarray) -> np.ndarray:
    """Two objects per class: its left and its right part."""
    right = np.arange(labels.shape[1]) >= labels.shape[1] // 2
    return np.where(labels > 0, 2 * labels.astype(int) - 1 + right, 0)


def write_stream(folder: Path, nyu: Path, labelled: bool = True, large: bool = True) -> None:
    frames, label_files, instance_files = [], {}, {}
    for number, name in enumerate(FRAMES):
        color = Image.open(nyu / f"color/{name:04d}.jpg")
        data = jpeg(color.resize(LARGE[::-1])) if large else (nyu / f"color/{name:04d}.jpg").read_bytes()
        frames.append((pose(number), data, png(nyu / f"depth/{name:04d}.png")))
        labels = enlarged(png(nyu / f"label40/{name:04d}.png"))
        label_files[f"label-filt/{number}.png"] = png_bytes(raw_ids(labels))
        instance_files[f"instance-filt/{number}.png"] = png_bytes(instances(labels).astype(np.uint8))
    folder.mkdir(parents=True)
    (folder / f"{folder.name}.sens").write_bytes(sens_bytes(frames, LARGE if large else SIZE, INTRINSICS))
    if labelled:
        write_zip(folder / f"{folder.name}_2d-label-filt.zip", label_files)
        write_zip(folder / f"{folder.name}_2d-instance-filt.zip", instance_files)


def write_export(folder: Path, nyu: Path) -> None:
    for kind in ("color", "depth", "pose", "label", "instance"):
        (folder / kind).mkdir(parents=True)
    (folder / "intrinsics_depth.txt").write_text(matrix_text(np.pad(INTRINSICS, ((0, 1), (0, 1)))))
    for index, name in enumerate(FRAMES):
        number = f"{100 * index:06d}"
        shutil.copy(nyu / f"color/{name:04d}.jpg", folder / f"color/{number}.jpg")
        shutil.copy(nyu / f"depth/{name:04d}.png", folder / f"depth/{number}.png")
        (folder / f"pose/{number}.txt").write_text(matrix_text(pose(index)))
        labels = png(nyu / f"label40/{name:04d}.png")
        (folder / f"label/{number}.png").write_bytes(png_bytes(labels))
        numbered = 1000 * labels.astype(np.uint16) + 1 + (instances(labels) + 1) % 2
        (folder / f"instance/{number}.png").write_bytes(png_bytes(numbered.astype(np.uint16)))


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


def train_ids(nyu: Path, name: int, space: str, golden: Path) -> np.ndarray:
    """Labels of a frame by the reference tables."""
    maps = json.loads((golden / "label_maps.json").read_text())
    zero = np.arange(41) if space == "nyu40" else np.array(maps["nyu40_to_scannet20_train_id_with_void0"])
    labels = zero[png(nyu / f"label40/{name:04d}.png")]
    return np.where(labels == 0, 255, labels - 1)


# ----------------------------------------------------------------------------------------------------------- streams


def test_units_are_the_scenes_of_the_official_splits(whole_release: Path) -> None:
    units = ScanNetReader(whole_release, Options(stride=2)).units()
    assert [(unit.name, unit.split, unit.source, unit.rows) for unit in units] == [
        (TRAIN, "train", f"scans/{TRAIN}", 2),
        (VAL, "val", f"scans/{VAL}", 2),
        (TEST, "test", f"scans_test/{TEST}", 2),
    ]


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


# ------------------------------------------------------------------------------------------------------- 2-D labels


def replace_labels(release: Path, members: dict[str, bytes]) -> ScanNetReader:
    write_zip(release / "scans" / VAL / f"{VAL}_2d-label-filt.zip", members)
    return ScanNetReader(release)


def test_ids_without_a_class_are_ignored(release: Path) -> None:
    labels = np.full(SIZE, SPARE_ID, np.uint16)
    labels[0, 0] = raw_ids(np.array(5))
    reader = replace_labels(release, {"label-filt/0.png": png_bytes(labels)})
    (row,) = rows_of(reader, reader.units()[1])
    assert row["semantic"][0, :2].tolist() == [class_names("nyu40").index("chair"), 255]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "not in the archive"),
        ({"label-filt/0.png": b"\x89PNG"}, "not a readable JPEG or PNG"),
        ({"label-filt/0.png": bytes(2**25 + 1)}, "33554433 bytes when unpacked, at most"),
        ({"label-filt/0.png": png_bytes(np.full(SIZE, 60_000, np.uint16))}, "labels from 60000 to 60000"),
        ({"label-filt/0.png": png_bytes(np.zeros((100, 100), np.uint16))}, "another view than depth"),
    ],
)
def test_unusable_label_maps_are_refused(release: Path, members: dict[str, bytes], message: str) -> None:
    reader = replace_labels(release, members)
    with pytest.raises(DataError, match=rf"2d-label-filt.zip, member 'label-filt/0.png'.*{message}"):
        rows_of(reader, reader.units()[1])


def test_a_label_archive_with_an_absurd_directory_is_refused(release: Path) -> None:
    path = release / "scans" / VAL / f"{VAL}_2d-label-filt.zip"
    data = bytearray(path.read_bytes())
    data[-10:-6] = (2**30).to_bytes(4, "little")
    path.write_bytes(data)
    reader = ScanNetReader(release)
    with pytest.raises(DataError, match=r"2d-label-filt.zip: a directory of 1073741824 bytes"):
        rows_of(reader, reader.units()[1])


def test_a_member_that_holds_more_than_it_says_is_refused(release: Path) -> None:
    """A bomb with a false size in the directory and in the member's own header."""
    path = release / "scans" / VAL / f"{VAL}_2d-label-filt.zip"
    write_zip(path, {"label-filt/0.png": bytes(2**25 + 1)})
    path.write_bytes(path.read_bytes().replace((2**25 + 1).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    reader = ScanNetReader(release)
    with pytest.raises(DataError, match=r"2d-label-filt.zip, member 'label-filt/0.png'"):
        rows_of(reader, reader.units()[1])


def test_labels_need_the_tsv(release: Path) -> None:
    (release / "scannetv2-labels.combined.tsv").unlink()
    with pytest.raises(DataError, match=r"no scannetv2-labels.combined.tsv; it comes with the ScanNet download"):
        ScanNetReader(release)


@pytest.mark.parametrize("text", ["", "id\tnyu40id\n1\t1\n", "id\traw_category\tnyu40id\n1\twall\tfour\n"])
def test_a_damaged_tsv_is_refused(release: Path, text: str) -> None:
    (release / "scannetv2-labels.combined.tsv").write_text(text)
    with pytest.raises(DataError, match=r"scannetv2-labels.combined.tsv"):
        ScanNetReader(release)


def test_a_scene_that_lacks_the_labels_of_its_split_is_refused(release: Path, nyu: Path) -> None:
    write_stream(release / "scans" / "scene0001_00", nyu, labelled=False)
    reader = ScanNetReader(release)
    train, bare, *_ = reader.units()
    assert rows_of(reader, train)
    with pytest.raises(DataError, match="scene0001_00: no semantic and no instance labels, which other scenes"):
        rows_of(reader, bare)


# ------------------------------------------------------------------------------------------------------------ export


@pytest.mark.parametrize("space", ["nyu40", "scannet20"])
def test_an_export_gives_its_original_files(export: Path, nyu: Path, golden: Path, space: str) -> None:
    reader = ScanNetReader(export, Options(label_space=space))
    units = reader.units()
    assert [(unit.name, unit.split, unit.rows) for unit in units] == [(TRAIN, "train", 3), (VAL, "val", 3)]
    for number, (row, name) in enumerate(zip(rows_of(reader, units[1]), FRAMES, strict=True)):
        assert row["image"] == (nyu / f"color/{name:04d}.jpg").read_bytes()
        assert row["depth"] == (nyu / f"depth/{name:04d}.png").read_bytes()
        np.testing.assert_array_equal(row["intrinsics"].numpy(), INTRINSICS)
        np.testing.assert_allclose(row["pose"].numpy(), pose(number), atol=1e-6)
        assert (row["scene_id"], row["frame_id"]) == (VAL, 100 * number)
        np.testing.assert_array_equal(row["semantic"].numpy(), train_ids(nyu, name, space, golden))
        labels = png(nyu / f"label40/{name:04d}.png").astype(int)
        side = 1 + (np.arange(SIZE[1]) >= SIZE[1] // 2)
        np.testing.assert_array_equal(row["instance"].numpy(), np.where(labels > 0, 1000 * labels + side, 0))


@pytest.mark.parametrize(("stride", "frames"), [(25, [0, 100, 200]), (100, [0, 100, 200]), (200, [0, 200])])
def test_the_stride_of_an_export_counts_frames_of_the_stream(export: Path, stride: int, frames: list[int]) -> None:
    reader = ScanNetReader(export, Options(stride=stride))
    assert [row["frame_id"] for row in rows_of(reader, reader.units()[0])] == frames


def test_frames_of_an_export_without_tracking_are_left_out(export: Path) -> None:
    (export / TRAIN / "pose" / "000100.txt").write_text(matrix_text(LOST))
    reader = ScanNetReader(export)
    assert [row["frame_id"] for row in rows_of(reader, reader.units()[0])] == [0, 200]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pose/000100.txt", b"1 0 0", "000100.txt: 3 numbers"),
        ("pose/000100.txt", b"one two", "000100.txt: not a matrix of numbers"),
        ("pose/000100.txt", b"nan " * 16, "000100.txt: the pose has NaN"),
        ("color/000100.jpg", b"", "000100.jpg: not a readable"),
        ("depth/000100.png", png_bytes(np.zeros(SIZE, np.uint8)), "000100.png: depth must be a 16-bit"),
        ("label/000100.png", png_bytes(np.full(SIZE, 41, np.uint8)), "000100.png: labels from 41 to 41"),
        ("instance/000100.png", None, "000100.png: no such file"),
    ],
)
def test_an_unusable_file_concerns_its_row(export: Path, file: str, content: bytes | None, message: str) -> None:
    path = export / TRAIN / file
    path.unlink() if content is None else path.write_bytes(content)
    reader = ScanNetReader(export)
    first, second, third = list(reader.read(reader.units()[0]))
    with pytest.raises(DataError, match=message):
        second()
    assert (first()["frame_id"], third()["frame_id"]) == (0, 200)


# ------------------------------------------------------------------------------------------------------------ layout


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


# -------------------------------------------------------------------------------------------------------------- fuzz


def read_scene(path: Path) -> None:
    """Rows of the scene whose file was damaged."""
    reader = ScanNetReader(path.parents[2], Options(stride=1))
    for row in reader.read(reader.units()[0]):
        row()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A release of one small frame; the label archive is not compressed well, so its structure is hit often."""
    raw = tmp_path / "small"
    folder = raw / "scans" / TRAIN
    folder.mkdir(parents=True)
    labels = np.random.default_rng(0).integers(0, 41, (12, 16)).astype(np.uint16)
    color = codec.encode_color(torch.full((3, 12, 16), 99, dtype=torch.uint8))
    depth = np.full((12, 16), 2000, np.uint16)
    (folder / f"{TRAIN}.sens").write_bytes(sens_bytes([(np.eye(4), color, depth)], (12, 16), INTRINSICS))
    write_zip(folder / f"{TRAIN}_2d-label-filt.zip", {"label-filt/0.png": png_bytes(raw_ids(labels))})
    write_tsv(raw)
    return raw


@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_label_archives_are_read_or_refused(small: Path, count: int) -> None:
    folder = small / "scans" / TRAIN
    original = small / f"{TRAIN}_2d-label-filt.zip"
    shutil.move(folder / original.name, original)
    assert zipfile.is_zipfile(original)
    assert_survives(original, count, read_scene, folder, seed=count)

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.frames import FrameFolderReader
from rgbd3d.data.readers.sequences import UNIT_ROWS
from rgbd3d.data.schema import encode_sample, write_shard
from rgbd3d.data.sources import open_source
from tests.data.readers.frame_files import all_rows, matrix_text, png, rows_of
from tests.data.readers.mutations import assert_survives


def assert_same_samples(folder: Path, tmp_path: Path, indices) -> None:
    """Rows of the reader, written as Parquet, are the samples of the folder, bit for bit."""
    reader = FrameFolderReader(folder)
    lazy = [row for unit in reader.units() for row in reader.read(unit)]
    source = open_source(folder)
    assert len(lazy) == len(source)
    write_shard(tmp_path / "train-0.parquet", (encode_sample(lazy[i]()) for i in indices), reader.label_space)
    prepared = open_source(tmp_path)
    assert (prepared.columns, prepared.label_space) == (source.columns, source.label_space)
    for position, index in enumerate(indices):
        theirs, ours = source[index], prepared[position]
        assert theirs.keys() == ours.keys()
        for key, value in theirs.items():
            same = torch.equal(value, ours[key]) if isinstance(value, torch.Tensor) else value == ours[key]
            assert same, (index, key)
            assert not isinstance(value, torch.Tensor) or value.dtype == ours[key].dtype


def test_video_segments_are_prepared_bit_for_bit(rgbd_frames, tmp_path):
    assert_same_samples(rgbd_frames / "frames7", tmp_path, range(0, 410, 13))


def test_labelled_frames_are_prepared_bit_for_bit(rgbd_frames, tmp_path):
    assert_same_samples(rgbd_frames / "labelled" / "nyuv2_train795", tmp_path, range(0, 795, 40))


def test_instances_are_prepared_bit_for_bit(rgbd_frames, tmp_path):
    assert_same_samples(rgbd_frames / "labelled" / "osd_learn", tmp_path, range(0, 45, 9))


def test_original_files_are_kept(rgbd_frames):
    folder = rgbd_frames / "frames7" / "7scenes_redkitchen_a"
    unit, *_ = (reader := FrameFolderReader(folder)).units()
    row = next(reader.read(unit))()
    assert row["image"] == (folder / "color" / "000000.jpg").read_bytes()
    assert row["depth"] == (folder / "depth_reg" / "000000.png").read_bytes()


def test_units_are_stretches_of_segments(rgbd_frames):
    reader = FrameFolderReader(rgbd_frames / "frames7")
    names = [(unit.name, unit.split, unit.rows) for unit in reader.units()]
    assert names == [
        ("7scenes_redkitchen_a", "train", 150),
        ("7scenes_redkitchen_b", "train", 80),
        ("7scenes_redkitchen_c", "train", 80),
        ("sun3d_lounge_a", "train", 50),
        ("sun3d_lounge_b", "train", 50),
    ]
    long = FrameFolderReader(rgbd_frames / "labelled" / "nyuv2_train795").units()
    assert [unit.name for unit in long] == [f"nyuv2_train795-{start:06d}" for start in range(0, 795, UNIT_ROWS)]
    assert [unit.rows for unit in long] == [256, 256, 256, 27]


def test_stride_counts_within_each_segment(rgbd_frames):
    reader = FrameFolderReader(rgbd_frames / "frames7", Options(stride=60))
    frames = [(unit.name, row()["frame_id"]) for unit in reader.units() for row in reader.read(unit)]
    assert [frame for name, frame in frames if name.endswith("kitchen_a")] == [0, 60, 120]
    assert [frame for name, frame in frames if name.endswith("lounge_b")] == [3160]


def test_another_label_space_can_be_chosen(rgbd_frames):
    folder = rgbd_frames / "labelled" / "nyuv2_train795"
    reader = FrameFolderReader(folder, Options(label_space="nyu13", stride=100))
    assert reader.label_space == "nyu13"
    for row in rows_of(reader, reader.units()[0]):
        ids = png(folder / "label13" / f"{row['frame_id']:04d}.png").astype(np.int64)
        assert np.array_equal(row["semantic"].numpy(), np.where(ids == 0, 255, ids - 1))
    with pytest.raises(DataError, match="not every segment has labels of nyu40"):
        FrameFolderReader(rgbd_frames / "frames7", Options(label_space="nyu40"))


def save(folder: Path, depth: np.ndarray, count: int = 2, **more: str) -> Path:
    for index in range(count):
        for kind, pixels in (("color", np.zeros((*depth.shape, 3), np.uint8)), ("depth", depth)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{index}.png")
    for name, text in more.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_changed_depth_is_decoded(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    depth[0, 0] = 65535
    (first, *_) = all_rows(FrameFolderReader(save(tmp_path / "a", depth)))
    assert first["depth"].flatten()[:2].tolist() == [0, 1.5]


def test_folders_named_after_splits_are_splits(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    save(tmp_path / "val" / "b", depth)
    save(tmp_path / "train" / "b", depth, count=3)
    units = FrameFolderReader(tmp_path).units()
    assert [(unit.split, unit.name, unit.source, unit.rows) for unit in units] == [
        ("train", "b", "train/b", 3),
        ("val", "b", "val/b", 2),
    ]


def test_only_what_all_segments_have_is_given(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    save(tmp_path / "a", depth, intrinsics=matrix_text(np.diag([9, 9, 1])))
    save(tmp_path / "b", depth)
    assert {frozenset(row) for row in all_rows(FrameFolderReader(tmp_path))} == {
        frozenset({"image", "depth", "scene_id", "frame_id"})
    }


def test_bad_frames_concern_their_row_only(tmp_path):
    poses = "\n".join(f"{i} " + " ".join(map(str, np.eye(4).flatten() * scale)) for i, scale in enumerate((1, 1, -1)))
    folder = save(tmp_path / "a", np.full((6, 8), 1500, np.uint16), count=3, poses=poses)
    (folder / "color" / "0.png").write_bytes(b"not an image")
    (unit,) = (reader := FrameFolderReader(folder)).units()
    first, good, upside_down = reader.read(unit)
    with pytest.raises(DataError, match=r"color/0.png: not a readable"):
        first()
    assert good()["frame_id"] == 1
    with pytest.raises(DataError, match=r"poses.txt, for 2.png: the pose is no rigid motion"):
        upside_down()


def test_lost_tracking_is_a_bad_row(tmp_path):
    folder = save(tmp_path / "a", np.full((6, 8), 1500, np.uint16))
    (folder / "pose").mkdir()
    for index, value in enumerate((np.eye(4), np.full((4, 4), -np.inf))):
        (folder / "pose" / f"{index}.txt").write_text(matrix_text(value))
    (unit,) = (reader := FrameFolderReader(folder)).units()
    good, lost = reader.read(unit)
    assert good()["pose"].tolist() == np.eye(4).tolist()
    with pytest.raises(DataError, match=r"pose/1.txt: the pose has NaN or infinite"):
        lost()


def test_contradictions_are_refused_when_listed(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    with pytest.raises(DataError, match="no such file or folder"):
        FrameFolderReader(tmp_path / "missing")
    with pytest.raises(DataError, match="neither Parquet files nor frames"):
        FrameFolderReader(tmp_path)
    folder = save(tmp_path / "a", depth)
    (folder / "depth" / "1.png").unlink()
    with pytest.raises(DataError, match="2 colour images but 1 files in depth"):
        FrameFolderReader(tmp_path)
    shutil.rmtree(folder)
    for segment, name in (("a", "label40"), ("b", "label13")):
        save(tmp_path / segment, depth)
        shutil.copytree(tmp_path / segment / "depth", tmp_path / segment / name)
    with pytest.raises(DataError, match="different label spaces"):
        FrameFolderReader(tmp_path)


def test_a_damaged_segment_costs_one_unit(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    for name in ("a", "b"):
        save(tmp_path / name, depth)
    (tmp_path / "a" / "depth" / "1.png").unlink()
    reader = FrameFolderReader(tmp_path)
    bad, good = reader.units()
    assert (bad.name, bad.split, bad.rows) == ("a", "train", 1)
    with pytest.raises(DataError, match="2 colour images but 1 files in depth"):
        reader.read(bad)
    assert len(rows_of(reader, good)) == 2


@pytest.mark.parametrize(("label", "message"), [(40, None), (41, r"label40/0.png: labels from 0 to 41.* ends at 40")])
def test_class_ids_beyond_the_label_space_are_refused(tmp_path, label, message):
    save(tmp_path / "a", np.full((6, 8), 1500, np.uint16), count=1)
    labels = np.zeros((6, 8), np.uint8)
    labels[0, 0] = label
    (tmp_path / "a" / "label40").mkdir()
    Image.fromarray(labels).save(tmp_path / "a" / "label40" / "0.png")
    if message is None:
        (row,) = all_rows(FrameFolderReader(tmp_path))
        assert row["semantic"].flatten()[:2].tolist() == [39, 255]
    else:
        with pytest.raises(DataError, match=message):
            all_rows(FrameFolderReader(tmp_path))


def test_no_folder_beside_the_splits_vanishes(tmp_path):
    depth = np.full((6, 8), 1500, np.uint16)
    for name in ("train/s1", "validation/s2", "s3"):
        save(tmp_path / name, depth)
    with pytest.raises(DataError, match=r"\['s3'\] beside \['train', 'validation'\]: of which split"):
        FrameFolderReader(tmp_path)
    shutil.rmtree(tmp_path / "s3")
    assert [(unit.split, unit.name) for unit in FrameFolderReader(tmp_path).units()] == [("train", "s1"), ("val", "s2")]
    save(tmp_path / "val" / "s4", depth)
    with pytest.raises(DataError, match="'val' and 'validation' are the same split"):
        FrameFolderReader(tmp_path)


def test_numbers_beyond_64_bits_are_no_frame_ids(tmp_path):
    folder = save(tmp_path / "a", np.full((6, 8), 1500, np.uint16))
    for kind in ("color", "depth"):
        (folder / kind / "1.png").rename(folder / kind / f"{'9' * 25}.png")
    rows = all_rows(FrameFolderReader(folder))
    assert [row["frame_id"] for row in rows] == [0, 1]
    write_shard(tmp_path / "train-0.parquet", map(encode_sample, rows))


def test_files_that_went_away_are_noticed(tmp_path):
    folder = save(tmp_path / "a", np.full((6, 8), 1500, np.uint16))
    (unit,) = FrameFolderReader(folder).units()
    for kind in ("color", "depth"):
        (folder / kind / "1.png").unlink()
    with pytest.raises(DataError, match="1 frames, but 2 were there"):
        FrameFolderReader(folder).read(unit)


@pytest.mark.parametrize("name", ["color/0.png", "depth/0.png", "poses.txt", "intrinsics.txt"])
@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_survived(tmp_path, name, count):
    poses = "".join(f"{index} {' '.join(map(str, np.eye(4).flatten()))}\n" for index in range(2))
    depth = np.random.default_rng(0).integers(500, 4000, (24, 32)).astype(np.uint16)
    folder = save(tmp_path / "a", depth, poses=poses, intrinsics=matrix_text(np.diag([30, 30, 1])))
    original = Path(shutil.copy(folder / name, tmp_path))
    assert_survives(original, count, lambda copy: all_rows(FrameFolderReader(folder)), (folder / name).parent)

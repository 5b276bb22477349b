"""The same frames from every kind of source, bit by bit: Parquet here and on the Hub, a folder of frames, rendered."""

import hashlib
import io
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hub_folders import publish
from huggingface_hub import HfFileSystem
from PIL import Image

from rgbd3d.cards import Augment
from rgbd3d.data.codec import DataError
from rgbd3d.data.loader import make_loader
from rgbd3d.data.schema import write_shard
from rgbd3d.data.sources import open_source
from rgbd3d.data.synthrooms import source as synthrooms
from rgbd3d.data.synthrooms.render import LABEL_SPACE
from rgbd3d.data.synthrooms.write import write_dataset

pytest_plugins = ["hub_fixtures"]

SCENES, FRAMES, SIZE = 3, 4, (24, 32)
RENDERED = f"synthrooms?scenes={SCENES}&frames={FRAMES}&size={SIZE[1]}x{SIZE[0]}"


@pytest.fixture(autouse=True)
def fresh_file_system():
    """Instances of a file system are shared in a process, and would remember the server of another test."""
    HfFileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("parquet")
    write_dataset(folder, "train", SCENES, FRAMES, SIZE, workers=1, scenes_per_shard=2)
    return folder


@pytest.fixture(scope="module")
def rows(parquet) -> list[dict]:
    return [row for path in sorted(parquet.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def frame_folder(rows, tmp_path_factory) -> Path:
    """The stored files of the rows in the plain layout, a segment per room."""
    folder = tmp_path_factory.mktemp("frames")
    for row in rows:
        segment, name = folder / row["scene_id"], f"{row['frame_id']:06d}"
        for column, file in (("image", f"color/{name}.jpg"), ("depth", f"depth/{name}.png")):
            put(segment / file, row[column]["bytes"])
        put(segment / f"instance/{name}.png", row["instance"]["bytes"])
        put(segment / f"label40/{name}.png", class_ids(row["semantic"]["bytes"]))
        with (segment / "poses.txt").open("a") as poses:
            poses.write(f"{name} {' '.join(map(str, row['pose']))}\n")
        (segment / "intrinsics.txt").write_text(" ".join(map(str, row["intrinsics"])))
    return folder


def class_ids(train_ids: bytes) -> bytes:
    """Train ids with 255 = ignore -> class ids from 1 with 0 = unlabelled."""
    pixels, buffer = np.array(Image.open(io.BytesIO(train_ids))), io.BytesIO()
    Image.fromarray(pixels + np.uint8(1)).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def same(source, reference) -> bool:
    assert source.columns == reference.columns
    assert source.label_space == reference.label_space
    assert len(source) == len(reference) == SCENES * FRAMES
    return all(equal(source[index], reference[index]) for index in range(len(reference)))


def equal(one: dict, other: dict) -> bool:
    def same_value(name: str) -> bool:
        left, right = one[name], other[name]
        if isinstance(left, torch.Tensor):
            return left.dtype == right.dtype and torch.equal(left, right)
        return left == right

    return one.keys() == other.keys() and all(same_value(name) for name in one)


# ------------------------------------------------------------------------------------------------------- equal samples


def test_a_hub_repository_at_a_revision(hub, parquet, tmp_path):
    first = publish(hub, parquet, name="me/rooms", kind="datasets").oid
    put(tmp_path / "later/train-0.parquet", (parquet / "train-00000-of-00002.parquet").read_bytes())
    publish(hub, tmp_path / "later", name="me/rooms", kind="datasets")
    assert same(open_source(f"hf://datasets/me/rooms@{first}"), open_source(parquet))


def test_a_folder_of_frames(frame_folder, parquet):
    assert same(open_source(frame_folder), open_source(parquet))


def test_rendered_on_the_fly(parquet):
    assert same(open_source(RENDERED), open_source(parquet))


@pytest.mark.parametrize("every", [2, 3])
def test_every_kth_frame(every, parquet, frame_folder):
    references = open_source(parquet, every=every)
    for spec in (RENDERED, frame_folder):
        source = open_source(spec, every=every)
        assert len(source) == len(references)
        assert all(equal(source[index], references[index]) for index in range(len(references)))


@pytest.mark.parametrize("rooms", ["compact", "deep"])
def test_splits_are_those_of_the_written_rooms(tmp_path, rooms):
    write_dataset(tmp_path, "val", 1, 1, SIZE, workers=1, rooms=rooms)
    rendered = open_source(f"synthrooms?scenes=1&frames=1&size=32x24&rooms={rooms}", split="val")
    assert equal(rendered[0], open_source(tmp_path, split="val")[0])


# ----------------------------------------------------------------------------------------------------------- rendering


def test_a_room_is_rendered_once(monkeypatch):
    rendered = []
    rows = synthrooms.scene_rows
    monkeypatch.setattr(synthrooms, "scene_rows", lambda *settings: rendered.append(settings[1]) or rows(*settings))
    source = open_source(RENDERED, columns=["frame_id"])
    for index in (0, 5, 1, 9, 4, 2, 11):
        assert source[index]["frame_id"] == index % FRAMES
    assert sorted(rendered) == [0, 1, 2]
    monkeypatch.setattr(synthrooms, "WINDOW", 1)
    for index in (0, 5, 9, 0):
        source[index]
    assert len(source._rooms) <= 3


def test_rendered_sources_differ_in_their_digest():
    sources = [open_source(RENDERED), open_source(RENDERED, every=2), open_source(RENDERED, split="val")]
    sources += [open_source("synthrooms?scenes=3&frames=4"), open_source("synthrooms?scenes=4&frames=4")]
    sources += [open_source(f"{RENDERED}&rooms=deep")]
    assert len({source.digest() for source in sources}) == 6
    assert open_source(RENDERED).digest() == sources[0].digest()


def test_the_digest_of_compact_rooms_is_what_it_was_before_there_were_deep_ones():
    settings = "RenderSettings(split='train', scenes=3, frames_per_scene=4, size=(240, 320), cameras='views', "
    known = f"{settings}scenes_per_shard=32, renderer=2) every 1"
    assert open_source("synthrooms?scenes=3&frames=4").digest() == hashlib.sha256(known.encode()).hexdigest()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthrooms?frames=2", "scenes, frames, size and rooms are known"),
        ("synthrooms?scenes=2&walls=2", "scenes, frames, size and rooms are known"),
        ("synthrooms?scenes=2&rooms=tall", "rooms are compact or deep, not 'tall'"),
        ("synthrooms?scenes=two", "two"),
        ("synthrooms?scenes=0", "must be positive"),
        ("synthrooms?scenes=1&size=24", "cannot be rendered"),
        ("synthrooms?", "cannot be rendered"),
    ],
)
def test_what_cannot_be_rendered_is_refused(spec, message):
    with pytest.raises(DataError, match=message):
        open_source(spec)


def test_rendered_rooms_have_no_other_split_column_or_unit():
    with pytest.raises(DataError, match="no split 'dev'"):
        open_source(RENDERED, split="dev")
    with pytest.raises(DataError, match=r"has no \['class_id'\]"):
        open_source(RENDERED, columns=["image", "class_id"])
    with pytest.raises(ValueError, match="units_per_metre is for folders of frames"):
        open_source(RENDERED, units_per_metre=5000)


# ------------------------------------------------------------------------------------------------ what is not asked for


def test_columns_that_nobody_asked_for_are_not_decoded(rows, frame_folder, tmp_path):
    """Their bytes are rubbish, and nobody notices."""
    maps = ("depth", "semantic", "instance")
    damaged = [{**row, **{name: {"bytes": b"rubbish", "path": None} for name in maps}} for row in rows]
    write_shard(tmp_path / "parquet/train-0.parquet", damaged, LABEL_SPACE)
    for path in frame_folder.rglob("*"):
        if path.is_file():
            rubbish = path.parent.name in ("depth", "label40", "instance")
            put(tmp_path / "frames" / path.relative_to(frame_folder), b"rubbish" if rubbish else path.read_bytes())
    for folder in ("parquet", "frames"):
        source = open_source(tmp_path / folder, columns=["image", "pose", "frame_id"])
        assert all(set(source[index]) == {"image", "pose", "frame_id"} for index in range(len(source)))
        with pytest.raises(DataError):
            open_source(tmp_path / folder, columns=["image", "depth"])[0]


# ---------------------------------------------------------------------------------------------------------- sharding


@pytest.mark.parametrize("start", [0, 4])
def test_ranks_and_workers_share_every_epoch_exactly(parquet, start):
    """12 frames in batches of 8, two ranks with two workers each; resumed in the third epoch, read up to the fifth."""
    batch, batches = 8, 8
    loaders = [
        make_loader(
            open_source(parquet, columns=["image"]), Augment(), SIZE,
            batch_size=batch, seed=3, start=start, rank=rank, world=2, workers=2,
        )
        for rank in range(2)
    ]  # fmt: skip
    shares = zip(*(islice(loader, batches - start) for loader in loaders), strict=True)
    stream = [index for share in shares for part in share for index in part["index"].tolist()]
    frames = SCENES * FRAMES
    skipped = -start * batch % frames
    epochs = [stream[at : at + frames] for at in range(skipped, len(stream) - frames + 1, frames)]
    assert len(epochs) >= 2
    assert all(Counter(epoch) == Counter(range(frames)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)

"""Which frames protocols accept, and what they say about others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_frames import MadeUpFrames

from rgbd3d.data import catalog
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.evaluation.protocols_base import Frames
from rgbd3d.evaluation.protocols_scored import SCORED_PROTOCOLS, find_scored, protocol_table

LABELLED = ("image", "semantic")
REPOSITORY = Path(__file__).parents[2]


def blank(size=(4, 6), label=0):
    def make(_: int) -> dict:
        return {
            "image": torch.zeros(3, *size, dtype=torch.uint8),
            "depth": torch.ones(1, *size),
            "semantic": torch.full(size, label),
        }

    return make


@pytest.fixture
def nyu13():
    return Frames(
        data_set="nyuv2",
        split="test",
        columns=LABELLED,
        label_space="nyu13",
        count=5,
        numbers={0: 1, 4: 9},
        size=(4, 6),
    )


def test_frames_that_fit(nyu13):
    source = MadeUpFrames(nyu13, blank())
    nyu13.check(source)
    assert source.read == [0, 4]  # no more than is needed
    assert nyu13.read(source, 2).keys() == {"image", "semantic", "frame_id"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "clips"}, "for the test split of nyuv2; made-up holds clips"),
        ({"columns": ("image", "depth")}, "made-up has no semantic, only image, depth, frame_id"),
        ({"label_space": "ade20k150"}, "whose labels it scores as nyu13; those of made-up are ade20k150"),
        ({"label_space": None}, "those of made-up are of no known label space"),
        ({"count": 6}, "5 frames; made-up has 6"),
        ({"make": blank((2, 3))}, "frame 0: 3 x 2 pixels; this protocol is for frames of 6 x 4: prepare them without"),
        ({"make": lambda i: blank()(i) | {"frame_id": i}}, "frame_id at position 0 of made-up is 0, but 1 is there"),
        ({"make": lambda i: {k: v for k, v in blank()(i).items()} | {"frame_id": None}}, "made-up is None, but 1"),
    ],
    ids=["kind", "column", "label space", "no label space", "count", "size", "numbers", "no numbers"],
)
def test_frames_that_do_not_fit(nyu13, change, message):
    with pytest.raises(ValueError, match=message):
        nyu13.check(MadeUpFrames(nyu13, **({"make": blank()} | change)))


def test_other_strides_are_refused():
    frames = Frames(data_set="scannet", split="val", columns=LABELLED, label_space="scannet20", every=100)
    frames.check(MadeUpFrames(frames, blank()))
    with pytest.raises(
        ValueError,
        match="made-up, frame 1: frame_id is 25; this protocol is for the val split of scannet, every 100th frame: "
        "prepare it with --stride 100",
    ):
        frames.check(MadeUpFrames(frames, lambda index: blank()(index) | {"frame_id": 25 * index}))


def test_other_strides_are_refused_where_first_and_last_frame_fit():
    frames = SCORED_PROTOCOLS["scannet-semseg/40"].frames
    source = MadeUpFrames(frames, lambda index: blank((480, 640))(index) | {"frame_id": 25 * index}, count=13)
    assert source[12]["frame_id"] == 300
    frames.check(source)
    with pytest.raises(ValueError, match=r"made-up, frame 3: frame_id is 75; .* prepare it with --stride 100"):
        [frames.read(source, index) for index in (0, 4, 3)]


def test_frames_before_the_first_scored_one_are_needed(nyu13):
    held_out = replace(nyu13, count=None, numbers={}, first=5)
    with pytest.raises(ValueError, match="made-up has 5"):
        held_out.check(MadeUpFrames(held_out, blank(), count=5))


@pytest.mark.parametrize(
    ("target", "name", "expected"),
    [("nyu13", "bed", "bed"), ("nyu13", "night stand", "furniture"), ("scannet20", "bathtub", "bathtub")],
)
def test_labels_of_nyu40_say_those_of_smaller_spaces(nyu13, target, name, expected):
    frames = replace(nyu13, label_space=target)
    source = MadeUpFrames(frames, blank(label=class_names("nyu40").index(name)), label_space="nyu40")
    frames.check(source)
    assert (frames.read(source, 0)["semantic"] == class_names(target).index(expected)).all()


@pytest.mark.parametrize("space", ["nyu13", "nyu40"])
def test_labels_out_of_range_are_refused(nyu13, space):
    source = MadeUpFrames(nyu13, blank(label=40), label_space=space)
    with pytest.raises(DataError, match=rf"made-up, frame \?/9: labels 40 are none of the \d+ classes of {space}"):
        nyu13.read(source, 4)


# ------------------------------------------------------------------------------------------------------ the address


def as_prepared(folder: Path, data_set: str) -> Path:
    (folder / "manifest.json").write_text(json.dumps({"settings": {"data_set": data_set}}))
    return folder


def test_another_split_is_refused_where_there_are_splits(nyu13, tmp_path):
    for folder in ("parquet", "frames/train", "alone/color"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "parquet/train-00000-of-00001.parquet").touch()
    for spec in ("parquet", "frames"):
        nyu13.check_address(tmp_path / spec, "test")
        with pytest.raises(ValueError, match="for the test split of nyuv2, not for train"):
            nyu13.check_address(tmp_path / spec, "train")
    for spec in ("hf://datasets/me/nyuv2", "synthrooms?scenes=1"):
        with pytest.raises(ValueError, match="not for train"):
            nyu13.check_address(spec, "train")
    nyu13.check_address(tmp_path / "alone", "train")
    nyu13.check_address(tmp_path / "parquet/train-00000-of-00001.parquet", "train")


def test_another_data_set_is_refused_where_its_name_is_known(nyu13, tmp_path):
    (tmp_path / "test-00000-00.parquet").touch()
    nyu13.check_address(tmp_path, "test")
    nyu13.check_address(as_prepared(tmp_path, "nyuv2"), "test")
    as_prepared(tmp_path, "sunrgbd")
    for spec in (tmp_path, tmp_path / "test-00000-00.parquet"):
        with pytest.raises(ValueError, match=r"for the test split of nyuv2; .* holds sunrgbd"):
            nyu13.check_address(spec, "test")


def test_frames_that_were_not_rendered_are_no_rooms(nyu13, tmp_path):
    rooms = Frames(data_set="synthrooms", split="test", columns=("image", "depth"))
    shard = tmp_path / "test-00000-of-00001.parquet"
    shard.touch()
    rooms.check_address("synthrooms?scenes=1", "test")
    for spec in (tmp_path, shard):
        with pytest.raises(ValueError, match=r"`rgbd3d data render --split test` writes; .* was not rendered"):
            rooms.check_address(spec, "test")
    (tmp_path / "test-manifest.json").write_text(json.dumps({"settings": {"renderer": 2}, "shards": []}))
    for spec in (tmp_path, shard):
        rooms.check_address(spec, "test")
        with pytest.raises(ValueError, match=r"for the test split of nyuv2; .* holds synthrooms"):
            nyu13.check_address(spec, "test")


def test_ones_own_frames_may_come_from_anywhere(tmp_path):
    own = Frames(data_set="frames", split="test", columns=("image", "depth"))
    (tmp_path / "test-00000-00.parquet").touch()
    own.check_address(tmp_path, "test")
    own.check_address(as_prepared(tmp_path, "sunrgbd"), "test")
    with pytest.raises(ValueError, match="for the test split of frames, not for train"):
        own.check_address("hf://datasets/me/mine", "train")


@pytest.mark.parametrize("label", [255, class_names("nyu40").index("pillow")])
def test_what_a_smaller_space_does_not_have_is_ignored(nyu13, label):
    frames = replace(nyu13, label_space="scannet20")
    source = MadeUpFrames(frames, blank(label=label), label_space="nyu40")
    assert (frames.read(source, 0)["semantic"] == 255).all()


def test_translation_leaves_the_source_alone(nyu13):
    source = MadeUpFrames(nyu13, blank(label=39), label_space="nyu40")
    sample = source[0]
    source.make = lambda _: sample
    nyu13.read(source, 0)
    assert (sample["semantic"] == 39).all()


# ------------------------------------------------------------------------------------------------------------ the table


def test_the_official_test_split_of_nyuv2(golden):
    official = json.loads((golden / "label_maps.json").read_text())["nyuv2_test_indices_1based"]
    for name in ("nyuv2-semseg/40", "nyuv2-semseg/13", "nyuv2-depth/eigen", "nyuv2-instances/pri3d"):
        frames = SCORED_PROTOCOLS[name].frames
        assert frames.count == len(official)
        assert {position: official[position] for position in frames.numbers} == dict(frames.numbers)


@pytest.mark.parametrize("name", SCORED_PROTOCOLS)
def test_every_protocol_states_its_facts(name):
    protocol = SCORED_PROTOCOLS[name]
    assert protocol.frames.data_set in catalog.CATALOG
    assert protocol.facts().keys() >= {"data", "task", "view", "augmentation"}
    assert protocol.description.endswith(".")
    assert f"| `{name}` |" in protocol_table()
    assert find_scored(name) is protocol


def test_the_documentation_lists_them():
    assert protocol_table() in (REPOSITORY / "docs/evaluate.md").read_text(), "paste protocol_table() between the marks"


def test_unknown_names():
    with pytest.raises(
        ValueError, match=r"unknown protocol 'nyuv2-depth/eigne'; there are: .*; did you mean 'nyuv2-depth/eigen"
    ):
        find_scored("nyuv2-depth/eigne")
    with pytest.raises(ValueError, match="there are: scannet-semseg/official"):
        find_scored("x")

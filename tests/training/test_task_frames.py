"""Data, protocol and card of a fine-tuning have to fit each other, and what is wrong is told before training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny_task
import torch

from rgbd3d.cards import Card, Evaluation, Render
from rgbd3d.data.codec import DataError
from rgbd3d.data.loader import make_loader
from rgbd3d.data.transforms import preset
from rgbd3d.evaluation import protocols_scored
from rgbd3d.evaluation.metrics import names
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.tasks import InstanceSegmentation
from rgbd3d.training.batches import TrainBatches
from rgbd3d.training.task_frames import open_task_frames

DEPTH, SEMANTIC = tiny_task.DEPTH, tiny_task.SEMANTIC
INSTANCES = dataclasses.replace(
    SEMANTIC,
    task="instance-segmentation",
    objective=InstanceSegmentation(labels="nyu40", classes=find_scored("frames-instances/37").class_ids),
    evaluation=Evaluation(protocol="frames-instances/37", metric="mask_ap", every=1),
)


@pytest.fixture(scope="module")
def data(data: Path) -> str:
    return str(data)


def with_data(card: Card, **changes: object) -> Card:
    return dataclasses.replace(card, data=dataclasses.replace(card.data, **changes))


def with_evaluation(card: Card, **changes: object) -> Card:
    return dataclasses.replace(card, evaluation=dataclasses.replace(card.evaluation, **changes))


def held_out(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    """A protocol that scores the end of the training split."""
    protocol = protocols_scored.SCORED_PROTOCOLS[tiny_task.DEPTH_PROTOCOL]
    frames = dataclasses.replace(protocol.frames, split="train", first=first)
    changed = {tiny_task.DEPTH_PROTOCOL: dataclasses.replace(protocol, frames=frames)}
    monkeypatch.setattr(protocols_scored, "SCORED_PROTOCOLS", changed)


def test_trains_on_one_split_and_scores_another(data: str):
    frames = open_task_frames(DEPTH, data)
    assert [len(frames.train), len(frames.scored)] == [tiny_task.FRAMES, tiny_task.SCORED]
    assert set(frames.train.columns) == {"image", "scene_id", "frame_id", "depth"}
    assert open_task_frames(SEMANTIC, data).train.label_space == "nyu40"


def test_chooses_frames_and_then_a_share_of_them(data: str):
    card = with_data(DEPTH, frames=(5, 10), label_share=0.4)
    chosen = [sample["frame_id"] for sample in open_task_frames(card, data).train]
    assert len(chosen) == 2
    assert set(chosen) <= {5, 6, 7, 8, 9}
    more = [sample["frame_id"] for sample in open_task_frames(with_data(card, label_share=0.8), data).train]
    assert set(chosen) < set(more)


def test_frames_beyond_the_data(data: str):
    with pytest.raises(ValueError, match=r"data\.frames of .* is \[0, 675\], but .* has 10 frames in its train split"):
        open_task_frames(with_data(DEPTH, frames=(0, 675)), data)


def test_frames_that_are_scored_are_not_trained_on(data: str, monkeypatch: pytest.MonkeyPatch):
    held_out(monkeypatch, first=7)
    with pytest.raises(ValueError, match=r"frames 7 to 9 of .* would be trained on.*set data\.frames=\[0, 7\]"):
        open_task_frames(DEPTH, data)
    with pytest.raises(ValueError, match=r"frames 7 to 7 of"):
        open_task_frames(with_data(DEPTH, frames=(0, 8)), data)
    assert len(open_task_frames(with_data(DEPTH, frames=(0, 7)), data).train) == 7
    with pytest.raises(ValueError, match=r"data\.every has to be 1"):
        open_task_frames(with_data(DEPTH, frames=(0, 3), every=2), data)
    held_out(monkeypatch, first=0)
    with pytest.raises(ValueError, match=r"scores all of .*: none of it is left"):
        open_task_frames(DEPTH, data)


@pytest.mark.parametrize("every", [1, 2])
def test_one_file_is_not_both_splits(data: str, every: int):
    with pytest.raises(ValueError, match=r"scores all of .*: none of it is left"):
        open_task_frames(with_data(DEPTH, every=every), str(Path(data) / "train-00000-of-00001.parquet"))


def test_a_metric_that_the_protocol_has_not_or_that_has_no_best(data: str, monkeypatch: pytest.MonkeyPatch):
    message = r"evaluation\.metric: frames-depth/full has no 'miou'; it has .*delta1"
    with pytest.raises(ValueError, match=message):
        open_task_frames(with_evaluation(DEPTH, metric="miou"), data)
    monkeypatch.setattr(names, "NAMES", {})  # all that are shipped have a direction
    with pytest.raises(ValueError, match=r"neither a higher nor a lower abs_rel is better; choose one"):
        open_task_frames(with_evaluation(DEPTH), data)


def test_labels_of_another_label_space(tmp_path: Path):
    coarse = tiny_task.write_frames(tmp_path, label_space="nyu13")
    card = with_evaluation(SEMANTIC, protocol="nyuv2-semseg/13")
    with pytest.raises(
        ValueError, match=r"predicts the 40 classes of nyu40, but nyuv2-semseg/13 scores the 13 .* nyu13"
    ):
        open_task_frames(card, str(coarse))
    with pytest.raises(ValueError, match=r"scores as nyu40; those of .* are nyu13"):
        open_task_frames(SEMANTIC, str(coarse))


def test_training_labels_of_another_label_space_than_the_scored_ones(data: str, tmp_path: Path):
    tiny_task.write_frames(tmp_path, label_space="nyu13", splits=["train"])
    tiny_task.write_frames(tmp_path, splits=["test"])
    message = r"semseg-tiny does not fit .*: the 40 classes of nyu40 are wanted, but .* of the 13 classes of nyu13"
    with pytest.raises(ValueError, match=message):
        open_task_frames(SEMANTIC, str(tmp_path))


def test_a_protocol_of_another_task_or_unknown(data: str):
    with pytest.raises(ValueError, match=r"depth-tiny is for depth-estimation, but .*semseg/40 scores semantic-seg"):
        open_task_frames(with_evaluation(DEPTH, protocol=tiny_task.SEMANTIC_PROTOCOL), data)
    with pytest.raises(ValueError, match=r"unknown protocol 'frames-depht/full'.*did you mean 'frames-depth/full'"):
        open_task_frames(with_evaluation(DEPTH, protocol="frames-depht/full"), data)


def test_a_protocol_on_the_wrong_data_set(data: str):
    with pytest.raises(ValueError, match=r"for the train split of nyuv2.*795 frames; .* has 10"):
        open_task_frames(with_evaluation(DEPTH, protocol="nyuv2-train795-depth/full"), data)
    with pytest.raises(
        DataError, match=r"scannet-semseg/40 scores the val split of scannet: .*found \['test', 'train'\]"
    ):
        open_task_frames(with_evaluation(SEMANTIC, protocol="scannet-semseg/40"), data)


def test_frames_that_were_not_rendered_are_no_rooms(data: str):
    with pytest.raises(ValueError, match=r"`rgbd3d data render --split test` writes; .* was not rendered"):
        open_task_frames(with_evaluation(DEPTH, protocol="synthrooms-depth/full"), data)


def test_labels_without_an_object_say_nothing_to_a_detector(tmp_path: Path):
    def without_objects(sample):
        return sample | {"instance": torch.zeros_like(sample["instance"])}

    def of_a_wall(sample):
        return sample | {"semantic": torch.zeros_like(sample["semantic"])}

    for number, change in enumerate((without_objects, of_a_wall)):
        data = tiny_task.write_frames(tmp_path / str(number), change=change)
        with pytest.raises(ValueError, match=r"none of the 10 frames of .* has an object of its 37 classes \(columns"):
            open_task_frames(INSTANCES, str(data))


def test_other_classes_of_objects_than_the_scored_ones(data: str):
    card = dataclasses.replace(INSTANCES, objective=InstanceSegmentation(labels="nyu40", classes=(1, 3)))
    with pytest.raises(ValueError, match=r"finds objects of the classes \(1, 3\), but .* scores \(2, 3,"):
        open_task_frames(card, data)


def test_a_card_of_pre_training(data: str):
    with pytest.raises(ValueError, match=r"mask3d-vitt-tiny is no fine-tuned model; .*rgbd3d pretrain"):
        open_task_frames(tiny_task.tiny.CARD, data)


@pytest.mark.parametrize(
    ("card", "change", "message"),
    [
        (DEPTH, tiny_task.without_depth, "none of the 10 frames of .* has a measured depth"),
        (SEMANTIC, tiny_task.without_labels, "none of the 10 frames of .* has a labelled pixel"),
    ],
    ids=["depth", "labels"],
)
def test_data_that_say_nothing_about_the_task(card: Card, change, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        open_task_frames(card, str(tiny_task.write_frames(tmp_path, change=change)))


def test_batches_are_made_by_the_transform_of_the_recipe(data: str):
    source = open_task_frames(SEMANTIC, data).train
    size, train = SEMANTIC.backbone.image_size, SEMANTIC.train
    batch = next(iter(TrainBatches(source, SEMANTIC, first_step=0, rank=0, world=1, workers=0)))
    make = {"batch_size": train.batch_size, "seed": train.seed, "start": 0, "rank": 0, "world": 1, "workers": 0}
    expected, augmented = (
        next(iter(make_loader(source, how, size, **make))) for how in (preset("pri3d", size), SEMANTIC.data.augment)
    )
    torch.testing.assert_close(batch["image"], expected["image"])
    assert not torch.equal(augmented["image"], expected["image"])


def test_one_frame_that_says_something_is_enough(tmp_path: Path):
    def only_the_last(sample):
        return sample if sample["frame_id"] == tiny_task.FRAMES - 1 else tiny_task.without_depth(sample)

    frames = open_task_frames(DEPTH, str(tiny_task.write_frames(tmp_path, change=only_the_last)))
    assert not torch.any(frames.train[0]["depth"] > 0)


def test_columns_that_are_not_there(tmp_path: Path):
    def unlabelled(sample):
        return {key: value for key, value in sample.items() if key != "semantic"}

    with pytest.raises(DataError, match="semantic"):
        open_task_frames(SEMANTIC, str(tiny_task.write_frames(tmp_path, change=unlabelled)))


def test_rendered_rooms_are_scored_in_other_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    render = Render(scenes=1, frames_per_scene=2, size=(24, 32))
    card = with_data(DEPTH, source="synthrooms", render=render)
    with pytest.raises(
        ValueError, match=r"says nothing of the frames that frames-depth/full scores.*evaluation\.render"
    ):
        open_task_frames(card, None)
    frames = open_task_frames(with_evaluation(card, render=render), None)
    assert [len(frames.train), len(frames.scored)] == [2, 2]
    assert frames.train[0]["scene_id"] != frames.scored[0]["scene_id"]

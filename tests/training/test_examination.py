"""What is remembered of evaluations, and which one counts as the best."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_task
import torch
from torch import nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from rgbd3d.cards import Evaluation, Render
from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.training.examination import EVALUATIONS, Examination
from rgbd3d.training.recipe import RECIPE, evaluation_steps, run_identity
from rgbd3d.training.task_loss import TaskLoss
from rgbd3d.training.trainer import RecipeTrainer


class Constant(nn.Module):
    """Predicts one depth everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.metres = nn.Parameter(torch.ones(1))

    def predict(self, images, size=None):
        self.size = size
        return self.metres.detach().expand(len(images), 1, *images.shape[-2:])


@pytest.fixture
def source(tmp_path: Path):
    return open_source(tiny_task.write_frames(tmp_path / "frames"), split="test")


def examination(source, output: Path, metric: str = "rmse") -> Examination:
    name = tiny_task.DEPTH_PROTOCOL
    evaluation = Evaluation(protocol=name, metric=metric, every=1)
    return Examination(Constant(), evaluation, find_scored(name), source, [2, 4], output)


def examine_at(exam: Examination, *metres: float) -> None:
    for step, value in enumerate(metres):
        nn.init.constant_(exam._network.metres, value)
        exam.examine(step)


def save_checkpoint(exam: Examination, output: Path, step: int) -> None:
    (output / f"checkpoint-{step}").mkdir()
    arguments = TrainingArguments(output_dir=str(output), use_cpu=True)
    exam.on_save(arguments, TrainerState(global_step=step), TrainerControl())


def test_the_best_and_its_weights(source, tmp_path: Path):
    exam = examination(source, tmp_path)
    examine_at(exam, 9.0, 2.0, 2.0, 3.0)
    assert exam.best is exam.found[1], "the first of equals"
    assert exam.best_weights["metres"].item() == 2.0
    lines = [json.loads(line) for line in (tmp_path / EVALUATIONS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert lines[1]["metrics"] == exam.best.metrics

    upwards = examination(source, tmp_path, "delta1")
    examine_at(upwards, 9.0, 2.0, 3.0)
    assert upwards.best is upwards.found[1]


def test_the_network_is_shown_what_the_protocol_asks_for(source, tmp_path: Path):
    exam = examination(source, tmp_path)
    exam.examine(0)
    assert exam._network.size is None
    exam.protocol = dataclasses.replace(exam.protocol, windows=2)
    exam.examine(1)
    assert exam._network.size == "height"


def test_frames_that_the_protocol_leaves_to_training_are_not_scored(source, tmp_path: Path, monkeypatch):
    exam = examination(source, tmp_path)
    frames = dataclasses.replace(exam.protocol.frames, first=1)
    exam.protocol = dataclasses.replace(exam.protocol, frames=frames)
    read, original = [], type(frames).read
    monkeypatch.setattr(
        type(frames), "read", lambda self, data, index: read.append(index) or original(self, data, index)
    )
    exam.examine(0)
    assert {*read} == {1, 2}


def test_frames_without_truth_are_named(source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    exam = examination(source, tmp_path)
    monkeypatch.setattr(exam, "_score", exam.protocol.meter)
    with pytest.raises(ValueError, match=rf"{exam.protocol.name} on .*frames: no valid depth was evaluated"):
        exam.examine(0)
    with pytest.raises(
        ValueError, match=r"^after step 7: .*no valid depth.*; if the network has diverged, lower train"
    ):
        exam.examine(7)


def test_a_damaged_frame_is_no_divergence(source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def damaged() -> None:
        raise DataError("frame 3 is damaged")

    exam = examination(source, tmp_path)
    monkeypatch.setattr(exam, "_score", damaged)
    with pytest.raises(DataError, match=r"^frame 3 is damaged$"):
        exam.examine(7)


@pytest.mark.parametrize("metric", ["rmse", "delta1"])
def test_a_number_that_is_none_is_the_worst(source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str):
    """Also once it was written and read back: JSON has no NaN, and a line without it is one for every reader."""
    exam = examination(source, tmp_path, metric)
    for step, value in enumerate((math.nan, 9.0, math.inf)):
        found = SimpleNamespace(compute=lambda value=value: {metric: value, "other": 1.0})
        monkeypatch.setattr(exam, "_score", lambda found=found: found)
        exam.examine(step)
    assert exam.best is exam.found[1]
    text = (tmp_path / EVALUATIONS).read_text()
    assert text.splitlines()[0] == f'{{"step": 0, "metrics": {{"{metric}": null, "other": 1.0}}}}'
    assert "NaN" not in text
    assert "Infinity" not in text
    save_checkpoint(exam, tmp_path, step=2)
    later = examination(source, tmp_path, metric)
    later.restore(tmp_path / "checkpoint-2")
    assert later.best == exam.best
    assert [math.isnan(found.metrics[metric]) for found in later.found] == [True, False, True]
    assert (tmp_path / EVALUATIONS).read_text() == text


def test_a_checkpoint_knows_it_all(source, tmp_path: Path):
    exam = examination(source, tmp_path)
    examine_at(exam, 9.0, 2.0, 3.0)
    save_checkpoint(exam, tmp_path, step=2)
    later = examination(source, tmp_path)
    later.restore(tmp_path / "checkpoint-2")
    assert (later.found, later.best) == (exam.found, exam.best)
    assert later.best_weights.keys() == exam.best_weights.keys() == {"metres"}
    assert later.best_weights["metres"].item() == 2.0


def test_asks_for_an_evaluation_at_its_steps(source, tmp_path: Path):
    exam, arguments = examination(source, tmp_path), TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    asked = []
    for step in range(1, 6):
        control = TrainerControl()
        exam.on_step_end(arguments, TrainerState(global_step=step), control)
        asked.append(control.should_evaluate)
    assert asked == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("batch", "frames", "every", "steps", "expected"),
    [
        (4, 10, 1, 5, [3, 5]),
        (4, 12, 1, 6, [3, 6]),
        (4, 10, 2, 12, [5, 10, 12]),
        (4, 100, 1, 3, [3]),
        (32, 10, 1, 2, [1, 2]),
    ],
)
def test_evaluations_are_due_after_whole_epochs_and_at_the_end(batch, frames, every, steps, expected):
    train = tiny_task.tiny.with_train(tiny_task.DEPTH, batch_size=batch).train
    assert evaluation_steps(train, frames, every, steps) == expected


def test_runs_of_before_there_were_tasks_go_on():
    """The identity of a pre-training run is what it was before cards had these fields."""
    identity = run_identity(tiny_task.tiny.CARD, "d", None, 1)
    assert identity.keys() == {*RECIPE, "data_digest", "start_digest", "processes"} - {"task", "evaluation"}
    assert identity["data"].keys() == {"source", "split", "every", "render", "augment"}
    assert "layer_decay" not in identity["train"]
    assert "scale_depth" not in identity["data"]["augment"]
    task = run_identity(tiny_task.DEPTH, "d", None, 1)
    assert "scale_depth" not in task["data"]["augment"]
    assert task["train"]["layer_decay"] == 0.75
    assert task["evaluation"]["metric"] == "abs_rel"
    assert task["data"]["frames"] is None


@pytest.mark.parametrize(("rooms", "said"), [("compact", {}), ("deep", {"rooms": "deep"})])
def test_runs_of_before_there_were_deep_rooms_go_on(rooms, said):
    render = Render(scenes=1, frames_per_scene=2, size=(24, 32), rooms=rooms)
    data = dataclasses.replace(tiny_task.DEPTH.data, source="synthrooms", render=render)
    identity = run_identity(dataclasses.replace(tiny_task.DEPTH, data=data), "d", None, 1)
    assert identity["data"]["render"] == {"scenes": 1, "frames_per_scene": 2, "size": [24, 32]} | said


def test_layers_learn_at_their_own_rates_and_the_step_draws_for_itself(source, tmp_path: Path):
    from rgbd3d.downstream.start import initial_network

    network = initial_network(tiny_task.DEPTH)
    loss = TaskLoss(network).train()
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, max_steps=1)
    trainer = RecipeTrainer(loss, tiny_task.DEPTH, source, arguments, first_step=0, workers=0)
    rates = sorted({group["lr"] for group in trainer.create_optimizer().param_groups})
    assert rates == pytest.approx([1e-3 * 0.75**layer for layer in range(13, -1, -1)])

    batch = {"image": torch.randn(2, 3, 32, 48), "depth_metres": 1 + torch.rand(2, 1, 32, 48)}
    before = torch.get_rng_state()
    first, again, other = (loss(generator=torch.Generator().manual_seed(seed), **batch).loss for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other), "drop path"
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"

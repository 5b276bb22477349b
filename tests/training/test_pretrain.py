"""What a run leaves behind, what it refuses, and how it stops."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import tiny_run as tiny
import torch
from safetensors.torch import load_file

import rgbd3d
from rgbd3d.cards import CardError, Measured, Render, dump, load_card
from rgbd3d.cli import main
from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source
from rgbd3d.methods import build_method
from rgbd3d.registry import NoWeightsError
from rgbd3d.training import trainer
from rgbd3d.training.curves import read_curve
from rgbd3d.training.frames import rendered
from rgbd3d.training.guard import NonFiniteError
from rgbd3d.training.logbook import read_log
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.provenance import changed_since, read_starts
from rgbd3d.training.recipe import Pace
from rgbd3d.training.resume import ResumeError, latest_complete

EVERY_STEP = Pace(log_every=1)


@pytest.fixture(scope="module")
def run(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps in bf16, from a card with a number of somebody else's weights."""
    measured = Measured(
        task="depth", dataset="d", protocol="p", metric="m", mean=1.0, seeds=1, command="rgbd3d evaluate"
    )
    card = dataclasses.replace(tiny.CARD, measured=(measured,))
    output = tmp_path_factory.mktemp("run")
    overrides = ("train.max_steps=4", "train.precision=bf16")
    assert pretrain(card, str(frames), output, overrides, device="cpu", pace=EVERY_STEP) == output / "final"
    return output


def test_leaves_log_curve_and_state(run: Path, frames: Path):
    log = read_log(run)
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    assert set(log[0]) == {"step", "loss", "loss_depth", "lr", "grad_norm", "images_per_s", "eta_s"}
    assert read_curve(run / "curve.txt") == {line["step"]: line["loss"] for line in log}
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    state = json.loads((run / "train_state.json").read_text())
    assert state["card"]["train"]["max_steps"] == 4
    assert state["overrides"] == ["train.max_steps=4", "train.precision=bf16"]
    assert state["data_digest"] == open_source(frames, columns=("image", "depth", "scene_id", "frame_id")).digest()
    assert state["versions"]["torch"] == torch.__version__.split("+")[0]
    assert state["threads"] == 1


def test_exports_a_model_with_its_own_card(run: Path):
    card = load_card(run / "final" / "card.yaml")
    assert (card.train.max_steps, card.train.precision) == (4, "bf16")
    assert card.measured == ()
    trained = latest_complete(run)
    assert trained is not None
    weights = load_file(trained.folder / "model.safetensors")
    exported = rgbd3d.from_pretrained(run / "final", task="pretraining").method.state_dict()
    assert exported.keys() == weights.keys()
    assert all(torch.equal(exported[name], weights[name]) for name in weights)


def test_a_finished_run_is_only_exported_again(run: Path):
    before = (run / "final" / "model.safetensors").read_bytes(), read_log(run)
    card = load_card(run / "final" / "card.yaml")
    data = json.loads((run / "train_state.json").read_text())["data"]
    pretrain(card, data, run, device="cpu", pace=EVERY_STEP)
    assert ((run / "final" / "model.safetensors").read_bytes(), read_log(run)) == before


def test_another_recipe_other_data_and_no_resume_are_refused(run: Path, frames: Path, tmp_path: Path):
    recipe = ("train.max_steps=4", "train.precision=bf16")
    with pytest.raises(ResumeError, match=r"train\.optimizer\.lr: 0\.001 then, 0\.5 now"):
        pretrain(tiny.CARD, str(frames), run, (*recipe, "train.optimizer.lr=0.5"), device="cpu")
    other = tiny.write_frames(tmp_path, count=9)
    with pytest.raises(ResumeError, match="data_digest"):
        pretrain(tiny.CARD, str(other), run, recipe, device="cpu")
    with pytest.raises(ResumeError, match="holds a run at step 4"):
        pretrain(tiny.CARD, str(frames), run, recipe, device="cpu", resume=False)


def test_starts_from_given_weights(frames: Path, tmp_path: Path):
    torch.manual_seed(1)
    start = build_method(tiny.CARD)
    overrides = ("train.max_steps=1", "train.schedule.warmup=1.0")  # the first step of a warm-up has learning rate 0
    folder = pretrain(tiny.CARD, str(frames), tmp_path, overrides, start=start, device="cpu")
    exported = load_file(folder / "pretraining" / "model.safetensors")
    assert all(torch.equal(exported[name], value) for name, value in start.state_dict().items())


def test_starts_from_the_backbone_of_another_run(run: Path, frames: Path, tmp_path: Path):
    overrides = ["train.max_steps=1", "train.schedule.warmup=1.0"]
    sets = [word for override in overrides for word in ("--set", override)]
    card = tmp_path / "card.yaml"
    card.write_text(dump(tiny.CARD))
    words = ["pretrain", str(card), *sets, "--data", str(frames), "--device", "cpu", "--output", str(tmp_path / "b")]
    assert main([*words, "--start", str(run / "final")]) == 0
    exported, start = (load_file(folder / "final" / "model.safetensors") for folder in (tmp_path / "b", run))
    assert all(torch.equal(exported[name], value) for name, value in start.items())
    found = load_card(tmp_path / "b" / "final" / "card.yaml")
    assert found.start is not None
    assert (found.init, found.start.model) == (None, "final")
    with pytest.raises(ResumeError, match="start_digest"):
        pretrain(tiny.CARD, str(frames), tmp_path / "b", overrides, device="cpu")
    with pytest.raises(
        ValueError, match=r"has the backbone vit_tiny .* but mask3d-vitt-synthrooms, .* has another one"
    ):
        pretrain(tiny.CARD, str(frames), tmp_path / "c", device="cpu", start="mask3d-vitt-synthrooms")


def test_stops_early_with_the_schedule_of_the_whole_run(frames: Path, tmp_path: Path):
    folder = pretrain(tiny.CARD, str(frames), tmp_path, device="cpu", pace=Pace(log_every=1, stop_after=2))
    assert folder == tmp_path / "checkpoint-2"
    assert not (tmp_path / "final").exists()
    warmup = round(0.1 * tiny.STEPS)
    assert read_log(tmp_path)[1]["lr"] == pytest.approx(1e-3 * min(1, 1 / warmup))


def test_the_curve_has_no_line_of_a_part_of_its_steps(frames: Path, tmp_path: Path):
    for stop_after in (5, None):
        pace = Pace(log_every=3, stop_after=stop_after)
        pretrain(tiny.CARD, str(frames), tmp_path / "stopped", device="cpu", pace=pace)
    pretrain(tiny.CARD, str(frames), tmp_path / "whole", device="cpu", pace=Pace(log_every=3))
    stopped, whole = (read_curve(tmp_path / run / "curve.txt") for run in ("stopped", "whole"))
    assert sorted(whole) == [1, 3, 6, 9]
    assert [line["step"] for line in read_log(tmp_path / "stopped")] == [1, 3, 6, 9]
    assert stopped == {step: loss for step, loss in whole.items() if step != 6}


def test_every_start_that_made_the_weights_is_kept(
    frames: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def go_on(stop_after: int) -> str:
        caplog.clear()
        pretrain(tiny.CARD, str(frames), tmp_path, device="cpu", pace=Pace(stop_after=stop_after))
        return caplog.text

    with caplog.at_level(logging.WARNING, logger="rgbd3d"):
        assert go_on(1) == ""
        assert go_on(2) == ""
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
        assert "another) " not in go_on(2), "nothing is left to train"
        assert re.search(r"continuing where sums are rounded differently \(CPU: \S+ -> another\)", go_on(3))
    starts = read_starts(tmp_path)
    assert [start["continued_at"] for start in starts] == [None, 1, 2]
    assert all(start["versions"]["torch"] and start["command"] and start["started"] for start in starts)
    changed = {**starts[1], "device": "cuda:0", "versions": {"torch": "0.0"}}
    assert [line.split(":")[0] for line in changed_since(starts[0], changed)] == ["device", "torch"]


def test_wrong_overrides_name_the_field_and_the_nearest(frames: Path, tmp_path: Path):
    with pytest.raises(CardError, match="max_steps"):
        pretrain(tiny.CARD, str(frames), tmp_path, ("train.max_step=3",))
    with pytest.raises(CardError, match=r"train\.batch_size should be an integer"):
        pretrain(tiny.CARD, str(frames), tmp_path, ("train.batch_size=many",))
    with pytest.raises(CardError, match="keep_rgb"):
        pretrain(tiny.CARD, str(frames), tmp_path, ("objective.keep_rgb=2.0",))


def test_data_that_cannot_be_rendered_has_to_be_brought(tmp_path: Path):
    with pytest.raises(ValueError, match=r"made up, which cannot be redistributed.*--data"):
        pretrain(tiny.CARD, None, tmp_path / "run")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        pretrain(tiny.CARD, str(tmp_path / "nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_init_without_weights_is_never_a_random_start(frames: Path, tmp_path: Path):
    card = dataclasses.replace(tiny.CARD, init="mae-vitb-imagenet")
    with pytest.raises(NoWeightsError, match=r"init=null"):
        pretrain(card, str(frames), tmp_path, device="cpu")


def test_renders_what_the_card_asks_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    render = Render(scenes=2, frames_per_scene=2, size=(32, 48))
    card = dataclasses.replace(tiny.CARD, data=dataclasses.replace(tiny.CARD.data, source="synthrooms", render=render))
    written = []
    for run in ("a", "b"):
        pretrain(card, None, tmp_path / run, ("train.max_steps=1",), device="cpu")
        (shard,) = (tmp_path / "cache").rglob("*.parquet")
        written.append(shard.stat().st_mtime_ns)
    assert written[0] == written[1]
    assert json.loads((tmp_path / "a" / "train_state.json").read_text())["frames"] == 4


@pytest.mark.parametrize("rooms", ["compact", "deep"])
def test_rooms_are_rendered_as_the_card_says(rooms: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = rendered("val", Render(scenes=1, frames_per_scene=1, size=(24, 32), rooms=rooms))
    assert json.loads((folder / "val-manifest.json").read_text())["settings"]["rooms"] == rooms
    assert folder.name == {"compact": "val-1x1-24x32-r2", "deep": "val-1x1-24x32-deep-r2"}[rooms]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_is_that_of_the_precision(
    precision: str, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    quick = trainer.quick_attention
    monkeypatch.setattr(trainer, "quick_attention", lambda *how: asked.append(how) or quick(*how))
    steps = ("train.max_steps=2", f"train.precision={precision}")
    pretrain(tiny.CARD, str(frames), tmp_path / "run", steps, device="cpu")
    assert set(asked) == {(precision, "cpu")}


def test_a_loss_that_is_not_finite_stops_with_frames_and_state(frames: Path, tmp_path: Path):
    """A learning rate that overflows the weights."""
    rate = ("train.optimizer.lr=1e38", "train.clip_grad_norm=null", "train.schedule.warmup=0.0")
    with pytest.raises(NonFiniteError) as error:
        pretrain(tiny.CARD, str(frames), tmp_path / "run", rate, device="cpu", pace=EVERY_STEP)
    step = len(read_log(tmp_path / "run"))
    assert f"at step {step}" in str(error.value)
    assert "the last checkpoint: none yet" in str(error.value)
    (folder,) = (tmp_path / "run").glob("nonfinite-step-*")
    report = json.loads((folder / "report-0.json").read_text())
    assert report["step"] == step
    source = open_source(frames)
    known = {f"{source[i]['scene_id']}/{source[i]['frame_id']}" for i in range(len(source))}
    assert set(report["frames"]) <= known
    assert len(report["frames"]) in (4, 8)
    assert all(name in str(error.value) for name in report["frames"])
    batches = load_file(folder / "batches-0.safetensors")
    assert sum(len(value) for name, value in batches.items() if name.endswith(".image")) == len(report["frames"])
    assert load_file(folder / "model-0.safetensors").keys() == build_method(tiny.CARD).state_dict().keys()


@pytest.mark.parametrize(
    ("send", "number"), [(os.kill, signal.SIGINT), (os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM)]
)
def test_a_signal_saves_and_stops(
    processes: ForkServerContext,
    frames: Path,
    tmp_path: Path,
    send: Callable[[int, int], None],
    number: signal.Signals,
):
    card = tiny.with_train(tiny.CARD, max_steps=1000)
    process = processes.Process(target=tiny.train_as_group, args=(card, frames, tmp_path, 2))
    process.start()
    while not read_log(tmp_path):
        assert process.is_alive()
        time.sleep(0.01)
    send(process.pid, number)
    process.join()
    assert process.exitcode == 1, "pretrain raises KeyboardInterrupt"
    stopped = latest_complete(tmp_path)
    assert stopped is not None
    assert 1 <= stopped.step == read_log(tmp_path)[-1]["step"] < 1000

"""What a fine-tuning leaves behind, that it goes on exactly wherever it was killed, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import tiny_task
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

import rgbd3d
from rgbd3d.cards import CardError, License, Start, dump, load_card
from rgbd3d.cli import main
from rgbd3d.data.codec import DataError
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.metrics import DepthMeter, names
from rgbd3d.evaluation.metrics.depth import METRICS
from rgbd3d.evaluation.models import check_same_recipe
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.evaluation.result import Result
from rgbd3d.evaluation.score import score
from rgbd3d.registry import NoWeightsError
from rgbd3d.training import finetune as finetune_module
from rgbd3d.training.curves import read_curve
from rgbd3d.training.examination import EVALUATIONS, Examination
from rgbd3d.training.finetune import finetune
from rgbd3d.training.logbook import read_log
from rgbd3d.training.pretrain import pretrain
from rgbd3d.training.recipe import Pace
from rgbd3d.training.resume import MARKER, ResumeError, latest_complete

DEPTH, SEMANTIC = tiny_task.DEPTH, tiny_task.SEMANTIC
MODELS = [Path(name, "model.safetensors") for name in ("final", "best")]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nothing interrupted."""
    output = tmp_path_factory.mktemp("run")
    result = finetune(DEPTH, str(data), output, device="cpu", pace=Pace(log_every=1, save_every=tiny_task.SAVE_EVERY))
    assert result == Result.load(output / "result.json")
    return output


def written(output: Path) -> dict[str, bytes]:
    """What has to be the same however often a run was killed."""
    return {str(path): (output / path).read_bytes() for path in (*MODELS, Path(EVALUATIONS))}


def evaluations(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / EVALUATIONS).read_text().splitlines()]


def test_leaves_log_curve_numbers_and_state(run: Path, data: Path):
    assert [line["step"] for line in read_log(run)] == [1, 2, 3, 4, 5]
    assert set(read_log(run)[0]) == {"step", "loss", "loss_log-l1", "lr", "grad_norm", "images_per_s", "eta_s"}
    assert max(line["lr"] for line in read_log(run)) == pytest.approx(1e-3), "that of the head"
    assert read_curve(run / "curve.txt") == {line["step"]: line["loss"] for line in read_log(run)}
    assert [line["step"] for line in evaluations(run)] == [0, 3, 5]
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert any((run / "runs").rglob("events.out.tfevents.*"))
    state = json.loads((run / "train_state.json").read_text())
    assert (state["frames"], state["steps"]) == (tiny_task.FRAMES, tiny_task.STEPS)


def test_numbers_are_those_of_the_exported_models(run: Path, data: Path):
    result, found = Result.load(run / "result.json"), evaluations(run)
    assert result.runs == (found[-1]["metrics"],)
    assert (result.model, result.protocol, result.seeds) == (DEPTH.name, tiny_task.DEPTH_PROTOCOL, (0,))
    assert (result.pretrained, result.checkpoints) == (False, (str(run / "final"),))
    assert result.data.frames == tiny_task.SCORED
    best = min(found, key=lambda line: line["metrics"]["abs_rel"])["metrics"]
    source = open_source(data, split="test")
    for folder, metrics in (("final", found[-1]["metrics"]), ("best", best)):
        model: Any = rgbd3d.from_pretrained(run / folder)
        again = score(find_scored(tiny_task.DEPTH_PROTOCOL), source, model.predict).compute()
        assert again == pytest.approx(metrics, rel=1e-6), "equal up to the number of threads a kernel takes"
        (measured,) = load_card(run / folder / "card.yaml").measured
        assert (measured.protocol, measured.metric) == (tiny_task.DEPTH_PROTOCOL, "abs_rel")
        assert (measured.mean, measured.seeds) == (metrics["abs_rel"], 1)
    last, chosen = (load_card(run / folder / "card.yaml") for folder in ("final", "best"))
    assert last.measured[0].command == f"rgbd3d finetune {DEPTH.name} --data {data} --output {run}"
    scored = f"rgbd3d evaluate {run / 'best'} --protocol {tiny_task.DEPTH_PROTOCOL} --data {data}"
    assert chosen.measured[0].command == scored
    assert "chosen on the frames that are scored: their number is too good" in chosen.departures[-1]


def test_learns_with_a_transform_and_a_frozen_backbone(data: Path, tmp_path: Path):
    start = finetune(
        SEMANTIC, str(data), tmp_path / "a", ("train.max_steps=1", "train.schedule.warmup=1.0"), device="cpu"
    )
    overrides = ("objective.freeze_backbone=true", "train.max_steps=30", "train.optimizer.lr=0.02")
    after = finetune(SEMANTIC, str(data), tmp_path / "b", (*overrides, "train.layer_decay=1.0"), device="cpu")
    assert start is not None
    assert after is not None
    assert after.mean("pixel_accuracy") > start.mean("pixel_accuracy") + 10
    backbones = [load_file(tmp_path / run / "final" / "backbone" / "model.safetensors") for run in ("a", "b")]
    assert all(torch.equal(value, backbones[1][name]) for name, value in backbones[0].items())


def test_batches_without_any_truth_are_finite(tmp_path: Path):
    def only_the_first(blank: Callable[[dict], dict]) -> Callable[[dict], dict]:
        return lambda sample: sample if sample["frame_id"] == 0 else blank(sample)

    overrides = ("train.max_steps=3", "train.batch_size=1")
    for card, blank in ((DEPTH, tiny_task.without_depth), (SEMANTIC, tiny_task.without_labels)):
        data = tiny_task.write_frames(tmp_path / card.name, change=only_the_first(blank))
        finetune(card, str(data), tmp_path / f"{card.name}-run", overrides, device="cpu", pace=Pace(log_every=1))
        log = read_log(tmp_path / f"{card.name}-run")
        assert sum(line["loss"] == 0 for line in log) >= 2
        assert all(torch.isfinite(torch.tensor(line["loss"])) for line in log)


def test_seeds_in_one_call_and_finished_ones_not_again(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    overrides = ("train.max_steps=2",)
    one = finetune(DEPTH, str(data), tmp_path, overrides, seeds=[1], device="cpu")
    assert one is not None
    assert one.std("abs_rel") is None
    before = (tmp_path / "seed-1" / "log.jsonl").stat().st_mtime_ns
    capsys.readouterr()
    both = finetune(DEPTH, str(data), tmp_path, overrides, seeds=[0, 1], device="cpu", recipe="my/depth.yaml")
    assert (tmp_path / "seed-1" / "log.jsonl").stat().st_mtime_ns == before
    assert both == Result.load(tmp_path / "result.json")
    assert both is not None
    assert both.seeds == (0, 1)
    assert both.runs[1] == one.runs[0] != both.runs[0]
    assert both.std("abs_rel") is not None
    typed = f"rgbd3d finetune my/depth.yaml --data {data} --set train.max_steps=2"
    assert both.command == f"{typed} --seeds 0 1 --output {tmp_path}"
    cards = [load_card(tmp_path / f"seed-{seed}" / "final" / "card.yaml") for seed in (0, 1)]
    assert [card.train.seed for card in cards] == [0, 1]
    assert cards[1].measured[0].command == f"{typed} --seeds 1 --output {tmp_path}"
    check_same_recipe(cards)
    out = capsys.readouterr().out
    assert "abs_rel at the end" in out
    mean = next(line for line in out.splitlines() if line.strip().startswith("mean"))
    assert f"{both.mean('abs_rel'):.4g} ± {both.std('abs_rel'):.2g}" in mean

    last = out.splitlines()[-1]
    assert last.startswith("next: rgbd3d evaluate ")
    assert main(shlex.split(last.removeprefix("next: rgbd3d "))) == 0
    (scored,) = (tmp_path / "evaluation").glob("*.json")
    assert Result.load(scored).mean("abs_rel") == pytest.approx(both.mean("abs_rel"), rel=1e-4)
    assert (scored.with_suffix("") / "index.html").is_file()


def test_stops_early_without_a_result_and_goes_on(data: Path, run: Path, tmp_path: Path):
    pace = Pace(log_every=1, save_every=tiny_task.SAVE_EVERY)
    assert finetune(DEPTH, str(data), tmp_path, device="cpu", pace=dataclasses.replace(pace, stop_after=4)) is None
    assert not (tmp_path / "result.json").exists()
    assert not (tmp_path / "final").exists()
    finetune(DEPTH, str(data), tmp_path, device="cpu", pace=pace)
    assert written(tmp_path) == written(run)


def after_step(step: int) -> Callable[[Path], bool]:
    return lambda output: (log := read_log(output)) != [] and log[-1]["step"] >= step


def while_saving(step: int) -> Callable[[Path], bool]:
    return lambda output: (folder := output / f"checkpoint-{step}").is_dir() and not (folder / MARKER).exists()


def after_evaluation(step: int) -> Callable[[Path], bool]:
    return lambda output: (output / EVALUATIONS).is_file() and evaluations(output)[-1]["step"] >= step


def while_exporting(output: Path) -> bool:
    return any(output.glob(".best.*/new/model.safetensors"))


@pytest.mark.parametrize(
    ("workers", "moments"),
    [
        (0, [after_evaluation(0), while_saving(2), after_evaluation(3), while_exporting]),
        pytest.param(2, [after_step(3), while_saving(4), after_evaluation(5)], marks=pytest.mark.slow),
    ],
)
def test_killed_at_every_kind_of_moment(
    processes: ForkServerContext,
    data: Path,
    run: Path,
    tmp_path: Path,
    workers: int,
    moments: list[Callable[[Path], bool]],
):
    for moment in moments:
        process = processes.Process(target=tiny_task.finetune, args=(DEPTH, data, tmp_path, workers))
        process.start()
        while not moment(tmp_path):
            assert process.is_alive(), "ended before the moment to kill it"
            time.sleep(0.0005)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    process = processes.Process(target=tiny_task.finetune, args=(DEPTH, data, tmp_path, workers))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert written(tmp_path) == written(run)
    assert Result.load(tmp_path / "result.json").runs == Result.load(run / "result.json").runs
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5]


def test_the_best_so_far_survives_when_what_follows_is_worse(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The largest error is that before the first step; the run is continued after it."""
    monkeypatch.setattr(names, "NAMES", {"abs_rel": names.Name("AbsRel", "", True, 3)})  # upside down
    pace = Pace(log_every=1, save_every=1)
    for stop_after in (4, None):
        finetune(DEPTH, str(data), tmp_path, device="cpu", pace=dataclasses.replace(pace, stop_after=stop_after))
    found = evaluations(tmp_path)
    best = max(found, key=lambda line: line["metrics"]["abs_rel"])
    assert best["step"] == 0, "else this tests nothing"
    (measured,) = load_card(tmp_path / "best" / "card.yaml").measured
    assert measured.mean == best["metrics"]["abs_rel"]
    trained = latest_complete(tmp_path)
    assert trained is not None
    kept, exported = load_file(trained.folder / "best.safetensors"), load_file(tmp_path / MODELS[1])
    assert all(torch.equal(value, kept[name]) for name, value in exported.items())


def test_another_recipe_other_data_and_no_resume_are_refused(run: Path, data: Path, tmp_path: Path):
    for change, message in (
        ("train.layer_decay=0.5", r"train\.layer_decay: 0\.75 then, 0\.5 now"),
        ("objective.drop_path=0.0", r"objective\.drop_path: 0\.3 then, 0\.0 now"),
        ("evaluation.metric=rmse", r"evaluation\.metric: 'abs_rel' then, 'rmse' now"),
        ("data.frames=[0, 9]", r"data\.frames: None then, \[0, 9\] now"),
    ):
        with pytest.raises(ResumeError, match=message):
            finetune(DEPTH, str(data), run, (change,), device="cpu")
    other = tiny_task.write_frames(tmp_path / "other", frames=9)
    with pytest.raises(ResumeError, match="data_digest"):
        finetune(DEPTH, str(other), run, device="cpu")
    rescored = tiny_task.write_frames(tmp_path / "rescored", splits=["train"])
    tiny_task.write_frames(rescored, label_space="nyu13", splits=["test"])
    with pytest.raises(ResumeError, match="scored_digest"):
        finetune(DEPTH, str(rescored), run, device="cpu")
    with pytest.raises(ResumeError, match="holds a run at step 5"):
        finetune(DEPTH, str(data), run, device="cpu", resume=False)


def test_runs_of_one_folder_are_of_one_recipe(run: Path, data: Path, tmp_path: Path):
    """Else the seeds of a folder could not be put together."""
    finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), seeds=[1], device="cpu")
    kept = (tmp_path / "result.json").read_bytes()
    with pytest.raises(ResumeError, match=r"seed-1 holds another run at step 1.*\n.*max_steps: 1 then, 2 now"):
        finetune(DEPTH, str(data), tmp_path, ("train.max_steps=2",), seeds=[0], device="cpu")
    with pytest.raises(ResumeError, match=r"seed-1 holds a run at step 1"):
        finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), seeds=[0, 1], device="cpu", resume=False)
    with pytest.raises(ResumeError, match="holds runs by --seeds; give --seeds"):
        finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), device="cpu")
    with pytest.raises(ResumeError, match="holds a run without --seeds"):
        finetune(DEPTH, str(data), run, seeds=[0], device="cpu")
    assert (tmp_path / "result.json").read_bytes() == kept
    assert not (tmp_path / "seed-0").exists()


def test_an_interrupt_in_the_last_evaluation_is_heeded(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No step follows whose end could notice it, but the next seed would."""
    before, examine = signal.signal(signal.SIGINT, signal.default_int_handler), Examination.examine

    def interrupted(self: Examination, step: int) -> dict[str, float]:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return examine(self, step)

    monkeypatch.setattr(Examination, "examine", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt, match="seed-0; the same command continues"):
            finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), seeds=[0, 1], device="cpu")
        assert not (tmp_path / "seed-1").exists()
        finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), seeds=[0], device="cpu")
    finally:
        signal.signal(signal.SIGINT, before)


def test_labels_out_of_range_name_the_frame(tmp_path: Path):
    def one_is_wrong(sample: dict[str, Any]) -> dict[str, Any]:
        labels = sample["semantic"]
        return {**sample, "semantic": labels.where((labels == 255) | (sample["frame_id"] != 4), labels + 40)}

    data = tiny_task.write_frames(tmp_path / "data", change=one_is_wrong)
    with pytest.raises(DataError, match=r"frame scene0/4: labels 40.* are none of the 40 classes of nyu40"):
        finetune(SEMANTIC, str(data), tmp_path / "run", ("train.epochs=1",), device="cpu")


def test_an_unknown_metric_is_told_before_training(data: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"evaluation\.metric: frames-depth/full has no 'miou'"):
        finetune(DEPTH, str(data), tmp_path / "run", ("evaluation.metric=miou",), device="cpu")
    assert not (tmp_path / "run").exists()


def test_wrong_calls_leave_nothing_behind(data: Path, tmp_path: Path):
    output = tmp_path / "run"
    with pytest.raises(ValueError, match=r"no preset 'pri3dd'.*did you mean 'pri3d'"):
        finetune(SEMANTIC, str(data), output, ("data.transform=pri3dd",))
    with pytest.raises(CardError, match="layer_decay"):
        finetune(DEPTH, str(data), output, ("train.layer_decays=0.5",))
    with pytest.raises(ValueError, match=r"seeds should be different numbers, at least one, not \[1, 1\]"):
        finetune(DEPTH, str(data), output, seeds=[1, 1])
    with pytest.raises(ValueError, match="is no fine-tuned model"):
        finetune(tiny_task.tiny.CARD, str(data), output)
    with pytest.raises(ValueError, match="is a fine-tuned model; train it with `rgbd3d finetune"):
        pretrain(DEPTH, str(data), output)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        finetune(DEPTH, str(tmp_path / "nowhere"), output)
    assert not output.exists()


def test_an_init_without_weights_is_never_a_random_start(tmp_path: Path):
    output, unread = tmp_path / "run", str(tmp_path / "nowhere")
    with pytest.raises(NoWeightsError, match=r"mae-vitb-imagenet has no weights yet.*init=null"):
        finetune(dataclasses.replace(DEPTH, init="mae-vitb-imagenet"), unread, output, device="cpu")
    with pytest.raises(NoWeightsError, match="mae-vitb-imagenet has no weights yet"):
        finetune(DEPTH, unread, output, start="mae-vitb-imagenet", device="cpu")
    assert not output.exists()


def test_starts_from_a_given_backbone(run: Path, data: Path, tmp_path: Path):
    start = run / "final"
    overrides = ("train.max_steps=1", "train.schedule.warmup=1.0")  # the first step has learning rate 0
    result = finetune(DEPTH, str(data), tmp_path, overrides, start=start, device="cpu")
    assert result is not None
    assert result.pretrained
    assert f"--start {start} " in result.command
    exported, given = (load_file(folder / "backbone" / "model.safetensors") for folder in (tmp_path / "final", start))
    assert all(torch.equal(exported[name], value) for name, value in given.items())
    card = load_card(tmp_path / "final" / "card.yaml")
    digest = json.loads((tmp_path / "train_state.json").read_text())["start_digest"]
    assert (card.init, card.start) == (None, Start(digest=digest, model="final")), "where it lies is not published"
    assert str(start) not in " ".join((*card.departures, card.license.weights))
    again = finetune(DEPTH, str(data), tmp_path, overrides, start=start, device="cpu")
    assert again is not None
    assert again.runs == result.runs, "goes on"
    with pytest.raises(NoWeightsError, match="give it with `--start MODEL`"):
        finetune(card, str(data), tmp_path / "again", device="cpu")


def test_terms_of_the_start_are_in_the_card(run: Path, data: Path, tmp_path: Path):
    start = shutil.copytree(run / "final", tmp_path / "start")
    card = load_card(start / "card.yaml")
    (start / "card.yaml").write_text(dump(dataclasses.replace(card, license=License(weights="MIT", data="made up"))))
    terms = {}
    for kind in ("stated", "unknown"):
        finetune(DEPTH, str(data), tmp_path / kind, ("train.max_steps=1",), start=start, device="cpu")
        terms[kind] = load_card(tmp_path / kind / "final" / "card.yaml").license.weights
        (start / "card.yaml").unlink(missing_ok=True)
    assert terms["stated"] == "Apache-2.0, and those of start it starts from: MIT"
    assert terms["unknown"] == "Apache-2.0, and those of start it starts from: not stated"


def test_the_command_line_tells_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "depth.yaml").write_text(dump(DEPTH))
    typed: list[str] = []
    monkeypatch.setattr(finetune_module, "finetune", lambda *arguments, **options: typed.append(options["recipe"]))
    assert main(["finetune", str(tmp_path / "depth.yaml")]) == 0
    assert typed == [str(tmp_path / "depth.yaml")]


def test_several_gpus_are_for_several_processes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(ValueError, match=r"`torchrun --nproc-per-node 2 -m rgbd3d\.cli` in place of `rgbd3d`"):
        finetune(DEPTH, str(data), tmp_path, device="cpu")


def test_a_start_of_another_architecture_names_both(data: Path, tmp_path: Path):
    message = rf"{DEPTH.name} has the backbone .*, but mask3d-vitt-synthrooms, .* has another one \(12 blocks of width"
    with pytest.raises(ValueError, match=message):
        finetune(DEPTH, str(data), tmp_path, start="mask3d-vitt-synthrooms", device="cpu")


def test_metrics_that_are_no_number_cost_neither_models_nor_the_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    compute = DepthMeter.compute
    broken = {"abs_rel": math.nan, "silog": math.inf}
    monkeypatch.setattr(DepthMeter, "compute", lambda meter: compute(meter) | broken)
    monkeypatch.setattr(finetune_module, "versions", lambda device: {"device": device})
    result = finetune(DEPTH, str(data), tmp_path, ("train.max_steps=1",), seeds=[0, 1], device="cpu")
    assert result is not None
    assert result == Result.load(tmp_path / "result.json")
    assert result.versions == {"device": "cpu"}
    assert set(result.metrics) == {*METRICS} - set(broken)
    assert load_card(tmp_path / "seed-0" / "final" / "card.yaml").measured == ()

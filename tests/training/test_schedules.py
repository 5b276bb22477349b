import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rgbd3d.optimization import (
    Cosine,
    Exponential,
    MultiStep,
    Polynomial,
    RiseAndFall,
    Schedule,
    WarmupCosine,
    WarmupStableDecay,
)
from rgbd3d.strict_yaml import FieldError
from rgbd3d.training.schedules import build_schedule


def rates(schedule: Schedule, peak: float, steps: int, scale: float = 1.0) -> list[float]:
    """Learning rate that each of `steps` optimiser steps uses, in a group whose own peak is scaled."""
    group = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": scale * peak}
    optimizer = torch.optim.SGD([group], lr=peak)
    scheduler = build_schedule(schedule, optimizer, steps)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return used


def test_exponential_is_a_staircase():
    used = rates(Exponential(name="exponential", gamma=0.99, every=4), peak=0.1, steps=13)
    assert used == pytest.approx([0.1 * 0.99 ** (step // 4) for step in range(13)])


def test_cosine_is_mae_s_schedule(golden: Path):
    """MAE's half-cycle cosine, sampled at fractional epochs; ours ends at 0, so its floor is taken off."""
    about = json.loads((golden / "mae_optim" / "meta.json").read_text())["schedule"]
    peak, floor, warmup, epochs = (about[key] for key in ("lr", "min_lr", "warmup_epochs", "epochs"))
    table = json.loads((golden / "mae_optim" / "lr_schedule.json").read_text())
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    (factor,) = build_schedule(Cosine(name="cosine", warmup=warmup / epochs), optimizer, steps=epochs).lr_lambdas
    assert len(table) > 40
    for epoch, _, expected in table:
        expected = expected / peak if epoch < warmup else (expected - floor) / (peak - floor)
        assert factor(epoch) == pytest.approx(expected, abs=1e-9)


def test_warmup_stable_decay():
    used = rates(WarmupStableDecay(name="warmup-stable-decay", warmup=5, decay=0.25), peak=2.0, steps=40)
    expected = [2 * step / 5 for step in range(5)] + [2.0] * 25 + [2 * (1 - step / 10) for step in range(10)]
    assert used == pytest.approx(expected)


def test_phases_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"8 warm-up and 5 decay steps do not fit into 10"):
        rates(WarmupStableDecay(name="warmup-stable-decay", warmup=8, decay=0.5), peak=1.0, steps=10)


def test_cosine_without_warmup_starts_at_the_peak():
    used = rates(Cosine(name="cosine", warmup=0.0), peak=3.0, steps=8)
    assert used == pytest.approx([1.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)])


# ------------------------------------------------------------------------------------------------- fine-tuning


def test_warmup_cosine_is_multimae_s(golden: Path):
    about = json.loads((golden / "multimae_optim" / "meta.json").read_text())["schedule_args"]
    expected = load_file(golden / "multimae_optim" / "outputs.safetensors")["lr"].tolist()
    schedule = WarmupCosine(
        name="warmup-cosine",
        warmup=about["warmup_epochs"] / about["epochs"],
        start_lr=about["start_warmup_value"],
        end_lr=about["final_value"],
        peak="in-warmup",
    )
    steps = about["epochs"] * about["niter_per_ep"]
    assert rates(schedule, about["base_value"], steps) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    # Layer-wise decay multiplies the value of the schedule, its start and its floor included.
    scaled = rates(schedule, about["base_value"], steps, scale=0.3)
    assert scaled == pytest.approx([0.3 * lr for lr in expected], rel=1e-9, abs=1e-15)


def test_warmup_cosine_is_mae_s_fine_tuning(golden: Path):
    """Sampled at fractional epochs; second column: of a layer that learns half as fast."""
    about = json.loads((golden / "mae_optim" / "meta.json").read_text())["schedule"]
    peak, floor, warmup, epochs = (about[key] for key in ("lr", "min_lr", "warmup_epochs", "epochs"))
    table = json.loads((golden / "mae_optim" / "lr_schedule.json").read_text())
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": scale * peak} for scale in (0.5, 1.0)]
    optimizer = torch.optim.SGD(groups, lr=peak)
    schedule = WarmupCosine(name="warmup-cosine", warmup=warmup / epochs, end_lr=floor)
    scheduler = build_schedule(schedule, optimizer, steps=epochs)
    for epoch, *expected in table:
        ours = [base * factor(epoch) for base, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)]
        assert ours == pytest.approx(expected, rel=1e-9)


def test_warmup_cosine_without_floors_is_cosine():
    for warmup in (0.0, 0.25, 1.0):
        ours = rates(WarmupCosine(name="warmup-cosine", warmup=warmup), peak=2.0, steps=20)
        assert ours == pytest.approx(rates(Cosine(name="cosine", warmup=warmup), peak=2.0, steps=20))


def test_a_warmup_of_one_step_that_has_the_peak():
    schedule = WarmupCosine(name="warmup-cosine", warmup=0.1, start_lr=0.1, peak="in-warmup")
    assert rates(schedule, peak=1.0, steps=10)[:2] == [1.0, 1.0]


def test_rise_and_fall_is_mimdepth_s(golden: Path):
    about = json.loads((golden / "mimdepth_tta_lr" / "meta.json").read_text())
    expected = load_file(golden / "mimdepth_tta_lr" / "outputs.safetensors")["lr"].tolist()
    schedule = RiseAndFall(name="rise-and-fall", power=0.9, end_lr=about["min_lr"])
    ours = rates(schedule, about["max_lr"], about["epochs"] * about["iters_per_epoch"])
    assert ours == pytest.approx(expected, rel=1e-9)


def test_rise_and_fall_over_an_odd_number_of_epochs():
    """75 epochs rise for 37 and fall for 37; the last one stays at the floor (MeSa)."""
    used = rates(RiseAndFall(name="rise-and-fall", power=0.9, end_lr=0.1, rise=37 / 75), peak=1.0, steps=75)
    assert max(used) == used[36] == 1.0
    assert used[73:] == pytest.approx([0.1, 0.1])
    assert used[72] > 0.11
    assert used[0] == pytest.approx(0.1 + 0.9 * (1 / 37) ** 0.9)


def test_polynomial_is_pri3d_s(golden: Path):
    about = json.loads((golden / "pointcept_sched_miou" / "meta.json").read_text())
    expected = load_file(golden / "pointcept_sched_miou" / "outputs.safetensors")["poly_lr"].tolist()
    schedule = Polynomial(name="polynomial", power=about["poly"]["power"])
    ours = rates(schedule, about["poly"]["lr"], about["total_steps"])
    assert ours == pytest.approx(expected[: len(ours)], rel=about["suggested"]["rtol"])
    assert len(expected) >= about["total_steps"]


def test_multi_step_is_detectron2_s():
    """Warm-up from a share of the rate, a tenth at each milestone; at the milestone itself it has fallen already."""
    schedule = MultiStep(name="multi-step", milestones=(6, 8), warmup=4, warmup_factor=0.2)
    expected = [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.1, 0.1, 0.01]
    assert rates(schedule, peak=1.0, steps=9) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (WarmupCosine(name="warmup-cosine", warmup=0.1, start_lr=2.0), "start_lr"),
        (WarmupCosine(name="warmup-cosine", warmup=0.1, end_lr=2.0), "end_lr"),
        (RiseAndFall(name="rise-and-fall", power=0.9, end_lr=2.0), "end_lr"),
    ],
)
def test_a_floor_above_the_peak_is_refused(schedule: Schedule, field: str):
    with pytest.raises(ValueError, match=rf"train\.schedule\.{field} 2 lies above the peak, train\.optimizer\.lr 1"):
        rates(schedule, peak=1.0, steps=10)


@pytest.mark.parametrize(
    ("section", "fields", "message"),
    [
        (WarmupCosine, {"name": "warmup-cosine", "warmup": 5}, "warmup should be a fraction"),
        (WarmupCosine, {"name": "warmup-cosine", "warmup": 0.1, "end_lr": -1.0}, "end_lr should not be negative"),
        (Polynomial, {"name": "polynomial", "power": 0.0}, "power should be positive"),
        (RiseAndFall, {"name": "rise-and-fall", "power": 0.9, "end_lr": 0.0, "rise": 0.0}, "rise should be a fraction"),
        (MultiStep, {"name": "multi-step", "milestones": (5, 5)}, "milestones should be increasing"),
        (MultiStep, {"name": "multi-step", "milestones": (0, 5)}, "milestones should be increasing"),
        (MultiStep, {"name": "multi-step", "milestones": (5,), "warmup_factor": 2.0}, "warmup_factor should lie in"),
    ],
)
def test_sections_that_make_no_sense_are_refused(section: type, fields: dict, message: str):
    with pytest.raises(FieldError, match=message):
        section(**fields)

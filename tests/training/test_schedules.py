import json
import math
from pathlib import Path

import pytest
import torch

from rgbd3d.optimization import Cosine, Exponential, WarmupStableDecay
from rgbd3d.training.schedules import build_schedule


def rates(schedule: Exponential | Cosine | WarmupStableDecay, peak: float, steps: int) -> list[float]:
    """Learning rate that each of `steps` optimiser steps uses."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
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

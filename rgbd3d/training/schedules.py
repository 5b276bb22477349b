"""Learning-rate schedules of the cards over optimiser steps: calls into torch and transformers where these have them.

A schedule is a factor of the peak, so parameter groups whose peak is scaled down (layer-wise decay) are scaled all the
way, warm-up and floor included, as in the original recipes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup, get_wsd_schedule

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

Factor = Callable[[int], float]
"""Step, counted from 0 -> factor of the peak."""


def build_schedule(schedule: Schedule, optimizer: Optimizer, steps: int) -> LambdaLR:
    """Schedule that scales the optimiser's learning rates, stepped once per optimiser step.

    Args:
        schedule: Section of a card.
        optimizer: Its groups' learning rates are the peaks, its default `lr` is the peak of an unscaled group.
        steps: Optimiser steps of the whole run.

    Raises:
        ValueError: Warm-up and decay do not fit into `steps`, or a floor lies above the peak.
    """
    if isinstance(schedule, Cosine):
        return get_cosine_schedule_with_warmup(optimizer, round(schedule.warmup * steps), steps)
    if isinstance(schedule, WarmupStableDecay):
        return _warmup_stable_decay(schedule, optimizer, steps)
    peak = float(optimizer.defaults["lr"])
    if isinstance(schedule, WarmupCosine):
        return LambdaLR(optimizer, _warmup_cosine(schedule, steps, peak))
    if isinstance(schedule, RiseAndFall):
        return LambdaLR(optimizer, _rise_and_fall(schedule, steps, peak))
    if isinstance(schedule, Polynomial):
        power = schedule.power
        return LambdaLR(optimizer, lambda step: (1 - step / (steps + 1)) ** power)
    if isinstance(schedule, MultiStep):
        return LambdaLR(optimizer, _multi_step(schedule))
    assert isinstance(schedule, Exponential)
    gamma, every = schedule.gamma, schedule.every
    return LambdaLR(optimizer, lambda step: gamma ** (step // every))


def _warmup_stable_decay(schedule: WarmupStableDecay, optimizer: Optimizer, steps: int) -> LambdaLR:
    decay = round(schedule.decay * steps)
    if schedule.warmup + decay > steps:
        raise ValueError(
            f"train.schedule: {schedule.warmup} warm-up and {decay} decay steps do not fit into {steps} steps; "
            "lower train.schedule.warmup or raise train.max_steps"
        )
    return get_wsd_schedule(optimizer, schedule.warmup, decay, num_training_steps=steps, decay_type="linear")


def _warmup_cosine(schedule: WarmupCosine, steps: int, peak: float) -> Factor:
    warmup = round(schedule.warmup * steps)
    last = warmup - 1 if schedule.peak == "in-warmup" else warmup
    start, end = _share("start_lr", schedule.start_lr, peak), _share("end_lr", schedule.end_lr, peak)

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1 - start) * step / last if last else 1.0
        progress = (step - warmup) / max(1, steps - warmup)
        return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def _rise_and_fall(schedule: RiseAndFall, steps: int, peak: float) -> Factor:
    half, power = max(1, round(schedule.rise * steps)), schedule.power
    end = _share("end_lr", schedule.end_lr, peak)

    def factor(step: int) -> float:
        progress = (step + 1) / half  # the original counts steps from 1
        if progress < 1:
            return end + (1 - end) * progress**power
        return max(end, 1 - (1 - end) * (progress - 1) ** power)

    return factor


def _multi_step(schedule: MultiStep) -> Factor:
    def factor(step: int) -> float:
        decayed = schedule.gamma ** bisect_right(schedule.milestones, step)
        if step >= schedule.warmup:
            return decayed
        share = step / schedule.warmup
        return decayed * (schedule.warmup_factor * (1 - share) + share)

    return factor


def _share(field: str, lr: float, peak: float) -> float:
    if lr > peak:
        raise ValueError(f"train.schedule.{field} {lr:g} lies above the peak, train.optimizer.lr {peak:g}")
    return lr / peak

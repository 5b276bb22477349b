"""Learning-rate schedules of the cards over optimiser steps: thin calls into torch and transformers."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_cosine_schedule_with_warmup, get_wsd_schedule

from rgbd3d.cards import Cosine, Exponential, WarmupStableDecay


def build_schedule(schedule: Exponential | Cosine | WarmupStableDecay, optimizer: Optimizer, steps: int) -> LambdaLR:
    """Schedule that scales the optimiser's learning rates, stepped once per optimiser step.

    Args:
        schedule: Section of a card.
        optimizer: Its learning rates are the peaks.
        steps: Optimiser steps of the whole run.

    Raises:
        ValueError: Warm-up and decay do not fit into `steps`.
    """
    if isinstance(schedule, Exponential):
        gamma, every = schedule.gamma, schedule.every
        return LambdaLR(optimizer, lambda step: gamma ** (step // every))
    if isinstance(schedule, Cosine):
        return get_cosine_schedule_with_warmup(optimizer, round(schedule.warmup * steps), steps)
    decay = round(schedule.decay * steps)
    if schedule.warmup + decay > steps:
        raise ValueError(
            f"train.schedule: {schedule.warmup} warm-up and {decay} decay steps do not fit into {steps} steps; "
            "lower train.schedule.warmup or raise train.max_steps"
        )
    return get_wsd_schedule(optimizer, schedule.warmup, decay, num_training_steps=steps, decay_type="linear")

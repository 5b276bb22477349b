"""The `train:` section of a card: optimiser, schedule, length and precision. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rgbd3d.strict_yaml import require


@dataclass(frozen=True, kw_only=True)
class SGD:
    """torch.optim.SGD."""

    name: Literal["sgd"]
    lr: float
    momentum: float
    weight_decay: float
    dampening: float = 0.0

    def __post_init__(self) -> None:
        _check_optimizer(self)
        for name in ("momentum", "dampening"):
            require(0 <= getattr(self, name) < 1, name, "should lie in 0..1, 1 excluded")


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """torch.optim.AdamW; one-dimensional parameters and tokens are not decayed."""

    name: Literal["adamw"]
    lr: float
    betas: tuple[float, float]
    weight_decay: float

    def __post_init__(self) -> None:
        _check_optimizer(self)
        require(all(0 <= beta < 1 for beta in self.betas), "betas", "should both lie in 0..1, 1 excluded")


def _check_optimizer(optimizer: SGD | AdamW) -> None:
    require(optimizer.lr > 0, "lr", "should be positive")
    require(optimizer.weight_decay >= 0, "weight_decay", "should not be negative")


@dataclass(frozen=True, kw_only=True)
class Exponential:
    """lr x gamma after every `every` optimiser steps (Mask3D §4.1)."""

    name: Literal["exponential"]
    gamma: float
    every: int

    def __post_init__(self) -> None:
        require(0 < self.gamma <= 1, "gamma", "should lie in 0..1, 0 excluded")
        require(self.every > 0, "every", "should be a positive number of steps")


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up, then half a cosine to zero. `warmup` is a fraction of all steps."""

    name: Literal["cosine"]
    warmup: float

    def __post_init__(self) -> None:
        require(0 <= self.warmup <= 1, "warmup", "should be a fraction of all steps, in 0..1")


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """Linear warm-up, constant, then a decay to zero. `warmup` is in steps, `decay` a fraction of all steps."""

    name: Literal["warmup-stable-decay"]
    warmup: int
    decay: float

    def __post_init__(self) -> None:
        require(self.warmup >= 0, "warmup", "should be a number of steps")
        require(0 <= self.decay <= 1, "decay", "should be a fraction of all steps, in 0..1")


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Linear warm-up from `start_lr` to the peak, then half a cosine to `end_lr`: MAE's and MultiMAE's fine-tuning.

    Attributes:
        warmup: Fraction of all steps.
        start_lr: Learning rate of the first step; that of parameters whose rate is scaled down is scaled too.
        end_lr: Where the cosine ends, one step after the last.
        peak: Whether the last step of the warm-up has the peak already (MultiMAE) or the first one after it (MAE).
    """

    name: Literal["warmup-cosine"]
    warmup: float
    start_lr: float = 0.0
    end_lr: float = 0.0
    peak: Literal["in-warmup", "after-warmup"] = "after-warmup"

    def __post_init__(self) -> None:
        require(0 <= self.warmup <= 1, "warmup", "should be a fraction of all steps, in 0..1")
        for name in ("start_lr", "end_lr"):
            require(getattr(self, name) >= 0, name, "should not be negative")


@dataclass(frozen=True, kw_only=True)
class Polynomial:
    """lr x (1 - step / (steps + 1))^power: DeepLab's schedule as Pri3D counts it (Mask3D §4.1: power 0.9)."""

    name: Literal["polynomial"]
    power: float

    def __post_init__(self) -> None:
        require(self.power > 0, "power", "should be positive")


@dataclass(frozen=True, kw_only=True)
class RiseAndFall:
    """From `end_lr` up to the peak and down again, both polynomial: MIM-Depth's and MeSa's fine-tuning (FACTS.md §5.2).

    Attributes:
        power: Of both halves.
        end_lr: Learning rate before the first step and at the end.
        rise: Fraction of all steps until the peak. The fall takes as many; what is left stays at `end_lr`.
    """

    name: Literal["rise-and-fall"]
    power: float
    end_lr: float
    rise: float = 0.5

    def __post_init__(self) -> None:
        require(self.power > 0, "power", "should be positive")
        require(self.end_lr >= 0, "end_lr", "should not be negative")
        require(0 < self.rise <= 1, "rise", "should be a fraction of all steps, in 0..1, 0 excluded")


@dataclass(frozen=True, kw_only=True)
class MultiStep:
    """Linear warm-up, then lr x gamma at each milestone: Detectron2's schedule of detection (FACTS.md §1.2).

    Attributes:
        milestones: Optimiser steps, increasing.
        gamma: Factor at each.
        warmup: Steps of the warm-up.
        warmup_factor: Share of the learning rate that the first step has.
    """

    name: Literal["multi-step"]
    milestones: tuple[int, ...]
    gamma: float = 0.1
    warmup: int = 0
    warmup_factor: float = 0.001

    def __post_init__(self) -> None:
        increasing = all(a < b for a, b in zip((0, *self.milestones), self.milestones, strict=False))
        require(increasing, "milestones", "should be increasing positive numbers of steps")
        require(0 < self.gamma <= 1, "gamma", "should lie in 0..1, 0 excluded")
        require(self.warmup >= 0, "warmup", "should be a number of steps")
        require(0 <= self.warmup_factor <= 1, "warmup_factor", "should lie in 0..1")


Schedule = Exponential | Cosine | WarmupStableDecay | WarmupCosine | Polynomial | RiseAndFall | MultiStep


Precision = Literal["fp32", "bf16"]
"""Of forward passes; weights, gradients and optimiser are always fp32."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """How it is trained. Exactly one of `epochs` and `max_steps` is given.

    Attributes:
        optimizer: Optimiser and its constants.
        schedule: Learning-rate schedule over optimiser steps.
        batch_size: Frames per forward pass, over all processes.
        accumulate: Forward passes per optimiser step.
        epochs: Passes over the data.
        max_steps: Optimiser steps.
        precision: Autocast type.
        clip_grad_norm: Largest gradient norm, or none.
        layer_decay: The learning rate of each layer of the backbone is that of the next one times this; the head has
            the optimiser's.
        seed: Seeds initialisation, data order, augmentation and masks.
        threads: CPU threads; part of the recipe because sums depend on it. None leaves it to torch.
    """

    optimizer: SGD | AdamW
    schedule: Schedule
    batch_size: int
    accumulate: int = 1
    epochs: int | None = None
    max_steps: int | None = None
    precision: Precision = "fp32"
    clip_grad_norm: float | None = None
    layer_decay: float = 1.0
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("epochs", "max_steps") if getattr(self, name) is not None]
        require(len(given) == 1, "epochs", f"or max_steps: exactly one is needed, {len(given)} are given")
        for name in ("batch_size", "accumulate", "epochs", "max_steps", "clip_grad_norm", "threads"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "should be positive")
        require(0 < self.layer_decay <= 1, "layer_decay", "should lie in 0..1, 0 excluded")
        require(self.seed >= 0, "seed", "should not be negative")

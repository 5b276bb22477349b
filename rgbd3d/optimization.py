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

    def __post_init__(self) -> None:
        _check_optimizer(self)
        require(0 <= self.momentum < 1, "momentum", "should lie in 0..1, 1 excluded")


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
        seed: Seeds initialisation, data order, augmentation and masks.
        threads: CPU threads; part of the recipe because sums depend on it. None leaves it to torch.
    """

    optimizer: SGD | AdamW
    schedule: Exponential | Cosine | WarmupStableDecay
    batch_size: int
    accumulate: int = 1
    epochs: int | None = None
    max_steps: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    clip_grad_norm: float | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("epochs", "max_steps") if getattr(self, name) is not None]
        require(len(given) == 1, "epochs", f"or max_steps: exactly one is needed, {len(given)} are given")
        for name in ("batch_size", "accumulate", "epochs", "max_steps", "clip_grad_norm", "threads"):
            value = getattr(self, name)
            require(value is None or value > 0, name, "should be positive")
        require(self.seed >= 0, "seed", "should not be negative")

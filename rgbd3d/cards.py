"""A card describes one checkpoint: architecture + init + objective + data + schedule -> weights + numbers.

Cards are complete YAML files (`hub_configs/<name>.yaml`): no inheritance, no interpolation. Reading one is strict: an
unknown key, a wrong type or a missing field is a `CardError` that names file and line. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rgbd3d.objectives import Objective

# --------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The network that is kept after pre-training: timm's VisionTransformer with fixed sin-cos positions.

    Attributes:
        architecture: Width, depth and heads, by timm's size names.
        patch_size: Pixels per patch side.
        image_size: (height, width) of pre-training; any multiple of the patch works later.
        class_token: Whether the encoder has one (MAE's weights do).
        parameters: Number of parameters; a test compares it with the built model.
    """

    architecture: Literal["vit_tiny", "vit_small", "vit_base", "vit_large"]
    patch_size: int
    image_size: tuple[int, int]
    class_token: bool
    parameters: int


# ----------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, kw_only=True)
class Render:
    """How the embedded synthrooms data set is rendered for a recipe.

    Attributes:
        scenes: Number of rooms.
        frames_per_scene: Views per room.
        size: (height, width) of a frame in pixels.
    """

    scenes: int
    frames_per_scene: int
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Joint RGB-D augmentation.

    Attributes:
        crop_scale: (smallest, largest) area of the random resized crop as a fraction of the frame; (1, 1) only resizes.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of brightness, contrast, saturation, gamma and channel-gain jitter; 0 turns it off.
        blur: Probability of a 3x3 box blur.
        depth_holes: Expected fraction of depth that is hidden in soft-edged blobs, as a sensor would; 0 turns it off.
    """

    crop_scale: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.0
    color_jitter: float = 0.0
    blur: float = 0.0
    depth_holes: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the recipe is trained on.

    Attributes:
        source: Name of a data set (`rgbd3d data list`).
        split: Part of it.
        every: Take every k-th frame of a sequence.
        render: Only for synthrooms: what to render.
        augment: Augmentation.
    """

    source: str
    split: str = "train"
    every: int = 1
    render: Render | None = None
    augment: Augment = Augment()


# ------------------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, kw_only=True)
class SGD:
    """torch.optim.SGD."""

    name: Literal["sgd"]
    lr: float
    momentum: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """torch.optim.AdamW; one-dimensional parameters and tokens are not decayed."""

    name: Literal["adamw"]
    lr: float
    betas: tuple[float, float]
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Exponential:
    """lr x gamma after every `every` optimiser steps (Mask3D §4.1)."""

    name: Literal["exponential"]
    gamma: float
    every: int


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up, then half a cosine to zero. `warmup` is a fraction of all steps."""

    name: Literal["cosine"]
    warmup: float


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay:
    """Linear warm-up, constant, then a decay to zero. `warmup` is in steps, `decay` a fraction of all steps."""

    name: Literal["warmup-stable-decay"]
    warmup: int
    decay: float


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


# --------------------------------------------------------------------------------------------- weights and numbers


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One pinned file.

    Attributes:
        sha256: 64 hex digits.
        bytes: Size.
    """

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are.

    Attributes:
        status: "bundled" (inside the package), "hub" (repo, revision and hashes below) or "recipe" (nobody has trained
            it yet: asking for pre-trained weights is an error that names the command which trains it).
        repo: Hub repository, for status "hub".
        revision: 40-hex commit, for status "hub".
        files: Path within the folder -> pinned file; `model.safetensors` is the backbone with timm's names.
    """

    status: Literal["bundled", "hub", "recipe"]
    repo: str | None = None
    revision: str | None = None
    files: dict[str, WeightFile] | None = None


@dataclass(frozen=True, kw_only=True)
class License:
    """Terms.

    Attributes:
        weights: SPDX id or a sentence; where in doubt, the stricter.
        data: Terms of the training data.
    """

    weights: str
    data: str


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A number of the paper, never ours.

    Attributes:
        task: For example semantic-segmentation.
        dataset: Evaluated on.
        metric: Name and unit.
        value: As printed.
        source: Paper, table and row.
    """

    task: str
    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number of ours.

    Attributes:
        task: For example depth-estimation.
        dataset: Evaluated on.
        protocol: Name of the protocol; numbers of different protocols are never put in one column.
        metric: Name and unit.
        mean: Mean over seeds.
        std: Sample standard deviation over seeds; None with one seed.
        seeds: Number of seeds.
        command: What measured it.
        baseline: The same protocol from random initialisation (mean), where that makes sense.
        baseline_std: Its standard deviation.
    """

    task: str
    dataset: str
    protocol: str
    metric: str
    mean: float
    std: float | None = None
    seeds: int
    command: str
    baseline: float | None = None
    baseline_std: float | None = None


@dataclass(frozen=True, kw_only=True)
class Card:
    """One checkpoint.

    Attributes:
        name: `<method>-<backbone>-<data>[-<variant>][.<task>-<dataset>]`; no code parses it.
        title: One line for people.
        method: Key of `rgbd3d.objectives.OBJECTIVES`.
        paper: Title, authors' short form, year and where the method is described.
        provenance: "reproduced" (trained by our recipe), "converted" (from a public checkpoint) or "smoke-test".
        backbone: What is kept.
        init: Name of the card whose backbone it starts from, or None for random initialisation.
        objective: What is minimised, of the type of the method.
        data: What it is trained on.
        train: How.
        weights: Where they are.
        license: Terms.
        reported: The paper's numbers.
        measured: Ours.
        departures: Where the recipe departs from the paper, and why; a sentence each.
        tolerance: Largest difference of the final training loss that `rgbd3d reproduce` accepts on another machine.
    """

    name: str
    title: str
    method: str
    paper: str
    provenance: Literal["reproduced", "converted", "smoke-test"]
    backbone: Backbone
    init: str | None = None
    objective: Objective
    data: Data
    train: Train
    weights: Weights
    license: License
    reported: tuple[Reported, ...] = ()
    measured: tuple[Measured, ...] = ()
    departures: tuple[str, ...] = ()
    tolerance: float | None = None


class CardError(ValueError):
    """A card that cannot be read; the message starts with file:line."""

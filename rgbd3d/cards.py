"""A card describes one checkpoint: architecture + init + objective + data + schedule -> weights + numbers.

Cards are complete YAML files (`hub_configs/<name>.yaml`): no inheritance, no interpolation. Reading one is strict: an
unknown key, a wrong type or a missing field is a `CardError` that names file and line. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from yaml.nodes import MappingNode, Node, ScalarNode

from rgbd3d import strict_yaml
from rgbd3d.objectives import OBJECTIVES, Objective
from rgbd3d.optimization import SGD, AdamW, Cosine, Exponential, Train, WarmupStableDecay
from rgbd3d.strict_yaml import require

__all__ = [
    "COMMIT",
    "REPOSITORY",
    "SGD",
    "AdamW",
    "Augment",
    "Backbone",
    "Card",
    "CardError",
    "Cosine",
    "Data",
    "Exponential",
    "License",
    "Measured",
    "Render",
    "Reported",
    "Train",
    "WarmupStableDecay",
    "WeightFile",
    "Weights",
    "dump",
    "load_card",
    "parse",
    "with_overrides",
]

COMMIT = re.compile("[0-9a-f]{40}")
"""A revision that cannot move."""

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""A repository on the Hub, owner/name."""

# --------------------------------------------------------------------------------------------------- architecture


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The network that is kept after pre-training: timm's VisionTransformer with fixed sin-cos positions.

    Attributes:
        architecture: Width, depth and heads, by timm's size names.
        patch_size: Pixels per patch side.
        image_size: (height, width) of pre-training; any multiple of the patch works later.
        class_token: Whether the encoder has one (MAE's weights do).
        parameters: Number of trainable parameters (fixed positions don't count); a test counts the built
            model's.
    """

    architecture: Literal["vit_tiny", "vit_small", "vit_base", "vit_large"]
    patch_size: int
    image_size: tuple[int, int]
    class_token: bool
    parameters: int

    def __post_init__(self) -> None:
        require(self.patch_size > 0, "patch_size", "should be positive")
        require(
            all(side > 0 and side % self.patch_size == 0 for side in self.image_size),
            "image_size",
            f"should be (height, width), both multiples of patch_size = {self.patch_size}",
        )
        require(self.parameters > 0, "parameters", "should be the number of parameters of the backbone")


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

    def __post_init__(self) -> None:
        for name in ("scenes", "frames_per_scene"):
            require(getattr(self, name) > 0, name, "should be positive")
        require(min(self.size) > 0, "size", "should be (height, width) in pixels, both positive")


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

    def __post_init__(self) -> None:
        smallest, largest = self.crop_scale
        require(
            0 < smallest <= largest <= 1,
            "crop_scale",
            "should be (smallest, largest) area, 0 < smallest <= largest <= 1",
        )
        for name in ("flip", "blur"):
            require(0 <= getattr(self, name) <= 1, name, "should be a probability in 0..1")
        require(0 <= self.depth_holes <= 0.5, "depth_holes", "should be an expected fraction in 0..0.5")
        require(0 <= self.color_jitter <= 1, "color_jitter", "should be a strength in 0..1")


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

    def __post_init__(self) -> None:
        require(self.every > 0, "every", "should be positive: every k-th frame is taken")
        rendered = self.source == "synthrooms"
        require(rendered or self.render is None, "render", f"belongs to source synthrooms only, not {self.source!r}")
        require(
            not rendered or self.render is not None, "render", "is needed for source synthrooms: scenes, frames, size"
        )


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

    def __post_init__(self) -> None:
        require(re.fullmatch("[0-9a-f]{64}", self.sha256) is not None, "sha256", "should be 64 lower-case hex digits")
        require(self.bytes > 0, "bytes", "should be the size of the file")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights are.

    Attributes:
        status: "bundled" (beside the card: in the package or in its Hub folder), "hub" (repo, revision and hashes
            below) or "recipe" (nobody has trained it yet: asking for pre-trained weights is an error that names the
            command which trains it).
        repo: Hub repository, for status "hub".
        revision: 40-hex commit, for status "hub".
        files: Path within the folder -> pinned file; `model.safetensors` is the backbone with timm's names.
    """

    status: Literal["bundled", "hub", "recipe"]
    repo: str | None = None
    revision: str | None = None
    files: dict[str, WeightFile] | None = None

    def __post_init__(self) -> None:
        if self.status == "hub":
            require(self.repo is not None, "repo", "is needed for status hub: owner/name")
            require(
                COMMIT.fullmatch(self.revision or "") is not None,
                "revision",
                "should be a commit of 40 lower-case hex digits, never a branch or tag: those can move",
            )
        else:
            require(self.repo is None, "repo", f"belongs to status hub only, not {self.status}")
            require(self.revision is None, "revision", f"belongs to status hub only, not {self.status}")
        if self.status == "recipe":
            require(self.files is None, "files", "cannot be given for status recipe: nobody has trained it yet")
        else:
            require("model.safetensors" in (self.files or {}), "files", "should pin model.safetensors, the backbone")
        for name in self.files or {}:
            path = PurePosixPath(name)
            inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
            require(
                inside and path.suffix == ".safetensors",
                "files",
                f"names {name!r}: only *.safetensors within the folder",
            )


@dataclass(frozen=True, kw_only=True)
class License:
    """Terms.

    Attributes:
        weights: SPDX id or a sentence; where in doubt, the stricter.
        data: Terms of the training data.
    """

    weights: str
    data: str

    def __post_init__(self) -> None:
        require(self.weights.strip() != "", "weights", "should state the licence of the weights")
        require(self.data.strip() != "", "data", "should state the terms of the training data")


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

    def __post_init__(self) -> None:
        plain_name = re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name) is not None
        require(plain_name, "name", f"is {self.name!r}; it should be lower-case letters, digits, '.', '_' and '-'")
        require(self.method in OBJECTIVES, "method", f"is {self.method!r}; known: {', '.join(OBJECTIVES)}")
        require(isinstance(self.objective, OBJECTIVES[self.method]), "objective", f"is not that of {self.method}")
        require(self.init != self.name, "init", "is the card itself")
        require(self.tolerance is None or self.tolerance > 0, "tolerance", "should be positive")


# --------------------------------------------------------------------------------------------------- cards <-> YAML


class CardError(ValueError):
    """A card that cannot be read; the message starts with file:line."""


def load_card(path: str | Path) -> Card:
    """Reads one card.

    Raises:
        CardError: The file is no valid card; the message says where and what to do.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    if path.stat().st_size > strict_yaml.MAX_BYTES:
        raise CardError(f"{path}:1: larger than {strict_yaml.MAX_BYTES // 1024} kB: not a card")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CardError(f"{path}:1: not UTF-8 text: not a card") from None
    return parse(text, str(path))


def parse(text: str, origin: str = "card") -> Card:
    """Reads a card from text; `origin` stands for the file in messages.

    Raises:
        CardError: See `load_card`.
    """
    try:
        return _read_card(strict_yaml.compose(text, origin))
    except strict_yaml.SchemaError as error:
        raise CardError(str(error)) from None


def dump(card: Card) -> str:
    """Complete YAML of a card, defaults written out; `parse(dump(card)) == card`."""
    return strict_yaml.dump(card)


def with_overrides(card: Card, overrides: Sequence[str]) -> Card:
    """A card with some values replaced, checked like one read from a file.

    `train.epochs` and `train.max_steps` exclude each other: setting one drops the card's other.

    Args:
        card: Is not changed.
        overrides: `dotted.path=value` with the value in YAML, for example `train.max_steps=100` or
            `objective.targets=[depth, rgb]`.

    Raises:
        CardError: No such key, or a value that the card refuses.
    """
    try:
        root = strict_yaml.compose(dump(card), card.name)
        for override in overrides:
            _replace_node(root, override)
        return _read_card(root)
    except strict_yaml.SchemaError as error:
        raise CardError(str(error)) from None


def _read_card(node: Node) -> Card:
    def objective_type(cls: type, nodes: dict[str, Node]) -> dict[str, Any]:
        if cls is not Card:
            return {}
        method = strict_yaml.read(nodes["method"], Literal[tuple(OBJECTIVES)], "method")
        return {"objective": OBJECTIVES[method]}

    card: Card = strict_yaml.read(node, Card, field_types=objective_type)
    return card


def _replace_node(root: Node, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise strict_yaml.SchemaError(f"override {override!r} should look like train.max_steps=100")
    value = strict_yaml.compose(text or "''", f"override {override!r}")
    *parents, key = path.strip().split(".")
    node = root
    for depth, parent in enumerate(parents):
        node = strict_yaml.mapping(node, ".".join(parents[:depth])).get(parent, ScalarNode("", ""))
    if not isinstance(node, MappingNode):
        raise strict_yaml.SchemaError(f"override {override!r}: the card has no section {'.'.join(parents)!r}")
    exclusive = {"epochs": "max_steps", "max_steps": "epochs"}.get(key) if parents == ["train"] else None
    node.value = [(k, v) for k, v in node.value if k.value not in (key, exclusive)]
    node.value.append((ScalarNode("tag:yaml.org,2002:str", key, value.start_mark, value.end_mark), value))

"""A card describes one checkpoint: architecture + init + objective + data + schedule -> weights + numbers.

Cards are complete YAML files (`hub_configs/<name>.yaml`): no inheritance, no interpolation. Reading one is strict: an
unknown key, a wrong type or a missing field is a `CardError` that names file and line. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yaml.nodes import MappingNode, Node, ScalarNode

from rgbd3d import strict_yaml
from rgbd3d.card_data import Augment, Data, Render
from rgbd3d.card_sections import (
    COMMIT,
    REPOSITORY,
    Backbone,
    Evaluation,
    ForeignBackbone,
    License,
    Measured,
    Reported,
    Start,
    WeightFile,
    Weights,
    own_backbone,
)
from rgbd3d.objectives import OBJECTIVES, Objective
from rgbd3d.optimization import SGD, AdamW, Cosine, Exponential, Train, WarmupStableDecay
from rgbd3d.strict_yaml import require
from rgbd3d.tasks import TASKS, DepthEstimation, TaskObjective

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
    "Evaluation",
    "Exponential",
    "ForeignBackbone",
    "License",
    "Measured",
    "Render",
    "Reported",
    "Start",
    "Train",
    "WarmupStableDecay",
    "WeightFile",
    "Weights",
    "backbone_type",
    "dump",
    "load_card",
    "own_backbone",
    "parse",
    "with_overrides",
]


@dataclass(frozen=True, kw_only=True)
class Card:
    """One checkpoint.

    Attributes:
        name: `<method>-<backbone>-<data>[-<variant>][.<task>-<dataset>]`; no code parses it.
        title: One line for people.
        method: How the backbone is pre-trained: key of `rgbd3d.objectives.OBJECTIVES`; None for a backbone of another
            library.
        task: What a fine-tuned model does: key of `rgbd3d.tasks.TASKS`; None for pre-training.
        paper: Title, authors' short form, year and where the method is described.
        provenance: "reproduced" (trained by our recipe), "converted" (from a public checkpoint) or "smoke-test".
        backbone: What is kept: a network of this library, or for a task also one of another library.
        init: Name of the card whose backbone it starts from, or None.
        start: Weights that no card names, from which it started instead; without either, random initialisation.
        objective: What is minimised, of the type of the task, or of the method in pre-training.
        data: What it is trained on.
        train: How.
        evaluation: How a fine-tuned model is scored; None for pre-training.
        weights: Where they are.
        license: Terms.
        reported: The paper's numbers.
        measured: Ours.
        departures: Where the recipe departs from the paper, and why; a sentence each.
        tolerance: Largest difference of the final training loss that `rgbd3d reproduce` accepts on another machine.
    """

    name: str
    title: str
    method: str | None
    task: str | None = None
    paper: str
    provenance: Literal["reproduced", "converted", "smoke-test"]
    backbone: Backbone | ForeignBackbone
    init: str | None = None
    start: Start | None = None
    objective: Objective | TaskObjective
    data: Data
    train: Train
    evaluation: Evaluation | None = None
    weights: Weights
    license: License
    reported: tuple[Reported, ...] = ()
    measured: tuple[Measured, ...] = ()
    departures: tuple[str, ...] = ()
    tolerance: float | None = None

    def __post_init__(self) -> None:
        plain_name = re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name) is not None
        require(plain_name, "name", f"is {self.name!r}; it should be lower-case letters, digits, '.', '_' and '-'")
        if isinstance(self.backbone, ForeignBackbone):
            self._check_foreign()
        else:
            require(self.method in OBJECTIVES, "method", f"is {self.method!r}; known: {', '.join(OBJECTIVES)}")
        require(self.task is None or self.task in TASKS, "task", f"is {self.task!r}; known: {', '.join(TASKS)}")
        decides = self.task or self.method
        kind = OBJECTIVES[str(self.method)] if self.task is None else TASKS[self.task]
        require(isinstance(self.objective, kind), "objective", f"is not that of {decides}")
        require(self.init != self.name, "init", "is the card itself")
        alone = self.init is None or self.start is None
        require(alone, "init", "and start exclude each other: set the other one to null")
        self._check_fine_tuning()
        require(self.tolerance is None or self.tolerance > 0, "tolerance", "should be positive")

    @property
    def starts_trained(self) -> bool:
        """Whether it starts from trained weights rather than from random initialisation."""
        foreign = isinstance(self.backbone, ForeignBackbone) and self.backbone.pretrained
        return self.init is not None or self.start is not None or foreign

    def _check_foreign(self) -> None:
        """A backbone of another library is only fine-tuned here, and brings its own weights."""
        require(self.task is not None, "backbone", "of another library belongs to cards with a task only")
        require(self.method is None, "method", "should be null: the backbone is pre-trained by another library")
        for name in ("init", "start"):
            require(getattr(self, name) is None, name, "should be null: the backbone brings its own weights")

    def _check_fine_tuning(self) -> None:
        """A task has to say what it is scored on and what its classes are; pre-training has neither."""
        if self.task is None:
            require(self.evaluation is None, "evaluation", "belongs to cards with a task only")
            for name, nothing in (("frames", None), ("label_share", 1.0), ("transform", None)):
                unused = getattr(self.data, name) == nothing
                require(unused, "data", f"has {name}, which belongs to cards with a task only")
            require(self.train.layer_decay == 1, "train", "has layer_decay, which belongs to cards with a task only")
            return
        require(self.evaluation is not None, "evaluation", f"is needed for {self.task}: protocol, metric and how often")
        named = isinstance(self.objective, DepthEstimation) or getattr(self.objective, "labels", None) is not None
        require(named, "objective", "should name its label space in labels")


# --------------------------------------------------------------------------------------------------- cards <-> YAML


class CardError(ValueError):
    """A card that cannot be read; the message starts with file:line."""


def load_card(path: str | Path, *, trusted: bool = False) -> Card:
    """Reads one card.

    Args:
        path: Of the file.
        trusted: One of this package's own, see `rgbd3d.strict_yaml.compose`.

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
    return parse(text, str(path), trusted=trusted)


def parse(text: str, origin: str = "card", *, trusted: bool = False) -> Card:
    """Reads a card from text; `origin` stands for the file in messages, `trusted` is that of `load_card`.

    Raises:
        CardError: See `load_card`.
    """
    try:
        return _read_card(strict_yaml.compose(text, origin, trusted=trusted))
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
    def chosen_types(cls: type, nodes: dict[str, Node]) -> dict[str, Any]:
        if cls is not Card:
            return {}
        task = strict_yaml.read(nodes["task"], Literal[tuple(TASKS)] | None, "task") if "task" in nodes else None
        methods: Any = Literal[tuple(OBJECTIVES)]
        method = strict_yaml.read(nodes["method"], methods if task is None else methods | None, "method")
        backbone = backbone_type(strict_yaml.mapping(nodes["backbone"], "backbone"))
        return {"objective": OBJECTIVES[method] if task is None else TASKS[task], "backbone": backbone}

    card: Card = strict_yaml.read(node, Card, field_types=chosen_types)
    return card


def backbone_type(section: Collection[str]) -> type[Backbone] | type[ForeignBackbone]:
    """The type of a backbone section by its keys: only that of another library has `library`."""
    return ForeignBackbone if "library" in section else Backbone


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

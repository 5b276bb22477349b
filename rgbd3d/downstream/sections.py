"""What a task network is built from: the part of a card that decides about its architecture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rgbd3d.cards import Backbone, Card, ForeignBackbone
from rgbd3d.data.label_spaces import class_names
from rgbd3d.tasks import DepthEstimation, InstanceSegmentation, SemanticSegmentation, TaskObjective


@dataclass(frozen=True)
class Particulars:
    """What its section does not say of a backbone of another library; with it, the network is built again offline.

    Attributes:
        mean: Of the pixels of each channel in 0..1, to be subtracted.
        std: By which they are divided.
        stride: Pixels per cell of its coarsest map.
        config: transformers' configuration; None for timm, whose names are enough.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    stride: int
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class TaskSections:
    """Backbone, objective and classes.

    Attributes:
        backbone: The card's section.
        objective: The card's section.
        classes: Names of what is predicted: those of the train ids for semantic segmentation, those of the objects for
            instance segmentation, none for depth.
        particulars: Of a backbone of another library, where they are known; a card does not know them.
    """

    backbone: Backbone | ForeignBackbone
    objective: TaskObjective
    classes: tuple[str, ...]
    particulars: Particulars | None = field(default=None, compare=False)


def task_sections(card: Card) -> TaskSections:
    """The sections of a fine-tuned card, with the class names of its label space.

    Raises:
        ValueError: A card of pre-training, an unknown label space, or a class that the label space does not have.
    """
    if card.task is None:
        raise ValueError(f"{card.name} describes a pre-trained backbone, not a model of a task")
    assert isinstance(card.objective, SemanticSegmentation | DepthEstimation | InstanceSegmentation)
    return TaskSections(card.backbone, card.objective, class_names_of(card.objective))


def class_names_of(objective: TaskObjective) -> tuple[str, ...]:
    """Names of the classes that an objective tells apart; none for depth.

    Raises:
        ValueError: An unknown label space, none at all, or a class that it does not have.
    """
    if isinstance(objective, DepthEstimation):
        return ()
    if objective.labels is None:
        raise ValueError("the objective names no label space, so its classes are not known")
    names = class_names(objective.labels)
    if isinstance(objective, SemanticSegmentation):
        return names
    if objective.classes[-1] >= len(names):
        raise ValueError(f"class {objective.classes[-1]} does not exist: {objective.labels} has {len(names)} classes")
    return tuple(names[train_id] for train_id in objective.classes)

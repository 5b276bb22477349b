"""Objectives of models that are built without a fine-tuned card: a task, a head by name, in sizes that fit."""

from __future__ import annotations

import typing
from collections.abc import Callable

from rgbd3d import objectives
from rgbd3d.backbones.vit import SIZES
from rgbd3d.cards import Card, own_backbone
from rgbd3d.downstream.sections import TaskSections
from rgbd3d.strict_yaml import did_you_mean
from rgbd3d.tasks import (
    DPT,
    TASKS,
    Attentive,
    ConvNeXt,
    DepthEstimation,
    InstanceSegmentation,
    Linear,
    Mask2Former,
    MIMDepth,
    PretrainedDecoder,
    SemanticSegmentation,
    TaskObjective,
    UperNet,
)
from rgbd3d.types import IGNORE_LABEL

MASK_RCNN = "mask-rcnn"
"""Name of the one head of instance segmentation."""

_DEFAULT_HEADS = {"semantic-segmentation": "convnext", "depth-estimation": "dpt", "instance-segmentation": MASK_RCNN}

_BUILDERS: dict[str, Callable[[int], object]] = {
    "linear": lambda dim: Linear(name="linear"),
    "attentive": lambda dim: Attentive(name="attentive", heads=_attention_heads(dim)),
    "convnext": lambda dim: ConvNeXt(name="convnext", width=dim // 2),
    "dpt": lambda dim: DPT(name="dpt", level_dims=(dim // 8, dim // 4, dim // 2, dim), feature_dim=_third(dim)),
    "mim-depth": lambda dim: MIMDepth(name="mim-depth"),
    "upernet": lambda dim: UperNet(name="upernet", width=2 * _third(dim)),
    "mask2former": lambda dim: Mask2Former(name="mask2former", width=_third(dim, 32)),
}
"""Heads in proportion to the backbone's width: on a ViT-B of 768 channels they are as wide as in their papers."""


def heads_of(task: str) -> tuple[str, ...]:
    """Names of the heads of a task."""
    if task == "instance-segmentation":
        return (MASK_RCNN,)
    options = typing.get_args(typing.get_type_hints(TASKS[task])["head"])
    return tuple(typing.get_args(typing.get_type_hints(option)["name"])[0] for option in options)


def default_objective(
    task: str, dim: int, num_labels: int | None, head: str | None = None, decoder: objectives.Decoder | None = None
) -> TaskObjective:
    """An objective with the usual head and loss of a task.

    Args:
        task: Key of `rgbd3d.tasks.TASKS`.
        dim: Width of the backbone.
        num_labels: Number of classes; None for depth.
        head: One of `heads_of(task)`; the ConvNeXt head for semantic segmentation and DPT for depth if not given.
        decoder: Size of the pre-trained decoder, for the head of that name.

    Raises:
        ValueError: An unknown task or head, or a number of classes that is missing, outside 1 to 255, or given
            for depth.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; there are {', '.join(TASKS)}{did_you_mean(task, TASKS)}")
    name = _DEFAULT_HEADS[task] if head is None else head
    if name not in (known := heads_of(task)):
        raise ValueError(f"{task} has no head {name!r}; there are {', '.join(known)}{did_you_mean(name, known)}")
    if task == "depth-estimation":
        if num_labels is not None:
            raise ValueError(f"num_labels={num_labels} makes no sense for depth-estimation, which has no classes")
        output: typing.Any = "metres" if name == "mim-depth" else "log"
        return DepthEstimation(head=_head(name, dim, decoder), loss="silog", output=output)
    if num_labels is None or not 1 <= num_labels <= IGNORE_LABEL:
        raise ValueError(f"{task} needs num_labels, the number of classes, 1 to {IGNORE_LABEL}; got {num_labels}")
    if task == "instance-segmentation":
        return InstanceSegmentation(labels=None, classes=tuple(range(num_labels)), width=_third(dim))
    return SemanticSegmentation(labels=None, head=_head(name, dim, decoder))


def new_sections(card: Card, task: str, num_labels: int | None, head: str | None) -> TaskSections:
    """Sections of a model that puts a new head on the backbone of a pre-trained card; its classes have no names.

    Raises:
        ValueError: As `default_objective`.
    """
    dim = SIZES[own_backbone(card.backbone).architecture].dim
    decoder = getattr(card.objective, "decoder", None)
    objective = default_objective(task, dim, num_labels, head, decoder)
    return TaskSections(card.backbone, objective, unnamed_classes(num_labels))


def unnamed_classes(num_labels: int | None) -> tuple[str, ...]:
    """Names of classes that have none, as transformers calls them; none for depth."""
    return tuple(f"LABEL_{index}" for index in range(num_labels or 0))


def _head(name: str, dim: int, decoder: objectives.Decoder | None) -> typing.Any:
    if name != "decoder":
        return _BUILDERS[name](dim)
    if decoder is None:
        raise ValueError(
            "the head 'decoder' is that of a pre-trained model of this library, which this backbone is not"
        )
    return PretrainedDecoder(name="decoder", decoder=decoder)


def _attention_heads(dim: int) -> int:
    """12 of 768: the most heads of 64 channels or more that divide the width."""
    return max(heads for heads in range(1, max(dim // 64, 1) + 1) if dim % heads == 0)


def _third(dim: int, multiple: int = 8) -> int:
    """256 of 768, rounded down to a multiple."""
    return max(dim // (3 * multiple), 1) * multiple

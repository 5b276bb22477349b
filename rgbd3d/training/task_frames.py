"""The frames of a fine-tuning: what is trained on, what is scored, and that the two fit the card and each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from tqdm import tqdm

from rgbd3d.cards import Card, Evaluation
from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names
from rgbd3d.data.sources import open_source
from rgbd3d.data.subset import subset
from rgbd3d.data.views import Chosen, Labelled
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.protocols_base import ScoredProtocol
from rgbd3d.evaluation.protocols_instances import InstanceProtocol
from rgbd3d.evaluation.protocols_scored import find_scored
from rgbd3d.tasks import DepthEstimation, InstanceSegmentation
from rgbd3d.training.frames import open_frames, rendered, truth_columns
from rgbd3d.types import IGNORE_LABEL


@dataclass(frozen=True)
class TaskFrames:
    """What a task network is trained on and scored on.

    Attributes:
        train: Frames with the truth of the task, in the label space of the card.
        scored: Data of the protocol.
        protocol: Says which of `scored` count, and how.
    """

    train: Source
    scored: Source
    protocol: ScoredProtocol[Any]


def open_task_frames(card: Card, data: str | None) -> TaskFrames:
    """Opens and checks the frames of a fine-tuned card.

    Args:
        card: After overrides.
        data: Data specification of `rgbd3d.data.sources.open_source`, both for training and for what is scored; None
            renders what the card asks for.

    Raises:
        ValueError: The protocol is unknown, is for another task, other labels or other data, or has no such metric, or
            one of which neither more nor less is better; `data.frames` lie beyond the data; labels of another label
            space; a frame would be both trained on and scored; or no frame says anything about the task.
        DataError: The data cannot be read, or lack a split or a column.
    """
    protocol = _protocol_of(card)
    whole = open_frames(card, data)
    train = whole if card.data.frames is None and card.data.label_share == 1 else Chosen(whole, _positions(card, whole))
    scored = _open_scored(card, protocol, data)
    protocol.frames.check(scored)
    _check_apart(card, data, whole, scored, protocol)
    labels = getattr(card.objective, "labels", None)
    if labels is not None:
        try:
            train = Labelled(train, labels)
        except ValueError as error:
            raise ValueError(f"{card.name} does not fit {whole.name}: {error}") from error
    _require_truth(card, train)
    return TaskFrames(train, scored, protocol)


def _protocol_of(card: Card) -> ScoredProtocol[Any]:
    evaluation = _evaluation_of(card)
    protocol = find_scored(evaluation.protocol)
    if protocol.task != card.task:
        raise ValueError(f"{card.name} is for {card.task}, but {protocol.name} scores {protocol.task}")
    labels, scored = getattr(card.objective, "labels", None), protocol.frames.label_space
    if labels != scored:
        counts = [f"the {len(class_names(space))} classes of {space}" for space in (labels, scored) if space]
        raise ValueError(f"{card.name} predicts {counts[0]}, but {protocol.name} scores {counts[1]}")
    if isinstance(card.objective, InstanceSegmentation) and isinstance(protocol, InstanceProtocol):
        own, others = card.objective.classes, protocol.class_ids
        if own != others:
            raise ValueError(f"{card.name} finds objects of the classes {own}, but {protocol.name} scores {others}")
    _check_metric(evaluation, protocol)
    return protocol


def _check_metric(evaluation: Evaluation, protocol: ScoredProtocol[Any]) -> None:
    known, metric = protocol.meter().metrics, evaluation.metric
    if metric not in known:
        raise ValueError(f"evaluation.metric: {protocol.name} has no {metric!r}; it has {', '.join(known)}")
    if name_of(metric).higher_is_better is None:
        raise ValueError(
            f"evaluation.metric: neither a higher nor a lower {metric} is better; choose one that can be best"
        )


def _evaluation_of(card: Card) -> Evaluation:
    if card.evaluation is None:
        raise ValueError(f"{card.name} is no fine-tuned model; train it with `rgbd3d pretrain {card.name}`")
    return card.evaluation


def _positions(card: Card, whole: Source) -> list[int]:
    """The frames that a card is trained on."""
    first, end = card.data.frames or (0, len(whole))
    if end > len(whole):
        raise ValueError(
            f"data.frames of {card.name} is [{first}, {end}], but {whole.name} has {len(whole)} frames in its "
            f"{card.data.split} split"
        )
    return [first + position for position in subset(end - first, card.data.label_share)]


def _open_scored(card: Card, protocol: ScoredProtocol[Any], data: str | None) -> Source:
    frames, render = protocol.frames, _evaluation_of(card).render
    if data is None and render is None:
        raise ValueError(
            f"{card.name} says nothing of the frames that {protocol.name} scores: bring the data with --data SPEC, or "
            "give evaluation.render"
        )
    spec = str(rendered(frames.split, render)) if data is None and render is not None else str(data)
    frames.check_address(spec, frames.split)
    try:
        return open_source(spec, split=frames.split, columns=(*frames.columns, "scene_id", "frame_id"))
    except DataError as error:
        raise DataError(f"{protocol.name} scores the {frames.split} split of {frames.data_set}: {error}") from error


def _check_apart(card: Card, data: str | None, whole: Source, scored: Source, protocol: ScoredProtocol[Any]) -> None:
    """Refuses to train on frames that are scored, where both are parts of one split, or one file is both splits."""
    unthinned = whole if card.data.every == 1 else open_frames(replace(card, data=replace(card.data, every=1)), data)
    same = unthinned.digest() == scored.digest()
    if not same and card.data.split != protocol.frames.split:
        return
    first = protocol.frames.first
    if first == 0:
        raise ValueError(f"{protocol.name} scores all of {scored.name}: none of it is left to train on")
    if not same:
        raise ValueError(
            f"{protocol.name} scores a part of the {card.data.split} split, but {scored.name} is not what would be "
            f"trained on, {whole.name}: evaluation.render has to be data.render"
        )
    if card.data.every > 1:
        raise ValueError(
            f"{protocol.name} scores frames {first} to {len(scored) - 1} of {scored.name}, on which {card.name} would "
            "be trained too: data.every has to be 1, so that data.frames can leave them out"
        )
    end = len(whole) if card.data.frames is None else card.data.frames[1]
    if end > first:
        raise ValueError(
            f"frames {first} to {end - 1} of {whole.name} would be trained on, but {protocol.name} scores them: set "
            f"data.frames=[0, {first}]"
        )


def _require_truth(card: Card, train: Source) -> None:
    """Refuses data that say nothing about the task; most often the first frame does."""
    positions = tqdm(range(len(train)), desc="looking for a label", unit="frame", leave=False, disable=None)
    if not any(_has_truth(card, cast(dict[str, Tensor], train[position])) for position in positions):
        raise ValueError(
            f"none of the {len(train)} frames of {train.name} that {card.name} is trained on has {_truth(card)} "
            f"(columns: {', '.join(truth_columns(card))})"
        )


def _truth(card: Card) -> str:
    match card.objective:
        case DepthEstimation():
            return "a measured depth"
        case InstanceSegmentation(classes=classes):
            return f"an object of its {len(classes)} classes"
        case _:
            return "a labelled pixel"


def _has_truth(card: Card, sample: dict[str, Tensor]) -> bool:
    match card.objective:
        case DepthEstimation():
            counted = sample["depth"] > 0
        case InstanceSegmentation(classes=classes):
            counted = (sample["instance"] > 0) & torch.isin(sample["semantic"], torch.tensor(classes))
        case _:
            counted = sample["semantic"] != IGNORE_LABEL
    return bool(counted.any())

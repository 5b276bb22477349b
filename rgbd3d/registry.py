"""Card -> model. torch is imported when a model is built.

A name without weights is an error where weights are asked for, and nothing that looks like a path or a Hub id is ever
taken for a card: neither may end in other weights than the ones meant.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from rgbd3d import tasks
from rgbd3d.card_index import (
    PRETRAINING,
    ModelError,
    UnknownModelError,
    cards_folder,
    get_card,
    lineage,
    list_models,
    looks_like_path,
    register,
)
from rgbd3d.card_weights import NoWeightsError, backbone_weights, decoder_weights, load_weights, weight_files
from rgbd3d.cards import REPOSITORY, Card

if TYPE_CHECKING:
    from rgbd3d.modeling import RgbdForPreTraining, RgbdModel
    from rgbd3d.modeling_tasks import (
        RgbdForDepthEstimation,
        RgbdForInstanceSegmentation,
        RgbdForSemanticSegmentation,
    )

    AnyModel: TypeAlias = (
        RgbdModel
        | RgbdForPreTraining
        | RgbdForSemanticSegmentation
        | RgbdForDepthEstimation
        | RgbdForInstanceSegmentation
    )

__all__ = [
    "ModelError",
    "NoWeightsError",
    "UnknownModelError",
    "cards_folder",
    "create_model",
    "from_pretrained",
    "get_card",
    "lineage",
    "list_models",
    "model_folder",
    "model_info",
    "register",
]

TASKS = (None, PRETRAINING, *tasks.TASKS)
"""None is what the card describes: the RGB backbone alone, or a fine-tuned model. "pretraining" is the whole
pre-training model; the others put the head of a task on the backbone."""

_log = logging.getLogger(__name__)


def model_info(name: str) -> str:
    """What the card says, as text for people; `get_card` gives the values.

    Raises:
        UnknownModelError: There is no such card.
    """
    from rgbd3d.zoo import describe

    return describe(get_card(name))


# ---------------------------------------------------------------------------------------------------------- models


@overload
def create_model(name: str, task: None = None, *, pretrained: bool = ...) -> RgbdModel: ...
@overload
def create_model(name: str, task: Literal["pretraining"], *, pretrained: bool = ...) -> RgbdForPreTraining: ...
@overload
def create_model(
    name: str,
    task: Literal["semantic-segmentation"],
    *,
    pretrained: bool = ...,
    num_labels: int | None = ...,
    head: str | None = ...,
) -> RgbdForSemanticSegmentation: ...
@overload
def create_model(
    name: str, task: Literal["depth-estimation"], *, pretrained: bool = ..., head: str | None = ...
) -> RgbdForDepthEstimation: ...
@overload
def create_model(
    name: str,
    task: Literal["instance-segmentation"],
    *,
    pretrained: bool = ...,
    num_labels: int | None = ...,
    head: str | None = ...,
) -> RgbdForInstanceSegmentation: ...
@overload
def create_model(
    name: str, task: str | None, *, pretrained: bool = ..., num_labels: int | None = ..., head: str | None = ...
) -> AnyModel: ...
def create_model(
    name: str,
    task: str | None = None,
    *,
    pretrained: bool = False,
    num_labels: int | None = None,
    head: str | None = None,
) -> Any:
    """Builds the model of a card, or puts the head of a task on the backbone of a pre-trained one.

    Args:
        name: Of the card.
        task: One of `TASKS`. Type checkers know the class of the model only where it is given.
        pretrained: Load the card's weights, checked against their sha256; otherwise the model is freshly initialised
            from torch's global generator. A head that is put on a pre-trained backbone is new either way and has to be
            trained; only the decoder of pre-training as a head starts from the card's.
        num_labels: Number of classes of a new head.
        head: Name of a new head (docs/heads.md); by default ConvNeXt for semantic segmentation, DPT for depth and Mask
            R-CNN for instances, in sizes that fit the backbone.

    Returns:
        `RgbdModel` for a backbone, `RgbdForPreTraining` for task "pretraining", `RgbdForSemanticSegmentation`,
        `RgbdForDepthEstimation` or `RgbdForInstanceSegmentation` otherwise; in training mode, as from timm.

    Raises:
        UnknownModelError: No such card, or a path or Hub id: those are for `from_pretrained`.
        NoWeightsError: `pretrained` although nobody has trained it yet.
        ModelError: Unknown task or head, another task or number of classes than those of a fine-tuned card, or a
            bundled file that is missing or damaged.
        HubError: The weights cannot be downloaded as pinned.
    """
    card = get_card(name)
    _check_task(task)
    if card.task is not None:
        task = _own_task(card, task, num_labels, head)
    elif task in tasks.TASKS:
        return _with_new_head(card, str(task), pretrained, num_labels, head)
    elif num_labels is not None or head is not None:
        raise ModelError('num_labels and head are for a task: pass task="semantic-segmentation" or another one')
    files = weight_files(card, task) if pretrained else None
    from rgbd3d.modeling import model_from_card

    model: Any = model_from_card(card, task if card.task is None else None)
    if files is not None:
        load_weights(model, files, task)
        model.card = card  # never on random weights: `push_to_hub` would publish them as what the card says
    return model


def _own_task(card: Card, task: str | None, num_labels: int | None, head: str | None) -> str:
    """The task of a fine-tuned card, if nothing else is asked for."""
    assert card.task is not None
    if task not in (None, card.task):
        start = f"; start from {card.init!r}" if card.init else ""
        raise ModelError(f"{card.name} is a model for {card.task}, not for {task}{start}")
    own_head = getattr(card.objective, "head", None)
    if head is not None and (own_head is None or head != own_head.name):
        raise ModelError(f"{card.name} has the head {own_head.name if own_head else 'mask-rcnn'!r}, not {head!r}")
    if num_labels is not None:
        from rgbd3d.downstream.sections import task_sections

        if num_labels != (own := len(task_sections(card).classes)):
            raise ModelError(f"{card.name} has {own} classes, not {num_labels}")
    return card.task


def _with_new_head(card: Card, task: str, pretrained: bool, num_labels: int | None, head: str | None) -> Any:
    """A task model on the backbone of a pre-trained card; it carries no card, because its head is not trained."""
    state = backbone_weights(card.name) if pretrained else None
    decoder = decoder_weights(card.name) if pretrained and head == "decoder" else None
    from rgbd3d.downstream.defaults import new_sections
    from rgbd3d.modeling_tasks import task_model

    try:
        sections = new_sections(card, task, num_labels, head)
    except ValueError as error:
        raise ModelError(str(error)) from error
    model: Any = task_model(sections)
    if state is not None:
        model.network.load_backbone(state)
        _log.warning("the head for %s on %s is new: its weights are random until you train it", task, card.name)
    if decoder is not None:
        model.network.head.load_decoder(decoder)
    return model


@overload
def from_pretrained(name: str | Path, task: None = None, *, revision: str | None = ...) -> RgbdModel: ...
@overload
def from_pretrained(
    name: str | Path, task: Literal["pretraining"], *, revision: str | None = ...
) -> RgbdForPreTraining: ...
@overload
def from_pretrained(
    name: str | Path, task: Literal["semantic-segmentation"], *, revision: str | None = ...
) -> RgbdForSemanticSegmentation: ...
@overload
def from_pretrained(
    name: str | Path, task: Literal["depth-estimation"], *, revision: str | None = ...
) -> RgbdForDepthEstimation: ...
@overload
def from_pretrained(
    name: str | Path, task: Literal["instance-segmentation"], *, revision: str | None = ...
) -> RgbdForInstanceSegmentation: ...
@overload
def from_pretrained(name: str | Path, task: str | None, *, revision: str | None = ...) -> AnyModel: ...
def from_pretrained(name: str | Path, task: str | None = None, *, revision: str | None = None) -> Any:
    """Loads trained weights, wherever they are.

    Args:
        name: A card ("mask3d-vitt-synthrooms"), a folder that rgbd3d wrote ("./runs/a/final"), or a Hub id
            ("me/model"). A plain word is a card, never a folder; what exists as a folder is never asked for on the Hub.
        task: One of `TASKS`; None is what was trained: the RGB backbone, or the model of a task. Type checkers know the
            class of the model only where it is given.
        revision: Of the Hub repository: a commit, tag or branch. Needed where a folder "me" is here, because "me/model"
            could be a misspelt folder.

    Returns:
        As `create_model`, but in evaluation mode, as transformers gives models.

    Raises:
        UnknownModelError: None of the three.
        NoWeightsError: A card that nobody has trained yet, or a task for which only the backbone is trained.
        ModelError: Unknown task, another task than that of a fine-tuned model, or a revision for something that has
            none.
        FileNotFoundError: A folder that is not whole, or holds only a backbone where the whole model is asked for.
        ValueError: A folder whose weights are not those that its card pins.
        HubError: The Hub doesn't give it whole and as promised.
    """
    _check_task(task)
    folder = model_folder(name, revision)
    if folder is None:
        _refuse_untrained_head(get_card(str(name)), task)
        return create_model(str(name), task, pretrained=True).eval()
    from rgbd3d.folder import card_of, load_model, load_pretraining, load_task_model

    card = card_of(folder)
    if card is not None and card.task is not None:
        _own_task(card, task, None, None)
        return load_task_model(folder)
    _refuse_untrained_head(card, task)
    return load_model(folder) if task is None else load_pretraining(folder)


def _refuse_untrained_head(card: Card | None, task: str | None) -> None:
    if task not in tasks.TASKS or (card is not None and card.task is not None):
        return
    name = card.name if card else "this model"
    raise NoWeightsError(
        f"{name} is a pre-trained backbone: nobody has trained a head for {task} on it. Put a new one on it with "
        f"create_model(NAME, task={task!r}, pretrained=True) and train it, or load a fine-tuned model"
    )


def model_folder(name: str | Path, revision: str | None = None) -> Path | None:
    """The folder behind what `from_pretrained` takes, pulled from the Hub if it is there; None for a card's name.

    Raises:
        UnknownModelError: Neither a card's name nor a folder nor a Hub id.
        ModelError: A revision for something that has none.
        HubError: The Hub doesn't give it whole and as promised.
    """
    folder = Path(name).expanduser()
    plain_word = isinstance(name, str) and not looks_like_path(name) and "/" not in name
    if revision is not None and (plain_word or folder.is_dir()):
        raise ModelError(f"revision is for Hub ids (owner/name); {str(name)!r} is a card or a folder")
    if plain_word:
        return None
    if folder.is_dir():
        return folder
    if isinstance(name, Path) or looks_like_path(name) or not REPOSITORY.fullmatch(name):
        raise UnknownModelError(f"there is no folder {str(name)!r}, and it is no Hub id (owner/name)")
    if revision is None and folder.parent.is_dir():
        raise UnknownModelError(
            f"there is no folder {name!r}, though there is {str(folder.parent)!r}; for the Hub repository of that name "
            "pass revision="
        )
    from rgbd3d.hub import pull

    return pull(name, revision=revision)


def _check_task(task: str | None) -> None:
    if task not in TASKS:
        known = ", ".join(map(repr, TASKS[1:]))
        raise ModelError(f"unknown task {task!r}; there are {known} and None, for what the card describes")

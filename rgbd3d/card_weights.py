"""Card -> weights: the files that it pins, what is read from them, and how to get them where there are none.

torch is imported when weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgbd3d.card_index import PRETRAINING, ModelError, get_card
from rgbd3d.cards import Card
from rgbd3d.objectives import MAEObjective

if TYPE_CHECKING:
    from torch import Tensor

BUNDLED_WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Folder of the weights in the package; each card has one of its own in it."""

BACKBONE_FILE, DECODER_FILE, FULL_FILE = "model.safetensors", "decoder.safetensors", "pretraining/model.safetensors"


class NoWeightsError(ModelError):
    """The card has no trained weights yet."""


def weight_files(card: Card, task: str | None) -> dict[str, Path]:
    """Weight files for a task, downloaded if they are on the Hub, and verified.

    Args:
        card: With or without weights.
        task: "pretraining" is the whole pre-training model, anything else what the card describes.

    Returns:
        Paths by the names of `card.weights.files`.

    Raises:
        NoWeightsError: Nobody has trained the card yet, or the whole pre-training model is asked for where only a
            backbone or a fine-tuned model is published.
        ModelError: A bundled file is missing or damaged.
        HubError: The Hub doesn't give a file as pinned.
    """
    if card.weights.status == "recipe":
        raise NoWeightsError(
            f"{card.name} has no weights yet: its card is a recipe that nobody has trained. "
            f"{_how_to_get_weights(card)}, or build it untrained with pretrained=False"
        )
    if task == PRETRAINING and card.task is not None:
        raise NoWeightsError(f"{card.name} is fine-tuned: it has no pre-training model; that of {card.init} may")
    pins = card.weights.files or {}
    whole = task == PRETRAINING
    rest = [file for file in (FULL_FILE, DECODER_FILE) if file in pins][:1]
    if whole and not rest:
        raise NoWeightsError(
            f"only the backbone of {card.name} is published, not its whole pre-training model: train that with "
            f"`rgbd3d pretrain {card.name}`"
        )
    wanted = {file: pins[file] for file in [BACKBONE_FILE, *(rest if whole else [])]}
    if card.weights.status == "hub":
        from rgbd3d.hub_download import download

        return download(str(card.weights.repo), str(card.weights.revision), wanted)
    from rgbd3d.pins import check_pin

    paths = {file: BUNDLED_WEIGHTS / card.name / file for file in wanted}
    try:
        for file, path in paths.items():
            check_pin(path, file, wanted[file])
    except (OSError, ValueError) as error:
        raise ModelError(f"the bundled weights of {card.name} are damaged ({error}); reinstall rgbd3d") from error
    return paths


def backbone_weights(name: str) -> dict[str, Tensor]:
    """Weights of a card's RGB backbone, with timm's names: what a card with `init: name` starts from.

    Raises:
        NoWeightsError: Nobody has trained it yet.
    """
    card = get_card(name)
    state = _read(weight_files(card, card.task)[BACKBONE_FILE])
    return state if card.task is None else _below(state, "backbone.")


def decoder_weights(name: str) -> dict[str, Tensor]:
    """Weights of a card's pre-training decoder, with the names of `rgbd3d.heads.reconstruction`.

    Raises:
        NoWeightsError: Nobody has trained it yet, or only its backbone is published.
    """
    files = weight_files(get_card(name), PRETRAINING)
    return _below(_read(files.get(FULL_FILE) or files[DECODER_FILE]), "decoder.")


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def initial_weights(card: Card) -> dict[str, Tensor] | None:
    """Weights of the backbone that a card starts from; None for random initialisation.

    Raises:
        NoWeightsError: Nobody has trained its `init` yet, or it started from weights that no card names; says how to
            start without.
    """
    if card.start is not None:
        raise NoWeightsError(
            f"{card.name} started from {card.start.name} (digest {card.start.digest}), which no card names: give it "
            "with `--start MODEL`, or start from random initialisation with `--set start=null`"
        )
    if card.init is None:
        return None
    try:
        return backbone_weights(card.init)
    except NoWeightsError as error:
        raise NoWeightsError(
            f"{card.name} starts from {card.init}. {error}; then give its folder with `--start FOLDER`, or start "
            f"{card.name} from random initialisation with `--set init=null`"
        ) from error


def load_weights(model: Any, files: Mapping[str, Path], task: str | None) -> None:
    """Loads every weight or raises; nothing may stay random.

    Args:
        model: As `rgbd3d.modeling.model_from_card` builds it.
        files: Of its card, from `weight_files` for the same task.
        task: None for a backbone, "pretraining", or the task of a fine-tuned model.

    Raises:
        RuntimeError: A weight is missing, is one too many or has another shape.
    """
    if task is None:
        model.backbone.load_weights(_read(files[BACKBONE_FILE]))
    elif task != PRETRAINING:
        model.network.load_state_dict(_read(files[BACKBONE_FILE]), strict=True)
    elif FULL_FILE in files:
        model.method.load_state_dict(_read(files[FULL_FILE]), strict=True)
    else:
        model.method.backbone.load_weights(_read(files[BACKBONE_FILE]))
        backbone = {f"backbone.{key}": value for key, value in model.method.backbone.state_dict().items()}
        model.method.load_state_dict(backbone | _read(files[DECODER_FILE]), strict=True)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def training_command(card: Card) -> str:
    """What to type to train a card."""
    verb = "pretrain" if card.task is None else "finetune"
    if card.data.render is not None:
        return f"rgbd3d {verb} {card.name}"
    form = "PARQUET_OF" if _needs_no_depth(card) else "YOUR_COPY_OF"
    return f"rgbd3d {verb} {card.name} --data {form}_{card.data.source.upper().replace('-', '_')}"


def _how_to_get_weights(card: Card) -> str:
    """Every way that works for a card without weights; a folder of photographs alone is no source of frames."""
    train = f"Train it with `{training_command(card)}`"
    if _needs_no_depth(card) and card.data.render is None:
        train += " (Parquet with the columns image, scene_id and frame_id: see docs/data.md)"
    if card.provenance != "converted":
        return train
    return f"{train}, convert the public checkpoint with `python conversion/mae.py FILE {card.name} FOLDER`"


def _needs_no_depth(card: Card) -> bool:
    return isinstance(card.objective, MAEObjective)

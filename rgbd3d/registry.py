"""Card name -> card -> model. Listing reads names and YAML only; torch is imported when a model is built.

A name without weights is an error where weights are asked for, and nothing that looks like a path or a Hub id is ever
taken for a card: neither may end in other weights than the ones meant.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from rgbd3d.cards import COMMIT, REPOSITORY, Card, CardError, load_card
from rgbd3d.objectives import MAEObjective
from rgbd3d.strict_yaml import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from rgbd3d.modeling import RgbdForPreTraining, RgbdModel

TASKS = (None, "pretraining")
"""None is the RGB backbone alone; "pretraining" the whole pre-training model."""

_PACKAGE = Path(__file__).resolve().parent
BUNDLED_WEIGHTS = _PACKAGE / "weights"
BACKBONE_FILE, DECODER_FILE, FULL_FILE = "model.safetensors", "decoder.safetensors", "pretraining/model.safetensors"


class ModelError(ValueError):
    """A model that cannot be given as asked; the message says what to do instead."""


class UnknownModelError(ModelError):
    """No card, folder or Hub repository of that name."""


class NoWeightsError(ModelError):
    """The card has no trained weights yet."""


# ----------------------------------------------------------------------------------------------------------- cards


@cache
def _load_named(path: Path) -> Card:
    card = load_card(path)
    if card.name != path.stem:
        raise CardError(f"{path}:1: name is {card.name!r}; it should be that of the file, {path.stem!r}")
    return card


@cache
def _known() -> dict[str, Path]:
    """All registered cards by name; the package's own are found on first use, `register` adds to it."""
    return _card_files(cards_folder())


def cards_folder() -> Path:
    """Folder of the package's own cards."""
    installed = _PACKAGE / "hub_configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "hub_configs"  # a checkout of the repository


def _card_files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def get_card(name: str) -> Card:
    """The card of a model.

    Raises:
        UnknownModelError: There is none; the message names the nearest.
        CardError: Its file is broken.
    """
    path = _known().get(name)
    if path is None:
        raise UnknownModelError(_explain_unknown(name))
    return _load_named(path)


def _explain_unknown(name: str) -> str:
    if _looks_like_path(name) or "/" in name:
        return f"{name!r} is a path or a Hub id, not the name of a card; load it with rgbd3d.from_pretrained({name!r})"
    if Path(name).is_dir():
        return f"unknown model {name!r}; to load the folder of that name write './{name}'"
    return f"unknown model {name!r}{did_you_mean(name, _known(), count=3) or '; `rgbd3d list` shows all'}"


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/")


def list_models(
    pattern: str = "*",
    *,
    pretrained: bool | None = None,
    method: str | None = None,
    architecture: str | None = None,
    source: str | None = None,
) -> list[str]:
    """Names of the cards, sorted.

    Args:
        pattern: Shell-style, for example "mask3d-*"; a word without wildcards is searched anywhere in the name.
        pretrained: True keeps those with weights, False those without.
        method: For example "mask3d".
        architecture: For example "vit_base".
        source: Data set of pre-training, for example "scannet".
    """
    pattern = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    names = sorted(name for name in _known() if fnmatch.fnmatchcase(name, pattern))

    def fits(card: Card) -> bool:
        wanted = ((method, card.method), (architecture, card.backbone.architecture), (source, card.data.source))
        has_weights = card.weights.status != "recipe"
        return pretrained in (None, has_weights) and all(want in (None, have) for want, have in wanted)

    return [name for name in names if fits(get_card(name))]


def model_info(name: str) -> str:
    """What the card says, as text for people; `get_card` gives the values.

    Raises:
        UnknownModelError: There is no such card.
    """
    from rgbd3d.zoo import describe

    return describe(get_card(name))


def lineage(name: str) -> tuple[Card, ...]:
    """The card and those it starts from, in the order of training: first the one from random initialisation.

    Raises:
        CardError: An `init` that names no card, or a circle.
    """
    get_card(name)
    return _chain(name, _known())


def _chain(name: str, known: Mapping[str, Path]) -> tuple[Card, ...]:
    chain = [_load_named(known[name])]
    while (parent := chain[-1].init) is not None:
        child = known[chain[-1].name]
        if parent in (card.name for card in chain):
            circle = " <- ".join([*(card.name for card in chain), parent])
            raise CardError(f"{child}:1: the chain of init is a circle: {circle}")
        if parent not in known:
            raise CardError(f"{child}:1: init names no card: {parent!r}{did_you_mean(parent, known)}")
        chain.append(_load_named(known[parent]))
    return tuple(reversed(chain))


def register(cards: str | Path, *, revision: str | None = None) -> list[str]:
    """Adds a folder of cards, or a Hub repository of cards, to the registry of this process: all of them or none.

    Args:
        cards: Folder with one `<name>.yaml` per card, or a Hub id (owner/name). What is a folder here is a folder.
        revision: Commit (40 hex digits) of the Hub repository; required there, because a branch can change.

    Returns:
        The names that were added.

    Raises:
        CardError: A broken card, an `init` that doesn't exist, a circle, a name that is taken by another card, or a
            card with status bundled: only this package's own weights lie inside it.
        ModelError: No folder, no card in it, or a Hub id without a commit.
        HubError: The Hub doesn't give the cards as they are in that commit.
    """
    folder = _folder_of_cards(cards, revision)
    new = _card_files(folder)
    if not new:
        raise ModelError(f"no card (*.yaml) in {folder}")
    _load_named.cache_clear()  # a card may have been edited since it was registered
    for name, path in new.items():
        taken = _known().get(name)
        if taken is not None and taken.resolve() != path.resolve():
            raise CardError(f"{path}:1: the name {name!r} is taken by {taken}; rename the card")
        if taken is None and _load_named(path).weights.status == "bundled":
            raise CardError(f"{path}:1: weights.status bundled is for the package's own cards; use hub or recipe")
        _chain(name, {**_known(), **new})
    _known().update(new)
    return sorted(new)


def _folder_of_cards(cards: str | Path, revision: str | None) -> Path:
    folder = Path(cards).expanduser()
    if folder.is_dir():
        return folder
    if not isinstance(cards, str) or _looks_like_path(cards) or not REPOSITORY.fullmatch(cards):
        raise ModelError(f"there is no folder {str(cards)!r}, and it is no Hub id (owner/name)")
    if revision is None or not COMMIT.fullmatch(revision):
        raise ModelError(f"cards from the Hub are pinned: register({cards!r}, revision=<commit of 40 hex digits>)")
    from rgbd3d.hub import snapshot

    return snapshot(cards, revision, ["*.yaml"])[0]


# ---------------------------------------------------------------------------------------------------------- models


@overload
def create_model(name: str, task: None = None, *, pretrained: bool = ...) -> RgbdModel: ...
@overload
def create_model(name: str, task: Literal["pretraining"], *, pretrained: bool = ...) -> RgbdForPreTraining: ...
@overload
def create_model(name: str, task: str | None, *, pretrained: bool = ...) -> RgbdModel | RgbdForPreTraining: ...
def create_model(name: str, task: str | None = None, *, pretrained: bool = False) -> RgbdModel | RgbdForPreTraining:
    """Builds the model of a card.

    Args:
        name: Of the card.
        task: One of `TASKS`.
        pretrained: Load the card's weights, checked against their sha256; otherwise the model is freshly initialised
            from torch's global generator.

    Returns:
        `rgbd3d.modeling.RgbdModel`, or `rgbd3d.modeling.RgbdForPreTraining` for task "pretraining".

    Raises:
        UnknownModelError: No such card, or a path or Hub id: those are for `from_pretrained`.
        NoWeightsError: `pretrained` although nobody has trained it yet.
        ModelError: Unknown task, or a bundled file that is missing or damaged.
        HubError: The weights cannot be downloaded as pinned.
    """
    card = get_card(name)
    _check_task(task)
    files = _weight_files(card, task) if pretrained else None
    from rgbd3d.modeling import model_from_card

    model = model_from_card(card, task)
    if files is not None:
        _load(model, files, task)
        model.card = card  # never on random weights: `push_to_hub` would publish them as what the card says
    return model


@overload
def from_pretrained(name: str | Path, task: None = None, *, revision: str | None = ...) -> RgbdModel: ...
@overload
def from_pretrained(
    name: str | Path, task: Literal["pretraining"], *, revision: str | None = ...
) -> RgbdForPreTraining: ...
@overload
def from_pretrained(
    name: str | Path, task: str | None, *, revision: str | None = ...
) -> RgbdModel | RgbdForPreTraining: ...
def from_pretrained(
    name: str | Path, task: str | None = None, *, revision: str | None = None
) -> RgbdModel | RgbdForPreTraining:
    """Loads trained weights, wherever they are.

    Args:
        name: A card ("mask3d-vitt-synthrooms"), a folder that rgbd3d wrote ("./runs/a/final"), or a Hub id
            ("me/model"). A plain word is a card, never a folder; what exists as a folder is never asked for on the Hub.
        task: One of `TASKS`.
        revision: Of the Hub repository: a commit, tag or branch. Needed where a folder "me" is here, because "me/model"
            could be a misspelt folder.

    Raises:
        UnknownModelError: None of the three.
        NoWeightsError: A card that nobody has trained yet.
        ModelError: Unknown task, or a revision for something that has none.
        FileNotFoundError: A folder that is not whole, or holds only a backbone where the whole model is asked for.
        ValueError: A folder whose weights are not those that its card pins.
        HubError: The Hub doesn't give it whole and as promised.
    """
    text = str(name)
    plain_word = isinstance(name, str) and not _looks_like_path(text) and "/" not in text
    _check_task(task)
    if revision is not None and (plain_word or Path(text).expanduser().is_dir()):
        raise ModelError(f"revision is for Hub ids (owner/name); {text!r} is a card or a folder")
    if plain_word:
        return create_model(text, task, pretrained=True)
    folder = _model_folder(name, revision)
    from rgbd3d.folder import load_model, load_pretraining

    return load_model(folder) if task is None else load_pretraining(folder)


def _model_folder(name: str | Path, revision: str | None) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(name, Path) or _looks_like_path(name) or not REPOSITORY.fullmatch(name):
        raise UnknownModelError(f"there is no folder {str(name)!r}, and it is no Hub id (owner/name)")
    if revision is None and folder.parent.is_dir():
        raise UnknownModelError(
            f"there is no folder {name!r}, though there is {str(folder.parent)!r}; for the Hub repository of that name "
            "pass revision="
        )
    from rgbd3d.hub import pull

    return pull(name, revision=revision)


def backbone_weights(name: str) -> dict[str, Tensor]:
    """Weights of a card's RGB backbone, with timm's names: what a card with `init: name` starts from.

    Raises:
        NoWeightsError: Nobody has trained it yet.
    """
    return _read(_weight_files(get_card(name), None)[BACKBONE_FILE])


def training_command(card: Card) -> str:
    """What to type to train a card."""
    if card.data.render is not None:
        return f"rgbd3d pretrain {card.name}"
    form = "PARQUET_OF" if _needs_no_depth(card) else "YOUR_COPY_OF"
    return f"rgbd3d pretrain {card.name} --data {form}_{card.data.source.upper().replace('-', '_')}"


def _needs_no_depth(card: Card) -> bool:
    return isinstance(card.objective, MAEObjective)


def _how_to_get_weights(card: Card) -> str:
    """Every way that works for a card without weights; a folder of photographs alone is no source of frames."""
    train = f"Train it with `{training_command(card)}`"
    if _needs_no_depth(card) and card.data.render is None:
        train += " (Parquet with the columns image, scene_id and frame_id: see docs/data.md)"
    if card.provenance != "converted":
        return train
    return f"{train}, convert the public checkpoint with `mae.backbone_weights(mae.read(FILE))` of conversion/mae.py"


def _check_task(task: str | None) -> None:
    if task not in TASKS:
        raise ModelError(f"unknown task {task!r}; there are {' and '.join(map(repr, TASKS))} (None: the RGB backbone)")


def _weight_files(card: Card, task: str | None) -> dict[str, Path]:
    """Verified weight files for a task, by the names of `card.weights.files`."""
    if card.weights.status == "recipe":
        raise NoWeightsError(
            f"{card.name} has no weights yet: its card is a recipe that nobody has trained. "
            f"{_how_to_get_weights(card)}, or build it untrained with pretrained=False"
        )
    pins = card.weights.files or {}
    rest = [file for file in (FULL_FILE, DECODER_FILE) if file in pins][:1]
    if task is not None and not rest:
        raise NoWeightsError(f"only the backbone of {card.name} is published, not its whole pre-training model")
    wanted = {file: pins[file] for file in [BACKBONE_FILE, *(rest if task is not None else [])]}
    if card.weights.status == "hub":
        from rgbd3d.hub import download

        return download(str(card.weights.repo), str(card.weights.revision), wanted)
    from rgbd3d.hub_verify import check_pin

    paths = {file: BUNDLED_WEIGHTS / card.name / file for file in wanted}
    try:
        for file, path in paths.items():
            check_pin(path, file, wanted[file])
    except (OSError, ValueError) as error:
        raise ModelError(f"the bundled weights of {card.name} are damaged ({error}); reinstall rgbd3d") from error
    return paths


def _load(model: Any, files: Mapping[str, Path], task: str | None) -> None:
    """Loads every weight or raises; nothing may stay random."""
    if task is None:
        model.backbone.load_weights(_read(files[BACKBONE_FILE]))
    elif FULL_FILE in files:
        model.method.load_state_dict(_read(files[FULL_FILE]), strict=True)
    else:
        model.method.backbone.load_weights(_read(files[BACKBONE_FILE]))
        backbone = {f"backbone.{key}": value for key, value in model.method.backbone.state_dict().items()}
        model.method.load_state_dict(backbone | _read(files[DECODER_FILE]), strict=True)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)

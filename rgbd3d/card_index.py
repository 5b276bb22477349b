"""Card name -> card: which cards there are, what they start from, and how cards of one's own are added.

Reads names and YAML only. Nothing that looks like a path or a Hub id is ever taken for the name of a card.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rgbd3d.cards import COMMIT, REPOSITORY, Card, CardError, load_card
from rgbd3d.strict_yaml import did_you_mean

PRETRAINING = "pretraining"
"""What a card without a task is for."""

_PACKAGE = Path(__file__).resolve().parent


class ModelError(ValueError):
    """A model that cannot be given as asked; the message says what to do instead."""


class UnknownModelError(ModelError):
    """No card, folder or Hub repository of that name."""


@cache
def _load_named(path: Path) -> Card:
    card = load_card(path, trusted=path.parent == cards_folder())
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
    if name.removeprefix("random:").startswith(("timm:", "transformers:")):
        return (
            f"{name!r} is a backbone of another library, not a card; `rgbd3d finetune CARD --backbone {name}` trains a "
            "card's recipe on it, and the folder that it writes can be measured"
        )
    if looks_like_path(name) or "/" in name:
        return f"{name!r} is a path or a Hub id, not the name of a card; load it with rgbd3d.from_pretrained({name!r})"
    if Path(name).is_dir():
        return f"unknown model {name!r}; to load the folder of that name write './{name}'"
    return f"unknown model {name!r}{did_you_mean(name, _known(), count=3) or '; `rgbd3d list` shows all'}"


def looks_like_path(name: str) -> bool:
    """Whether a name can only be meant as a path."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/")


def list_models(
    pattern: str = "*",
    *,
    pretrained: bool | None = None,
    method: str | None = None,
    architecture: str | None = None,
    source: str | None = None,
    task: str | None = None,
) -> list[str]:
    """Names of the cards, sorted.

    Args:
        pattern: Shell-style, for example "mask3d-*"; a word without wildcards is searched anywhere in the name.
        pretrained: True keeps those with weights, False those without.
        method: For example "mask3d".
        architecture: For example "vit_base".
        source: Data set that it was trained on, for example "scannet".
        task: "pretraining", or a task of fine-tuned models, for example "depth-estimation".
    """
    pattern = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    names = sorted(name for name in _known() if fnmatch.fnmatchcase(name, pattern))

    def fits(card: Card) -> bool:
        wanted = (
            (method, card.method),
            (architecture, card.backbone.architecture),
            (source, card.data.source),
            (task, card.task or PRETRAINING),
        )
        has_weights = card.weights.status != "recipe"
        return pretrained in (None, has_weights) and all(want in (None, have) for want, have in wanted)

    return [name for name in names if fits(get_card(name))]


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
    if not isinstance(cards, str) or looks_like_path(cards) or not REPOSITORY.fullmatch(cards):
        raise ModelError(f"there is no folder {str(cards)!r}, and it is no Hub id (owner/name)")
    if revision is None or not COMMIT.fullmatch(revision):
        raise ModelError(f"cards from the Hub are pinned: register({cards!r}, revision=<commit of 40 hex digits>)")
    from rgbd3d.hub_download import snapshot

    return snapshot(cards, revision, ["*.yaml"])[0]

"""Backbones of other libraries: what to type for one, its section in a card, and the network that this describes."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rgbd3d.cards import Card, ForeignBackbone, License, Weights
from rgbd3d.downstream import timm_backbones, transformers_backbones
from rgbd3d.downstream.base import Size
from rgbd3d.downstream.levels import levels_of, require_any_size
from rgbd3d.downstream.sections import Particulars
from rgbd3d.hub_download import resolve_revision, snapshot

NOT_KNOWN = "not stated"
"""Stands for the terms of weights of which nobody says them."""

_log = logging.getLogger(__name__)
_SPEC = re.compile(r"(?P<random>random:)?(?P<library>timm|transformers):(?P<model>[^@]+)(@(?P<revision>[0-9a-f]{40}))?")


def on_backbone(card: Card, spec: str) -> Card:
    """The recipe of a card on a backbone of another library.

    Data, schedule, head and scores stay as they are; the image size is rounded to the backbone's stride.

    Args:
        card: Of a task.
        spec: `[random:]LIBRARY:MODEL[@COMMIT]`, for example "timm:vit_small_patch14_dinov2.lvd142m" or
            "transformers:facebook/dinov2-small@<40 hex digits>". Without a commit it is the newest one, which the card
            then pins; `random:` leaves the weights there.

    Raises:
        ValueError: A card of pre-training, or one that is on such a backbone already; a spec of another form, or no
            such model, or one that does not fit.
        HubError: The Hub cannot be asked, or has no such repository.
    """
    if card.task is None:
        raise ValueError(f"{card.name} is a recipe of pre-training; a backbone of another library is only fine-tuned")
    if isinstance(card.backbone, ForeignBackbone):  # its terms and departures are those of that backbone
        raise ValueError(
            f"{card.name} is on a backbone of another library already, {card.backbone.label}: take the recipe that it "
            "was made from"
        )
    section = section_of(spec, card.backbone.image_size)
    if section.image_size != card.backbone.image_size:
        _log.warning("%s sees images of %s instead of %s", section.label, section.image_size, card.backbone.image_size)
    terms = with_terms_of(card.license.weights, section.label, terms_of(section))
    return replace(
        card,
        name=re.sub(r"[^a-z0-9._-]+", "-", f"{section.label}.{card.task}-{card.data.source}".lower()),
        title=f"{section.label}, fine-tuned by the recipe of {card.name}",
        method=None,
        paper=f"Recipe of: {card.paper}",
        backbone=section,
        init=None,
        start=None,
        weights=Weights(status="recipe"),
        license=License(weights=terms, data=card.license.data) if section.pretrained else card.license,
        reported=(),
        measured=(),
        departures=(*card.departures, f"The recipe of {card.name} on another backbone, {section.spec}."),
        tolerance=None,
    )


def terms_of(section: ForeignBackbone) -> str:
    """The terms of the weights that a section pins, as far as its library states them."""
    stated = timm_backbones.license_of(section.model) if section.library == "timm" else None
    return stated or NOT_KNOWN


def with_terms_of(own: str, start: str, terms: str) -> str:
    """The terms of weights, and of those that they were trained from where these are others.

    Args:
        own: Terms without those of the start, or with them: nothing is said twice.
        start: Name of what they were trained from.
        terms: Of that.
    """
    more = f", and those of {start} it starts from: {terms}"
    return own if terms == own or more in own else own + more


def section_of(spec: str, image_size: Size) -> ForeignBackbone:
    """The card's section of what was typed for a backbone.

    Args:
        spec: See `on_backbone`.
        image_size: (height, width) wanted; the section has the nearest multiples of the stride.

    Raises:
        ValueError: See `on_backbone`.
        HubError: See `on_backbone`.
    """
    section = _pinned(spec, image_size)
    with torch.device("meta"):
        network, known = _build(section, None)
    height, width = (max(round(side / known.stride), 1) * known.stride for side in image_size)
    require_any_size(network, (height, width))
    return replace(section, image_size=(height, width), parameters=_parameters(network))


def open_foreign(spec: str) -> tuple[ForeignBackbone, nn.Module, Particulars]:
    """A backbone to look at, as its library has it: the images that it sees may have one size only.

    Args:
        spec: See `on_backbone`.

    Returns:
        Its section, at the size of the images that its weights were trained on (224 x 224 where the library does not
        say); the network, whose random weights are drawn from torch's global generator; and what is to be known of it.

    Raises:
        ValueError: See `on_backbone`.
        HubError: See `on_backbone`.
    """
    section = _pinned(spec, (224, 224))
    network, known = _build(section, None)
    if section.pretrained:
        network.load_state_dict(foreign_weights(section))
    size = _own_size(section, known) or section.image_size
    return replace(section, image_size=size, parameters=_parameters(network)), network, known


def build_foreign(section: ForeignBackbone, known: Particulars | None = None) -> tuple[nn.Module, Particulars]:
    """The network of a section, initialised from torch's global generator, and what is to be known of it.

    Args:
        section: Of a card.
        known: What was known when it was built before; then nothing is asked of the Hub.

    Raises:
        ValueError: The library has no such network, builds another one today, or it does not fit the image size or
            takes images of one size only.
        HubError: The Hub does not give its configuration.
    """
    network, particulars = _build(section, known)
    if (found := _parameters(network)) != section.parameters:
        raise ValueError(
            f"{section.label} has {found} parameters, not {section.parameters} as the card says: it is another "
            f"network, or another version of {section.library}"
        )
    if section.image_size[0] % particulars.stride or section.image_size[1] % particulars.stride:
        raise ValueError(
            f"{section.label} takes images whose height and width are multiples of {particulars.stride}, not "
            f"{section.image_size}: set backbone.image_size"
        )
    if known is None:
        require_any_size(network, section.image_size)
    return network, particulars


def foreign_weights(section: ForeignBackbone) -> dict[str, Tensor]:
    """The weights that a section pins, from safetensors files, with the names of the network.

    Raises:
        ValueError: The section asks for none, or the files do not hold every weight.
        HubError: The Hub does not give them.
    """
    if not section.pretrained or section.revision is None:
        raise ValueError(f"{section.spec} is random initialisation: it has no weights")
    if section.library == "timm":
        repository = timm_backbones.repository_of(section.model)
        folder, names = snapshot(repository, section.revision, timm_backbones.WEIGHT_FILES)
        if not names:
            raise ValueError(
                f"{repository} has no model.safetensors: weights in other formats (pickles) are not loaded"
            )
        return timm_backbones.load_timm(section.model, folder / names[0])
    folder = _transformers_folder(section, (*transformers_backbones.CONFIG_FILES, *transformers_backbones.WEIGHT_FILES))
    return transformers_backbones.load_transformers(transformers_backbones.read_config(folder), folder)


def _pinned(spec: str, image_size: Size) -> ForeignBackbone:
    """The section of a spec before its network is known."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(
            f"the backbone {spec!r} should look like timm:NAME, transformers:OWNER/NAME, or either with @COMMIT behind "
            "it, a commit of 40 hex digits, and random: before it for random initialisation"
        )
    library, revision = match["library"], match["revision"]
    model = timm_backbones.full_name(match["model"]) if library == "timm" else match["model"]
    pretrained = match["random"] is None
    if revision is None and (pretrained or library == "transformers"):
        revision = resolve_revision(timm_backbones.repository_of(model) if library == "timm" else model)
    return ForeignBackbone(
        library="timm" if library == "timm" else "transformers",
        model=model,
        revision=revision,
        pretrained=pretrained,
        image_size=image_size,
        parameters=1,
    )


def _own_size(section: ForeignBackbone, known: Particulars) -> Size | None:
    if section.library == "timm":
        return timm_backbones.input_size(section.model)
    match (known.config or {}).get("image_size"):
        case int(side):
            return side, side
        case [int(height), int(width)]:
            return height, width
        case _:
            return None


def _build(section: ForeignBackbone, known: Particulars | None) -> tuple[nn.Module, Particulars]:
    if section.library == "timm":
        network, config = timm_backbones.build_timm(section.model), None
        mean, std = (known.mean, known.std) if known else timm_backbones.normalisation(section.model)
    elif known is not None:
        config = known.config
        network = transformers_backbones.build_transformers(config or {}, "foreign.config of config.json")
        mean, std = known.mean, known.std
    else:
        folder = _transformers_folder(section, transformers_backbones.CONFIG_FILES)
        config = transformers_backbones.read_config(folder)
        network = transformers_backbones.build_transformers(config, str(folder / "config.json"))
        mean, std = transformers_backbones.read_normalisation(folder)
    return network, Particulars(mean, std, levels_of(network)[-1].stride, config)


def _transformers_folder(section: ForeignBackbone, files: tuple[str, ...]) -> Path:
    assert section.revision is not None, "cards have one for transformers"
    return snapshot(section.model, section.revision, files)[0]


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)

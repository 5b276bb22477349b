"""Where a recipe's frames come from: the user's data, or rooms rendered once into a cache."""

from __future__ import annotations

import os
from pathlib import Path

from rgbd3d import __version__
from rgbd3d.cards import Card, Render
from rgbd3d.data.base import Source
from rgbd3d.data.sources import open_source
from rgbd3d.data.synthrooms.write import write_dataset
from rgbd3d.objectives import MAEObjective, Objective

SYNTHROOMS = "synthrooms"
_ALWAYS = ("image", "scene_id", "frame_id")


def open_frames(card: Card, data: str | None) -> Source:
    """Frames of a recipe.

    Args:
        card: Recipe.
        data: Specification of `rgbd3d.data.sources.open_source`; None renders what the card asks for.

    Raises:
        ValueError: No data given for a recipe whose data cannot be rendered.
    """
    spec = str(_rendered(card)) if data is None else data
    return open_source(spec, split=card.data.split, every=card.data.every, columns=_columns(card.objective))


def _columns(objective: Objective) -> tuple[str, ...]:
    """What has to be decoded."""
    if isinstance(objective, MAEObjective):
        return _ALWAYS
    return (*_ALWAYS, "depth", *(("semantic",) if "semantic" in objective.targets else ()))


def _rendered(card: Card) -> Path:
    """Folder with the rendered frames of a card; finished first if it is not."""
    if card.data.source != SYNTHROOMS or card.data.render is None:
        raise ValueError(
            f"{card.name} is trained on {card.data.source}, which cannot be redistributed: bring your copy with "
            "--data SPEC: a folder of Parquet files, a folder of frames (7-Scenes, TUM or ScanNet-export layout) or "
            "hf://datasets/OWNER/NAME@REVISION"
        )
    render = card.data.render
    folder = _cache() / SYNTHROOMS / _settings(card.data.split, render)
    write_dataset(folder, card.data.split, render.scenes, render.frames_per_scene, render.size)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rgbd3d"


def _settings(split: str, render: Render) -> str:
    height, width = render.size
    return f"{split}-{render.scenes}x{render.frames_per_scene}-{height}x{width}-v{__version__}"

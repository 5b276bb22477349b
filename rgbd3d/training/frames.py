"""Where a recipe's frames come from: the user's data, or rooms rendered once into a cache."""

from __future__ import annotations

import os
from pathlib import Path

from rgbd3d.cards import Card, Render
from rgbd3d.data.base import Source
from rgbd3d.data.sources import open_source
from rgbd3d.data.synthrooms.render import RENDERER
from rgbd3d.data.synthrooms.write import write_dataset
from rgbd3d.objectives import MAEObjective, Mask3DObjective
from rgbd3d.tasks import DepthEstimation, InstanceSegmentation, SemanticSegmentation

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
    spec = str(_rendered_for(card)) if data is None else data
    return open_source(spec, split=card.data.split, every=card.data.every, columns=(*_ALWAYS, *truth_columns(card)))


def truth_columns(card: Card) -> tuple[str, ...]:
    """What the objective of a card is computed on, beside the image."""
    match card.objective:
        case MAEObjective():
            return ()
        case Mask3DObjective(targets=targets):
            return ("depth", "semantic") if "semantic" in targets else ("depth",)
        case SemanticSegmentation():
            return ("semantic",)
        case DepthEstimation():
            return ("depth",)
        case InstanceSegmentation():
            return ("semantic", "instance")


def _rendered_for(card: Card) -> Path:
    """Folder with the rendered frames of a card; finished first if it is not."""
    if card.data.source != SYNTHROOMS or card.data.render is None:
        raise ValueError(
            f"{card.name} is trained on {card.data.source}, which cannot be redistributed: bring your copy with "
            "--data SPEC: a folder of Parquet files, a folder of frames (7-Scenes, TUM or ScanNet-export layout) or "
            "hf://datasets/OWNER/NAME@REVISION"
        )
    return rendered(card.data.split, card.data.render)


def rendered(split: str, render: Render) -> Path:
    """Folder with rendered frames, in a cache; finished first if it is not."""
    folder = _cache() / SYNTHROOMS / _settings(split, render)
    write_dataset(folder, split, render.scenes, render.frames_per_scene, render.size, rooms=render.rooms)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rgbd3d"


def _settings(split: str, render: Render) -> str:
    height, width = render.size
    rooms = "" if render.rooms == "compact" else f"-{render.rooms}"
    return f"{split}-{render.scenes}x{render.frames_per_scene}-{height}x{width}{rooms}-r{RENDERER}"

"""An evaluation as a folder: a page for the browser, and its pictures and tables as files of their own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rgbd3d.evaluation.looks.base import Look
from rgbd3d.evaluation.looks.depth import DepthLook
from rgbd3d.evaluation.looks.instances import InstanceLook
from rgbd3d.evaluation.looks.semantic import SemanticLook
from rgbd3d.evaluation.metrics import Meter
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.pictures import grid
from rgbd3d.evaluation.protocols_base import ScoredProtocol
from rgbd3d.evaluation.result import Result
from rgbd3d.files import write_atomic
from rgbd3d.report import Picture, Report

_WIDTH = 1360
_PANEL = 480  # pixels, of the pictures on the page; the files keep their size

LOOKS: dict[str, Callable[[ScoredProtocol[Any], int, int], Look[Any]]] = {
    "semantic-segmentation": SemanticLook,
    "depth-estimation": DepthLook,
    "instance-segmentation": InstanceLook,
}
"""By task."""


def write_page(result: Result, look: Look[Any], meter: Meter, folder: Path) -> Path:
    """Writes index.html with everything that was seen, and its parts beside it.

    Args:
        result: The numbers.
        look: What watched the first run of the result.
        meter: Of that run.
        folder: Is made if it is not there.

    Returns:
        The page.
    """
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    scored = result.data.frames - look.protocol.frames.first
    page = Report(result.model, f"{result.protocol}, {scored} frames of {result.data.source}", width=_WIDTH)
    _add_numbers(page, result)
    if look.kept:
        _add_frames(page, result, look, folder / "samples")
    look.add_sections(page, meter, folder)
    _add_facts(page, result, look.protocol)
    page.write(folder / "index.html")
    return folder / "index.html"


def _add_numbers(page: Report, result: Result) -> None:
    several = len(result.runs) > 1
    page.section("Numbers", "Mean ± sample standard deviation over the seeds, and each of them." if several else "")
    seeds = [f"seed {seed}" for seed in result.seeds] if several else []
    rows = []
    for metric in result.metrics:
        name = name_of(metric)
        runs = [name.number(value) for value in result.values(metric)] if several else []
        rows.append((name.title, name.mean_and_std(result.mean(metric), result.std(metric)), *runs))
    page.table(("metric", "mean" if several else "value", *seeds), rows)


def _add_frames(page: Report, result: Result, look: Look[Any], folder: Path) -> None:
    whose = f" They are of seed {result.seeds[0]}." if len(result.runs) > 1 else ""
    page.section("Frames", f"Evenly spread over those that are scored.{whose} {look.explanation}")
    if isinstance(look, DepthLook):
        look.legend(page)
    cards = []
    for number, (kept, pictures) in enumerate(zip(look.kept, look.pictures(), strict=True)):
        write_atomic(folder / f"{number:02d}.png", _png(grid([pictures], look.titles)))
        cards.append(([[_reduced(picture) for picture in pictures]], kept.caption))
    page.gallery(cards, columns=1)


def _add_facts(page: Report, result: Result, protocol: ScoredProtocol[Any]) -> None:
    page.section("How it was measured", protocol.description)
    facts = {
        **result.facts,
        "frames from": f"{result.data.source}, split {result.data.split}, digest {result.data.digest}",
        "model": f"{result.label}: {', '.join(result.checkpoints)}",
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
    }
    page.table(("protocol", result.protocol), list(facts.items()))
    page.commands([result.command])


def _reduced(picture: Picture) -> Picture:
    image = Image.fromarray(picture)
    image.thumbnail((_PANEL, _PANEL))
    return np.asarray(image)


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()

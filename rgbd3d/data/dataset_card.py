"""The README of a prepared data set: what it is, its terms, how its classes are numbered, how to read it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from rgbd3d.data.catalog import DataSet
from rgbd3d.data.label_spaces import class_names

_TAGS = {"frames": ["rgb-d", "depth"], "clouds": ["point-cloud", "3d"], "clips": ["video"]}


def dataset_card(data_set: DataSet, manifest: Mapping[str, Any]) -> str:
    """Text of README.md.

    Args:
        data_set: Of the catalogue.
        manifest: Content of manifest.json.
    """
    settings = manifest["settings"]
    return "\n".join(
        [
            *_front_matter(data_set, manifest),
            f"# {data_set.title}, prepared for rgbd3d",
            "",
            data_set.content,
            "",
            f"**Terms of the source.** {data_set.terms}",
            "This copy carries the same terms. Keep it private unless they allow you to share it.",
            "",
            "## Rows",
            "",
            "| split | rows |",
            "| --- | --- |",
            *(f"| {split} | {rows} |" for split, rows in sorted(manifest["rows"].items())),
            "",
            *_left_out(manifest["skipped"]),
            "## How it was made",
            "",
            f"`{_command(settings)}`",
            "",
            f"Reader version {settings['reader_version']}; `manifest.json` holds the settings, and rows and sha256 of "
            "every file.",
            *_depth(settings),
            "",
            *_mapping(settings["label_space"]),
            "## Reading it",
            "",
            "```python",
            "import rgbd3d",
            "",
            'source = rgbd3d.open_source("path/to/this/folder")  # or hf://datasets/OWNER/NAME@REVISION',
            "sample = source[0]",
            "```",
            "",
            "`datasets.load_dataset` reads the same files without rgbd3d; depth is in millimetres there, 0 = no "
            "measurement.",
            "",
        ]
    )


def _front_matter(data_set: DataSet, manifest: Mapping[str, Any]) -> list[str]:
    splits = sorted(manifest["rows"])
    return [
        "---",
        f"pretty_name: {json.dumps(data_set.title)}",
        "license: other",
        f"license_name: {json.dumps(f'{data_set.name}-terms')}",
        "tags:",
        *(f"- {tag}" for tag in ["rgbd3d", *_TAGS[manifest["settings"]["kind"]]]),
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(f"  - split: {split}\n    path: {split}-*.parquet" for split in splits),
        "---",
        "",
    ]


def _left_out(skipped: list[Mapping[str, Any]]) -> list[str]:
    if not skipped:
        return []
    return [f"{len(skipped)} rows or parts could not be used and were left out; `manifest.json` names them.", ""]


def _depth(settings: Mapping[str, Any]) -> list[str]:
    if settings["pseudo_depth"] is None:
        return []
    return [
        "",
        f"**Depth was not measured.** It was estimated by `{settings['pseudo_depth']}`; its own terms apply as well.",
    ]


def _command(settings: Mapping[str, Any]) -> str:
    options = [
        ("--labels", settings["label_space"]),
        ("--stride", settings["stride"]),
        ("--clip-frames", settings["clip_frames"]),
        ("--size", settings["size"] and f"{settings['size'][1]}x{settings['size'][0]}"),
        ("--depth", settings["depth_encoding"]),
        ("--pseudo-depth", settings["pseudo_depth"]),
    ]
    words = ["rgbd3d", "data", "prepare", settings["data_set"], "--raw", "RAW", "--out", "OUT"]
    return shlex.join([*words, *(str(word) for option in options if option[1] is not None for word in option)])


def _mapping(label_space: str | None) -> list[str]:
    if label_space is None:
        return []
    names = class_names(label_space)
    listed = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    return [
        "## Classes",
        "",
        f"Train ids of the label space `{label_space}`, {len(names)} classes; 255 is ignored.",
        "",
        listed,
        "",
    ]

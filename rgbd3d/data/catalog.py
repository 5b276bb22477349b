"""The data sets that cards name: their terms and how to get them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Attributes:
        name: As in `data.source` of a card.
        content: What it holds.
        terms: Under which terms.
        access: How to get it.
    """

    name: str
    content: str
    terms: str
    access: str


CATALOG = (
    DataSet(
        name="synthrooms",
        content="Procedural indoor rooms: RGB, depth, 40 NYU classes, instances, intrinsics, poses.",
        terms="Apache-2.0, like the package that renders it; no downloaded asset is in it.",
        access="rgbd3d data render --scenes 100 --out rooms",
    ),
    DataSet(
        name="scannet",
        content="2.5 M RGB-D frames of 1513 scanned rooms, with poses and labels.",
        terms="Non-commercial research and education, on signed agreement; no redistribution.",
        access="Ask its authors (http://www.scan-net.org), export frames, pass the folder as --data.",
    ),
    DataSet(
        name="nyuv2",
        content="1449 labelled RGB-D frames of 464 rooms (795 train, 654 test).",
        terms="No licence is stated; the frames remain its authors'. No redistribution by us.",
        access="Get it from its authors, pass the folder of frames as --data.",
    ),
    DataSet(
        name="imagenet-1k",
        content="1.28 M photographs of 1000 classes.",
        terms="Non-commercial research and education; the images belong to their owners.",
        access="Ask at https://image-net.org, write it as Parquet (see docs/data.md), pass that folder as --data.",
    ),
)


def text_table() -> str:
    """The catalogue for a terminal."""
    blocks = []
    for data_set in CATALOG:
        lines = {"content": data_set.content, "terms": data_set.terms, "access": data_set.access}
        body = [
            fill(text, 118, initial_indent=f"  {key:<8} ", subsequent_indent=" " * 11) for key, text in lines.items()
        ]
        blocks.append("\n".join([data_set.name, *body]))
    return "\n\n".join(blocks)

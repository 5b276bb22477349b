"""Names and ids of the classes that labels stand for: one table per label space, the only home of each.

Labels of this library are train ids: 0 to n - 1, and 255 for what counts in no loss and no metric. `lookup` translates
the ids of a data set's own files. A table `SPACE.tsv` beside this file has a line per class in the order of the train
ids, the id that the source uses and the name; `SPACE_of_IDS.tsv` translates ids of one numbering to another, 0 = none.

| label space | its ids | source of names and ids |
| --- | --- | --- |
| nyu40, nyu13 | 1-based | class40 and class13 maps of ankurhanda/nyuv2-meta-data, spelled as there |
| scannet20 | NYU40 ids | ScanNet/ScanNet, BenchmarkScripts |
| scannet200 | ids of scannetv2-labels.combined.tsv | ScanNet/ScanNet, BenchmarkScripts/ScanNet200 |
| sunrgbd37 | 1-based | SUN RGB-D toolbox, spelled as in TUI-NICR/ESANet |
| cityscapes19 | labelIds | mcordts/cityscapesScripts, helpers/labels.py |
| ade20k150 | 1-based | CSAILVision/sceneparsing, objectInfo150.txt |
| ucf101 | 1-based | classInd.txt of the data set |
| kinetics400 | none, the names are those of the folders | torchvision's Kinetics models, alphabetical |
| or_ar9 | 1-based | the M3D paper counts nine phases and names none, so their names here are mere numbers |
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rgbd3d.data.codec import DataError
from rgbd3d.types import IGNORE_LABEL

_OWN_IDS = MappingProxyType(
    {
        "nyu40": "nyu40",
        "nyu13": "nyu13",
        "scannet20": "nyu40",
        "scannet200": "scannet",
        "sunrgbd37": "sunrgbd37",
        "cityscapes19": "cityscapes",
        "ade20k150": "ade20k150",
        "ucf101": "ucf101",
        "kinetics400": None,
        "or_ar9": "or_ar9",
    }
)
_VIA = MappingProxyType({("nyu40", "nyu894"): "nyu40", ("nyu13", "nyu40"): "nyu13", ("nyu13", "nyu894"): "nyu40"})

_COARSER = frozenset({("nyu40", "nyu13"), ("nyu40", "scannet20")})

LABEL_SPACES = tuple(_OWN_IDS)
"""Names of all label spaces."""


def class_names(space: str) -> tuple[str, ...]:
    """Names of the classes in the order of their train ids; the first one where a class has several.

    Raises:
        ValueError: Unknown label space.
    """
    return tuple(names[0] for names in synonyms(space))


def synonyms(space: str) -> tuple[tuple[str, ...], ...]:
    """All names of each class, in the order of their train ids.

    Raises:
        ValueError: Unknown label space.
    """
    return tuple(tuple(names.split(", ")) for _, names in _classes(space))


@cache
def lookup(space: str, ids: str) -> npt.NDArray[np.uint8]:
    """Train ids by the ids of a data set's files.

    Args:
        space: Label space of the result.
        ids: Numbering of the files: "nyu894" (NYUv2's `labels`), "nyu40" or "nyu13" (1-based), "scannet" (raw ids of
            the combined tsv), "sunrgbd37", "ade20k150", "ucf101" or "or_ar9" (1-based), "cityscapes" (labelIds).

    Returns:
        uint8 (n,), read-only: train id of every id from 0 to the largest; 255 = ignore.

    Raises:
        ValueError: Unknown label space, or ids that it is not made from.
    """
    classes = _classes(space)
    if _OWN_IDS[space] == ids:
        numbered = [source for other, own in _OWN_IDS.items() if own == ids for source, _ in _classes(other)]
        table = np.full(max(numbered) + 1, IGNORE_LABEL, np.uint8)
        table[[source for source, _ in classes]] = np.arange(len(classes))
    elif (via := _VIA.get((space, ids))) is not None:
        table = lookup(space, via)[[0, *(int(target) for _, target in _lines(f"{via}_of_{ids}"))]]
    else:
        possible = [own for own in (_OWN_IDS[space],) if own] + [source for target, source in _VIA if target == space]
        raise ValueError(f"no ids {ids!r} for label space {space!r}: it is made from {possible}")
    table.setflags(write=False)
    return table


def says(source: str | None, space: str | None) -> bool:
    """Whether labels of one label space say those of another, as nyu40 says nyu13; each says itself."""
    return source == space or (source, space) in _COARSER


@cache
def translation(source: str | None, space: str) -> Tensor:
    """Train ids of one label space by those of another.

    Args:
        source: Label space of the data.
        space: Label space that is wanted.

    Returns:
        int64 (256,): 255 = ignore, for what is ignored or has no such class.

    Raises:
        ValueError: The labels do not say it.
    """
    if source is None or not says(source, space):
        raise ValueError(f"labels of {source or 'no known label space'} cannot be translated to {space}")
    table = torch.full((IGNORE_LABEL + 1,), IGNORE_LABEL)
    count = len(class_names(source))
    ids = np.arange(count) if source == space else lookup(space, source)[1 : count + 1]
    table[:count] = torch.from_numpy(ids.astype(np.int64))
    return table


def train_ids(labels: npt.NDArray[np.integer], table: npt.NDArray[np.uint8], where: str) -> Tensor:
    """Labels of a file as train ids.

    Args:
        labels: Ids of the file, any shape.
        table: Of `lookup`.
        where: Names the file in errors.

    Returns:
        int64 of the same shape; 255 = ignore.

    Raises:
        DataError: An id that the numbering does not have.
    """
    if labels.size and (labels.min() < 0 or labels.max() >= len(table)):
        raise DataError(
            f"{where}: labels from {labels.min()} to {labels.max()}, but this numbering ends at {len(table) - 1}: "
            "another kind of label map?"
        )
    return torch.from_numpy(table[labels].astype(np.int64))


@cache
def _classes(space: str) -> tuple[tuple[int, str], ...]:
    """(Id in the source, names) of each class."""
    if space not in _OWN_IDS:
        raise ValueError(f"unknown label space {space!r}; there are {list(LABEL_SPACES)}")
    return tuple((int(source), names) for source, names in _lines(space))


def _lines(table: str) -> list[tuple[str, str]]:
    text = files(__package__).joinpath(f"{table}.tsv").read_text("utf-8")
    return [(left, right) for left, right in (line.split("\t") for line in text.splitlines())]

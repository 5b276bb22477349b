"""What the frames and the scenes of ScanNet v2 share: where scenes lie, their split, and the labels' ids.

Split: `scannetv2_train.txt` and `scannetv2_val.txt` of the official repository (folder Tasks/Benchmark), a scene per
line; every other scene is test, and so is what lies in `scans_test`. Without the lists all of `scans` is train, and a
warning says so. The lists and `scannetv2-labels.combined.tsv` are looked for in the raw folder, in its parent, and in
Tasks/Benchmark of either.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.label_spaces import lookup
from rgbd3d.data.readers.base import Options
from rgbd3d.data.readers.bounded import list_folder, read_text
from rgbd3d.types import IGNORE_LABEL

LABELS = "scannetv2-labels.combined.tsv"

_SCENE = re.compile(r"scene\d{4}_\d{2}")
_SPLITS = ("train", "val", "test")
_LARGEST_ID = 2**16 - 1


def find_scenes(raw: Path, holds: Callable[[Path], bool], what: str) -> list[tuple[str, Path]]:
    """Split and folder of each scene, train first, sorted by name.

    Args:
        raw: The folder with `scans` and `scans_test`, or the one with the scenes themselves.
        holds: Whether a scene's folder has what is to be read.
        what: Names that in errors.

    Raises:
        DataError: No such scene, or one in both folders; one split list without the other, or a scene in both.
    """
    if not raw.is_dir():
        raise DataError(f"{raw}: not a folder; the one with the scenes of ScanNet is expected")
    folders = [raw / name for name in ("scans", "scans_test") if (raw / name).is_dir()] or [raw]
    found = [path for folder in folders for path in _scene_folders(folder) if holds(path)]
    if not found:
        raise MissingDataError(
            f"{raw}: no scene with {what}; looked for sceneNNNN_NN in {[str(path) for path in folders]}"
        )
    names = [path.name for path in found]
    if len(set(names)) < len(names):
        raise DataError(f"{raw}: a scene is in `scans` and in `scans_test`")
    lists = _read_lists(raw)

    def split(path: Path) -> str:
        if path.parent.name == "scans_test":
            return "test"
        return lists.get(path.name, "test") if lists else "train"

    return sorted(((split(path), path) for path in found), key=lambda scene: (_SPLITS.index(scene[0]), scene[1].name))


def check_labelled(raw: Path, options: Options | None, labels: str) -> None:
    """Refuses a label space that was asked for, to be called where no scene has labels.

    Args:
        raw: The raw folder.
        options: What the user chose.
        labels: Names the files that would hold them.

    Raises:
        DataError: The options name a label space.
    """
    if options is not None and options.label_space is not None:
        raise MissingDataError(f"{raw}: {options.label_space} labels were asked for, but no scene has any: {labels}")


def find_beside(raw: Path, name: str) -> Path | None:
    """A file of the release that users keep in various places."""
    folders = (raw, raw / "Tasks" / "Benchmark", raw.parent, raw.parent / "Tasks" / "Benchmark")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def nyu40_table(space: str) -> npt.NDArray[np.uint8]:
    """Train ids of NYU40 ids 0 to 40.

    Args:
        space: "nyu40" or "scannet20".
    """
    return lookup(space, "nyu40")


def raw_table(raw: Path, space: str) -> npt.NDArray[np.uint8]:
    """Train ids of the raw label ids: those of the line in the combined tsv.

    Args:
        raw: The raw folder.
        space: "nyu40", "scannet20" or "scannet200".

    Raises:
        DataError: The tsv is missing or damaged.
    """
    categories = list(_read_categories(raw))
    ids = np.array([raw_id for raw_id, _, _ in categories])
    table = np.full(ids.max() + 1, IGNORE_LABEL, np.uint8)
    if space == "scannet200":
        table[ids] = _extended(lookup(space, "scannet"), len(table))[ids]
    else:
        table[ids] = nyu40_table(space)[[nyu40_id for _, _, nyu40_id in categories]]
    return table


def raw_ids(raw: Path) -> dict[str, int]:
    """Raw label id of each category's name; the first line counts where a name has several.

    Raises:
        DataError: The tsv is missing or damaged.
    """
    return {name: raw_id for raw_id, name, _ in reversed(list(_read_categories(raw)))}


def _scene_folders(folder: Path) -> Iterator[Path]:
    return (path for path in list_folder(folder) if _SCENE.fullmatch(path.name) and path.is_dir())


def _read_lists(raw: Path) -> dict[str, str]:
    """Split of each listed scene; empty without lists."""
    paths = {split: find_beside(raw, f"scannetv2_{split}.txt") for split in ("train", "val")}
    if not any(paths.values()):
        warnings.warn(
            f"{raw}: no scannetv2_train.txt and scannetv2_val.txt: all scenes of `scans` count as train", stacklevel=2
        )
        return {}
    splits: dict[str, str] = {}
    for split, path in paths.items():
        if path is None:
            raise MissingDataError(
                f"{raw}: scannetv2_{split}.txt is missing beside the other split's list; put both there"
            )
        for name in read_text(path).split():
            if splits.setdefault(name, split) != split or not _SCENE.fullmatch(name):
                raise DataError(f"{path}: {name[:80]!r} is no scene, or is in both lists")
    return splits


def _read_categories(raw: Path) -> Iterator[tuple[int, str, int]]:
    """(Raw id, name, NYU40 id) of each line of the tsv."""
    path = find_beside(raw, LABELS)
    if path is None:
        raise MissingDataError(
            f"{raw}: there are labels but no {LABELS}; it comes with the ScanNet download, put it there"
        )
    rows = csv.DictReader(read_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    number = 0
    for number, row in enumerate(rows, 2):
        try:
            raw_id, nyu40_id, name = int(row["id"]), int(row["nyu40id"] or 0), row["raw_category"]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, line {number}: no id, raw_category and nyu40id ({error!r})") from error
        if not (0 <= raw_id <= _LARGEST_ID and 0 <= nyu40_id <= 40):
            raise DataError(f"{path}, line {number}: id {raw_id} or NYU40 id {nyu40_id} is out of range")
        yield raw_id, name, nyu40_id
    if not number:
        raise DataError(f"{path}: no categories")


def _extended(table: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.uint8]:
    """With what is missing up to a length ignored."""
    return np.concatenate([table, np.full(max(0, length - len(table)), IGNORE_LABEL, np.uint8)])

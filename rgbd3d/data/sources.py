"""Open a data set by its address: a folder of Parquet files, a Hub data set, a folder of frames, rendered rooms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from huggingface_hub.errors import HTTPError

from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.frame_folder import FrameFolder
from rgbd3d.data.manifest import is_unfinished
from rgbd3d.data.parquet import ParquetSource

__all__ = ["DataError", "Source", "open_source"]

_HUB = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>.+))?")

_OTHERS = "hf://datasets/OWNER/NAME[@REVISION] or synthrooms?scenes=N[&frames=N][&size=WIDTHxHEIGHT]"


def open_source(
    spec: str | Path,
    split: str = "train",
    every: int = 1,
    columns: Iterable[str] | None = None,
    units_per_metre: float | None = None,
) -> Source:
    """Open frames by index.

    Args:
        spec: One of
            a folder with Parquet files (`SPLIT-*.parquet`, `SPLIT/*.parquet`, either also under `data/`) or one file;
            `hf://datasets/OWNER/NAME[@REVISION]`, the same on the Hub (the revision is resolved to a commit once);
            a folder of frames, or of such folders (`rgbd3d.data.frame_folder` lists the layouts);
            `synthrooms?scenes=N[&frames=N][&size=WIDTHxHEIGHT]`, rooms that are rendered when they are asked for.
        split: Part of the data set. A folder of frames without a folder of that name has only "train": all of it.
        every: Keep every k-th frame of each sequence, of which prepared data hold one in STRIDE: every
            (k / STRIDE)-th of their rows. 1 keeps all there are.
        columns: Keys of a sample to decode; None decodes all there are.
        units_per_metre: Depth unit of a frame folder; None is 5000 for the TUM layout and otherwise 1000 (millimetres).

    Raises:
        DataError: Nothing there, no such split or column, or files that cannot be a data set; says what was found.
        ValueError: `every` below 1 or no multiple of the stride of prepared data, or a depth unit for anything but a
            folder of frames.
    """
    if every < 1:
        raise ValueError(f"every is {every}, it must be 1 or more")
    if str(spec).startswith("hf://"):
        source: Source = _open_hub(str(spec), split, every, columns)
    elif str(spec).startswith("synthrooms?"):
        from rgbd3d.data.synthrooms.source import open_synthrooms  # the renderer takes long to import

        source = open_synthrooms(str(spec), split, every, columns)
    elif (path := Path(spec).expanduser()).suffix == ".parquet" and path.is_file():
        source = ParquetSource([str(path)], LocalFileSystem(), str(path), every, columns)
    elif not path.is_dir():
        raise DataError(f"{spec}: no such folder; a source is a folder, {_OTHERS}")
    elif is_unfinished(path):
        raise DataError(
            f"{spec}: not finished; run its `rgbd3d data prepare` again, or merge it with the other shares "
            "(`rgbd3d data merge`)"
        )
    elif found := _parquet_files(path):
        files = [str(path / file) for file in _of_split(found, split, str(path))]
        source = ParquetSource(files, LocalFileSystem(), str(path), every, columns)
    else:
        return FrameFolder(_frames_of_split(path, split), every, columns, units_per_metre)
    if units_per_metre is not None:
        raise ValueError(f"{spec}: the unit of its depth is known; units_per_metre is for folders of frames")
    return source


def is_split(spec: str | Path, split: str) -> bool:
    """Whether `split` names a part of a data set; a single file, or a folder of frames alone, is opened under any name.

    Args:
        spec: As for `open_source`.
        split: Likewise.
    """
    path = Path(spec).expanduser()
    if path.is_dir():
        return bool(_parquet_files(path)) or (path / split).is_dir()
    return not path.is_file()


def _parquet_files(folder: Path) -> list[str]:
    # Not a recursive search: a folder of frames may hold millions of files.
    patterns = ("*.parquet", "*/*.parquet", "data/*/*.parquet")
    return sorted(file.relative_to(folder).as_posix() for pattern in patterns for file in folder.glob(pattern))


def _open_hub(spec: str, split: str, every: int, columns: Iterable[str] | None) -> ParquetSource:
    from huggingface_hub import HfApi, HfFileSystem

    match = _HUB.fullmatch(spec)
    if not match:
        raise DataError(f"{spec}: a Hub data set is written hf://datasets/OWNER/NAME or ...NAME@REVISION")
    filesystem: Any = HfFileSystem()
    try:
        revision = HfApi().dataset_info(match["repo"], revision=match["revision"]).sha
        root = f"datasets/{match['repo']}@{revision}"
        found = sorted(file.removeprefix(f"{root}/") for file in filesystem.glob(f"{root}/**/*.parquet"))
    except (OSError, HTTPError) as error:
        raise DataError(
            f"{spec}: cannot be read from the Hub ({' '.join(str(error).split())}); check the name, the revision and "
            "the connection, log in with `hf auth login` if it is private, or name a folder it was downloaded to"
        ) from error
    if not found:
        raise DataError(f"{spec}: no Parquet files at revision {revision}")
    files = [f"{root}/{file}" for file in _of_split(found, split, spec)]
    return ParquetSource(files, filesystem, f"hf://{root}", every, columns)


def _of_split(files: list[str], split: str, where: str) -> list[str]:
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(_split_of(file), []).append(file)
    if split not in by_split:
        raise DataError(f"{where}: no Parquet files of split {split!r}; found {sorted(by_split)}")
    return by_split[split]


def _split_of(file: str) -> str:
    """`train` for train-00000-of-00002.parquet, train.parquet, train/x.parquet, data/train-0.parquet."""
    path = PurePosixPath(file)
    if numbered := re.fullmatch(r"(.+)-\d+-of-\d+", path.stem):
        return numbered[1]
    folders = [part for part in path.parts[:-1] if part != "data"]
    return folders[-1] if folders else path.stem.split("-")[0]


def _frames_of_split(folder: Path, split: str) -> Path:
    if (folder / split).is_dir():
        return folder / split
    if split != "train":
        raise DataError(
            f"{folder}: no split {split!r}, as it has no sub-folder of this name; without one, all frames of a folder "
            "are its split 'train'"
        )
    return folder

"""Pictures of a data set on the Hub, streamed by the `datasets` library.

Raw data: `hf://datasets/OWNER/NAME@COMMIT`, or `...@COMMIT/CONFIG` where there are several configurations. COMMIT is
all 40 digits of a commit, so that a preparation that is split or resumed reads the same data throughout.

The data set needs one column of pictures (feature type `Image`; the one called "image" if there are several) embedded
in its files, as in Parquet. It may have a column of classes (`ClassLabel`; the one called "label").

Conventions: `class_id` is the class as stored, left out where it is negative (the label of an unlabelled test set);
`scene_id` names split and shard, `frame_id` is the place within the shard. Shards are the files that `datasets` streams
independently; each is one unit.

Splits: train, val and test by the names of the splits there; others are left out.

Tested against a local stand-in of the Hub that holds Parquet files, not against the Hub itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub.errors import HTTPError

from rgbd3d.data.codec import DataError
from rgbd3d.data.readers.base import LazyRow, Options, Reader, Row, Unit
from rgbd3d.data.readers.pictures import UNIT_ROWS, as_stored
from rgbd3d.optional import need

SPLITS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}

# A `Path` made of an address has lost one of its slashes.
_ADDRESS = re.compile(r"hf:/{1,2}datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<commit>[0-9a-f]{40}))?(/(?P<config>[^/@]+))?")
_TROUBLE = (OSError, HTTPError, ValueError, KeyError, RuntimeError, pa.ArrowException)


class HubImagesReader(Reader):
    """Pictures of a Hub data set; one unit per shard."""

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._splits = self._open()

    def check_raw(self, raw: Path) -> None:
        """Refuses what is no address of a commit on the Hub."""
        match = _ADDRESS.fullmatch(raw.as_posix())
        if match is None or match["commit"] is None:
            raise DataError(f"{raw}: no address like hf://datasets/OWNER/NAME@COMMIT, with all 40 digits of the commit")
        self._address = match["repo"], match["commit"], match["config"]

    def units(self) -> list[Unit]:
        """The shards of each split."""
        return [
            Unit(f"{name}-{shard:05d}", split, name, UNIT_ROWS, shard, shard + 1)
            for wanted in ("train", "val", "test")
            for name, split in SPLITS.items()
            if split == wanted and name in self._splits
            for shard in range(self._splits[name].num_shards)
        ]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Rows of a shard."""
        stream = self._splits[unit.source]
        image, label = _columns(stream.features, str(self.raw))
        as_file = need("datasets", "reading from the Hub", "readers").Image(decode=False)
        try:
            shard = stream.select_columns([image] + [label] * (label is not None)).cast_column(image, as_file)
            for index, row in enumerate(shard.shard(stream.num_shards, unit.start)):
                if index % self.stride == 0:
                    yield partial(self._row, unit.name, index, row[image], row.get(label))
        except _TROUBLE as error:
            raise self._error(error, f"shard {unit.name}") from error

    def _row(self, name: str, index: int, picture: Mapping[str, Any] | None, label: int | None) -> Row:
        where = f"{self.raw}, row {index} of {name}"
        if picture is None or picture["bytes"] is None:
            raise DataError(
                f"{where}: no picture in it; if the data set keeps them as files of their own, name the commit of its "
                "Parquet copy, the branch refs/convert/parquet"
            )
        row: dict[str, object] = {"image": as_stored(picture["bytes"], where), "scene_id": name, "frame_id": index}
        return row if label is None or label < 0 else row | {"class_id": label}

    def _open(self) -> Mapping[str, Any]:
        """Streams by the name of their split."""
        repo, commit, config = self._address
        datasets = need("datasets", "reading from the Hub", "readers")
        try:
            splits = datasets.load_dataset(repo, config, revision=commit, streaming=True)
        except _TROUBLE as error:
            raise self._error(error, "the data set") from error
        for stream in splits.values():
            _columns(stream.features, str(self.raw))
        if not set(splits) & set(SPLITS):
            raise DataError(f"{self.raw}: splits {sorted(splits)}, none of {sorted(SPLITS)}")
        return splits

    def _error(self, error: Exception, what: str) -> DataError:
        return DataError(
            f"{self.raw}: {what} cannot be read ({' '.join(str(error).split())}); check name, commit and connection, "
            "and log in with `hf auth login` if it asks for that"
        )


def _columns(features: Mapping[str, Any] | None, where: str) -> tuple[str, str | None]:
    """Names of the columns of pictures and of classes."""
    datasets = need("datasets", "reading from the Hub", "readers")

    def only(kind: type, usual: str) -> str | None:
        names = [name for name, feature in (features or {}).items() if isinstance(feature, kind)]
        return usual if usual in names else names[0] if len(names) == 1 else None

    image = only(datasets.Image, "image")
    if image is None:
        raise DataError(f"{where}: columns {dict(features or {})}; one of type Image is needed, or one called 'image'")
    return image, only(datasets.ClassLabel, "label")

"""WebDataset shards: tar files of pictures and their classes, read from front to back and never unpacked.

Raw layout: one `.tar` file, or a folder of them, also one folder deep:

    imagenet1k-train-0000.tar
        n01440764_10026.jpg        picture (.jpg, .jpeg, .png or .webp)
        n01440764_10026.cls        optional: its class, a number in text
        n01440764_10026.json       anything else is passed over

Members of one name up to the first dot belong together and follow each other, as the `webdataset` library has it.

Conventions: `class_id` is the number in `.cls`, `scene_id` the name of the shard and `frame_id` the place of the sample
in it. Names of members are used to group them and for nothing else. Compressed shards are refused: unpack them first.

Splits: train, val, validation or test in the name of the shard or of its folder; without any of them, all is train.

No published shard was at hand: tested on tar files of real pictures written by Python's `tarfile`.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rgbd3d.data.codec import MAX_FILE_BYTES, DataError, MissingDataError
from rgbd3d.data.readers.base import LazyRow, Reader, Row, Unit, check_name
from rgbd3d.data.readers.pictures import SUFFIXES, as_stored

_SPLIT = re.compile(r"(?<![a-z])(train|val|validation|test)(?![a-z])")
_CLASS_SUFFIX = ".cls"
_CLASS_BYTES = 32
_LARGEST_CLASS = 2**31
_HEADER_BYTES = 2**14
_SAMPLE_BYTES = 2**17
"""Of a typical sample, to guess how many a shard holds."""

Sample = dict[str, tarfile.TarInfo]
"""Members of one sample: of the picture and of the class."""


class WebDatasetReader(Reader):
    """Pictures of WebDataset shards; one unit per shard."""

    def units(self) -> list[Unit]:
        """The shards of each split."""
        shards = [self.raw] if self.raw.is_file() else sorted([*self.raw.glob("*.tar"), *self.raw.glob("*/*.tar")])
        if not shards:
            raise MissingDataError(
                f"{self.raw}: no .tar files in it; compressed shards (.tar.gz) have to be unpacked to .tar"
            )
        units = [self._unit(shard) for shard in shards]
        return [unit for split in ("train", "val", "test") for unit in units if unit.split == split]

    def read(self, unit: Unit) -> Iterator[LazyRow]:
        """Samples of a shard."""
        path = self.raw / unit.source if unit.source else self.raw
        with _Shard(path) as shard:
            for index, sample in enumerate(_samples(shard)):
                if index % self.stride == 0:
                    yield partial(_row, shard, sample, unit.name, index)

    def _unit(self, shard: Path) -> Unit:
        source = shard.relative_to(self.raw).as_posix() if shard != self.raw else ""
        found = _SPLIT.search((source or shard.name).lower())
        name = "-".join(check_name(part, self.raw) for part in Path(source or shard.name).with_suffix("").parts)
        split = found[1].replace("validation", "val") if found else "train"
        return Unit(name, split, source, max(shard.stat().st_size // _SAMPLE_BYTES // self.stride, 1))


class _Shard(io.FileIO):
    """A tar file whose headers are read by `tarfile`, each within `_HEADER_BYTES`, and whose data are read here.

    `tarfile` reads as much as a header asks for, follows as many headers of headers as there are, goes back if one says
    so, and takes a damaged header for the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._allowance = 0
        self._end = 0
        try:
            super().__init__(path, "rb")
            self._size = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error

    def error(self, message: str) -> DataError:
        return DataError(f"{self.path} at byte {self._end}: {message}")

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= self._allowance:
            raise self.error(f"a header of more than {_HEADER_BYTES} bytes")
        self._allowance -= size
        return super().read(size) or b""

    def members(self) -> Iterator[tarfile.TarInfo]:
        """All members up to the mark of the archive's end."""
        try:
            self._allowance = _HEADER_BYTES
            with tarfile.open(fileobj=self, mode="r:") as archive:
                while (member := self._next(archive)) is not None:
                    yield member
                    archive.members = []  # type: ignore[attr-defined]  # it remembers all of them otherwise
        except (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError, AttributeError) as error:
            raise error if isinstance(error, DataError) else self.error(f"not a tar file ({error})") from error
        self.seek(self._end)
        if super().read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise self.error("a damaged header, or the file was cut off: the mark of its end is missing")

    def _next(self, archive: tarfile.TarFile) -> tarfile.TarInfo | None:
        self._allowance = _HEADER_BYTES
        member = archive.next()
        if member is None:
            return None
        if not (member.size >= 0 and self._end < archive.offset <= self._size):
            raise self.error(
                f"{member.name[:100]!r} has {member.size} bytes, the file {self._size}: cut off or damaged"
            )
        self._end = archive.offset
        return member

    def content(self, member: tarfile.TarInfo, limit: int) -> bytes:
        """Data of a member.

        Raises:
            DataError: A link, a device or a sparse file, or more than `limit` bytes.
        """
        if not member.isreg() or member.issparse():
            raise self.error(f"{member.name[:100]!r} before this is no plain file")
        if member.size > limit:
            raise self.error(f"{member.name[:100]!r} before this has {member.size} bytes, at most {limit} are expected")
        self.seek(member.offset_data)
        return super().read(member.size) or b""


def _samples(shard: _Shard) -> Iterator[Sample]:
    """Consecutive members of one key, where there is a picture among them."""
    key, sample = "", Sample()
    for member in shard.members():
        if member.isdir():
            continue
        folder, _, name = _checked(member.name, shard).rpartition("/")
        stem, _, extension = name.partition(".")
        if (of := f"{folder}/{stem}") != key:
            if "image" in sample:
                yield sample
            key, sample = of, Sample()
        suffix = "." + extension.lower()
        part = "image" if suffix in SUFFIXES else "class" if suffix == _CLASS_SUFFIX else None
        if part in sample:
            raise shard.error(f"two members {part!r} of the sample {of[:100]!r}")
        if part is not None:
            sample[part] = member
    if "image" in sample:
        yield sample


def _checked(name: str, shard: _Shard) -> str:
    if name.startswith("/") or ".." in name.split("/") or any(ord(character) < 32 for character in name):
        raise shard.error(f"the name {name[:100]!r} of a member is not one of a data set")
    return name


def _row(shard: _Shard, sample: Sample, name: str, index: int) -> Row:
    where = f"{shard.path}, sample {index} ({sample['image'].name[:100]!r})"
    image = as_stored(shard.content(sample["image"], MAX_FILE_BYTES), where)
    row: dict[str, object] = {"image": image, "scene_id": name, "frame_id": index}
    if "class" not in sample:
        return row
    text = shard.content(sample["class"], _CLASS_BYTES).strip()
    if not text.isdigit() or int(text) >= _LARGEST_CLASS:
        raise DataError(f"{where}: its class is {text!r}, not a number from 0")
    return row | {"class_id": int(text)}

"""Any folder of frames that `rgbd3d.data.layouts` describes, stored bit for bit.

    raw/                        or raw/SPLIT/, or one segment without a folder around it
        SEGMENT/
            color/ID.jpg  depth/ID.png  [label40/ID.png] [instance/ID.png] [poses.txt] [intrinsics.txt]

Colour files are kept as they are, and so are depth files in which nothing has to be changed: 16-bit millimetres of the
image's size where 0 alone means no measurement. Depth and labels of another size but the same shape are resized to the
image by nearest neighbour. Only what all frames have is given. A folder SPLIT is named train, val, validation or test,
and no other folder with frames may lie beside it; without any, all is "train".

Seen as real files: the plain layout with JPEG colour (320 x 240), with and without poses, registered depth, labels and
instances. The other layouts were built from their documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rgbd3d.data import codec
from rgbd3d.data.codec import DataError, MissingDataError
from rgbd3d.data.frame_folder import SATURATED, columns_of, decode_frame
from rgbd3d.data.layouts import LABEL_SPACES, NO_FRAMES, Frame, find_segments, scene_name, segment_frames
from rgbd3d.data.readers.base import Options, Row, split_folders
from rgbd3d.data.readers.bounded import read_file
from rgbd3d.data.readers.sequences import FrameSequence, SequenceReader, checked_pose
from rgbd3d.data.schema import check_columns
from rgbd3d.types import MILLIMETRES_PER_METRE


class FrameFolderReader(SequenceReader):
    """Reads folders of frames.

    Where no label space is asked for, `label_space` is that of the folders, or None if they have no labels.

    Raises:
        DataError: No frames, colour and depth that don't pair up, or labels of different or other label spaces.
    """

    label_spaces = LABEL_SPACES

    def __init__(self, raw: Path, options: Options | None = None) -> None:
        super().__init__(raw, options)
        self._wanted = options.label_space if options else None
        self.label_space = self._contents[1]

    def sequences(self) -> Iterator[FrameSequence]:
        """The segments, split by split."""
        for split, segments in self._segments.items():
            for segment in segments:
                yield FrameSequence(scene_name(segment), split, segment)

    def frames(self, folder: Path) -> list[Frame]:
        """Frames of one segment."""
        return segment_frames(folder, self._wanted)

    def row(self, frame: Frame) -> Row:
        """The sample of a frame, with the original files where they say the same."""
        columns = self._contents[0]
        row: dict[str, Any] = {**decode_frame(frame, columns), "image": read_file(frame.color)}
        if frame.depth is not None and _is_as_stored(frame, row["depth"]):
            row["depth"] = read_file(frame.depth)
        if "pose" in columns:
            row["pose"] = checked_pose(frame)
        return row

    @cached_property
    def _segments(self) -> dict[str, list[Path]]:
        """Folders with frames, by split."""
        tops = split_folders(self.raw, lambda folder: bool(find_segments(folder))) or {"train": self.raw}
        found = {split: find_segments(top) for split, top in tops.items()}
        for split, top in tops.items():
            if not found[split]:
                raise MissingDataError(f"{top}: {NO_FRAMES}")
        return found

    @cached_property
    def _contents(self) -> tuple[tuple[str, ...], str | None]:
        """Columns that all frames have, and their label space; of segments that can be listed."""
        common: set[str] | None = None
        spaces = set()
        errors = []
        for sequence in self.sequences():
            try:
                frames = self.frames(sequence.folder)
            except DataError as error:
                errors.append(error)
                continue
            has = set.intersection(*(columns_of(frame) for frame in frames))
            common = has if common is None else common & has
            spaces.add(frames[0].label_space)
        if common is None:
            raise errors[0]
        columns = check_columns(common)
        if "semantic" not in columns:
            if self._wanted is not None:
                raise DataError(f"{self.raw}: not every segment has labels of {self._wanted}")
            return columns, None
        if len(spaces) > 1:
            raise DataError(f"{self.raw}: segments with different label spaces {spaces}; choose one of them")
        return columns, spaces.pop()


def _is_as_stored(frame: Frame, depth: torch.Tensor) -> bool:
    """Whether the depth file, read as millimetres with 0 = none, is already the depth of the sample."""
    if frame.depth is None or frame.units_per_metre not in (None, MILLIMETRES_PER_METRE):
        return False
    pixels = codec.decode_depth_pixels(read_file(frame.depth), str(frame.depth))
    return pixels.shape == depth.shape[-2:] and not (pixels == SATURATED).any()

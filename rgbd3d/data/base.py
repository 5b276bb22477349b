"""What every data source offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch.utils.data import Dataset

from rgbd3d.types import Kind, RGBDSample


class Source(Dataset[RGBDSample], ABC):
    """Frames by index. Safe to send to the workers of a DataLoader, forked or spawned.

    Attributes:
        name: Where the frames come from, for logs and errors.
        kind: What a sample is: a frame (`RGBDSample`), a cloud (`PointSample`) or a clip (`ClipSample`).
        columns: Keys of its samples.
        label_space: Names the classes behind `semantic`, or None.
        stride: The data hold one in this many of the frames that were recorded, as far as they say so.
    """

    name: str
    kind: Kind = "frames"
    columns: tuple[str, ...]
    label_space: str | None
    stride: int = 1

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def __getitem__(self, index: int) -> RGBDSample:
        """Decode one frame.

        Raises:
            IndexError: Outside 0 .. len - 1.
            DataError: A frame that cannot be used; names the file.
        """

    @abstractmethod
    def row_groups(self) -> tuple[int, ...]:
        """Sizes of the runs of consecutive indices that are cheap to read together; they sum to the length.

        A shuffled stream opens a few of them at a time (`rgbd3d.data.stream`).
        """

    @abstractmethod
    def digest(self) -> str:
        """64 hex digits that change with the frames or their order, without reading every pixel."""

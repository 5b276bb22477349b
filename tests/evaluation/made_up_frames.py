"""Sources whose frames are made when they are read, for protocols of thousands of frames."""

from collections.abc import Callable

from rgbd3d.data.base import Source
from rgbd3d.evaluation.protocols_base import Frames


class MadeUpFrames(Source):
    """Frames by index from a function; unless told otherwise, they are what a protocol is for."""

    name = "made-up"

    def __init__(
        self,
        frames: Frames,
        make: Callable[[int], dict],
        *,
        count: int | None = None,
        columns: tuple[str, ...] | None = None,
        label_space: str | None = "",
        kind: str = "frames",
    ) -> None:
        self.frames, self.make, self.kind = frames, make, kind
        self.count = count or frames.count or frames.first + 2
        self.columns = (*(frames.columns if columns is None else columns), "frame_id")
        self.label_space = frames.label_space if label_space == "" else label_space
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict:
        self.read.append(index)
        sample = {"frame_id": self.frames.numbers.get(index, index * (self.frames.every or 1))} | self.make(index)
        return {key: value for key, value in sample.items() if key in self.columns}

    def row_groups(self) -> tuple[int, ...]:
        return (len(self),)

    def digest(self) -> str:
        return "0" * 64

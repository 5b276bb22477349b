"""A source seen in another way: some of its frames, or its labels in another label space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate, groupby

import numpy as np

from rgbd3d.data.base import Source
from rgbd3d.data.codec import DataError
from rgbd3d.data.label_spaces import class_names, says, translation
from rgbd3d.types import IGNORE_LABEL, RGBDSample


class View(Source):
    """A source that hands on to another one what it does not do itself.

    Args:
        source: What is looked at.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name, self.kind, self.columns = source.name, source.kind, source.columns
        self.label_space, self.stride = source.label_space, source.stride

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> RGBDSample:
        return self.source[index]

    def row_groups(self) -> tuple[int, ...]:
        """Those of the source."""
        return self.source.row_groups()

    def digest(self) -> str:
        """That of the source."""
        return self.source.digest()


class Chosen(View):
    """Some frames of a source, in its order.

    Args:
        source: All frames.
        positions: Which of them, increasing.

    Raises:
        ValueError: No position, or positions that are not increasing or not in the source.
    """

    def __init__(self, source: Source, positions: Sequence[int]) -> None:
        super().__init__(source)
        self.positions = tuple(positions)
        increasing = all(a < b for a, b in zip(self.positions, self.positions[1:], strict=False))
        if not self.positions or not increasing or self.positions[0] < 0 or self.positions[-1] >= len(source):
            raise ValueError(f"positions should be increasing, at least one, within the {len(source)} of {source.name}")

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> RGBDSample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: index {index} of {len(self)} chosen frames")
        return self.source[self.positions[index]]

    def row_groups(self) -> tuple[int, ...]:
        """How many are chosen of each run of the source, where any are."""
        ends = np.array(list(accumulate(self.source.row_groups())))
        groups = np.searchsorted(ends, self.positions, side="right").tolist()
        return tuple(len(list(run)) for _, run in groupby(groups))

    def digest(self) -> str:
        """Changes with the source and with the choice."""
        chosen = np.array(self.positions, "<i8").tobytes()
        return hashlib.sha256(self.source.digest().encode() + chosen).hexdigest()


class Labelled(View):
    """A source whose `semantic` is of a given label space: checked, and translated where the source has a finer one.

    Args:
        source: With labels.
        space: Label space to see them in.

    Raises:
        ValueError: The labels of the source do not say those of `space`; names both.
    """

    def __init__(self, source: Source, space: str) -> None:
        super().__init__(source)
        if not says(source.label_space, space):
            raise ValueError(
                f"{_described(space)} are wanted, but the labels of {source.name} are of "
                + _described(source.label_space)
            )
        self._table = translation(source.label_space, space)
        self._classes = len(class_names(str(source.label_space)))
        self.label_space = space

    def __getitem__(self, index: int) -> RGBDSample:
        sample = self.source[index]
        labels = sample["semantic"]
        wrong = ((labels < 0) | (labels >= self._classes)) & (labels != IGNORE_LABEL)
        if bool(wrong.any()):
            found = ", ".join(str(label) for label in labels[wrong].unique().tolist()[:5])
            raise DataError(
                f"{self.name}, frame {sample.get('scene_id', '?')}/{sample.get('frame_id', '?')}: labels {found} are "
                f"none of {_described(self.source.label_space)} (0 to {self._classes - 1}; {IGNORE_LABEL} = ignore)"
            )
        return {**sample, "semantic": self._table[labels]}

    def digest(self) -> str:
        """Changes with the source and with the label space."""
        return hashlib.sha256(f"{self.source.digest()} {self.label_space}".encode()).hexdigest()


def _described(space: str | None) -> str:
    return "no known label space" if space is None else f"the {len(class_names(space))} classes of {space}"

"""What a protocol for trained models states: which frames it is for, what is scored of them, and how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor

from rgbd3d.data.base import Source
from rgbd3d.data.label_spaces import says
from rgbd3d.data.manifest import OWN, RENDERED, data_set_of
from rgbd3d.data.sources import is_split
from rgbd3d.data.transforms import Compose, Transform
from rgbd3d.data.views import Labelled
from rgbd3d.evaluation.metrics import Meter
from rgbd3d.strict_yaml import did_you_mean

P = TypeVar("P")
M = TypeVar("M", bound=Meter)
Sample = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The frames that a protocol is for.

    Attributes:
        data_set: Name in `rgbd3d.data.catalog`; "frames" are anyone's own, so any will do.
        split: Part of it.
        columns: What each frame needs.
        label_space: Of the labels that are scored, or None. Labels that say them too, as those of nyu40 say nyu13, are
            translated.
        count: Number of frames, where a source states it.
        numbers: Position -> frame_id of some of them: enough to know the split and its order.
        every: Frames are those whose frame_id is a multiple of this; None where it does not matter.
        size: (height, width) that all have to have, or None.
        first: Position of the first frame that is scored.
    """

    data_set: str
    split: str
    columns: tuple[str, ...]
    label_space: str | None = None
    count: int | None = None
    numbers: Mapping[int, int] = field(default_factory=dict)
    every: int | None = None
    size: tuple[int, int] | None = None
    first: int = 0

    def check_address(self, spec: str | Path, split: str) -> None:
        """Refuses data that say by their names that they are others, before they are opened.

        Args:
            spec: As for `rgbd3d.data.sources.open_source`.
            split: What is to be opened. That of a single file, or of a folder of frames alone, says nothing.

        Raises:
            ValueError: Says what differs.
        """
        if split != self.split and is_split(spec, split):
            raise ValueError(f"{self._expected}, not for {split}")
        if self.data_set == OWN:
            return
        found = data_set_of(spec)
        if found not in (None, self.data_set):
            raise ValueError(f"{self._expected}; {spec} holds {found}")
        if self.data_set == RENDERED and found is None and Path(spec).expanduser().exists():
            raise ValueError(
                f"{self._expected}, which `rgbd3d data render --split {self.split}` writes; {spec} was not rendered: "
                "protocols that begin with frames- score frames of your own"
            )

    def check(self, source: Source) -> None:
        """Refuses data that this is not for; decodes a few frames.

        Raises:
            ValueError: Says what differs.
        """
        expected = self._expected
        if source.kind != "frames":
            raise ValueError(f"{expected}; {source.name} holds {source.kind}")
        if missing := [name for name in self.columns if name not in source.columns]:
            has = ", ".join(source.columns)
            raise ValueError(f"{expected}; {source.name} has no {' and no '.join(missing)}, only {has}")
        if self.label_space is not None and not says(source.label_space, self.label_space):
            raise ValueError(
                f"{expected}, whose labels it scores as {self.label_space}; those of {source.name} are "
                f"{source.label_space or 'of no known label space'}"
            )
        if len(source) <= self.first or self.count not in (None, len(source)):
            raise ValueError(f"{expected}, {self.count or 'with some'} frames; {source.name} has {len(source)}")
        self._check_some(source)

    def read(self, source: Source, index: int) -> Sample:
        """What the protocol needs of a frame, and its number, with labels in its label space.

        Raises:
            ValueError: It has another size than the others, or is none of every k-th.
            DataError: A label is none of the label space of the source.
        """
        seen = source if self.label_space is None else Labelled(source, self.label_space)
        sample: Sample = seen[index]
        size = tuple(sample["image"].shape[-2:])
        if self.size not in (None, size):
            raise ValueError(
                f"{source.name}, frame {index}: {size[1]} x {size[0]} pixels; this protocol is for frames of "
                f"{self.size[1]} x {self.size[0]}: prepare them without resizing"
            )
        number = sample.get("frame_id")
        if self.every is not None and (number is None or number % self.every):
            raise ValueError(
                f"{source.name}, frame {index}: frame_id is {number}; {self._expected}, every {self.every}th frame: "
                f"prepare it with --stride {self.every}"
            )
        return {key: value for key, value in sample.items() if key in (*self.columns, "frame_id")}

    @property
    def _expected(self) -> str:
        return f"this protocol is for the {self.split} split of {self.data_set}"

    def _check_some(self, source: Source) -> None:
        positions: Mapping[int, int | None] = self.numbers or {self.first: None, len(source) - 1: None}
        for position, number in positions.items():
            found = self.read(source, position).get("frame_id")
            if number is not None and found != number:
                raise ValueError(
                    f"{self._expected}; frame_id at position {position} of {source.name} is {found}, but {number} is "
                    "there: other frames, or not named by their official numbers and in that order"
                )


@dataclass(frozen=True)
class View:
    """What of a frame the network is shown and what is scored; colour stays uint8.

    Attributes:
        words: For tables.
        make: Makes it of a sample.
    """

    words: str
    make: Transform


AS_IT_IS = View("whole frames", Compose([]))

CARD_SIZE = "image size of the card"
CARD_HEIGHT = "image height of the card with the aspect of what is shown, rounded to the patch"
OWN_SIZE = "own size, rounded to the patch"
"""What the network sees: `facts()["input"]`."""


@dataclass(frozen=True, kw_only=True)
class ScoredProtocol(ABC, Generic[M]):
    """How predictions are scored.

    Attributes:
        name: TASK on DATA/VARIANT, as typed on the command line.
        description: What is special about it, and where that is stated.
        frames: What it is for.
        view: What is shown and scored of a frame.
    """

    name: str
    description: str
    frames: Frames
    view: View = AS_IT_IS

    task: ClassVar[str]
    """What is predicted: "semantic-segmentation", "depth-estimation" or "instance-segmentation"."""

    @abstractmethod
    def meter(self) -> M:
        """An empty meter."""

    @abstractmethod
    def predict(self, model: Callable[[Tensor], Any], images: Tensor) -> Any:
        """Runs the model, with the protocol's test-time augmentation.

        Args:
            model: uint8 (B, 3, H, W) -> its prediction.
            images: uint8 (B, 3, H, W).
        """

    @abstractmethod
    def add(self, meter: M, prediction: Any, samples: Sequence[Sample]) -> None:
        """Adds the prediction of a batch of frames to the meter."""

    @property
    def input_size(self) -> Literal["height"] | None:
        """At which size the network sees what `predict` shows it: what `TaskNetwork.predict` takes for `size`."""
        return None

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What decides the numbers, in words, for tables and result files."""

    def frame_facts(self) -> dict[str, str]:
        """The part of `facts` on the frames, the view and what the network is shown of it."""
        frames = self.frames
        facts = {"data": f"{frames.data_set}, {frames.split}", "task": self.task}
        if frames.label_space is not None:
            facts["labels"] = frames.label_space
        if frames.count is not None:
            facts["frames"] = str(frames.count - frames.first)
        return facts | {"view": self.view.words, "input": CARD_SIZE if self.input_size is None else CARD_HEIGHT}


def find(name: str, protocols: Mapping[str, P]) -> P:
    """A protocol by name.

    Raises:
        ValueError: Unknown; names the nearest ones.
    """
    if name not in protocols:
        raise ValueError(
            f"unknown protocol {name!r}; there are: {', '.join(protocols)}{did_you_mean(name, protocols, 3)}"
        )
    return protocols[name]

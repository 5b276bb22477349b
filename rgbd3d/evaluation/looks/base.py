"""What watches a model while it is scored, to show afterwards what it did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from rgbd3d.data.inspection.sampling import spread
from rgbd3d.evaluation.metrics import Meter
from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.protocols_base import Sample, ScoredProtocol
from rgbd3d.report import Picture, Report

M = TypeVar("M", bound=Meter)


@dataclass(frozen=True)
class Kept:
    """A frame that is shown.

    Attributes:
        sample: What was shown to the model, and the truth.
        prediction: What its look needs of the prediction.
        caption: Which frame it is, and its own score.
    """

    sample: Sample
    prediction: Any
    caption: str


class Look(ABC, Generic[M]):
    """Keeps some frames with their predictions, evenly spread, and whatever else a task shows.

    Args:
        protocol: By which the model is scored.
        frames: Number of frames that are scored.
        shown: Number of frames to keep, at most.
    """

    titles: ClassVar[tuple[str, ...]]
    """Of the pictures of a frame."""

    explanation: ClassVar[str]
    """What they show."""

    headline: ClassVar[tuple[str, ...]]
    """Metrics that are told of each frame."""

    def __init__(self, protocol: ScoredProtocol[M], frames: int, shown: int) -> None:
        self.protocol = protocol
        self.kept: list[Kept] = []
        self._wanted = set(spread(frames, shown))
        self._seen = 0

    def watch(self, samples: Sequence[Sample], prediction: Any) -> None:
        """Looks at a batch; see `rgbd3d.evaluation.score.score`."""
        for place, sample in enumerate(samples):
            if self._seen + place in self._wanted:
                own = prediction[place : place + 1]
                caption = self._caption(self.protocol.frames.first + self._seen + place, sample, own)
                self.kept.append(Kept(sample, self.keep(own, sample), caption))
        self._seen += len(samples)

    @abstractmethod
    def keep(self, prediction: Any, sample: Sample) -> Any:
        """What to keep of the prediction of one frame, a batch of one."""

    @abstractmethod
    def pictures(self) -> list[list[Picture]]:
        """Of each frame that was kept, one for each of `titles`, all of the frame's size."""

    @abstractmethod
    def add_sections(self, page: Report, meter: M, folder: Path) -> None:
        """Adds to the page, and writes as files, what is known of the task beyond single frames."""

    def _caption(self, index: int, sample: Sample, prediction: Any) -> str:
        number = f" (number {sample['frame_id']})" if "frame_id" in sample else ""
        meter = self.protocol.meter()
        self.protocol.add(meter, prediction, [sample])
        try:
            scores = meter.compute()
        except ValueError:  # nothing in this frame is scored
            return f"Frame {index}{number}"
        words = (f"{name_of(key).short} {name_of(key).number(scores[key])}" for key in self.headline)
        return f"Frame {index}{number}: {', '.join(words)}"

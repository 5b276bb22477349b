"""What an evaluation found, on what and how: a file that can be read back and compared with others."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch

import rgbd3d
from rgbd3d import strict_yaml
from rgbd3d.data.base import Source
from rgbd3d.files import write_atomic
from rgbd3d.strict_yaml import SchemaError, require

_SUMMARY = "summary"  # in the file only, for people: it follows from the runs


class ResultError(ValueError):
    """A file that is no result; the message starts with file:line."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was evaluated on.

    Attributes:
        source: Its address.
        split: Part of it.
        frames: Number of frames there; the protocol says which of them are scored.
        digest: 64 hex digits that change with the frames or their order.
    """

    source: str
    split: str
    frames: int
    digest: str

    @classmethod
    def of(cls, source: Source, split: str) -> Self:
        """Describes an open source."""
        return cls(source=source.name, split=split, frames=len(source), digest=source.digest())


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluation: a model, trained or probed once per seed, by one protocol on the same data.

    Attributes:
        model: Name of the card.
        checkpoints: What was measured, as it was named: one for each run, or one for all.
        protocol: Name of the protocol.
        facts: What decides the numbers, in words.
        pretrained: Whether training began from pre-trained weights; False is random initialisation.
        seeds: Seed of each run.
        runs: Metrics of each run.
        data: Where they were measured.
        command: What to type to measure again.
        versions: Of what the numbers depend on.
        weights: sha256 of the file of each checkpoint; none for random initialisation.
    """

    model: str
    checkpoints: tuple[str, ...]
    protocol: str
    facts: dict[str, str]
    pretrained: bool
    seeds: tuple[int, ...]
    runs: tuple[dict[str, float], ...]
    data: Data
    command: str
    versions: dict[str, str]
    weights: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.runs) > 0, "runs", "should be one or more")
        require(len(self.seeds) == len(self.runs), "seeds", f"should be one for each of {len(self.runs)} runs")
        require(len(self.checkpoints) in (1, len(self.runs)), "checkpoints", "should be one, or one for each run")
        names = self.runs[0].keys()
        require(all(run.keys() == names for run in self.runs), "runs", "should all have the same metrics")

    @property
    def label(self) -> str:
        """The model, for tables."""
        return self.model if self.pretrained else f"{self.model} (random initialisation)"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in the order of the protocol."""
        return tuple(self.runs[0])

    def values(self, metric: str) -> list[float]:
        """A metric of each run."""
        return [run[metric] for run in self.runs]

    def mean(self, metric: str) -> float:
        """Mean over the runs."""
        return statistics.fmean(self.values(metric))

    def std(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None with one run."""
        return statistics.stdev(self.values(metric)) if len(self.runs) > 1 else None

    def save(self, path: Path) -> None:
        """Writes the result with its means and deviations as JSON, atomically."""
        summary = {metric: {"mean": self.mean(metric), "std": self.std(metric)} for metric in self.metrics}
        text = json.dumps(asdict(self) | {_SUMMARY: summary}, indent=2, ensure_ascii=False, allow_nan=False)
        write_atomic(path, text + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            ResultError: The file is no result; says where and what is wrong. Or it is a folder.
            FileNotFoundError: There is no such file.
        """
        if Path(path).is_dir():
            raise ResultError(f"{path} is a folder; name the result file in it, such as {Path(path) / 'result.json'}")
        with open(path, "rb") as file:
            content = file.read(strict_yaml.MAX_BYTES + 1)
        try:
            node = strict_yaml.compose(content.decode(), str(path))  # JSON is YAML, read strictly and by line here
            strict_yaml.mapping(node, "")
            node.value = [(key, value) for key, value in node.value if key.value != _SUMMARY]
            result: Self = strict_yaml.read(node, cls)
        except UnicodeDecodeError:
            raise ResultError(f"{path}:1: not UTF-8 text: not a result of `rgbd3d evaluate`") from None
        except SchemaError as error:
            raise ResultError(f"{error}: not a result of `rgbd3d evaluate`") from None
        return result

    def __str__(self) -> str:
        lines = [f"{self.label}, {self.protocol}, {len(self.runs)} seed(s)"]
        for metric in self.metrics:
            std = self.std(metric)
            lines.append(f"  {metric:<16}{self.mean(metric):8.3f}" + ("" if std is None else f" ± {std:.3f}"))
        return "\n".join(lines)


def comparable(runs: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], ...]:
    """Metrics of runs without those that are no finite number in one of them.

    The data had nothing to measure them on, or a network diverged; neither JSON nor a mean can hold them.
    """
    kept = [name for name in runs[0] if all(math.isfinite(run[name]) for run in runs)]
    return tuple({name: run[name] for name in kept} for run in runs)


def versions(device: str = "cpu") -> dict[str, str]:
    """What numbers that this process computes on a device depend on."""
    return {
        "rgbd3d": rgbd3d.__version__,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "threads": str(torch.get_num_threads()),
    }

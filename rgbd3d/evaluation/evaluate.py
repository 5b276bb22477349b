"""Runs a protocol over seeds and writes a result file that says what was measured, on what and how."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import rgbd3d
from rgbd3d.data.sources import open_source
from rgbd3d.evaluation.protocols import PROTOCOLS, find_card
from rgbd3d.files import write_atomic


@dataclass(frozen=True)
class Result:
    """One evaluation.

    Attributes:
        model: Card name or folder.
        protocol: Name of the protocol.
        pretrained: False for random initialisation.
        seeds: Seeds of the runs.
        runs: Metrics of each run.
        data: Spec and digest of the data.
        versions: Of what the numbers depend on.
    """

    model: str
    protocol: str
    pretrained: bool
    seeds: tuple[int, ...]
    runs: tuple[dict[str, float], ...]
    data: dict[str, str | int]
    versions: dict[str, str]

    def mean(self, metric: str) -> float:
        """Mean over the runs."""
        return statistics.fmean(run[metric] for run in self.runs)

    def std(self, metric: str) -> float | None:
        """Sample standard deviation over the runs; None with one run."""
        return statistics.stdev(run[metric] for run in self.runs) if len(self.runs) > 1 else None

    def save(self, path: Path) -> None:
        """Writes the result with its means and deviations as JSON, atomically."""
        summary = {m: {"mean": self.mean(m), "std": self.std(m)} for m in self.runs[0]}
        write_atomic(path, json.dumps(asdict(self) | {"summary": summary}, indent=2) + "\n")

    def __str__(self) -> str:
        init = self.model if self.pretrained else f"{self.model} (random initialisation)"
        lines = [f"{init}, {self.protocol}, {len(self.runs)} seed(s)"]
        for metric in self.runs[0]:
            std = self.std(metric)
            lines.append(f"  {metric:<16}{self.mean(metric):8.3f}" + ("" if std is None else f" ± {std:.3f}"))
        return "\n".join(lines)


def evaluate(
    model: str,
    protocol: str,
    data: str | Path,
    *,
    split: str = "train",
    seeds: Sequence[int] = (0,),
    pretrained: bool = True,
    output: Path | None = None,
) -> Result:
    """Measures a model.

    Args:
        model: Card name, or a folder that `rgbd3d pretrain` wrote ("./final": a plain word is a card).
        protocol: Key of `rgbd3d.evaluation.protocols.PROTOCOLS`.
        data: Source spec, see `rgbd3d.data.sources.open_source`.
        split: Part of the source.
        seeds: One run per seed.
        pretrained: False measures the same architecture from random initialisation.
        output: Folder of the result file; none is written without it.

    Raises:
        ValueError: The protocol is unknown, or the data does not fit it.
        UnknownModelError: There is no such card or folder.
        NoWeightsError: A card that nobody has trained yet.
        DataError: The data cannot be read.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; there are: {', '.join(PROTOCOLS)}")
    find_card(model)  # a misspelt name fails before the data is opened
    source = open_source(data, split=split)
    runs = tuple(PROTOCOLS[protocol].run(model, source, pretrained, seed) for seed in seeds)
    result = Result(
        model=model,
        protocol=protocol,
        pretrained=pretrained,
        seeds=tuple(seeds),
        runs=runs,
        data={"source": source.name, "split": split, "frames": len(source), "digest": source.digest()},
        versions={
            "rgbd3d": rgbd3d.__version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": str(torch.get_num_threads()),
        },
    )
    if output:
        output.mkdir(parents=True, exist_ok=True)
        init = "pretrained" if pretrained else "random"
        result.save(output / f"{Path(model).name}.{protocol.replace('/', '-')}.{init}.json")
    return result

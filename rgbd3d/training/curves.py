"""Loss curves as small text files, `step loss` a line: what a published card's training is checked against."""

from __future__ import annotations

from pathlib import Path

from rgbd3d.training.logbook import read_log
from rgbd3d.training.resume import write_atomic

CURVE = "curve.txt"
FINAL_LINES = 10

Curve = dict[int, float]
"""Optimiser step -> mean loss since the line before."""


def run_curve(output: Path) -> Curve:
    """Curve of a run so far."""
    return {int(line["step"]): line["loss"] for line in read_log(output)}


def write_curve(curve: Curve, path: Path) -> None:
    """Writes a curve; every float is given exactly."""
    write_atomic(path, "".join(f"{step} {loss!r}\n" for step, loss in curve.items()))


def read_curve(path: Path) -> Curve:
    """Reads what `write_curve` wrote."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {int(step): float(loss) for step, loss in lines}


def final_loss(curve: Curve) -> float:
    """Mean of the last `FINAL_LINES` lines."""
    last = list(curve.values())[-FINAL_LINES:]
    return sum(last) / len(last)

"""Loss curves as small text files, `step loss` a line: what a published card's training is checked against."""

from __future__ import annotations

from pathlib import Path

from rgbd3d.files import write_atomic
from rgbd3d.training.logbook import read_log
from rgbd3d.training.provenance import read_starts

CURVE = "curve.txt"
FINAL_LINES = 10

Curve = dict[int, float]
"""Optimiser step -> mean loss of the steps since the last time the log was due."""


def run_curve(output: Path) -> Curve:
    """Curve of a run so far.

    Left out are lines of log.jsonl that average only the steps since the run was continued: in a run that was not
    interrupted the same line is another number.
    """
    log, continued = read_log(output), [start["continued_at"] or 0 for start in read_starts(output)]
    before = [0, *(line["step"] for line in log)]
    return {
        int(line["step"]): line["loss"]
        for last, line in zip(before, log, strict=False)
        if not any(last < step < line["step"] for step in continued)
    }


def write_curve(curve: Curve, path: Path) -> None:
    """Writes a curve; every float is given exactly."""
    write_atomic(path, "".join(f"{step} {loss!r}\n" for step, loss in curve.items()))


def read_curve(path: Path) -> Curve:
    """Reads what `write_curve` wrote."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {int(step): float(loss) for step, loss in lines}


def final_loss_difference(one: Curve, other: Curve) -> float:
    """Absolute difference of the mean losses over the last `FINAL_LINES` lines that both curves have."""
    last = sorted(one.keys() & other.keys())[-FINAL_LINES:]
    return abs(sum(one[step] - other[step] for step in last)) / len(last)

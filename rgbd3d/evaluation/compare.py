"""Puts result files side by side.

Numbers are only put beside each other where they mean the same: one protocol, on the same frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from rgbd3d.evaluation.comparison import Comparison, describe_data
from rgbd3d.evaluation.comparison_plot import draw
from rgbd3d.evaluation.result import Result
from rgbd3d.files import write_atomic


def compare(paths: Sequence[str | Path], output: Path | None = None) -> Comparison:
    """Compares results.

    Args:
        paths: Files of `rgbd3d evaluate` or `rgbd3d finetune`.
        output: FILE.png for the plot; FILE.md gets the tables.

    Raises:
        ValueError: The same file twice, results of different protocols or data (names both), or an output that is no
            .png.
        ResultError: A file that is no result.
        FileNotFoundError: There is no such file.
    """
    if output is not None and output.suffix != ".png":
        raise ValueError(f"{output}: the plot is written as FILE.png, and the tables beside it as FILE.md")
    comparison = _load(paths)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(output, draw(comparison))
        write_atomic(output.with_suffix(".md"), comparison.markdown())
    return comparison


def _load(paths: Sequence[str | Path]) -> Comparison:
    files = [Path(path) for path in paths]
    for first, second in combinations(files, 2):
        if first.resolve() == second.resolve():
            raise ValueError(f"{second} is given twice")
    results = [Result.load(file) for file in files]
    for file, result in zip(files[1:], results[1:], strict=True):
        _check_comparable(files[0], results[0], file, result)
    return Comparison(_unique_labels(files, results), tuple(results))


def _check_comparable(first: Path, a: Result, second: Path, b: Result) -> None:
    """Refuses numbers that do not mean the same."""
    if a.protocol != b.protocol:
        raise ValueError(
            f"{first} is of {a.protocol}, {second} of {b.protocol}: numbers of different protocols cannot be compared"
        )
    for key in a.facts | b.facts:
        ours, theirs = (result.facts.get(key, "not stated") for result in (a, b))
        if ours != theirs:
            raise ValueError(
                f"{first} and {second} are both of {a.protocol}, but its {key} differs: {ours!r} and {theirs!r}; "
                "measure them again with the same options and version of rgbd3d"
            )
    if a.data.digest != b.data.digest:
        raise ValueError(
            f"{first} was measured on {describe_data(a)} and {second} on {describe_data(b)}: numbers on different "
            "data cannot be compared"
        )
    if a.metrics != b.metrics:
        raise ValueError(f"{first} has {', '.join(a.metrics)}, but {second} has {', '.join(b.metrics)}")


def _unique_labels(files: Sequence[Path], results: Sequence[Result]) -> tuple[str, ...]:
    """Labels of the results; those that several have are told apart by their files."""
    labels = [result.label for result in results]
    return tuple(
        f"{label} [{file}]" if labels.count(label) > 1 else label for file, label in zip(files, labels, strict=True)
    )

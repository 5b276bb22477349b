"""Results side by side: one table of numbers, one of differences and how clear they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from rgbd3d.evaluation.metrics.names import name_of
from rgbd3d.evaluation.result import Result
from rgbd3d.evaluation.tables import Rows, as_markdown, as_text

CLEAR = 3.0
"""Pooled standard deviations from which on a difference is called clear."""

_SHORT_DIGEST = 12


@dataclass(frozen=True)
class Difference:
    """One metric of two models.

    Attributes:
        value: The second's mean less the first's.
        deviations: The same in pooled standard deviations of single runs; infinite where runs never differ. None where
            one of the two has a single run, so that nothing is known of its spread.
    """

    value: float
    deviations: float | None

    @property
    def clear(self) -> bool:
        """Whether it is `CLEAR` pooled standard deviations or more."""
        return self.deviations is not None and abs(self.deviations) >= CLEAR


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol on the same frames.

    Attributes:
        labels: Of the models, all different.
        results: In the order they were given.
    """

    labels: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names, in the order of the protocol."""
        return self.results[0].metrics

    def best(self, metric: str) -> float | None:
        """The best mean; None where higher is neither better nor worse."""
        higher_is_better = name_of(metric).higher_is_better
        if higher_is_better is None:
            return None
        means = [result.mean(metric) for result in self.results]
        return max(means) if higher_is_better else min(means)

    def text(self) -> str:
        """Both tables for a terminal; the best of a column has a star."""
        return self._page(as_text, lambda cell, best: f"{cell} *" if best else f"{cell}  ", "*")

    def markdown(self) -> str:
        """Both tables in Markdown; the best of a column is bold."""
        return self._page(as_markdown, lambda cell, best: f"**{cell}**" if best else cell, "Bold") + "\n"

    def __str__(self) -> str:
        return self.text()

    def _page(self, draw: Callable[[Rows], str], mark: Callable[[str, bool], str], mark_name: str) -> str:
        several = len(self.results) > 1
        tables = [draw(self._numbers(mark)), *([draw(self._differences())] if several else [])]
        return "\n\n".join((self._headline(), *tables, self._legend(mark_name)))

    def _headline(self) -> str:
        return f"{self.results[0].protocol} on {describe_data(self.results[0])}"

    def _legend(self, mark: str) -> str:
        best = f"{mark}: the best mean. ± is the sample standard deviation over seeds."
        if len(self.results) == 1:
            return best
        return (
            f"{best} σ: the difference of two means in pooled standard deviations of single runs; ! marks {CLEAR:g} or "
            "more. It is unknown (–) with one seed."
        )

    def _numbers(self, mark: Callable[[str, bool], str]) -> list[list[str]]:
        rows = [["model", "seeds", *(name_of(metric).title for metric in self.metrics)]]
        for label, result in zip(self.labels, self.results, strict=True):
            cells = []
            for metric in self.metrics:
                cell = name_of(metric).mean_and_std(result.mean(metric), result.std(metric))
                cells.append(mark(cell, result.mean(metric) == self.best(metric)))
            rows.append([label, str(len(result.runs)), *cells])
        return rows

    def _differences(self) -> list[list[str]]:
        rows = [["difference", *(name_of(metric).short for metric in self.metrics)]]
        for (first, a), (second, b) in combinations(zip(self.labels, self.results, strict=True), 2):
            cells = (_describe(difference(a, b, metric), metric) for metric in self.metrics)
            rows.append([f"{second} − {first}", *cells])
        return rows


def difference(first: Result, second: Result, metric: str) -> Difference:
    """How much the second result differs from the first."""
    value = second.mean(metric) - first.mean(metric)
    if min(len(first.runs), len(second.runs)) < 2:
        return Difference(value, None)
    squares = sum((len(r.runs) - 1) * statistics.variance(r.values(metric)) for r in (first, second))
    pooled = math.sqrt(squares / (len(first.runs) + len(second.runs) - 2))
    if pooled == 0:
        return Difference(value, math.copysign(math.inf, value) if value else 0.0)
    return Difference(value, value / pooled)


def describe_data(result: Result) -> str:
    """What a result was measured on, in words."""
    data = result.data
    scored = result.facts.get("frames", str(data.frames))
    count = f"{data.frames} frames" if scored == str(data.frames) else f"{scored} of {data.frames} frames"
    return f"{data.source} ({data.split}, {count}, digest {data.digest[:_SHORT_DIGEST]})"


def _describe(found: Difference, metric: str) -> str:
    name = name_of(metric)
    value = f"{found.value:+.{name.digits}f}"
    if found.deviations is None:
        return f"{value} (–)"
    return f"{value} ({abs(found.deviations):.1f} σ){' !' if found.clear else ''}"

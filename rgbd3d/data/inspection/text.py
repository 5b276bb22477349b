"""A survey in words: for the terminal, and for the lines and tables of sheet and page."""

from __future__ import annotations

from collections.abc import Sequence

from rgbd3d.data.inspection.pose_check import PoseCheck
from rgbd3d.data.inspection.survey import Survey

_BAR = 40
_CLASSES = 10
_MARGIN = 2


def summary(survey: Survey) -> list[str]:
    """Lines for the terminal."""
    facts = survey.facts | {"looked at": f"{survey.read} of {survey.rows} rows; what follows is about these"}
    if survey.depth is not None:
        facts["depth"] = _depth_fact(survey)
    if survey.classes is not None:
        facts["classes"] = _classes_fact(survey)
    width = max(len(name) for name in facts) + _MARGIN
    lines = [survey.name]
    for name, value in facts.items():
        lines.append(f"  {name:<{width}}{value}")
        if name == "depth":
            lines += _histogram(survey)
        elif name == "classes":
            lines += _classes(survey)
    for rows in pose_rows(survey.poses):
        (title, verdict), *values = rows
        lines.append(f"  {'poses':<{width}}{title}: {verdict}")
        lines += [f"    {name:>34}  {value:>7}" for name, value in values]
    return lines


def summary_line(survey: Survey) -> str:
    """The most important facts in one line."""
    parts = [f"{survey.rows:,} {survey.kind}".replace(",", "\N{NARROW NO-BREAK SPACE}")]
    parts += [survey.facts[key] for key in ("size", "extent") if key in survey.facts]
    if survey.classes is not None:
        parts.append(f"{len(survey.classes.shares())} classes of {survey.facts['labels']}")
    if survey.depth is not None:
        parts.append(f"depth: {_depth_fact(survey)}")
    if survey.read < survey.rows:
        parts.append(f"as seen in {survey.read} rows")
    return "  \N{MIDDLE DOT}  ".join(parts)


def pose_rows(checks: Sequence[PoseCheck]) -> list[list[tuple[str, str]]]:
    """For each check, names and values; the first are what was compared and the verdict."""
    return [
        [
            (f"{check.gap} row{'s' if check.gap > 1 else ''} apart", check.verdict),
            ("median error of the depth", _percent(check.error)),
            ("were the poses inverted", _percent(check.inverted_error)),
            ("had the camera not moved", _percent(check.unmoved_error)),
            (f"overlap, median of {check.pairs} pairs", _percent(check.overlap, digits=0)),
        ]
        for check in checks
    ]


def _percent(value: float, digits: int = 2) -> str:
    if value != value:
        return "unknown"
    return "no overlap" if value == float("inf") else f"{value:.{digits}%}"


def _depth_fact(survey: Survey) -> str:
    assert survey.depth is not None, "asked for where there is depth"
    median = survey.depth.quantile(0.5)
    middle = "unknown" if median is None else f"{median:.2f} m"
    return f"{survey.depth.invalid:.1%} of the pixels have none, median {middle}"


def _histogram(survey: Survey) -> list[str]:
    assert survey.depth is not None, "asked for where there is depth"
    bars = survey.depth.bars()
    longest = max((bar.share for bar in bars), default=1)
    return [f"    {bar.name:>13}  {bar.share:6.1%}  {'█' * round(_BAR * bar.share / longest)}" for bar in bars]


def _classes_fact(survey: Survey) -> str:
    assert survey.classes is not None, "asked for where there are labels"
    seen = len(survey.classes.shares())
    of = f" of {survey.classes.known}" if survey.classes.known else ""
    return f"{seen}{of} occur; {survey.classes.unlabelled:.1%} of the {survey.classes_of} have no label"


def _classes(survey: Survey) -> list[str]:
    assert survey.classes is not None, "asked for where there are labels"
    shares = survey.classes.shares()
    lines = [f"    {share.share:6.1%}  {share.name}" for share in shares[:_CLASSES]]
    if len(shares) > _CLASSES:
        rest = sum(share.share for share in shares[_CLASSES:])
        lines.append(f"    {rest:6.1%}  {len(shares) - _CLASSES} others")
    return lines

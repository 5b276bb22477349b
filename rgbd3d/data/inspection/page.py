"""A survey as a page for the browser, in one file."""

from __future__ import annotations

from pathlib import Path

from rgbd3d.data.inspection.colors import class_color, depth_color
from rgbd3d.data.inspection.survey import Survey
from rgbd3d.data.inspection.text import pose_rows, summary_line
from rgbd3d.report import Report

_WIDTH = 1360
_ACROSS = 6
_MOST_NAMES = 60
_WHAT = {
    "frames": "Colour, depth and labels, as far as the data set has them. Grey pixels have no measurement or no label.",
    "clouds": "From above a corner and from the top, z up. The upper part of rooms is left out to look into them.",
    "clips": "Frames spread over each clip.",
}


def write_page(survey: Survey, path: Path) -> None:
    """Writes the page atomically."""
    page = Report(Path(survey.name).name or survey.name, summary_line(survey), width=_WIDTH)
    _add_tiles(page, survey)
    _add_depth(page, survey)
    _add_classes(page, survey)
    _add_poses(page, survey)
    page.section("Facts", f"{survey.read} of {survey.rows} rows were looked at.")
    page.table(("data set", survey.name), list(survey.facts.items()))
    page.write(path)


def _add_tiles(page: Report, survey: Survey) -> None:
    rows = f"{len(survey.tiles)} of {survey.rows} {survey.kind}, spread over the data set"
    page.section("A look inside", f"{rows}. {_WHAT[survey.kind]}")
    cards = [(tile.pictures(survey.far), tile.caption) for tile in survey.tiles]
    panels = max((len(row) for pictures, _ in cards for row in pictures), default=1)
    page.gallery(cards, columns=max(1, _ACROSS // panels))


def _add_depth(page: Report, survey: Survey) -> None:
    if survey.depth is None:
        return
    text = f"{survey.depth.invalid:.1%} of the pixels of {survey.read} rows have no measurement. Shares of the others:"
    page.section("Depth", text)
    page.bars([(bar.name, bar.share, depth_color(bar.middle, survey.far)) for bar in survey.depth.bars()])


def _add_classes(page: Report, survey: Survey) -> None:
    if survey.classes is None:
        return
    names = survey.classes.absent
    absent = f" Not in these rows: {', '.join(names) if len(names) <= _MOST_NAMES else len(names)}." if names else ""
    page.section(
        f"Labels: {survey.facts['labels']}",
        f"{survey.classes.unlabelled:.1%} of the {survey.classes_of} of {survey.read} rows have none.{absent} "
        "Shares of the labelled ones:",
    )
    page.legend([(class_color(share.train_id), share.name, f"{share.share:.2%}") for share in survey.classes.shares()])


def _add_poses(page: Report, survey: Survey) -> None:
    if not survey.poses:
        return
    page.section(
        "Do the poses fit?",
        "The depth of a frame, moved by the poses into a frame of the same scene, against the depth that was measured "
        "there: median over pixels and pairs. Poses that fit beat both the inverse convention and no motion at all.",
    )
    checks = pose_rows(survey.poses)
    page.table(
        ("", *(name for name, _ in checks[0][1:4]), "pairs", "overlap", ""),
        [
            (rows[0][0], *(value for _, value in rows[1:4]), str(check.pairs), rows[4][1], rows[0][1])
            for rows, check in zip(checks, survey.poses, strict=True)
        ],
    )

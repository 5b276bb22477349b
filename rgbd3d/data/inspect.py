"""What a data set looks like: a summary for the terminal, a contact sheet and a page for the browser."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rgbd3d.data.inspection.page import write_page
from rgbd3d.data.inspection.sheet import contact_sheet
from rgbd3d.data.inspection.survey import survey
from rgbd3d.data.inspection.text import summary
from rgbd3d.data.sources import open_source


def inspect(spec: str | Path, split: str = "train", sheet: Path | None = None) -> str:
    """Describes a data set by some rows spread over it: frames, point clouds or clips.

    Args:
        spec: As for `rgbd3d.data.sources.open_source`.
        split: Part of the data set.
        sheet: PNG file to write a contact sheet to; a page with the same name in .html is written beside it.

    Returns:
        Text of several lines.

    Raises:
        DataError: The data set cannot be opened, or one of the rows not be read.
        ValueError: `sheet` has another ending.
    """
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ValueError(f"{sheet}: a contact sheet is a .png file")
    found = survey(open_source(spec, split), pictures=sheet is not None)
    lines = summary(found)
    if sheet is not None:
        page = sheet.with_suffix(".html")
        Image.fromarray(contact_sheet(found)).save(sheet)
        write_page(found, page)
        lines.append(f"written: {sheet} and {page}")
    return "\n".join(lines)

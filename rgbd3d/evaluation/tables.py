"""Tables of words and numbers for the terminal, for Markdown and as CSV. The first row is the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

Rows = Sequence[Sequence[str]]
"""Cells by row, all rows of one length."""


def as_text(rows: Rows) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join((row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))))
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:]))


def as_markdown(rows: Rows) -> str:
    """The same in Markdown; bars within cells are escaped."""
    header, *body = rows
    lines = [header, ["---", *("---:" for _ in header[1:])], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def as_csv(rows: Rows) -> str:
    """The same as comma-separated values."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()

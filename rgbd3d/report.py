"""A self-contained HTML page: text, tables and embedded pictures, no script and no link to a server."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from rgbd3d.evaluation.pictures import Picture
from rgbd3d.files import write_atomic

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1c2733; background: #fafbfc; margin: 0; }
main { max-width: 1040px; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; }
p.lead { color: #51606f; margin-top: 0; }
figure { margin: 1rem 0; padding: 1rem; background: #fff; border: 1px solid #e3e8ed; border-radius: 10px; }
figure img { max-width: 100%; display: block; margin: 0 auto; }
figcaption { color: #51606f; font-size: .9rem; margin-top: .7rem; }
table { border-collapse: collapse; background: #fff; border: 1px solid #e3e8ed; }
th, td { padding: .35rem .9rem; text-align: left; border-bottom: 1px solid #e3e8ed; }
th { background: #f1f4f7; font-weight: 600; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #17212b; color: #e8eef4; padding: .8rem 1rem; border-radius: 8px; overflow-x: auto; }
"""


class Report:
    """Collects sections and writes the page once.

    Args:
        title: Heading.
        lead: One sentence under it.
    """

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self.parts = [f"<h1>{html.escape(title)}</h1>", f'<p class="lead">{html.escape(lead)}</p>']

    def section(self, heading: str, text: str = "") -> None:
        """Starts a section with an optional paragraph."""
        self.parts.append(f"<h2>{html.escape(heading)}</h2>")
        if text:
            self.parts.append(f"<p>{html.escape(text)}</p>")

    def picture(self, picture: Picture, caption: str) -> None:
        """Embeds a picture with what can be seen on it."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG", optimize=True)
        self._figure(buffer.getvalue(), caption)

    def image_file(self, path: Path, caption: str) -> None:
        """Embeds a PNG file."""
        self._figure(path.read_bytes(), caption)

    def _figure(self, png: bytes, caption: str) -> None:
        data = base64.b64encode(png).decode()
        text = html.escape(caption)
        self.parts.append(
            f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
        )

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
        """A table; numbers are right-aligned."""
        head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        self.parts.append(f"<table><tr>{head}</tr>{body}</table>")

    def commands(self, lines: Sequence[str]) -> None:
        """Commands to type."""
        self.parts.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")

    def write(self, path: Path) -> None:
        """Writes the page atomically."""
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
            f"<body><main>{''.join(self.parts)}</main></body></html>\n"
        )
        write_atomic(path, page)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    return f'<td class="number">{value:.4g}</td>'

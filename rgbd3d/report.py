"""A self-contained HTML page: text, tables and embedded pictures, no script and no link to a server."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rgbd3d.files import write_atomic

Picture = npt.NDArray[np.uint8]
"""RGB, (height, width, 3)."""
Color = tuple[int, int, int]

_PHOTO_QUALITY = 90

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
.gallery { display: grid; gap: 1rem; margin: 1rem 0; }
.gallery figure { margin: 0; padding: .6rem; }
.gallery figure div { display: flex; gap: 4px; }
.gallery figure div + div { margin-top: 4px; }
.gallery img { flex: 1 1 0; min-width: 0; height: auto; border-radius: 3px; }
.gallery figcaption { margin-top: .45rem; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: .28rem .8rem; align-items: center;
  background: #fff; border: 1px solid #e3e8ed; border-radius: 10px; padding: 1rem 1.2rem; margin: 1rem 0;
  max-width: 820px; font-variant-numeric: tabular-nums; }
.bars i { display: block; height: .85rem; border-radius: 3px; min-width: 1px; }
.bars span:nth-child(3n) { text-align: right; }
.legend { columns: 15rem; column-gap: 1.5rem; margin: 1rem 0; padding: 1rem 1.2rem; background: #fff;
  border: 1px solid #e3e8ed; border-radius: 10px; }
.legend p { margin: 0; display: flex; gap: .55rem; align-items: center; break-inside: avoid; font-size: .93rem; }
.legend i { flex: none; width: .95rem; height: .95rem; border-radius: 3px; }
.legend span { margin-left: auto; color: #51606f; font-variant-numeric: tabular-nums; }
"""


class Report:
    """Collects sections and writes the page once.

    Args:
        title: Heading.
        lead: One sentence under it.
        width: Of the page at most, in pixels.
    """

    def __init__(self, title: str, lead: str, width: int = 1040) -> None:
        self.title = title
        self.width = width
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

    def gallery(self, cards: Sequence[tuple[Sequence[Sequence[Picture]], str]], columns: int) -> None:
        """Cards of pictures, each with a caption.

        Args:
            cards: Rows of pictures side by side, which lose a little to compression; and their caption.
            columns: Cards in a row of the page, where it is wide enough for them.
        """
        figures = []
        for rows, caption in cards:
            text = html.escape(caption)
            images = (f'<img alt="{text}" src="{_photo(picture)}">' for row in rows for picture in row)
            strips = "".join(f"<div>{''.join(islice(images, len(row)))}</div>" for row in rows)
            figures.append(f"<figure>{strips}<figcaption>{text}</figcaption></figure>")
        least = self.width // (columns + 1)
        grid = f"grid-template-columns: repeat(auto-fill, minmax(min({least}px, 100%), 1fr))"
        self.parts.append(f'<div class="gallery" style="{grid}">{"".join(figures)}</div>')

    def bars(self, rows: Sequence[tuple[str, float, Color]]) -> None:
        """Shares between 0 and 1 as bars of a colour; the longest one fills the width."""
        longest = max((share for _, share, _ in rows), default=0) or 1
        cells = [
            f'<span>{html.escape(name)}</span><i style="background: {_css(color)}; width: {share / longest:.2%}"></i>'
            f"<span>{share:.1%}</span>"
            for name, share, color in rows
        ]
        self.parts.append(f'<div class="bars">{"".join(cells)}</div>')

    def legend(self, rows: Sequence[tuple[Color, str, str]]) -> None:
        """What colours stand for: a colour, its name, and a word on it."""
        cells = [
            f'<p><i style="background: {_css(color)}"></i>{html.escape(name)}<span>{html.escape(note)}</span></p>'
            for color, name, note in rows
        ]
        self.parts.append(f'<div class="legend">{"".join(cells)}</div>')

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
            f'<body><main style="max-width: {self.width}px">{"".join(self.parts)}</main></body></html>\n'
        )
        write_atomic(path, page)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    return f'<td class="number">{value:.4g}</td>'


def _photo(picture: Picture) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_PHOTO_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _css(color: Color) -> str:
    return "#" + bytes(color).hex()

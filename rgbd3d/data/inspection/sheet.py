"""The contact sheet: one picture with everything that a survey found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rgbd3d.data.inspection.colors import NONE, class_color, depth_color
from rgbd3d.data.inspection.survey import Survey
from rgbd3d.data.inspection.text import pose_rows, summary_line
from rgbd3d.report import Color, Picture

_WIDTH, _EDGE, _GAP, _SEAM = 1800, 48, 28, 4
_ACROSS = 6
_INK: Color = (28, 39, 51)
_PALE: Color = (98, 112, 127)
_LINE: Color = (222, 228, 234)
_PAPER: Color = (255, 255, 255)
_ROW = 27
_BLOCK_HEAD = 42
_MOST_CLASSES = 40
_BLOCK_WIDTH = 520


def contact_sheet(survey: Survey) -> Picture:
    """Draws title, tiles, depth histogram, classes and pose checks."""
    tiles = _tiles(survey)
    blocks = [block for block in (_histogram(survey), _classes(survey), _poses(survey)) if block is not None]
    below = max((block.height for block in blocks), default=0)
    head = 128
    page = Image.new("RGB", (_WIDTH, head + tiles.height + (_GAP + below if blocks else 0) + _EDGE), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_EDGE, 38), _shortened(survey.name, _font(34, bold=True)), _INK, _font(34, bold=True))
    draw.text((_EDGE, 86), summary_line(survey), _PALE, _font(20))
    page.paste(tiles, (_EDGE, head))
    x = _EDGE
    for block in blocks:
        page.paste(block, (x, head + tiles.height + _GAP))
        x += block.width + _GAP
    return np.asarray(page)


# ------------------------------------------------------------------------------------------------------------- tiles


def _tiles(survey: Survey) -> Image.Image:
    width = _WIDTH - 2 * _EDGE
    if not survey.tiles:
        return Image.new("RGB", (width, 0), _PAPER)
    pictures = [tile.pictures(survey.far) for tile in survey.tiles]
    panels = max(len(row) for rows in pictures for row in rows)
    columns = max(1, min(_ACROSS // panels, len(pictures)))
    card_width = (width - (columns - 1) * _GAP) // max(columns, _ACROSS // panels)
    panel_width = (card_width + _SEAM) // panels - _SEAM
    cards = [
        _card(rows, tile.caption, card_width, panel_width) for rows, tile in zip(pictures, survey.tiles, strict=True)
    ]
    height = max(card.height for card in cards)
    lines = -(-len(cards) // columns)
    canvas = Image.new("RGB", (width, lines * (height + _GAP) - _GAP), _PAPER)
    for index, card in enumerate(cards):
        line, column = divmod(index, columns)
        canvas.paste(card, (column * (card_width + _GAP), line * (height + _GAP)))
    return canvas


def _card(rows: Sequence[Sequence[Picture]], caption: str, width: int, panel_width: int) -> Image.Image:
    height = round(panel_width * max(picture.shape[0] / picture.shape[1] for row in rows for picture in row))
    card = Image.new("RGB", (width, len(rows) * (height + _SEAM) + 26), _PAPER)
    for line, row in enumerate(rows):
        for column, picture in enumerate(row):
            fitted = Image.fromarray(picture)
            scale = min(panel_width / fitted.width, height / fitted.height)
            size = (max(1, round(fitted.width * scale)), max(1, round(fitted.height * scale)))
            # Labels and depth have their colours already: averaging these is only a matter of looks.
            fitted = fitted.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)
            left = column * (panel_width + _SEAM) + (panel_width - size[0]) // 2
            card.paste(fitted, (left, line * (height + _SEAM) + (height - size[1]) // 2))
    font = _font(16)
    ImageDraw.Draw(card).text((0, card.height - 22), _shortened(caption, font, width), _PALE, font)
    return card


# ------------------------------------------------------------------------------------------------------------ blocks


def _histogram(survey: Survey) -> Image.Image | None:
    bars = survey.depth.bars() if survey.depth else []
    if survey.depth is None or not bars:
        return None
    block, draw = _block("Depth", f"{survey.depth.invalid:.1%} of the pixels have none", _BLOCK_WIDTH, len(bars))
    longest = max(bar.share for bar in bars)
    for index, bar in enumerate(bars):
        y = _BLOCK_HEAD + index * _ROW
        color = depth_color(bar.middle, survey.far)
        draw.text((112, y + 3), bar.name, _INK, _font(16), anchor="ra")
        reach = 126 + round(310 * bar.share / longest)
        draw.rounded_rectangle((126, y + 3, max(reach, 128), y + _ROW - 5), 3, color)
        draw.text((reach + 8, y + 3), f"{bar.share:.1%}", _PALE, _font(16))
    return block


def _classes(survey: Survey) -> Image.Image | None:
    shares = survey.classes.shares() if survey.classes else []
    if survey.classes is None or not shares:
        return None
    room = _WIDTH - 2 * _EDGE - (_BLOCK_WIDTH + _GAP) * bool(survey.depth) - (_BLOCK_WIDTH + _GAP) * bool(survey.poses)
    columns = max(1, room // 270)
    listed = shares[:_MOST_CLASSES]
    lines = -(-len(listed) // columns)
    more = f", {len(shares) - len(listed)} more" if len(shares) > len(listed) else ""
    note = f"share of labelled {survey.classes_of}; {survey.classes.unlabelled:.1%} unlabelled{more}"
    block, draw = _block("Classes", note, room, lines)
    for index, share in enumerate(listed):
        x, y = index // lines * (room // columns), _BLOCK_HEAD + index % lines * _ROW
        color = class_color(share.train_id)
        draw.rounded_rectangle((x, y + 3, x + 18, y + 21), 4, color, outline=NONE)
        font = _font(16)
        draw.text((x + 27, y + 3), _shortened(share.name, font, room // columns - 110), _INK, font)
        draw.text((x + room // columns - 24, y + 3), f"{share.share:.1%}", _PALE, font, anchor="ra")
    return block


def _poses(survey: Survey) -> Image.Image | None:
    if not survey.poses:
        return None
    rows = pose_rows(survey.poses)
    block, draw = _block("Poses", "depth moved by the poses against depth seen", _BLOCK_WIDTH, len(rows) * 6 - 1)
    y = _BLOCK_HEAD
    for names_and_values in rows:
        for index, (name, value) in enumerate(names_and_values):
            bold = index == 0
            draw.text((0, y + 3), name, _INK if bold else _PALE, _font(16, bold=bold))
            draw.text((_BLOCK_WIDTH - 60, y + 3), value, _INK, _font(16, bold=bold), anchor="ra")
            y += _ROW
        y += _ROW
    return block


def _block(title: str, note: str, width: int, lines: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    block = Image.new("RGB", (width, _BLOCK_HEAD + lines * _ROW), _PAPER)
    draw = ImageDraw.Draw(block)
    draw.text((0, 0), title, _INK, _font(20, bold=True))
    draw.text((draw.textlength(title, _font(20, bold=True)) + 12, 4), note, _PALE, _font(15))
    draw.line((0, 32, width, 32), _LINE)
    return block, draw


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int = _WIDTH - 2 * _EDGE) -> str:
    """The end of a text that is too long: paths and names differ there."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("\N{HORIZONTAL ELLIPSIS}" + text) > width:
        text = text[1:]
    return "\N{HORIZONTAL ELLIPSIS}" + text

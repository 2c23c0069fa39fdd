"""The attention of a sentence as a picture: rows write, columns are read. Knows no Tk.

The window draws a `HeatMap` on a canvas, `save_png` writes the same to a file, with Pillow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from desktop_app.inspection import Attention, Span

_INK, _PAPER, _FULL = (28, 31, 36), (255, 255, 255), (24, 82, 178)  # text, no attention, all of it
_CELL = 40  # pixels of the file
_FONT_SIZE = 20


@dataclass(frozen=True)
class HeatMap:
    """One table of attention.

    Attributes:
        title: Which head, or the average.
        rows: The target's tokens.
        columns: The source's tokens.
        weights: [row][column], each row adds up to 1.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


def heat_map(
    attention: Attention, source: str, target: str, head: int | None, *, title: str, end: str
) -> HeatMap:
    """Return the table of one head.

    Args:
        attention: Of the pair (`source`, `target`).
        source: The source sentence.
        target: Its translation.
        head: Number of the head from 0, or None for the average.
        title: Name of the picture.
        end: What the end of a sentence is called.
    """
    return HeatMap(
        title,
        tuple(_label(target, span, end) for span in attention.target_spans),
        tuple(_label(source, span, end) for span in attention.source_spans),
        attention.average() if head is None else attention.weights[head],
    )


def _label(text: str, span: Span, end: str) -> str:
    if span[0] == span[1] and span[0] >= len(text):
        return f"({end})"
    return text[span[0] : span[1]].strip() or "·"


def strength(weight: float) -> float:
    """Return how strong a cell's colour is, in [0, 1]: the square root, for an eye that sees the weak too."""
    return math.sqrt(min(max(weight, 0.0), 1.0))


def save_png(path: Path, picture: HeatMap) -> None:
    """Write the picture, dark on white.

    Raises:
        OSError: the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont  # 30 ms, and only for who saves

    font = ImageFont.load_default(_FONT_SIZE)
    left = max(round(font.getlength(label)) for label in picture.rows) + _FONT_SIZE
    top = max(round(font.getlength(label)) for label in picture.columns) + 3 * _FONT_SIZE
    size = (
        max(left + _CELL * len(picture.columns), round(font.getlength(picture.title)) + _FONT_SIZE)
        + _FONT_SIZE,
        top + _CELL * len(picture.rows) + _FONT_SIZE,
    )
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_FONT_SIZE, _FONT_SIZE // 2), picture.title, _INK, font)
    for column, label in enumerate(picture.columns):
        sideways = Image.new("RGB", (top, _CELL), _PAPER)
        ImageDraw.Draw(sideways).text((_FONT_SIZE // 2, _CELL // 2), label, _INK, font, anchor="lm")
        upright = sideways.rotate(90, expand=True).crop((0, 2 * _FONT_SIZE, _CELL, top))
        image.paste(upright, (left + column * _CELL, 2 * _FONT_SIZE))
    for row, label in enumerate(picture.rows):
        middle = top + row * _CELL + _CELL // 2
        draw.text((left - _FONT_SIZE // 2, middle), label, _INK, font, anchor="rm")
        for column, weight in enumerate(picture.weights[row]):
            share = strength(weight)
            colour = tuple(round(a + (b - a) * share) for a, b in zip(_PAPER, _FULL, strict=True))
            corner = (left + column * _CELL, top + row * _CELL)
            box = (*corner, corner[0] + _CELL, corner[1] + _CELL)
            draw.rectangle(box, colour, outline=(225, 228, 232))
    image.save(path, format="PNG", optimize=True)

"""Plain text: each line is a segment."""

from __future__ import annotations

from collections.abc import Sequence

from keras_transformer.documents.parts import Segment
from keras_transformer.text.segmentation import is_copied


def read(text: str) -> list[str | Segment]:
    """Cut a text into its lines and what stands between them."""
    return [part for line in text.splitlines(keepends=True) for part in line_parts(line)]


def line_parts(line: str) -> Sequence[str | Segment]:
    """One line as a segment; outer white space, and a line with nothing to translate, are copied."""
    bare = line.strip()
    if is_copied(bare):
        return [line]
    start = line.index(bare)
    return [line[:start], Segment(bare, [bare], on_one_line), line[start + len(bare) :]]


def on_one_line(text: str) -> str:
    """A translation without line ends."""
    return " ".join(text.splitlines())

"""A file in parts: what is copied as it stands, and segments of text to translate.

A segment's text carries its inline formatting as tags that `text.tags` moves with their words: "<g1>…</g1>"
around formatted words, "<x2/>" for a point (a line break, an image), and "{k3}" for something that stands
for a word and is not to be translated (code). `Codes` keeps what each of them means.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from keras_transformer.errors import UserError
from keras_transformer.text.segmentation import is_copied

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODE = re.compile(r"<(/?)g(\d+)>|<x(\d+)/>|\{k(\d+)\}")


@dataclass(eq=False)
class Segment:
    """Text to translate together: a line, a cue, a paragraph.

    Attributes:
        text: For the translator.
        original: What stands in the file while there is no translation; may hold segments itself.
        render: Makes what stands in the file out of a translation of `text`.
        translation: Of `text`.
    """

    text: str
    original: Sequence[str | Segment]
    render: Callable[[str], str]
    translation: str | None = None


@dataclass(frozen=True)
class Code:
    """What a code in a segment's text stands for: `opening` and, for a pair, `closing`."""

    kind: str  # "g", "x" or "k"
    opening: Sequence[str | Segment]
    closing: str = ""


class Codes:
    """The codes of one segment, numbered so that none stands in its text by itself.

    Args:
        text: All of the segment's own text.
    """

    def __init__(self, text: str) -> None:
        taken = [
            int(number)
            for match in _CODE.finditer(text)
            for number in match.groups()
            if number and number.isdigit()
        ]
        self._first = max(taken, default=0) + 1
        self._codes: list[Code] = []

    def add(self, code: Code) -> str:
        """Give a code a number; returns its name, for example "g1"."""
        self._codes.append(code)
        return f"{code.kind}{self._first + len(self._codes) - 1}"

    def pieces(self, text: str) -> list[tuple[str, Code | None, bool]]:
        """A translation in order: text without a code, or a code and whether it is the closing one.

        Raises:
            LostCode: a code of the segment is missing, doubled or out of order.
        """
        found: list[tuple[str, Code | None, bool]] = []
        seen: list[str] = []
        opened: list[Code] = []
        position = 0
        for match in _CODE.finditer(text):
            number = int(match[2] or match[3] or match[4])
            if not self._first <= number < self._first + len(self._codes):
                continue  # the text's own
            code, closes = self._codes[number - self._first], match[1] == "/"
            if closes and (not opened or opened.pop() is not code):
                raise LostCode
            if match[2] and not closes:
                opened.append(code)
            found += [(text[position : match.start()], None, False), ("", code, closes)]
            seen.append(match[0])
            position = match.end()
        expected = sum(2 if code.kind == "g" else 1 for code in self._codes)
        if len(seen) != expected or len(set(seen)) != expected:
            raise LostCode
        return [
            piece for piece in [*found, (text[position:], None, False)] if piece[0] or piece[1] is not None
        ]


class Left(str):
    """What stays as it stands though people may read it: code, formulas, what is marked as not to be translated.

    Args:
        source: What stands in the file.
        text: What a reader sees of it, on one line.
    """

    text: str

    def __new__(cls, source: str, text: str) -> Left:
        new = super().__new__(cls, source)
        new.text = " ".join(text.split())
        return new


def left_in(parts: Sequence[str | Segment]) -> Iterator[str]:
    """What a reader sees of everything that is left as it stands, without what holds no words."""
    for part in parts:
        if isinstance(part, Segment):
            yield from left_in(part.original)
        elif isinstance(part, Left) and not is_copied(part.text):
            yield part.text


class LostCode(Exception):  # noqa: N818 - caught at once: the original is kept
    """A translation does not hold each code of its segment once."""


def segments(parts: Sequence[str | Segment]) -> Iterator[Segment]:
    """All segments, those inside others as well."""
    for part in parts:
        if isinstance(part, Segment):
            yield part
            yield from segments(part.original)


def written(parts: Sequence[str | Segment]) -> str:
    """The file's text with the translations there are."""
    return "".join(part if isinstance(part, str) else _written(part) for part in parts)


def _written(segment: Segment) -> str:
    if segment.translation is None:
        return written(segment.original)
    return segment.render(segment.translation)


def byte_order_mark(data: bytes) -> tuple[bytes, str]:
    """The byte order mark that a file begins with, and the encoding it stands for; both empty if there is none."""
    return next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", ""))


def decode(data: bytes, name: str) -> tuple[str, Callable[[str], bytes]]:
    """The text of a plain file, and what turns text into such a file again.

    UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one.

    Raises:
        UserError: it is none of them.
    """
    mark, marked = byte_order_mark(data)
    encoding = marked or "utf-8"
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        raise UserError(
            f"{name} must be UTF-8, or UTF-16 or UTF-32 with a byte order mark; byte {place + 1} is "
            f"0x{data[place]:02x}. Convert it first, for example with iconv."
        ) from None
    return text, lambda translated: mark + translated.encode(encoding)

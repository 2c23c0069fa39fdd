"""A text as a model is to read it: with plain spaces, and without characters that nobody sees.

Web pages and word processors are full of both: no-break spaces, soft hyphens, joiners. Training text hardly is.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass

from keras_transformer.text.alphabet import INVISIBLE, Alphabet
from keras_transformer.text.protection import find_items

_PICTURE = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_JOINER = f"(?<![{_PICTURE}])\u200d|\u200d(?![{_PICTURE}])"  # between two pictures it makes one of them
_PLAIN = {
    **dict.fromkeys("‘‚‛′", "'"),
    **dict.fromkeys("„‟″‹›", '"'),
    **dict.fromkeys("‐‑", "-"),
}
_INVISIBLE = re.compile(f"{_JOINER}|(?!\u200d)[{INVISIBLE}]")
_SPACE = re.compile(r"[^\S ]")
_UNREAD = re.compile(rf"{_INVISIBLE.pattern}|{_SPACE.pattern}|[{''.join(_PLAIN)}]")


@dataclass(frozen=True)
class Readable:
    """What a model reads in the place of a text.

    Attributes:
        text: What it reads.
        origins: Of each of its characters, and of its end, the place in the text it stands for.
    """

    text: str
    origins: Sequence[int]

    def place(self, origin: int) -> int:
        """Where a place of the original text is in what is read."""
        return bisect.bisect_left(self.origins, origin)

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where a stretch of what is read stands in the original text."""
        if start == end:
            return self.origins[start], self.origins[start]
        return self.origins[start], self.origins[end - 1] + 1


def readable(text: str, alphabet: Alphabet | None = None) -> Readable:
    """The text with plain spaces, and with no invisible character but those of `alphabet`.

    Hyphens and quotes that `alphabet` lacks become the plain ones. What must come through unchanged
    (addresses, placeholders, code, words of another script) stays as it is.
    """
    if (text.isascii() and _SPACE.search(text) is None) or _UNREAD.search(text) is None:
        return Readable(text, range(len(text) + 1))
    items = [item for item in find_items(text, alphabet) if item.kind not in ("number", "symbol")]
    starts = [item.start for item in items]
    kept: list[str] = []
    origins: list[int] = []
    position = 0
    for match in _UNREAD.finditer(text):
        character = match[0]
        item = bisect.bisect_right(starts, match.start()) - 1
        if item >= 0 and match.start() < items[item].end:
            continue
        if alphabet is not None and character in alphabet:
            continue
        plain = " " if character.isspace() else _PLAIN.get(character, "")
        kept += [text[position : match.start()], plain]
        origins += range(position, match.start() + len(plain))
        position = match.end()
    return Readable("".join([*kept, text[position:]]), [*origins, *range(position, len(text) + 1)])

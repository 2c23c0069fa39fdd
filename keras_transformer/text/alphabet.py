"""Which characters a vocabulary can write, and which of a text's it cannot.

A character without a token of its own is spelled in bytes, which a model reads badly and writes worse: it loses
some, and what is left is no character or another one.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# Shown as nothing: soft hyphens, joiners, marks of direction, fillers.
INVISIBLE = "\u00ad\u034f\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_INVISIBLE = re.compile(f"[{INVISIBLE}]")


class Foreign(NamedTuple):
    """A stretch of a text that a vocabulary cannot write.

    Attributes:
        start, end: Where it stands, in characters.
        kind: "script" (a word of which no letter can be written), "name" (a word with a capital, or of which
            half the letters cannot be written) or "symbol" (no letters).
    """

    start: int
    end: int
    kind: str


class Alphabet:
    """The characters that have a token of their own.

    Args:
        characters: One string each, of one character.
    """

    def __init__(self, characters: Iterable[str]) -> None:
        self._characters = frozenset(characters)
        known = re.escape("".join(sorted(self._characters)))
        self._unknown = re.compile(rf"[^\s{INVISIBLE}{known}]")

    def __contains__(self, character: str) -> bool:
        return character in self._characters

    def lacks(self, text: str) -> bool:
        """True where a text may have a character that cannot be written; spaces and invisible ones apart."""
        return self._unknown.search(text) is not None

    def foreign(self, text: str, start: int, end: int) -> Iterator[Foreign]:
        """What cannot be written between two places of a text, in order.

        A small word with a foreign letter in it ("naïve") is left to the model.
        """
        if self._unknown.search(text, start, end) is None:
            return
        unknown = self._unknown_places(text, start, end)
        for is_word, group in itertools.groupby(range(start, end), lambda place: _is_of_a_word(text[place])):
            places = list(group)
            if not is_word:
                yield from (Foreign(*span, "symbol") for span in _runs(places, unknown))
                continue
            letters = [place for place in places if text[place].isalpha()]
            strange = sum(place in unknown for place in letters)
            if not strange:
                continue
            span = letters[0], places[-1] + 1
            if strange == len(letters):
                yield Foreign(*span, "script")
            elif text[letters[0]].isupper() or 2 * strange >= len(letters):
                yield Foreign(*span, "name")

    def _unknown_places(self, text: str, start: int, end: int) -> set[int]:
        """Places of the characters that cannot be written; a letter goes together with its combining marks."""
        unknown: set[int] = set()
        place = start
        while place < end:
            after = place + 1
            while after < end and _is_mark(text[after]):
                after += 1
            composed = unicodedata.normalize("NFC", text[place:after])
            if self._unknown.search(composed):
                unknown.update(range(place, after))
            place = after
        return unknown


def _runs(places: list[int], among: set[int]) -> Iterator[tuple[int, int]]:
    """The stretches of neighbours that are in `among`."""
    for inside, group in itertools.groupby(places, among.__contains__):
        run = list(group)
        if inside:
            yield run[0], run[-1] + 1


def _is_of_a_word(character: str) -> bool:
    return character.isalpha() or _is_mark(character) or _INVISIBLE.match(character) is not None


def _is_mark(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character).startswith("M")

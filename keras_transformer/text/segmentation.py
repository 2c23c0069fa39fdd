"""A text in pieces: sentences to translate, and the layout between them to copy.

Sentences are found by `sentencex` (MIT; rules and abbreviations for many languages, no model). Nothing is
dropped: the pieces joined are the text again.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import sentencex

_SURROGATES = re.compile("[\ud800-\udfff]")
_EMAIL = re.compile(r"[^@]+@[^@]+\.\w+\W*")
_CLAUSE_END = re.compile(r"[,;:.!?…)\]»”—–]\s+|[，、；：。！？]\s*")
_SPACES = re.compile(r"\s+")


class Piece(NamedTuple):
    """A stretch of a text.

    Attributes:
        text: As it stands in the text; a sentence has no outer white space.
        is_sentence: True where it is to be translated, False where it is to be copied.
    """

    text: str
    is_sentence: bool


def split_text(text: str, language: str) -> list[Piece]:
    """Cut a text into sentences and what stands between them.

    A line end, of any kind, always ends a sentence. White space around sentences, and sentences with
    nothing to translate (`is_copied`), are layout.

    Args:
        text: Any text, of any length.
        language: Code of the text's language, for example "en"; an unknown one gets general rules.

    Returns:
        Pieces in order, none of them empty, no two layout pieces in a row;
        ``"".join(piece.text for piece in pieces) == text``.
    """
    pieces: list[Piece] = []
    layout = ""
    for line in text.splitlines(keepends=True):
        for part in _sentences(line, language):
            if is_copied(part):
                layout += part
                continue
            sentence = part.strip()
            start = part.index(sentence)
            layout += part[:start]
            if layout:
                pieces.append(Piece(layout, False))
            pieces.append(Piece(sentence, True))
            layout = part[start + len(sentence) :]
    if layout:
        pieces.append(Piece(layout, False))
    return pieces


def is_copied(text: str) -> bool:
    """True where there is nothing to translate: no letter outside URLs and e-mail addresses.

    So an empty text, white space, digits, punctuation, emoji, URLs and e-mail addresses are copied.
    """
    return not any(any(map(str.isalpha, word)) and not _is_address(word) for word in text.split())


def split_long(sentence: str, fits: Callable[[str], bool]) -> list[str]:
    """Cut a sentence in halves, and those again, until each part fits.

    Args:
        sentence: One sentence.
        fits: Says whether a part is short enough; it must hold for a single character.

    Returns:
        The parts, none empty unless the sentence is; joined they are the sentence. A space belongs to the
        part before it.
    """
    if len(sentence) < 2 or fits(sentence):
        return [sentence]
    cut = _middle_cut(sentence)
    return split_long(sentence[:cut], fits) + split_long(sentence[cut:], fits)


def _middle_cut(sentence: str) -> int:
    """Index of the best cut in the middle half: the end of a clause, else a space, else the middle itself."""
    middle = len(sentence) / 2
    for border in (_CLAUSE_END, _SPACES):
        cuts = [match.end() for match in border.finditer(sentence)]
        cuts = [cut for cut in cuts if middle / 2 <= cut <= 1.5 * middle and cut < len(sentence)]
        if cuts:
            return min(cuts, key=lambda cut: abs(cut - middle))
    return len(sentence) // 2


def _sentences(line: str, language: str) -> list[str]:
    """The sentences of one line, white space included; joined they are the line."""
    # sentencex takes no lone surrogates; U+FFFD is as long, so its cuts hold for the line itself.
    found = sentencex.segment(language, _SURROGATES.sub("\ufffd", line))
    parts, start = [], 0
    for sentence in found:
        parts.append(line[start : start + len(sentence)])
        start += len(sentence)
    return parts if start == len(line) else [line]


def _is_address(word: str) -> bool:
    return "://" in word or word.startswith("www.") or _EMAIL.fullmatch(word) is not None

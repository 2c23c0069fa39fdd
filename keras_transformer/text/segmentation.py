"""A text in pieces: sentences to translate, and the layout between them to copy.

Sentences are found by `sentencex` (MIT; rules and abbreviations for many languages, no model). Nothing is
dropped: the pieces joined are the text again.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import sentencex

from keras_transformer.text.alphabet import Alphabet
from keras_transformer.text.protection import find_items, without_items
from keras_transformer.text.tags import strip_tags, tag_spans

_SURROGATES = re.compile("[\ud800-\udfff]")
# What ends a sentence like a line end does: the tags of blocks, and the gaps between columns.
_BLOCK = re.compile(
    r"(</?(?:br|p|div|li|[uo]l|d[ltd]|h[1-6]|hr|table|tr|t[hd]|blockquote|pre)(?:\s[^<>]{0,2000})?/?>"
    r"|\t+|[ \u00a0]{3,})",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,;:.!?…)\]»”—–]\s+|[，、；：。！？]\s*")
# Before a number these end no sentence; sentencex knows most others.
_ABBREVIATION = re.compile(
    r"(?<!\w)(?:vol|pp?|pagg?|artt?|figg?|capp?|nn?|nr|no|sec|chap|ch|eq|ca|tel|ver|v|par|max|min|approx|ed)\.\s+\Z",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")
_LIKELY_END = re.compile(r"[.!?…]['\"”’»)\]]*\s+|[。！？]")  # of a sentence
LONGEST_LINE = 20_000  # characters read in one go


class Piece(NamedTuple):
    """A stretch of a text.

    Attributes:
        text: As it stands in the text; a sentence has no outer white space.
        is_sentence: True where it is to be translated, False where it is to be copied.
    """

    text: str
    is_sentence: bool


def cut_long_line(line: str) -> list[str]:
    """Cut a line that is too long to be read in one go.

    Everything that is asked of a text in one go holds up a caller who cancels, and other threads as well; so a
    line of a megabyte is read in parts: cut behind the end of a sentence, else at a space, else anywhere.

    Returns:
        The parts, none longer than `LONGEST_LINE`; joined they are the line. Cut again from any of the cuts on, the
        rest is cut at the same places.
    """
    parts = []
    start = 0
    while len(line) - start > LONGEST_LINE:
        window = line[start : start + LONGEST_LINE]
        cut = LONGEST_LINE
        for border in (_LIKELY_END, _SPACES):
            ends = [match.end() for match in border.finditer(window, LONGEST_LINE // 2)]
            if ends:
                cut = ends[-1]
                break
        parts.append(window[:cut])
        start += cut
    return [*parts, line[start:]]


def split_text(text: str, language: str, alphabet: Alphabet | None = None) -> list[Piece]:
    """Cut a text into sentences and what stands between them.

    A line end, of any kind, always ends a sentence; so does the tag of a block (<br>, <p>), a tab, and a gap
    of three spaces. White space around sentences, and sentences with nothing to translate (`is_copied`), are
    layout.

    Args:
        text: Any text, of any length.
        language: Code of the text's language, for example "en"; an unknown one gets general rules.
        alphabet: What the model can write; see `find_items`.

    Returns:
        Pieces in order, none of them empty, no two layout pieces in a row;
        ``"".join(piece.text for piece in pieces) == text``.
    """
    pieces: list[Piece] = []
    layout = ""
    for line in text.splitlines(keepends=True):
        chunks = _BLOCK.split(line)
        for part in (part for chunk in chunks for part in _sentences(chunk, language, alphabet)):
            if is_copied(part, alphabet):
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


def is_copied(text: str, alphabet: Alphabet | None = None) -> bool:
    """True where there is nothing to translate: no letter outside tags and protected items.

    So an empty text, white space, digits, punctuation, emoji, addresses, placeholders and tags are copied, and
    words that cannot be written with `alphabet`.
    """
    if not any(map(str.isalpha, text)):
        return True
    return not any(map(str.isalpha, without_items(strip_tags(text)[0], alphabet)))


def split_long(sentence: str, fits: Callable[[str], bool], alphabet: Alphabet | None = None) -> list[str]:
    """Cut a sentence in halves, and those again, until each part fits; never inside a tag or a protected item.

    Args:
        sentence: One sentence.
        fits: Says whether a part is short enough; it must hold for a single character.
        alphabet: What the model can write; see `find_items`.

    Returns:
        The parts, none empty unless the sentence is; joined they are the sentence. A space belongs to the
        part before it. A part that does not fit is a single item or tag.
    """
    inside = bytearray(len(sentence) + 1)  # 1 at what would be a cut inside an item
    items = ((item.start, item.end) for item in find_items(sentence, alphabet) if item.kind != "script")
    for start, end in (*tag_spans(sentence), *items):
        inside[start + 1 : end] = b"\1" * (end - start - 1)

    def split(start: int, end: int) -> list[str]:
        part = sentence[start:end]
        if len(part) < 2 or fits(part):
            return [part]
        cut = start + _middle_cut(part, inside[start : end + 1])
        return [part] if cut in (start, end) else split(start, cut) + split(cut, end)

    return split(0, len(sentence))


def _middle_cut(sentence: str, inside: bytearray) -> int:
    """Index of the best cut in the middle half: the end of a clause, else a space, else the middle itself."""
    middle = len(sentence) / 2
    for border in (_CLAUSE_END, _SPACES):
        cuts = [match.end() for match in border.finditer(sentence, int(middle / 2))]
        cuts = [cut for cut in cuts if middle / 2 <= cut <= 1.5 * middle and not inside[cut]]
        if cuts := [cut for cut in cuts if cut < len(sentence)]:
            return min(cuts, key=lambda cut: abs(cut - middle))
    cut = len(sentence) // 2
    after = inside.find(0, cut)
    return after if after < len(sentence) else inside.rfind(0, 0, cut + 1)


def _joined(sentences: Iterable[str]) -> Iterator[str]:
    """Sentences, with those put together again that were cut between an abbreviation and its number."""
    before = ""
    for sentence in sentences:
        if before and not (sentence[:1].isdigit() and _ABBREVIATION.search(before)):
            yield before
            before = ""
        before += sentence
    yield before


def _sentences(line: str, language: str, alphabet: Alphabet | None) -> list[str]:
    """The sentences of one line, white space included; joined they are the line."""
    if not line:
        return []
    plain, tags = strip_tags(line)
    calm = list(plain)
    for item in find_items(plain, alphabet):
        if item.kind not in ("number", "name"):  # "?" in an address ends no sentence
            calm[item.start : item.end] = "X" * (item.end - item.start)
    # sentencex takes no lone surrogates; U+FFFD is as long, so its cuts hold for the line itself.
    found = sentencex.segment(language, _SURROGATES.sub("\ufffd", "".join(calm)))
    cuts, end, shift, next_tag = [], 0, 0, 0
    for sentence in _joined(found):
        end += len(sentence)
        while next_tag < len(tags) and (
            tags[next_tag].offset < end or (tags[next_tag].offset == end and tags[next_tag].kind == "close")
        ):
            shift += len(tags[next_tag].text)  # a closing tag at a cut belongs to the sentence before it
            next_tag += 1
        cuts.append(end + shift)
    if end != len(plain):
        return [line]
    cuts = [*cuts[:-1], len(line)]
    return [line[start:end] for start, end in zip([0, *cuts], cuts, strict=False) if start < end]

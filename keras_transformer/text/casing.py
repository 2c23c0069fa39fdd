"""Case that a model reads well: CAPS and Title Case are lowered before translating, and come back after it.

A model knows "house" far better than "HOUSE". Lowering must leave names alone, so the usual form of frequent
words ("Tom", "Monday", "TV", "I", "house") is read from a list of the language; without a list all is lowered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib import resources
from typing import NamedTuple

# Letters only: "Z1", "x86" and "U.S." keep their case.
_WORD = re.compile(r"(?<![\w{])(?![^\W\d_]\.\w)(?<![^\W\d_]\.)[^\W\d_]+(?![\w}])")
_SHORT_WORD = 3  # letters: "of", "the", "And" may stand small in a title
_EMPHASIS = 4  # letters: "VERY" is emphasis; "US" and "WHO" may be names
_ACRONYMS = frozenset(
    {"AIDS", "EURO", "FIAT", "IDEA", "NATO", "SALT"}
)  # words too, but never meant so in capitals


class Style(Enum):
    """How a sentence was written, and its translation is to be."""

    PLAIN = "plain"
    CAPS = "caps"
    TITLE = "title"
    TITLE_ALL = "title_all"  # small words too
    FIRST = "first"  # one word with a capital


class Cased(NamedTuple):
    """A sentence in the case that the model is to read, and the style to give back with `restore_case`."""

    text: str
    style: Style


def usual_case(sentence: str, language: str) -> Cased:
    """Lower what is in capitals for looks, not for its meaning.

    - All capitals: each word in its usual form, the first with a capital.
    - Title Case: the words that are known to be small, from the second on.
    - A single word: its usual form, which models know better than the one at the start of a sentence.

    Words with digits in them stay as they are.
    """
    words = _WORD.findall(sentence)
    usual = usual_forms(language)
    style = _style(words, usual, " " in sentence)
    if style is Style.PLAIN:
        return Cased(sentence, style)

    def lower(match: re.Match[str]) -> str:
        word = match[0]
        if style in (Style.TITLE, Style.TITLE_ALL):  # an acronym or an unknown name stays
            return word if word.isupper() and len(word) > 1 else usual.get(word.lower(), word)
        return usual.get(word.lower(), word.lower())

    text = _WORD.sub(lower, sentence)
    if style is not Style.FIRST and " " in sentence:
        text = capitalise_first(text)
    return Cased(text, style)


def emphasised(sentence: str, language: str) -> list[str]:
    """Words in capitals that are common words else ("This is VERY good"), short ones apart ("US", "WHO")."""
    usual = usual_forms(language)
    return [word for word in _WORD.findall(sentence) if _is_emphasis(word, usual)]


def without_emphasis(sentence: str, language: str) -> str:
    """The sentence with its `emphasised` words in small letters."""
    usual = usual_forms(language)
    return _WORD.sub(lambda match: match[0].lower() if _is_emphasis(match[0], usual) else match[0], sentence)


def restore_case(text: str, style: Style) -> str:
    """Write a translation in the style of its source."""
    if style is Style.CAPS:
        return text.upper()
    if style is Style.FIRST:
        return capitalise_first(text)
    if style is Style.PLAIN:
        return text

    def capital(match: re.Match[str]) -> str:
        word = match[0]
        elided = match.end() < len(text) and text[match.end()] in "'’"
        if len(word) > _SHORT_WORD or (style is Style.TITLE_ALL and not elided):
            return word[0].upper() + word[1:]
        return word

    return capitalise_first(_WORD.sub(capital, text))


@cache
def usual_forms(language: str) -> Mapping[str, str]:
    """Word in small letters → the form it usually has inside a sentence; empty for a language without a list."""
    file = resources.files("keras_transformer.text") / "usual_forms" / f"{language}.txt"
    if not re.fullmatch(r"[a-z]{2,3}", language) or not file.is_file():
        return {}
    words = (line for line in file.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {word.lower(): word for word in words}


def _style(words: list[str], usual: Mapping[str, str], spaced: bool) -> Style:
    if not words:
        return Style.PLAIN
    first, rest = words[0], words[1:]
    if sum(map(str.isupper, words)) >= 0.8 * len(words) and any(_shouted(word, usual) for word in words):
        return Style.CAPS
    if not rest:
        return Style.FIRST if first.istitle() and len(first) > 1 and usual and not spaced else Style.PLAIN
    long = [word for word in words if len(word) > _SHORT_WORD]
    small_ones = [word for word in rest if len(word) <= _SHORT_WORD and word != "I"]
    lowered = [word for word in rest if word.istitle() and usual.get(word.lower(), word) != word]
    if not all(word[0].isupper() for word in long) or not lowered or not first[0].isupper():
        return Style.PLAIN
    if len(words) == 2:  # "Red Wine"; but "Gina Bianchi" and "Tom Brown" are names
        is_name = usual.get(first.lower()) == first or rest[0].lower() not in usual
        return Style.PLAIN if is_name else Style.TITLE_ALL
    if len(long) < 2 and not (small_ones and all(word[0].isupper() for word in small_ones)):
        return Style.PLAIN
    return Style.TITLE_ALL if all(word[0].isupper() for word in small_ones) else Style.TITLE


def _shouted(word: str, usual: Mapping[str, str]) -> bool:
    """True for a word whose capitals say nothing; "TV", "USA" and "I" are written so."""
    return len(word) > 1 and word.isupper() and usual.get(word.lower(), "") != word and word not in _ACRONYMS


def _is_emphasis(word: str, usual: Mapping[str, str]) -> bool:
    if len(word) < _EMPHASIS or not word.isupper() or word in _ACRONYMS:
        return False
    return usual.get(word.lower()) == word.lower()


def capitalise_first(text: str) -> str:
    """The text with a capital at its start, after marks but not after digits."""
    for index, character in enumerate(text):
        if character.isalpha():
            return text[:index] + character.upper() + text[index + 1 :]
        if character.isdigit():
            break
    return text

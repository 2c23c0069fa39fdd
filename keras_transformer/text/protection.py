"""What a translation must carry over unchanged: placeholders, addresses, tags, code, numbers, emoji.

A translation model knows no placeholder. But it copies a short made-up name like "Z1" nearly always (of 60
sentences each, the shipped model lost none; of raw e-mail addresses it lost all), so what is protected goes
through it under such a name, and comes back after a check that each name stands in the output once.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_LEFT = r"(?<![^\W_])"  # no letter or digit before
_RIGHT = r"(?![^\W_])"
_FILE_ENDINGS = (
    "html?|pdf|docx?|xlsx?|pptx?|odt|txt|md|py|js|ts|css|json|xml|csv|tsv|png|jpe?g|gif|svg|mp[34]|zip|gz|exe|"
    "sh|toml|ya?ml|ini|cfg|conf|log|onnx|srt|vtt|php|java|cpp|c|h|rs|go|sql"
)
_DOMAINS = "com|org|net|edu|gov|info|io|dev|app|eu|it|uk|de|fr|es|ch|at|us|ca|jp"

# Emoji, arrows, mathematical signs, private characters: a model spells them in bytes, if at all.
SYMBOLS = (
    "(?:[#*0-9]\ufe0f?\u20e3|[\u2190-\u2bff\u3030\u303d\u3297\u3299\ue000-\uf8ff\ufffc\ufffd"
    "\U0001f000-\U0001fbff\U000f0000-\U0010ffff\U000e0020-\U000e007f\ufe0f\u200d©®™])+"
)

# The first that fits at a place is taken. Each starts where no other match of its kind can have started, or
# is bounded in length, so that a megabyte is read in linear time.
_KINDS = (
    ("code", r"`[^`\n]{1,200}`"),
    ("address", r"(?<![\w+.-])[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s<>\"“”«»{}]++"),
    ("address", r"(?<![\w@.-])www\.[^\s<>\"“”«»{}]++"),
    ("address", r"(?<![\w.+-])[\w.+-]++@(?:[\w-]+\.)+\w+"),
    ("address", rf"(?<![\w@.-])(?:[a-z0-9-]{{1,63}}\.){{1,6}}(?:{_DOMAINS})(?![\w@-])(?:/[^\s<>\"“”«»{{}}]*+)?"),
    ("address", rf"(?<![\w@./-])[\w./-]{{1,100}}\.(?:{_FILE_ENDINGS})(?![\w@-])"),
    ("address", r"(?<![\w/.])(?:~|\.{1,2})?(?:/[\w.@-]+){2,}/?"),
    ("placeholder", r"<!--[^>]{0,300}-->"),
    ("placeholder", r"</?[A-Za-z][\w:.-]{0,60}(?:\s[^<>]{0,2000})?/?>"),
    ("placeholder", r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#x[0-9A-Fa-f]{1,6});"),
    ("placeholder", r"\{\{[^{}\n]{0,200}\}\}|\{%[^{}\n]{0,200}%\}|\[\[[^\[\]\n]{1,100}\]\]"),
    ("placeholder", r"[$#%@]\{[^{}\n]{0,100}\}|\$\([^()\s]{1,100}\)"),
    (
        "placeholder",
        (
            r"\{\s?\w{1,60}\s?,\s?(?:plural|select|selectordinal|number|date|time)\b"
            r"(?:[^{}]|\{[^{}]{0,200}\}){0,500}\}"
        ),
    ),
    ("placeholder", r"\{\s?[^{}\s]{0,100}\s?\}"),
    ("placeholder", r"%\(\w{1,60}\)[-+#0]?\d{0,3}(?:\.\d+)?[a-zA-Z]"),
    ("placeholder", r"(?<![\d%])%(?:\d+\$)?[-+#0]?\d{0,3}(?:\.\d+)?(?:hh?|ll?|[zjt])?[diouxXeEfFgGcrsap@]"),
    ("placeholder", r"(?<![\d%])%(?:[A-Z][A-Z0-9_]{1,60}%|L?\d{1,2}|n(?![a-z])|%)"),
    ("placeholder", r"(?<!\w)__\w{1,60}?__(?!\w)|(?<![\w$])\$[A-Za-z_]\w{0,60}"),
    ("placeholder", r"\\[ntr](?![a-z])"),
    ("address", r"(?<![\w@#&])[@#][A-Za-z_]\w{0,100}"),
    ("symbol", SYMBOLS),
    ("name", r"(?<![\w.])[^\W\d_]{0,40}[²³¹⁰⁴-⁹₀-₉½¼¾⅓⅔]+"),
    (
        "name",
        (
            r"(?<![\w.-])(?=[\w-]{0,40}\d)(?=\d{0,20}[^\W\d])"
            r"(?!\d+(?:[a-zA-Z]{1,3}|[a-zA-Z]{0,3}-\w+)(?!\w))\w+(?:-\w+)*"
        ),
    ),
    ("script", r"[\u0370-\u1dff\u1f00-\u1fff\u2c00-\ud7ff\uf900-\ufdff\ufe70-\uffef\U00010000-\U0001efff]+"),
    ("number", r"[$€£¥]?\d+(?:[.,:/]\d+)*(?:[a-zA-Z]{1,3}(?!\w)|\s?%(?!\w)|\s?[€°])?"),
)  # fmt: skip
_ITEM = re.compile("|".join(f"(?P<k{index}>{pattern})" for index, (_, pattern) in enumerate(_KINDS)))
# Letters and the marks of prose: no item can be in it. Most sentences are such, and this is told fast.
_PROSE = re.compile(r"(?:[A-Za-zÀ-ÖØ-öø-ɏ\s,;:!?'\"’‘“”«»()…—–-]++|\.(?!\w))*+")
_TAIL = frozenset(".,;:!?…'’\"”»*_)]}")  # what may stand right after an address
_OPENING = {")": "(", "]": "[", "}": "{"}
_LONGEST_TAIL = 10
_REMEMBERED_CHARACTERS = 2000
_DIGITS = re.compile(r"\d+(?:[.,:/]\d+)*")
_ORDINAL = re.compile(r"(\d{1,3})(?:st|nd|rd|th)")
_SWAP = str.maketrans(".,", ",.")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")

# How protected items are written for the model, the surest first; "{}" is a number from 1.
MASKS = ("Z{}", "({})", "K{}")
_DECIMAL_COMMA = re.compile("cs|da|de|el|es|fi|fr|hr|hu|id|it|nl|no|pl|pt|ro|ru|sl|sv|tr|uk")  # languages


class Item(NamedTuple):
    """A stretch of a text that must come through a translation.

    Attributes:
        start, end: Where it stands.
        text: What it is.
        kind: "placeholder", "code", "address", "symbol" (emoji, arrows), "name" (a word with digits in it),
            "script" (letters of another alphabet); or "number", of which the digits count.
    """

    start: int
    end: int
    text: str
    kind: str


class Masked(NamedTuple):
    """A text with masks in the place of items.

    Attributes:
        text: What the model is to read.
        masks: Each mask and what it stands for.
    """

    text: str
    masks: tuple[tuple[str, str], ...]


def find_items(text: str) -> list[Item]:
    """The items of a text, in order, not overlapping."""
    if _PROSE.fullmatch(text):
        return []
    # A line is asked about when it is split, and its sentences again: at most four times in a row.
    return list(_remembered(text)) if len(text) <= _REMEMBERED_CHARACTERS else _found(text)


@functools.lru_cache(maxsize=64)
def _remembered(text: str) -> tuple[Item, ...]:
    return tuple(_found(text))


def _found(text: str) -> list[Item]:
    items = []
    position = 0
    while found := _ITEM.search(text, position):
        kind = _KINDS[int((found.lastgroup or "k0")[1:])][0]
        start, end = found.span()
        if kind == "address":
            end = _address_end(text, start, end)
        position = end
        items.append(Item(start, end, text[start:end], kind))
    if any(item.kind == "script" for item in items):
        latin = len(_LATIN.findall(text))
        if 2 * latin < sum(map(str.isalpha, text)):  # that alphabet is the text's own
            items = [item for item in items if item.kind != "script"]
    return items


def without_items(text: str) -> str:
    """The text with a space in the place of each item."""
    parts, position = [], 0
    for item in find_items(text):
        parts.append(text[position : item.start])
        position = item.end
    return " ".join([*parts, text[position:]])


def mask(text: str, items: Sequence[Item], pattern: str) -> Masked:
    """Write masks for items.

    Args:
        text: A sentence.
        items: Those of its items to mask, in order; what touches one another gets one mask.
        pattern: One of `MASKS`.
    """
    if not items:
        return Masked(text, ())
    spans: list[tuple[int, int]] = []
    for item in items:
        if spans and _touches(text[spans[-1][1] : item.start]):
            spans[-1] = (spans[-1][0], item.end)
        else:
            spans.append((item.start, item.end))
    first = 1
    while any(pattern.format(first + index) in text for index in range(len(spans))):
        first += len(spans)
    parts, masks, position = [], [], 0
    for index, (start, end) in enumerate(spans):
        name = pattern.format(first + index)
        masks.append((name, text[start:end]))
        parts += [text[position:start], name]
        position = end
    return Masked("".join([*parts, text[position:]]), tuple(masks))


def unmask(text: str, masks: Sequence[tuple[str, str]]) -> str | None:
    """The text with the items back in the place of their masks; None where a mask is not there just once."""
    if not masks:
        return text
    # "Z1" is not in "Z12", and "aZ1" is a broken one.
    originals = dict(masks)
    name = "|".join(map(re.escape, originals))
    found = re.findall(rf"([^\W_])?({name})(?!\d)", text)
    if Counter(mask for _, mask in found) != Counter(originals.keys()) or any(
        glued and mask[0].isalnum() for glued, mask in found
    ):
        return None
    return re.sub(rf"(?:{name})(?!\d)", lambda match: originals[match[0]], text)


def survived(source: str, translation: str, language: str) -> bool:
    """True where every item of a source stands in its translation: none missing, doubled or changed.

    Args:
        source: A sentence.
        translation: Its translation.
        language: Code of the translation's language: "1,000.50" may have become "1.000,50" in Italian. In any
            language "21st" may have become "XXI".
    """
    items = find_items(source)
    exact = {item.text for item in items if item.kind != "number"}
    if any(source.count(text) != translation.count(text) for text in exact):
        return False
    numbers = [item.text for item in items if item.kind == "number"]
    if not numbers:
        return True
    expected = Counter(digits for number in numbers for digits in _DIGITS.findall(number))
    for text in sorted(exact, key=len, reverse=True):
        translation = translation.replace(text, " ")
    for digits in _DIGITS.findall(translation):
        swapped = digits.translate(_SWAP)
        if not expected[digits] and _DECIMAL_COMMA.fullmatch(language) and expected[swapped]:
            digits = swapped
        if not expected[digits]:
            return False
        expected[digits] -= 1
    ordinals = {ordinal[1] for ordinal in map(_ORDINAL.fullmatch, numbers) if ordinal}
    return all(
        digits in ordinals and len(re.findall(rf"\b{_roman(int(digits))}\b", translation)) == count
        for digits, count in expected.items()
        if count
    )


def _address_end(text: str, start: int, end: int) -> int:
    """Where an address ends: a closing mark belongs to the sentence, unless the address opened it."""
    for _ in range(_LONGEST_TAIL):
        mark = text[end - 1]
        opening = _OPENING.get(mark)
        if mark not in _TAIL or end - 1 == start:
            break
        if opening is not None and text.count(opening, start, end) >= text.count(mark, start, end):
            break
        end -= 1
    return end


def _roman(number: int) -> str:
    """A number from 1 to 999 in Roman digits."""
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    digits = ""
    for count, (one, five, ten) in ((hundreds, "CDM"), (tens, "XLC"), (ones, "IVX")):
        patterns = ("", "1", "11", "111", "15", "5", "51", "511", "5111", "10")
        digits += patterns[count].translate(str.maketrans("150", one + five + ten))
    return digits


def _touches(gap: str) -> bool:
    return len(gap) <= 2 and not any(character.isalpha() or character.isspace() for character in gap)

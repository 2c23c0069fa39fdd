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

from keras_transformer.text.alphabet import Alphabet

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
    (
        "number",  # behind a space only what is a unit and no word
        (
            r"[$€£¥]?\d+(?:[.,:/]\d+)*(?:[a-zA-Z]{1,3}(?!\w)|\s?%(?!\w)|\s?[€°]|"
            r"\s(?:km/h|mph|[kcm]?m|[km]?g|[mcd]l|min|ft|lb|oz|kWh?|[kMG]?Hz|[kKMGT]B)(?!\w))?"
        ),
    ),
)  # fmt: skip
_ITEM = re.compile("|".join(f"(?P<k{index}>{pattern})" for index, (_, pattern) in enumerate(_KINDS)))
# Letters and the marks of prose: no item can be in it. Most sentences are such, and this is told fast.
_PROSE = re.compile(r"(?:[A-Za-zÀ-ÖØ-öø-ɏ\s,;:!?'\"’‘“”«»()…—–-]++|\.(?!\w))*+")
_TAIL = frozenset(".,;:!?…'’\"”»*_)]}")  # what may stand right after an address
_OPENING = {")": "(", "]": "[", "}": "{"}
_LONGEST_TAIL = 10
_REMEMBERED_CHARACTERS = 2000
_DIGITS = re.compile(r"\d+(?:[.,:/]\d+)*")
_UNIT = re.compile(rf"({_DIGITS.pattern})\s?([a-zA-Z/]{{1,4}})")
_METER = "m[eèéi]"  # or minute, or million: how such a word begins ("5 mall" is "5 m tall" gone wrong)
_NO_UNIT = re.compile(r"\d*[02-9]0s|\d+(?:st|nd|rd|th|[ap]m)", re.IGNORECASE)  # written otherwise elsewhere
# A sign of a number, and how the languages of Europe spell it out.
_SIGNS = {
    "$": r"\$|\bd[oó]l+[aá]r",
    "€": r"€|\beuro?",
    "£": r"£|\b(?:pound|sterl|libr|livre|pfund)",
    "¥": r"¥|\b[yj]en",
    "%": r"%|\bp(?:er|our|or)\s?cent|\bpor\s?cien|\bpro[cz]ent",
    "°": r"°|\b(?:degr|grad)",
}
_ORDINAL = re.compile(r"(\d{1,3})(?:st|nd|rd|th)")
_SWAP = str.maketrans(".,", ",.")

# How protected items are written for the model, the surest first; "{}" is a number from 1.
MASKS = ("Z{}", "({})", "K{}")
_DECIMAL_COMMA = re.compile("cs|da|de|el|es|fi|fr|hr|hu|id|it|nl|no|pl|pt|ro|ru|sl|sv|tr|uk")  # languages


class Item(NamedTuple):
    """A stretch of a text that must come through a translation.

    Attributes:
        start, end: Where it stands.
        text: What it is.
        kind: "placeholder", "code", "address", "symbol" (emoji, arrows, signs that the vocabulary lacks), "name"
            (a word with digits in it, or with letters that the vocabulary lacks), "script" (words of such letters
            alone); or "number", of which the digits, the sign and the unit count.
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


def find_items(text: str, alphabet: Alphabet | None = None) -> list[Item]:
    """The items of a text, in order, not overlapping.

    Args:
        text: Any text.
        alphabet: What the model's vocabulary can write: all else is an item too. None: it can write all.
    """
    if _PROSE.fullmatch(text) and (alphabet is None or not alphabet.lacks(text)):
        return []
    # A line is asked about when it is split, and its sentences again: at most four times in a row.
    if len(text) > _REMEMBERED_CHARACTERS:
        return _found(text, alphabet)
    return list(_remembered(text, alphabet))


@functools.lru_cache(maxsize=64)
def _remembered(text: str, alphabet: Alphabet | None) -> tuple[Item, ...]:
    return tuple(_found(text, alphabet))


def _found(text: str, alphabet: Alphabet | None) -> list[Item]:
    items = []
    position = 0
    while found := _ITEM.search(text, position):
        kind = _KINDS[int((found.lastgroup or "k0")[1:])][0]
        start, end = found.span()
        if kind == "address":
            end = _address_end(text, start, end)
        position = end
        items.append(Item(start, end, text[start:end], kind))
    return items if alphabet is None else _with_foreign(text, items, alphabet)


def _with_foreign(text: str, items: Sequence[Item], alphabet: Alphabet) -> list[Item]:
    """Items, and between them what the vocabulary cannot write; neighbouring words of another script are one."""
    found: list[Item] = []
    position = 0
    for item in [*items, None]:
        for foreign in alphabet.foreign(text, position, item.start if item else len(text)):
            if foreign.kind == "script" and found and found[-1].kind == "script":
                before = found[-1]
                if not any(map(str.isalnum, text[before.end : foreign.start])):
                    found.pop()
                    foreign = foreign._replace(start=before.start)
            found.append(Item(foreign.start, foreign.end, text[foreign.start : foreign.end], foreign.kind))
        if item:
            found.append(item)
            position = item.end
    return found


def without_items(text: str, alphabet: Alphabet | None = None) -> str:
    """The text with a space in the place of each item."""
    parts, position = [], 0
    for item in find_items(text, alphabet):
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


def survived(source: str, translation: str, language: str, alphabet: Alphabet | None = None) -> bool:
    """True where every item of a source stands in its translation: none missing, doubled or changed.

    Nor may there be a U+FFFD that the source lacks: it is what is left of a character spelled in bytes.

    Args:
        source: A sentence.
        translation: Its translation.
        language: Code of the translation's language: "1,000.50" may have become "1.000,50" in Italian. In any
            language "21st" may have become "XXI", "$5" "5 dollari" and "10m" "10 metri".
        alphabet: As for `find_items`.
    """
    if translation.count("\ufffd") > source.count("\ufffd"):
        return False
    items = find_items(source, alphabet)
    exact = {item.text for item in items if item.kind != "number"}
    if any(source.count(text) != translation.count(text) for text in exact):
        return False
    numbers = [item.text for item in items if item.kind == "number"]
    if not numbers:
        return True
    expected = Counter(digits for number in numbers for digits in _DIGITS.findall(number))
    for text in sorted(exact, key=len, reverse=True):
        translation = translation.replace(text, " ")
    if not _marks_survived(numbers, translation):
        return False
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


def _marks_survived(numbers: Sequence[str], translation: str) -> bool:
    """True where no sign ("$") and no unit ("10m") of a number is missing."""
    signs = Counter(sign for number in numbers for sign in number if sign in _SIGNS)
    if any(
        len(re.findall(_SIGNS[sign], translation, re.IGNORECASE)) < count for sign, count in signs.items()
    ):
        return False
    units = Counter(
        unit.groups() for unit in map(_UNIT.fullmatch, numbers) if unit and not _NO_UNIT.fullmatch(unit[0])
    )
    # Written out it mostly begins with the same letter.
    return all(
        len(
            re.findall(
                rf"(?<!\d)(?<!\d[.,]){_either_way(digits)}\s?"
                rf"(?:{unit}(?!\w)|{_METER if unit == 'm' else unit[0]}[^\W\d_]{{3}})",
                translation,
                re.IGNORECASE,
            )
        )
        >= count
        for (digits, unit), count in units.items()
    )


def _either_way(digits: str) -> str:
    return "(?:" + "|".join({re.escape(digits), re.escape(digits.translate(_SWAP))}) + ")"


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

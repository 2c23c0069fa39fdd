"""Inline tags (<b>, <a href="…">, …): out of a sentence before it is translated, and into its translation after.

A model reads and writes a sentence better without tags. Where they belong in the translation is read from
the alignment of its words: of a pair, the stretch of words that came mostly from the words between the two
tags. Tags are never lost, never doubled, and stay properly nested.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_transformer.text.protection import find_items

# Formatting only; "g3" and "x3" are the pairs and points of `documents`; classes, voices, languages and times are
# those of WebVTT. Any other tag is a placeholder.
_TAG = re.compile(
    r"<(?:(?P<close>/)?(?P<name>a|b|i|u|em|strong|span|font|small|big|mark|s|del|ins|q|cite|abbr|label|strike|bdi|bdo|"
    r"dfn|sub|sup|c|v|lang|ruby|rt|g\d{1,6}|x\d{1,6})(?:\.[\w.-]{1,60})?(?:\s[^<>]{0,2000}?)?(?P<empty>/)?"
    r"|(?P<time>\d{2,4}(?::\d\d){1,2}\.\d{3}))>",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+['’]?|[^\w\s]")
_NEARNESS = 0.12  # of the length of a sentence: how far a word strays where nothing is known of the alignment

Span = tuple[int, int]


class Tag(NamedTuple):
    """A tag and where it stands in the text without tags."""

    offset: int
    text: str
    name: str
    kind: str  # "open", "close" or "empty"


class Links(NamedTuple):
    """Which part of a translation came from which part of its source.

    Attributes:
        source_spans, target_spans: Start and end in characters, of S and T parts.
        weights: float (T, S), how much of each target part came from each source part.
    """

    source_spans: Sequence[Span]
    target_spans: Sequence[Span]
    weights: NDArray[np.floating]


@dataclass
class _Node:
    """A pair of tags, or a point (one tag), over characters `start` to `end` of the source."""

    opening: str
    closing: str
    start: int
    end: int
    children: list[_Node] = field(default_factory=list)


def strip_tags(text: str) -> tuple[str, list[Tag]]:
    """The text without its inline tags, and the tags."""
    if "<" not in text:
        return text, []
    parts, tags, position, length = [], [], 0, 0
    for match in _TAG.finditer(text):
        parts.append(text[position : match.start()])
        length += match.start() - position
        position = match.end()
        name = (match["name"] or match["time"]).lower()
        is_point = match["empty"] is not None or match["time"] is not None or name.startswith("x")
        kind = "empty" if is_point else "close" if match["close"] else "open"
        tags.append(Tag(length, match[0], name, kind))
    return "".join([*parts, text[position:]]), tags


def close_gaps(text: str, tags: Sequence[Tag]) -> tuple[str, list[Tag]]:
    """The text with one space in the place of two that tags stood between: the other belongs to a tag.

    Args:
        text, tags: What `strip_tags` gave.
    """
    parts, moved, position, removed = [], [], 0, 0
    for offset, group in itertools.groupby(tags, lambda tag: tag.offset):
        here = [tag._replace(offset=offset - removed) for tag in group]
        if position < offset < len(text) and text[offset - 1].isspace() and text[offset].isspace():
            if all(tag.kind == "open" for tag in here):  # the space goes with what the tag opens
                here[-1] = here[-1]._replace(text=here[-1].text + text[offset])
                gap = offset
            else:
                here = [tag._replace(offset=tag.offset - 1) for tag in here]
                here[0] = here[0]._replace(text=text[offset - 1] + here[0].text)
                gap = offset - 1
            parts.append(text[position:gap])
            position, removed = gap + 1, removed + 1
        moved += here
    return "".join([*parts, text[position:]]), moved


def tag_spans(text: str) -> list[Span]:
    """Where the inline tags of a text stand."""
    return [match.span() for match in _TAG.finditer(text)] if "<" in text else []


def place_tags(source: str, tags: Sequence[Tag], translation: str, links: Links | None = None) -> str | None:
    """Write the tags of a sentence into its translation.

    A tag without its partner holds from the start, or to the end, of the sentence.

    Args:
        source: The sentence without tags.
        tags: What `strip_tags` found in it.
        translation: Of the sentence without tags.
        links: The alignment of the two; None goes by like words and by their places.

    Returns:
        The translation with each of `tags` in it once; without them it is `translation`. None where the words of
        the translation are too few: a pair that held words would hold none.
    """
    placer = _Placer(source, translation, links)
    written = placer.write(
        _tree(tags, len(source)), (0, len(placer.target)), (0, len(translation)), (0, len(source))
    )
    return None if placer.emptied else written


class _Placer:
    """The words of a sentence and of its translation, and the writing of tags between them."""

    def __init__(self, source: str, translation: str, links: Links | None) -> None:
        self.source_text, self.target_text = source, translation
        self.source, self.target = word_spans(source), word_spans(translation)
        self.emptied = False  # whether a pair lost its words
        if links is None:
            self.weights = _guessed(source, self.source, translation, self.target)
        else:
            self.weights = _by_words(links, self.source, self.target)

    def write(self, nodes: list[_Node], words: Span, characters: Span, within: Span) -> str:
        """The translation in `characters`, its `words`, with `nodes`, which stand in the source `within`."""
        taken = [False] * len(self.target)
        placed: list[tuple[int, int, int, str]] = []  # start, end, order, text
        pairs = sorted(
            (node for node in nodes if node.start < node.end), key=lambda node: node.start - node.end
        )
        for node in pairs:
            span = self._pair(node, words, characters, within, taken)
            if _has_words(self.source_text[node.start : node.end]):
                self.emptied |= span is None or not _has_words(self.target_text[slice(*span[1])])
            if span is None:
                node.end = node.start  # no word is left for it: a point
                continue
            inner, (start, end) = span
            taken[inner[0] : inner[1]] = [True] * (inner[1] - inner[0])
            text = self.write(node.children, inner, (start, end), (node.start, node.end))
            placed.append((start, end, nodes.index(node), node.opening + text + node.closing))
        last = characters[0]
        for node in nodes:
            if node.start == node.end:  # points keep their order: some are the two ends of a bookmark
                last = place = max(last, self._point(node.start, words, characters, placed))
                text = self.write(node.children, (0, 0), (place, place), (node.start, node.end))
                placed.append((place, place, nodes.index(node), node.opening + text + node.closing))
        parts, position = [], characters[0]
        # A point before a pair that starts at the same place, and after one that ends there.
        for start, end, _, text in sorted(placed, key=lambda item: (item[0], item[1], item[2])):
            parts += [self.target_text[position:start], text]
            position = end
        return "".join([*parts, self.target_text[position : characters[1]]])

    def _pair(
        self, node: _Node, words: Span, characters: Span, within: Span, taken: list[bool]
    ) -> tuple[Span, Span] | None:
        """The words, and the characters, of the translation that a pair goes around."""
        inside = [
            index for index, span in enumerate(self.source) if node.start < span[1] and span[0] < node.end
        ]
        parent = [
            index for index, span in enumerate(self.source) if within[0] < span[1] and span[0] < within[1]
        ]
        free = [index for index in range(*words) if not taken[index]]
        if not inside or not free:
            return None
        if inside == parent and len(free) == words[1] - words[0]:
            exact = self._same_word(node, inside, words)
            return exact or (words, characters)
        shares = self.weights[:, inside].sum(axis=1)
        start, end = _best_stretch(shares, free)
        marks = [not self.source_text[self.source[word][0]].isalnum() for word in (inside[0], inside[-1])]
        while end - start > 1 and not marks[1] and self._is_mark(end - 1):
            end -= 1  # the full stop after a stretch is not in it
        while end - start > 1 and not marks[0] and self._is_mark(start):
            start += 1
        return self._same_word(node, inside, (start, end)) or (
            (start, end),
            (self.target[start][0], self.target[end - 1][1]),
        )

    def _is_mark(self, word: int) -> bool:
        start, end = self.target[word]
        return end - start == 1 and not self.target_text[start].isalnum()

    def _same_word(self, node: _Node, inside: list[int], words: Span) -> tuple[Span, Span] | None:
        """The same characters, for a pair inside a word that the translation copied ("H<sub>2</sub>O")."""
        if len(inside) != 1 or words[1] - words[0] != 1:
            return None
        (start, end), (copy, copy_end) = self.source[inside[0]], self.target[words[0]]
        if self.source_text[start:end] != self.target_text[copy:copy_end]:
            return None
        first, last = max(node.start, start), min(node.end, end)
        return words, (copy + first - start, copy + last - start)

    def _point(
        self, offset: int, words: Span, characters: Span, placed: list[tuple[int, int, int, str]]
    ) -> int:
        """The character of the translation that a point goes before; never inside a pair beside it."""
        before = [index for index, span in enumerate(self.source) if span[1] <= offset]
        if not before or words[0] >= words[1]:
            return characters[0]
        if len(before) == len(self.source):
            place = characters[1]
        else:
            shares = self.weights[words[0] : words[1], before[-1]]
            place = self.target[words[0] + int(shares.argmax())][1]
            if self.source_text[offset - 1].isspace() and self.target_text[place : place + 1].isspace():
                place = min(place + 1, characters[1])  # right before a word, not right behind one
        return next((end for start, end, _, _ in placed if start < place < end), place)


def word_spans(text: str) -> list[Span]:
    """Start and end of each word, mark and protected item of a text."""
    spans, position = [], 0
    for item in find_items(text):
        spans += [match.span() for match in _WORD.finditer(text, position, item.start)]
        spans.append((item.start, item.end))
        position = item.end
    return spans + [match.span() for match in _WORD.finditer(text, position)]


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _tree(tags: Sequence[Tag], length: int) -> list[_Node]:
    """Tags as nested pairs and points over a source of `length` characters."""
    root = _Node("", "", 0, length)
    open_nodes: list[tuple[str, _Node]] = [("", root)]
    for tag in tags:
        parent = open_nodes[-1][1]
        if tag.kind == "empty":
            parent.children.append(_Node(tag.text, "", tag.offset, tag.offset))
        elif tag.kind == "open":
            node = _Node(tag.text, "", tag.offset, length)
            parent.children.append(node)
            open_nodes.append((tag.name, node))
        elif len(open_nodes) > 1 and open_nodes[-1][0] == tag.name:
            node = open_nodes.pop()[1]
            node.closing, node.end = tag.text, tag.offset
        elif len(open_nodes) == 1:  # opened in a sentence before: it holds from the start
            children = list(root.children)
            root.children = [_Node("", tag.text, 0, tag.offset, children)]
        else:  # tags that cross one another: this one is only kept in its place
            parent.children.append(_Node(tag.text, "", tag.offset, tag.offset))
    return root.children


def _by_words(links: Links, source: list[Span], target: list[Span]) -> NDArray[np.float64]:
    """Weights between words, (target words, source words), each row summing to 1 or to 0."""
    into = _overlap(links.source_spans, source)
    out_of = _overlap(links.target_spans, target)
    return _shares(out_of.T @ np.asarray(links.weights, np.float64) @ into)


def _overlap(spans: Sequence[Span], words: list[Span]) -> NDArray[np.float64]:
    """(spans, words): 1.0 where they share a character."""
    if not len(spans) or not words:
        return np.zeros((len(spans), len(words)))
    a, b = np.asarray(spans), np.asarray(words)
    return ((a[:, :1] < b[:, 1]) & (b[:, 0] < a[:, 1:])).astype(float)


def _guessed(
    source: str, source_words: list[Span], target: str, target_words: list[Span]
) -> NDArray[np.float64]:
    """Weights from places alone, and from words that are the same on both sides."""
    weights = np.zeros((len(target_words), len(source_words)))
    for row, (start, end) in enumerate(target_words):
        for column, (first, last) in enumerate(source_words):
            distance = (start + end) / 2 / max(1, len(target)) - (first + last) / 2 / max(1, len(source))
            same = end - start > 1 and target[start:end].casefold() == source[first:last].casefold()
            weights[row, column] = np.exp(-((distance / _NEARNESS) ** 2)) + 2.0 * same + 1e-9
    return _shares(weights)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total: NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, np.maximum(total, 1e-9))


def _best_stretch(shares: NDArray[np.float64], free: list[int]) -> Span:
    """The stretch of neighbours among `free` that holds most of what has a share of over a half."""
    best, best_sum = (free[0], free[0] + 1), -np.inf
    start, total, previous = free[0], 0.0, free[0] - 1
    for index in free:
        if index != previous + 1 or total <= 0:
            start, total = index, 0.0
        total += float(shares[index]) - 0.5
        previous = index
        if total > best_sum:
            best, best_sum = (start, index + 1), total
    return best

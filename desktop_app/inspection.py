"""What the window asks about a translated sentence: its words, where they came from, what else could stand.

Values and one protocol; the model behind them is in `adapter`. Knows neither Tk nor the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Span = tuple[int, int]  # begin and end, in characters

# An apostrophe binds: "don't" and "dell'acqua" are looked at as written; so do hyphens inside a word.
_WORD = re.compile(r"\w+(?:['’\-]\w+)*['’]?")


class Place(NamedTuple):
    """Where one sentence stands in the source text, and its translation in the translated text.

    `flags` say what the user should know about this sentence (`runtime.translator.Translation.flags`).
    """

    source_begin: int
    source_end: int
    target_begin: int
    target_end: int
    flags: tuple[str, ...] = ()

    def begin(self, *, in_target: bool) -> int:
        """Return where the sentence begins on one side."""
        return self.target_begin if in_target else self.source_begin

    def end(self, *, in_target: bool) -> int:
        """Return where the sentence ends on one side."""
        return self.target_end if in_target else self.source_end


@dataclass(frozen=True)
class Attention:
    """Cross-attention of a sentence pair, token by token.

    Attributes:
        source_spans: Place of each source token in the source; empty (n, n) for the end of the sentence.
        target_spans: The same for the target.
        weights: [head][target token][source token]; each innermost row adds up to 1.
    """

    source_spans: tuple[Span, ...]
    target_spans: tuple[Span, ...]
    weights: tuple[tuple[tuple[float, ...], ...], ...]

    def average(self) -> tuple[tuple[float, ...], ...]:
        """Return the mean over the heads: [target token][source token]."""
        heads = self.weights
        return tuple(
            tuple(sum(values) / len(heads) for values in zip(*rows, strict=True))
            for rows in zip(*heads, strict=True)
        )


@dataclass(frozen=True)
class Alternative:
    """A word that may stand at a place, and the model's probability of it."""

    text: str
    probability: float


class Inspector(Protocol):
    """Looks into one sentence and its translation. Called on a background thread, never on Tk's."""

    def attention(self, source: str, target: str) -> Attention:
        """Return where the model looked when it wrote the target."""
        ...

    def confidence(self, source: str, target: str) -> list[tuple[Span, float]]:
        """Return the place of each word of the target and the model's probability of it."""
        ...

    def alternatives(self, source: str, target: str, begin: int) -> list[Alternative]:
        """Return up to five words that may stand at character `begin` of the target, likeliest first."""
        ...

    def choose(self, source: str, target: str, begin: int, word: str) -> str:
        """Return the target with `word` at character `begin` and the rest translated again.

        From now on it is the translation of `source`.
        """
        ...

    def forget(self) -> None:
        """Forget what was chosen."""
        ...


def words(text: str) -> tuple[Span, ...]:
    """Return the place of each word of `text`."""
    return tuple(match.span() for match in _WORD.finditer(text))


def word_at(text: str, offset: int) -> Span | None:
    """Return the word that covers character `offset`, or None between words."""
    return next((span for span in words(text) if span[0] <= offset < span[1]), None)


def linked_words(
    attention: Attention, source: str, target: str, span: Span, *, from_target: bool
) -> list[tuple[Span, float]]:
    """Return the words of the other side that a word is linked with.

    A target word's link with a source word is the attention its tokens paid to that word's tokens: added
    up over the source tokens, averaged over the target tokens and the heads.

    Args:
        attention: Of the pair (`source`, `target`).
        source: The source sentence.
        target: Its translation.
        span: The word, on the target side where `from_target`, else on the source side.
        from_target: Which side `span` is on.

    Returns:
        Places on the other side and their share of the links, in (0, 1], strongest first; those far weaker
        than the strongest are left out.
    """
    average = attention.average()
    own, other = (attention.target_spans, attention.source_spans)[:: 1 if from_target else -1]
    own_rows = _touching(own, span)
    if not own_rows:
        return []
    links: list[tuple[Span, float]] = []
    for word in words(source if from_target else target):
        other_rows = _touching(other, word)
        if not other_rows:
            continue
        weight = sum(average[o][w] if from_target else average[w][o] for o in own_rows for w in other_rows)
        links.append((word, weight / len(own_rows if from_target else other_rows)))
    strongest = max((weight for _, weight in links), default=0.0)
    kept = [(word, min(weight, 1.0)) for word, weight in links if weight > 0.2 * strongest and weight > 0.03]
    return sorted(kept, key=lambda link: -link[1])


def _touching(spans: Sequence[Span], word: Span) -> list[int]:
    return [row for row, (begin, end) in enumerate(spans) if begin < word[1] and word[0] < end]

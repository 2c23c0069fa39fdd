"""How one sentence goes through a model and comes out safe.

What a model mangles is taken out of its way first (tags, capitals, bullets, placeholders), put back after, and
checked. Where the check fails, the sentence is asked for again in another form; where no form passes, the
original stays. So a protected item is never silently changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keras_transformer.text.casing import (
    Style,
    capitalise_first,
    emphasised,
    restore_case,
    usual_case,
    without_emphasis,
)
from keras_transformer.text.protection import MASKS, SYMBOLS, Item, Masked, find_items, mask, survived, unmask
from keras_transformer.text.tags import Links, place_tags, strip_tags

# A bullet or a number of a list, and symbols: layout at the start of a sentence; symbols also at its end.
_START = re.compile(rf"(?:\s|[-*•‣·–—>#+|]+\s|\(?(?:\d{{1,3}}|[a-z])[.)]\s+(?=\D)|{SYMBOLS})*")
_SYMBOL = re.compile(SYMBOLS)
_WORD = re.compile(r"([^\W\d_]+(?:['’-][^\W\d_]+)*)([.!?…:;,]*)")
_I = re.compile(r"I\b")  # English writes it large
_PAUSES = ",;:"
_STOPS = ".!?…:;, "
_PIECE = re.compile(r"(?P<before>[\W_]*)(?P<core>.*?)(?P<after>[,;:\s(\[{\"'“‘«–—-]*)", re.DOTALL)


Align = Callable[[str, str], Links | None]


class Settled(NamedTuple):
    """What became of a sentence.

    Attributes:
        texts: Its translations, from the best hypothesis of the model, the second best and so on; None in the
            place of one that fails the check. Empty where no attempt passed: the original stays.
        flags: "split" where it was translated in parts, around what is protected.
        asked: The texts whose translations it is made of.
    """

    texts: tuple[str | None, ...]
    flags: frozenset[str]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class _Attempt:
    """One way to ask: the texts for the model, and how their translations become the sentence's, or None."""

    asks: tuple[str, ...]
    restore: Callable[[Sequence[str]], str | None]
    flags: frozenset[str] = frozenset()


class Reading:
    """One sentence on its way through a model.

    Args:
        sentence: One sentence, without outer white space.
        source_language, target_language: Codes, for example "en" and "it".
        fits: Says whether a text is short enough for the model.
    """

    def __init__(
        self, sentence: str, source_language: str, target_language: str, fits: Callable[[str], bool]
    ) -> None:
        self.sentence = sentence
        self._plain, self._tags = strip_tags(sentence)
        bullet = _START.match(self._plain)
        start, end = bullet.end() if bullet else 0, len(self._plain)
        while end > start and (self._plain[end - 1].isspace() or _SYMBOL.fullmatch(self._plain[end - 1])):
            end -= 1
        self._around = self._plain[:start], self._plain[end:]
        core = self._plain[start:end]
        self._attempts = (
            attempt
            for attempt in _attempts(core, source_language, target_language)
            if all(map(fits, attempt.asks))
        )
        self._attempt = next(self._attempts, None)

    def asks(self, known: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The texts that the model must translate next; none once the sentence is settled.

        Args:
            known: Texts asked for so far → the model's hypotheses, the best first; "" where it wrote nothing.
        """
        while self._attempt is not None:
            missing = tuple(text for text in self._attempt.asks if text not in known)
            if missing:
                return missing
            if _restored(self._attempt, known, 0):
                break
            self._attempt = next(self._attempts, None)
        return ()

    def settle(self, known: Mapping[str, Sequence[str]], align: Align | None = None) -> Settled:
        """The sentence's translation, once nothing is left to ask for.

        Args:
            known: As for `asks`.
            align: Gives the alignment of a sentence and its translation, both without tags; asked only where
                there are tags to place.
        """
        if self._attempt is None:
            return Settled((), frozenset(), ())
        texts: list[str | None] = []
        for rank in range(max(len(known[text]) for text in self._attempt.asks)):
            core = _restored(self._attempt, known, rank)
            text = core.join(self._around) if core else None
            if text and self._tags:
                links = align(self._plain, text) if align is not None else None
                text = place_tags(self._plain, self._tags, text, links)
            texts.append(text)
        return Settled(tuple(texts), self._attempt.flags, self._attempt.asks)


class Readings:
    """Sentences on their way through a model together.

    Ask the model for `asks()`, hand each answer to `take`, and do so again until nothing is asked.

    Args:
        sentences: One sentence each, all different.
        source_language, target_language, fits: As for `Reading`.
        align: As for `Reading.settle`.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        source_language: str,
        target_language: str,
        fits: Callable[[str], bool],
        align: Align | None = None,
    ) -> None:
        self.settled: dict[str, Settled] = {}  # sentence → what became of it
        self._align = align
        self._known: dict[str, Sequence[str]] = {}
        self._waiting: dict[str, list[Reading]] = {}  # text → the sentences that need its translation
        for sentence in sentences:
            self._go_on(Reading(sentence, source_language, target_language, fits))

    def asks(self) -> list[str]:
        """The texts that the model must translate now, each once; fewer each time, in the end none."""
        return [text for text in self._waiting if text not in self._known]

    def take(self, text: str, hypotheses: Sequence[str]) -> list[str]:
        """Take the model's translations of one text, the best first; returns the sentences settled by it."""
        self._known[text] = hypotheses
        return [reading.sentence for reading in self._waiting.pop(text, []) if self._go_on(reading)]

    def _go_on(self, reading: Reading) -> bool:
        missing = reading.asks(self._known)
        if missing:  # of several, each is waited for in turn
            self._waiting.setdefault(missing[0], []).append(reading)
            for text in missing[1:]:
                self._waiting.setdefault(text, [])
            return False
        self.settled[reading.sentence] = reading.settle(self._known, self._align)
        return True


def fits_in_disguise(sentence: str, language: str, fits: Callable[[str], bool]) -> bool:
    """True where a sentence is short enough in the form that the model reads first."""
    asks = Reading(sentence, language, language, lambda text: True).asks({})
    return bool(asks) and all(map(fits, asks))


def _restored(attempt: _Attempt, known: Mapping[str, Sequence[str]], rank: int) -> str | None:
    """The sentence out of the hypotheses of one rank, or None where the check fails."""
    found = [known[text] for text in attempt.asks]
    return attempt.restore([texts[min(rank, len(texts) - 1)] for texts in found]) or None


def _attempts(core: str, source_language: str, target_language: str) -> Iterator[_Attempt]:
    """The ways to ask for a sentence, the best first."""
    word = _WORD.fullmatch(core)
    items = find_items(core)
    if word and not items:
        yield from _single_word(word[1], word[2], source_language)
        return

    def whole(masked: Masked, ask: str, style: Style, needed: Sequence[str]) -> _Attempt:
        def restore(outputs: Sequence[str]) -> str | None:
            restored = unmask(restore_case(outputs[0], style), masked.masks)
            if not restored or not all(word in restored for word in needed):
                return None
            return restored if survived(core, restored, target_language) else None

        return _Attempt((ask,), restore)

    seen: set[Masked] = set()
    for masked in _maskings(core, items):
        if masked in seen:
            continue
        seen.add(masked)
        ask, style = usual_case(masked.text, source_language)
        loud = emphasised(ask, source_language) if style is Style.PLAIN else []
        # A word in capitals that the model copied is a name; one that it left out is better asked for small.
        yield whole(masked, ask, style, loud)
        if loud:
            yield whole(masked, without_emphasis(ask, source_language), style, [])
    if items:
        yield _in_parts(core, items, source_language, target_language)
    elif usual_case(core, source_language).text != core:
        yield _Attempt((core,), lambda outputs: outputs[0])


def _maskings(core: str, items: Sequence[Item]) -> Iterator[Masked]:
    """Numbers and names with digits as they are, if they come through so; then all items under masks."""
    hard = [item for item in items if item.kind not in ("number", "name")]
    yield mask(core, hard, MASKS[0])
    if items:
        for pattern in MASKS:
            yield mask(core, items, pattern)


def _single_word(word: str, marks: str, language: str) -> Iterator[_Attempt]:
    """A word alone: small, as inside a sentence; then with a capital; a copy of it only if both give that.

    Of 85 everyday words and phrases the shipped model gets 59 right when small, 37 with a capital, 61 this way.
    """
    text, style = usual_case(word, language)
    if style is Style.PLAIN and word[0].isupper() and not word.isupper():
        style = Style.FIRST

    def attempt(ask: str, may_copy: bool) -> _Attempt:
        def restore(outputs: Sequence[str]) -> str | None:
            output = outputs[0].rstrip(_STOPS)
            if not output or (not may_copy and output.casefold() == word.casefold()):
                return None
            return restore_case(output, style) + marks

        return _Attempt((ask,), restore)

    yield attempt(text, may_copy=False)
    yield attempt(capitalise_first(text), may_copy=False)
    yield attempt(text, may_copy=True)


def _in_parts(core: str, items: Sequence[Item], source_language: str, target_language: str) -> _Attempt:
    """What stands between the items, each stretch for itself; the items stay where they are."""
    style = usual_case(mask(core, items, MASKS[0]).text, source_language).style
    layout, pieces, position = [""], [], 0
    for start, end in [*((item.start, item.end) for item in items), (len(core), len(core))]:
        found = _PIECE.fullmatch(core, position, start)
        if found is not None and any(map(str.isalpha, found["core"])):
            layout[-1] += found["before"]
            pieces.append(found["core"])
            layout.append(found["after"] + core[start:end])
        else:
            layout[-1] += core[position:end]
        position = end
    cased = [usual_case(piece, source_language) for piece in pieces]

    def restore(outputs: Sequence[str]) -> str | None:
        if not all(outputs) or not outputs:
            return None
        parts = [layout[0]]
        for piece, form, output, after in zip(pieces, cased, outputs, layout[1:], strict=True):
            restored = restore_case(output, Style.CAPS if style is Style.CAPS else form.style)
            parts += [like_its_source(piece, restored), after]
        text = "".join(parts)
        return text if survived(core, text, target_language) else None

    return _Attempt(tuple(form.text for form in cased), restore, frozenset({"split"}))


def like_its_source(source: str, output: str, *, begins: bool = True, ends: bool = True) -> str:
    """The translation of a part of a sentence, which begins small and ends as its source does.

    Args:
        source: The part, not empty.
        output: Its translation, by a model that takes it for a sentence.
        begins, ends: Whether the sentence has something before it and something behind it.
    """
    last = source[-1]
    if ends and (last in _PAUSES or last not in _STOPS):
        output = (output.rstrip(_STOPS) or output) + last * (last in _PAUSES)
    abbreviation = output[:2].isupper() and output[:2].isalpha()  # "NATO", but not "È"
    if begins and source[0].islower() and not abbreviation and not _I.match(output):
        output = output[:1].lower() + output[1:]
    return output

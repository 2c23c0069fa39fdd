"""How one sentence goes through a model and comes out safe.

What a model mangles is taken out of its way first (tags, capitals, bullets, placeholders), put back after, and
checked. Where the check fails, the sentence is asked for again in another form; where no form passes, the
original stays. So a protected item is never silently changed.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from keras_transformer.text.alphabet import INVISIBLE, Alphabet
from keras_transformer.text.casing import (
    Style,
    capitalise_first,
    emphasised,
    restore_case,
    usual_case,
    without_emphasis,
)
from keras_transformer.text.protection import (
    MASKS,
    SYMBOLS,
    Item,
    Masked,
    find_items,
    mask,
    survived,
    unmask,
    without_items,
)
from keras_transformer.text.readable import readable
from keras_transformer.text.tags import Links, Tag, close_gaps, place_tags, strip_tags

# A bullet or a number of a list, and symbols: layout at the start of a sentence; symbols also at its end.
_START = re.compile(
    rf"(?:\s|[{INVISIBLE}]|[-*•‣·–—>#+|]+\s|\(?(?:\d{{1,3}}|[a-z]|[ivxlc]{{2,6}})[.)]\s+(?=\D)"
    rf"|\(?(?:[A-Z]|[IVXLC]{{2,6}})[.)]\s+(?=[A-ZÀ-Þ])|{SYMBOLS})*"
)
_EDGE = re.compile(rf"\s|[{INVISIBLE}]|{SYMBOLS}")
_WORD = re.compile(r"([^\W\d_]+(?:['’-][^\W\d_]+)*)([.!?…:;,]*)")
_I = re.compile(r"I\b")  # English writes it large
_DOTS = re.compile(r"(?:\.{2,}|…)\s*")
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


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """One way to ask: the texts for the model, and how their translations become the sentence's, or None.

    `is_whole` says that what comes back has the tags in it, and the edges of the sentence.
    """

    asks: tuple[str, ...]
    restore: Callable[[Sequence[str]], str | None]
    flags: frozenset[str] = frozenset()
    is_whole: bool = False


class Reading:
    """One sentence on its way through a model.

    Args:
        sentence: One sentence, without outer white space.
        source_language, target_language: Codes, for example "en" and "it".
        fits: Says whether a text is short enough for the model.
        align: Gives the alignment of a sentence and its translation, both without tags; asked only where
            there are tags to place.
        alphabet: What the model can write; see `find_items`.
    """

    def __init__(
        self,
        sentence: str,
        source_language: str,
        target_language: str,
        fits: Callable[[str], bool],
        align: Align | None = None,
        alphabet: Alphabet | None = None,
    ) -> None:
        self.sentence = sentence
        self._align = align
        plain, tags = close_gaps(*strip_tags(sentence))
        bullet = _START.match(plain)
        start, end = bullet.end() if bullet else 0, len(plain)
        while end > start and _EDGE.fullmatch(plain[end - 1]):
            end -= 1
        self._around = plain[:start], plain[end:]
        read = readable(plain, alphabet)
        self._plain = read.text
        self._tags = [tag._replace(offset=read.place(tag.offset)) for tag in tags]
        asking = _Asking(source_language, target_language, alphabet)
        attempts: Iterable[_Attempt] = asking.attempts(read.text[read.place(start) : read.place(end)])
        if any(0 < tag.offset < len(self._plain) for tag in self._tags):
            between = (asking.between_tags(self._plain, self._tags),)
            is_list = _is_list(self._plain, self._tags)
            attempts = itertools.chain(between, attempts) if is_list else itertools.chain(attempts, between)
        self._attempts = (attempt for attempt in attempts if all(map(fits, attempt.asks)))
        self._attempt = next(self._attempts, None)
        self._best: str | None = None

    def asks(self, known: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The texts that the model must translate next; none once the sentence is settled.

        Args:
            known: Texts asked for so far → the model's hypotheses, the best first; "" where it wrote nothing.
        """
        while self._attempt is not None:
            missing = tuple(text for text in self._attempt.asks if text not in known)
            if missing:
                return missing
            self._best = self._finished(self._attempt, known, 0)
            if self._best:
                break
            self._attempt = next(self._attempts, None)
        return ()

    def settle(self, known: Mapping[str, Sequence[str]]) -> Settled:
        """The sentence's translation, once `asks` has nothing left to ask for.

        Args:
            known: As for `asks`.
        """
        attempt = self._attempt
        if attempt is None:
            return Settled((), frozenset(), ())
        ranks = max(len(known[text]) for text in attempt.asks)
        others = (self._finished(attempt, known, rank) for rank in range(1, ranks))
        return Settled((self._best, *others), attempt.flags, attempt.asks)

    def _finished(self, attempt: _Attempt, known: Mapping[str, Sequence[str]], rank: int) -> str | None:
        """The sentence out of the hypotheses of one rank, its tags in place, or None where a check fails."""
        found = [known[text] for text in attempt.asks]
        core = attempt.restore([texts[min(rank, len(texts) - 1)] for texts in found])
        if not core or attempt.is_whole:
            return core or None
        text = core.join(self._around)
        if not self._tags:
            return text
        links = self._align(self._plain, text) if self._align is not None else None
        return place_tags(self._plain, self._tags, text, links)


class Readings:
    """Sentences on their way through a model together.

    Ask the model for `asks()`, hand each answer to `take`, and do so again until nothing is asked.

    Args:
        sentences: One sentence each, all different.
        source_language, target_language, fits, align, alphabet: As for `Reading`.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        source_language: str,
        target_language: str,
        fits: Callable[[str], bool],
        align: Align | None = None,
        alphabet: Alphabet | None = None,
    ) -> None:
        self.settled: dict[str, Settled] = {}  # sentence → what became of it
        self._known: dict[str, Sequence[str]] = {}
        self._waiting: dict[str, list[Reading]] = {}  # text → the sentences that need its translation
        for sentence in sentences:
            self._go_on(Reading(sentence, source_language, target_language, fits, align, alphabet))

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
        self.settled[reading.sentence] = reading.settle(self._known)
        return True


def fits_in_disguise(
    sentence: str, language: str, fits: Callable[[str], bool], alphabet: Alphabet | None = None
) -> bool:
    """True where a sentence is short enough in the form that the model reads first."""
    asks = Reading(sentence, language, language, lambda text: True, alphabet=alphabet).asks({})
    return bool(asks) and all(map(fits, asks))


def _is_list(text: str, tags: Sequence[Tag]) -> bool:
    """True for entries that only their tags keep apart: "<a>Home</a><a>About us</a>"."""
    return any(
        before.kind == "close"
        and after.kind == "open"
        and 0 < before.offset == after.offset < len(text)
        and text[after.offset - 1].isalnum()
        and text[after.offset].isupper()
        for before, after in itertools.pairwise(tags)
    )


class _Asking(NamedTuple):
    """The ways to ask for a sentence in one language and get it in another."""

    source_language: str
    target_language: str
    alphabet: Alphabet | None

    def attempts(self, core: str) -> Iterator[_Attempt]:
        """The ways to ask for a sentence without its tags and edges, the best first."""
        word = _WORD.fullmatch(core)
        items = find_items(core, self.alphabet)
        if word and not items:
            yield from self._single_word(word[1], word[2])
            return

        def whole(masked: Masked, ask: str, style: Style, needed: Sequence[str]) -> _Attempt:
            def restore(outputs: Sequence[str]) -> str | None:
                restored = unmask(restore_case(outputs[0], style), masked.masks)
                if not restored or not all(word in restored for word in needed):
                    return None
                return restored if self._survived(core, restored) else None

            return _Attempt((ask,), restore)

        seen: set[Masked] = set()
        for masked in _maskings(core, items):
            if masked in seen:
                continue
            seen.add(masked)
            ask, style = usual_case(masked.text, self.source_language)
            loud = emphasised(ask, self.source_language) if style is Style.PLAIN else []
            # A word in capitals that the model copied is a name; one that it left out is better asked for small.
            yield whole(masked, ask, style, loud)
            if loud:
                yield whole(masked, without_emphasis(ask, self.source_language), style, [])
        if items:
            yield self._in_parts(core, [(item.start, item.end, item.text) for item in items])
        elif usual_case(core, self.source_language).text != core:
            yield whole(Masked(core, ()), core, Style.PLAIN, [])

    def between_tags(self, text: str, tags: Sequence[Tag]) -> _Attempt:
        """What stands between the tags, each stretch for itself; the tags stay where they are."""
        parts = self._in_parts(text, [(tag.offset, tag.offset, tag.text) for tag in tags])
        return dataclasses.replace(parts, is_whole=True)

    def _survived(self, source: str, translation: str) -> bool:
        return survived(source, translation, self.target_language, self.alphabet)

    def _single_word(self, word: str, marks: str) -> Iterator[_Attempt]:
        """A word alone: small, as inside a sentence; then with a capital; a copy of it only if both give that.

        Of 85 everyday words and phrases the shipped model gets 59 right when small, 37 with a capital, 61 this way.
        """
        text, style = usual_case(word, self.source_language)
        if style is Style.PLAIN and word[0].isupper() and not word.isupper():
            style = Style.FIRST

        def attempt(ask: str, may_copy: bool) -> _Attempt:
            def restore(outputs: Sequence[str]) -> str | None:
                output = outputs[0].rstrip(_STOPS)
                if not output or (not may_copy and output.casefold() == word.casefold()):
                    return None
                return restore_case(output, style) + marks if self._survived(word, output) else None

            return _Attempt((ask,), restore)

        yield attempt(text, may_copy=False)
        yield attempt(capitalise_first(text), may_copy=False)
        yield attempt(text, may_copy=True)

    def _in_parts(self, text: str, holes: Sequence[tuple[int, int, str]]) -> _Attempt:
        """What stands between the holes, each stretch for itself.

        Args:
            text: A sentence.
            holes: Start and end of what is not asked for, in order, and what is written there.
        """
        layout, pieces, position = [""], [], 0
        for start, end, filling in [*holes, (len(text), len(text), "")]:
            found = _PIECE.fullmatch(text, position, start)
            if found is not None and any(map(str.isalpha, without_items(found["core"], self.alphabet))):
                layout[-1] += found["before"]
                pieces.append(found["core"])
                layout.append(found["after"] + filling)
            else:
                layout[-1] += text[position:start] + filling
            position = end
        items = find_items(text, self.alphabet)
        style = usual_case(mask(text, items, MASKS[0]).text, self.source_language).style
        masked = [mask(piece, find_items(piece, self.alphabet), MASKS[0]) for piece in pieces]
        cased = [usual_case(one.text, self.source_language) for one in masked]

        def restore(outputs: Sequence[str]) -> str | None:
            if not all(outputs) or not outputs:
                return None
            parts = [layout[0]]
            for piece, form, output, (_, masks), after in zip(
                pieces, cased, outputs, masked, layout[1:], strict=True
            ):
                restored = unmask(
                    restore_case(output, Style.CAPS if style is Style.CAPS else form.style), masks
                )
                if restored is None:
                    return None
                parts += [like_its_source(piece, restored), after]
            whole = "".join(parts)
            return whole if self._survived(text, strip_tags(whole)[0]) else None

        return _Attempt(tuple(form.text for form in cased), restore, frozenset({"split"}))


def _maskings(core: str, items: Sequence[Item]) -> Iterator[Masked]:
    """Numbers and names with digits as they are, if they come through so; then all items under masks."""
    yield mask(core, _hard(items), MASKS[0])
    if items:
        for pattern in MASKS:
            yield mask(core, items, pattern)


def _hard(items: Sequence[Item]) -> list[Item]:
    """Without those that the model may read as they are; "500" in "₽500" it may not."""
    hard = [item for item in items if item.kind not in ("number", "name")]
    starts, ends = {item.start for item in hard}, {item.end for item in hard}
    return [item for item in items if item in hard or item.start in ends or item.end in starts]


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
    dots = _DOTS.match(output)
    start = dots.end() if dots else 0
    word = output[start:]
    abbreviation = word[:2].isupper() and word[:2].isalpha()  # "NATO", but not "È"
    if begins and _begins_small(source) and not abbreviation and not _I.match(word):
        output = output[:start] + word[:1].lower() + word[1:]
    return output


def _begins_small(text: str) -> bool:
    """True where the first word begins small, after dots if there are any."""
    return _DOTS.sub("", text, count=1)[:1].islower()


def goes_on(before: str, sentence: str) -> bool:
    """True for the rest of a sentence: it begins small, behind dots or behind what no mark has ended.

    Args:
        before: The line up to the sentence; one space is taken for the gap behind a picture or a formula.
        sentence: Not empty.
    """
    if not _begins_small(sentence):
        return False
    if before == " " or _DOTS.match(sentence):
        return True
    text = before.rstrip()
    return text.endswith(("...", "…")) or text[-1:].isalpha() or text[-1:] in tuple(_PAUSES)

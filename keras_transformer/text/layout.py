"""A text taken apart into the sentences that a model is to read, and put together again around them.

Nothing is dropped: what stands between the sentences (spaces, line ends, numbers, addresses) is kept as it is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keras_transformer.text.alphabet import Alphabet
from keras_transformer.text.reading import fits_in_disguise, goes_on, like_its_source
from keras_transformer.text.segmentation import cut_long_line, is_copied, split_long, split_text

_LINE_END = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LONGEST_DISGUISED = 2000  # characters of a sentence that may still fit once its addresses are masked


class SentencePair(NamedTuple):
    """Where a sentence stands in the source, and its translation in the text, in characters.

    `flags` say what a reader should know of this sentence, as those of the whole text do.
    """

    source_start: int
    source_end: int
    target_start: int
    target_end: int
    flags: tuple[str, ...] = ()


class Restored(NamedTuple):
    """A text put together.

    Attributes:
        text: In the layout of the source.
        flags: What a reader should know: "copied" (nothing to translate: the text came back as it was),
            "kept" (a sentence without a translation: the original stands), "split" (a sentence too long for
            the model was translated in parts).
        pairs: One for each sentence of the document, in order.
    """

    text: str
    flags: frozenset[str]
    pairs: tuple[SentencePair, ...]


@dataclass(frozen=True)
class Document:
    """One text in parts.

    Attributes:
        parts: An even part is copied as it is, an odd one is a sentence that fits the model.
        flags: What is known before anything is translated: "copied", "split".
        cut: Which of `sentences` go on in the next one: the beginning of a sentence that was too long.
    """

    parts: tuple[str, ...]
    flags: frozenset[str]
    cut: frozenset[int] = frozenset()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the model is to read, in the order of the text."""
        return self.parts[1::2]

    def put_together(self, translations: Sequence[str | None]) -> Restored:
        """The text with a translation in the place of each sentence.

        Args:
            translations: One for each of `sentences`; None keeps the original.

        Raises:
            ValueError: there are not as many translations as sentences.
        """
        if len(translations) != len(self.sentences):
            raise ValueError(
                f"`translations` must have one entry a sentence ({len(self.sentences)}), got "
                f"{len(translations)}. Give None for a sentence that keeps its original."
            )
        flags = self.flags | {"kept"} if None in translations else self.flags
        parts = self._translated(translations)
        ends = list(itertools.accumulate(map(len, parts)))
        source_ends = list(itertools.accumulate(map(len, self.parts)))
        pairs = tuple(
            SentencePair(source_ends[i - 1], source_ends[i], ends[i - 1], ends[i])
            for i in range(1, len(parts), 2)
        )
        return Restored("".join(parts), flags, pairs)

    def text_so_far(self, translations: Sequence[str | None]) -> str:
        """The beginning of the text as far as `translations`, the first few, go; with the layout after them."""
        return "".join(self._translated(translations))

    def _translated(self, translations: Sequence[str | None]) -> list[str]:
        parts = list(self.parts[: 2 * len(translations) + 1])
        for index, translation in enumerate(translations):
            if translation is not None:
                source = parts[2 * index + 1]
                begins = index - 1 in self.cut or goes_on(self._line_before(index), source)
                parts[2 * index + 1] = like_its_source(
                    source, translation, begins=begins, ends=index in self.cut
                )
        return parts

    def _line_before(self, index: int) -> str:
        """What stands on its line before a sentence: white space, and enough to tell what it follows."""
        before = "".join(self.parts[max(0, 2 * index - 1) : 2 * index + 1])
        return _LINE_END.split(before)[-1]


def take_apart(
    text: str, language: str, fits: Callable[[str], bool], alphabet: Alphabet | None = None
) -> Document:
    """Cut a text into sentences that fit the model, and what stands between them.

    Args:
        text: Any text, of any length.
        language: Code of the text's language, for example "en".
        fits: Says whether a sentence is short enough for the model. It is asked about each sentence while
            the text is read, so it may raise to end a long read.
        alphabet: What the model can write; see `protection.find_items`.
    """

    def reads(part: str) -> bool:
        return fits(part) or (
            len(part) <= _LONGEST_DISGUISED and fits_in_disguise(part, language, fits, alphabet)
        )

    parts = [""]
    flags: set[str] = set()
    cut: list[int] = []
    for line in text.splitlines(keepends=True):
        for piece in (
            piece for part in cut_long_line(line) for piece in split_text(part, language, alphabet)
        ):
            if not piece.is_sentence:
                parts[-1] += piece.text
                continue
            fitting = split_long(piece.text, reads, alphabet)
            if len(fitting) > 1:
                flags.add("split")
            numbers = []
            for part in fitting:
                if is_copied(part, alphabet):
                    parts[-1] += part
                    continue
                sentence = part.rstrip()  # a space at a cut belongs to the part before it
                parts += [sentence, part[len(sentence) :]]
                numbers.append(len(parts) // 2 - 1)
            cut += numbers[:-1]
    if len(parts) == 1:
        flags.add("copied")
    return Document(tuple(parts), frozenset(flags), frozenset(cut))

"""What a search asks of a decoder, and what it gives back. NumPy only.

Letters: B sentences of a batch (its slots), R = B·beam_size rows, T target tokens, V vocabulary. The rows
of slot b are b·beam_size and those that follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]


class FindLoop(Protocol):
    """Knows endless repetition."""

    def __call__(self, sentence: int, tokens: Sequence[int]) -> int | None:
        """Given a sentence's number and its tokens so far: how many to keep if they run into a loop, else None."""
        ...


class DecodeStep(Protocol):
    """One step of a decoder. Its state (the caches) belongs to the step object, one object for each batch."""

    def __call__(self, token_ids: IntArray, position: int) -> FloatArray:
        """Feed token_ids (R,) at `position` (from 0); return the logits (R, V) of the token that follows."""
        ...


@runtime_checkable
class ShrinkingStep(Protocol):
    """A step that can drop finished sentences, so that the rest costs less."""

    def keep(self, sentences: IntArray) -> None:
        """Keep only `sentences` (ascending slots of the current batch), in this order."""
        ...


@runtime_checkable
class ChoosingStep(Protocol):
    """A step that can choose by itself, without handing out logits."""

    def likeliest(self, token_ids: IntArray, position: int) -> IntArray:
        """As a call, but return the likeliest tokens (R,), the lowest id of equals."""
        ...


class Best(NamedTuple):
    """The best continuations of each sentence, the best first; sound where all totals differ and are finite.

    Attributes:
        totals: float64 (B, C), of a beam's total and a log-probability. One more than the 2·beam_size wanted.
        places: int64 (B, C): V · the beam + the token.
        vocabulary_size: V.
    """

    totals: NDArray[np.float64]
    places: IntArray
    vocabulary_size: int


class Ranked(NamedTuple):
    """What a step that ranks gives out.

    Attributes:
        log_probs: (R, V). None where only the best are known; a call of the step gives out all logits.
        maxima: (R, N), the largest of each block; see `candidates.num_blocks` and `candidates.Summary`. As above.
        tokens: Where only some tokens are ranked: which, ascending; V is their number then.
        best: The best continuations, where the step can tell.
    """

    log_probs: FloatArray | None = None
    maxima: FloatArray | None = None
    tokens: IntArray | None = None
    best: Best | None = None


@runtime_checkable
class RankingStep(Protocol):
    """A step that can turn its logits into log-probabilities by itself."""

    def ranked(self, token_ids: IntArray, position: int, totals: NDArray[np.float64]) -> Ranked:
        """As a call, but return what is likeliest after outputs with log-probabilities `totals` (B, beam_size).

        -inf is no output. Overwritten by the next call.
        """
        ...


class BeamStep(DecodeStep, Protocol):
    """A step whose rows can take over each other's state."""

    def copy_rows(self, sources: Sequence[int], destinations: Sequence[int], starts: Sequence[int]) -> None:
        """Give each of the rows `destinations` the state of the row beside it in `sources`.

        Both were fed the same before the position beside them in `starts`. No row is in both.
        """
        ...


@dataclass(frozen=True)
class Hypothesis:
    """One output for a sentence.

    Attributes:
        tokens: int64 (T,); BOS, EOS and padding excluded.
        log_probs: float32, the log-probability of each token; where the output ended by itself, that of EOS
            is the last one. None where nobody asked.
        finished: Whether it ended with EOS, and not at its limit.
        cut: Whether an endless repetition was cut.
    """

    tokens: IntArray
    log_probs: FloatArray | None
    finished: bool
    cut: bool


class Ended(NamedTuple):
    """A sentence that is done: the number its caller gave it, and its hypotheses, the best first."""

    row: int
    hypotheses: tuple[Hypothesis, ...]

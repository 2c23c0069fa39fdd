"""Searching one batch from beginning to end. Keras and ONNX Runtime each supply a step; the search knows neither.

Letters: B sentences, T target tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from keras_transformer.decoding.beam import BeamSearch
from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.decoding.greedy import GreedySearch
from keras_transformer.decoding.sampling import SamplingSearch
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import (
    BeamStep,
    BoolArray,
    DecodeStep,
    Ended,
    Hypothesis,
    IntArray,
)


@dataclass(frozen=True)
class SearchResult:
    """What a search found, one entry a sentence.

    Attributes:
        hypotheses: B tuples, the best hypothesis first; a greedy search gives one.
    """

    hypotheses: list[tuple[Hypothesis, ...]]

    @property
    def tokens(self) -> list[IntArray]:
        """Of the best hypotheses: B int64 arrays; BOS, EOS and padding excluded."""
        return [best.tokens for best, *_ in self.hypotheses]

    @property
    def finished(self) -> BoolArray:
        """Of the best hypotheses: bool (B,), True where it ended with EOS and not at its limit."""
        return np.array([best.finished for best, *_ in self.hypotheses], np.bool_)


def greedy_search(
    step: DecodeStep,
    *,
    max_lengths: Sequence[int] | IntArray,
    scores: bool = False,
    cancellation: Cancellation | None = None,
    **options: Unpack[SlotOptions],
) -> SearchResult:
    """Take the likeliest token at each step until every sentence has ended.

    A tie goes to the lowest id. A sentence that has ended is frozen: it is fed `pad_id`, and what comes back
    is ignored. Where `step` has a `keep` method, such sentences leave the batch once they are half of it.

    Args:
        step: The decoder; called with token_ids int64 (B,) and position 0, 1, …
        max_lengths: int (B,), most tokens of each, EOS counted and BOS not, each at least 1.
        scores: Whether hypotheses carry log-probabilities.
        cancellation: Asked before each step.
        options: See `SlotOptions`.

    Raises:
        ValueError: `max_lengths` breaks its rule, or `step` returns not (B, V).
        FloatingPointError: the best logit of a sentence is not a finite number.
        Cancelled: `cancellation` was cancelled.
    """
    sentences = range(len(max_lengths))
    return _to_end(GreedySearch(step, sentences, max_lengths, scores=scores, **options), cancellation)


def beam_search(
    step: BeamStep,
    *,
    beam_size: int,
    max_lengths: Sequence[int] | IntArray,
    length_penalty: float = 0.6,
    num_hypotheses: int = 1,
    cancellation: Cancellation | None = None,
    **options: Unpack[SlotOptions],
) -> SearchResult:
    """The best hypotheses that a beam of `beam_size` finds; see `BeamSearch` for the rules.

    Arguments and errors are those of `greedy_search` and `BeamSearch`; `step` has R = B·beam_size rows.
    """
    search = BeamSearch(
        step,
        range(len(max_lengths)),
        max_lengths,
        beam_size=beam_size,
        length_penalty=length_penalty,
        num_hypotheses=num_hypotheses,
        **options,
    )
    return _to_end(search, cancellation)


def sampling_search(
    step: DecodeStep,
    *,
    seed: int,
    max_lengths: Sequence[int] | IntArray,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    cancellation: Cancellation | None = None,
    **options: Unpack[SlotOptions],
) -> SearchResult:
    """Outputs drawn by their probability; see `SamplingSearch` for the rules.

    Arguments and errors are those of `greedy_search` and `SamplingSearch`.
    """
    search = SamplingSearch(
        step,
        range(len(max_lengths)),
        max_lengths,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        **options,
    )
    return _to_end(search, cancellation)


def run_to_end(
    search: Slots, cancellation: Cancellation | None = None, *, shrink_rate: float = 0.5
) -> Iterator[Ended]:
    """Step until no sentence is left; yield each when it is done.

    Args:
        search: Of the batch.
        cancellation: Asked before each step.
        shrink_rate: Share of the batch's sentences that are left when it shrinks.

    Raises:
        Cancelled: `cancellation` was cancelled.
    """
    while num_running := search.num_running:
        if num_running <= shrink_rate * search.num_slots:
            search.shrink()
        if cancellation is not None:
            cancellation.check()
        yield from search.advance()


def _to_end(search: Slots, cancellation: Cancellation | None) -> SearchResult:
    found = dict(run_to_end(search, cancellation))
    return SearchResult([found[sentence] for sentence in range(len(found))])

"""Where an output must end: a length limit relative to the source, and a guard against endless repetition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_transformer.decoding.steps import IntArray

LONGEST_UNIT = 24  # tokens; a loop of longer units is left to the length limit
FEWEST_REPEATS = 6  # "no, no, no", "ha ha ha ha" and a chorus stay; a loop goes on for ever
FEWEST_LOOP_TOKENS = 12  # a run shorter than this costs nobody anything


def length_limits(source_lengths: IntArray | Sequence[int], max_length: int) -> IntArray:
    """The most output tokens of each row: twice the source and 10 more, and what the model can hold.

    Args:
        source_lengths: int (B,), source tokens of each row, EOS counted.
        max_length: Target positions of the model, at least 1.

    Returns:
        int64 (B,), EOS counted and BOS not, each at least 1 and at most `max_length`.
    """
    return np.minimum(2 * np.asarray(source_lengths, dtype=np.int64) + 10, max_length)


def tail_repeats(tokens: IntArray, unit: int) -> int:
    """How often the last `unit` tokens stand one after the other at the end of `tokens` (1 = once)."""
    length = len(tokens)
    if unit < 1 or length < unit:
        return 0
    differs = np.flatnonzero(tokens[: length - unit] != tokens[unit:])  # i where token i is not token i+unit
    same = length - unit - (int(differs[-1]) + 1 if len(differs) else 0)
    return same // unit + 1


def most_repeats(tokens: IntArray) -> int:
    """The longest run of one unit, of any length up to `LONGEST_UNIT`, anywhere in `tokens`."""
    most = 1 if len(tokens) else 0
    for unit in range(1, min(LONGEST_UNIT, len(tokens) // 2) + 1):
        same = tokens[:-unit] == tokens[unit:]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], same.astype(np.int8), [0]))))
        if len(edges):
            most = max(most, int((edges[1::2] - edges[::2]).max()) // unit + 1)
    return most


class LoopGuard:
    """Finds outputs that repeat themselves without end; the `find_loop` of a search.

    A loop is a unit of 1 to 24 tokens that stands at the end of an output at least 6 times, over at least 12
    tokens, and two times more often than anything repeats in the sentence's own source: a source that says
    "ha" twenty times may say it twenty times in the translation. Of a loop the first unit stays.

    Args:
        sources: B int arrays, the source tokens of each sentence.
    """

    def __init__(self, sources: Sequence[IntArray]) -> None:
        self._sources = sources

    def __call__(self, sentence: int, tokens: Sequence[int]) -> int | None:
        """How many of `tokens` (T,) to keep if they end in a loop, else None."""
        length, last = len(tokens), tokens[-1]
        if length < FEWEST_LOOP_TOKENS or tokens.count(last) < FEWEST_REPEATS:
            return None
        array = np.array(tokens)
        # A unit u needs the last token to stand u before the end as well.
        candidates = np.flatnonzero(array[-2 : -2 - LONGEST_UNIT : -1] == last) + 1
        for unit in candidates.tolist():
            if unit * FEWEST_REPEATS > length:
                break
            repeats = tail_repeats(array, unit)
            if repeats * unit < FEWEST_LOOP_TOKENS or repeats < FEWEST_REPEATS:
                continue
            if repeats >= most_repeats(np.asarray(self._sources[sentence])) + 2:
                return length - (repeats - 1) * unit - _partial(array, unit, repeats)
        return None


def _partial(tokens: IntArray, unit: int, repeats: int) -> int:
    """Tokens before the counted run that are already part of a loop: its first, partial unit."""
    start = len(tokens) - repeats * unit
    partial = 0
    while partial < unit and start - partial - 1 >= 0:
        if tokens[start - partial - 1] != tokens[start - partial - 1 + unit]:
            break
        partial += 1
    return partial

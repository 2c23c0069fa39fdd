"""The best continuations among beams times vocabulary, and log-probabilities, in a few passes over the logits.

NumPy's partition of a whole vocabulary costs ten passes. Here the vocabulary is cut into interleaved blocks;
one pass gives the largest value of each block, and only the blocks that can hold one of the best are opened.

Letters: B sentences, A of them at work, K beams, R = B·K rows, V vocabulary, N blocks, C candidates.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_transformer.decoding.steps import FloatArray, IntArray

SMALLEST_VOCABULARY = 1024  # below it a block is one value
CHUNK_VALUES = 1 << 16  # values worked on at once: 256 KiB stay in the second-level cache


class Candidates(NamedTuple):
    """Continuations of A sentences, the best first.

    Attributes:
        totals: float64 (A, C); -inf where a sentence has fewer.
        tokens, beams: int64 (A, C).
    """

    totals: NDArray[np.float64]
    tokens: IntArray
    beams: IntArray

    def at(self, rows: IntArray, columns: IntArray) -> Candidates:
        """The same, with each array indexed."""
        return Candidates(self.totals[rows, columns], self.tokens[rows, columns], self.beams[rows, columns])


class Summary(NamedTuple):
    """What a search needs to know of all logits of a row.

    Attributes:
        normalisers: float64 (R,), log Σ exp(logits): a logit less this is a log-probability.
        largest: (R,), the largest logit.
        maxima: (R, N), the largest value of each block. Block j holds the tokens j, j + N, j + 2N, …
    """

    normalisers: NDArray[np.float64]
    largest: FloatArray
    maxima: FloatArray


@functools.cache
def num_blocks(vocabulary_size: int) -> int:
    """N. A block of about √(V/2) values makes looking for blocks as dear as looking into them (C = 2·K).

    The size next to that which divides V is taken, from half to twice as many: blocks of one size are ranked faster.
    """
    if vocabulary_size < SMALLEST_VOCABULARY:
        return vocabulary_size
    wanted = 1 << round(math.log2(vocabulary_size / 2) / 2)
    fitting = [size for size in range(wanted // 2, 2 * wanted + 1) if vocabulary_size % size == 0]
    return vocabulary_size // min(fitting, key=lambda size: abs(math.log(size / wanted)), default=wanted)


def blocks_are_even(vocabulary_size: int) -> bool:
    """Whether all blocks have one size."""
    return vocabulary_size % num_blocks(vocabulary_size) == 0


def summarise(logits: FloatArray) -> Summary:
    """The `Summary` of logits (R, V), in one walk over them."""
    rows, vocabulary = logits.shape
    blocks = num_blocks(vocabulary)
    block_size = vocabulary // blocks
    even = block_size * blocks
    at_once = min(rows, max(1, CHUNK_VALUES // vocabulary))
    scratch = np.empty((at_once, vocabulary), logits.dtype)
    maxima = np.empty((rows, blocks), logits.dtype)
    sums, largest = np.empty(rows, np.float64), np.empty((rows, 1), logits.dtype)
    with np.errstate(all="ignore"):  # rows that have ended may hold anything
        for start in range(0, rows, at_once):
            part = logits[start : start + at_once]
            highest = maxima[start : start + at_once]
            part[:, :even].reshape(len(part), block_size, blocks).max(axis=1, out=highest)
            if even < vocabulary:
                rest = highest[:, : vocabulary - even]
                np.maximum(rest, part[:, even:], out=rest)
            top = highest.max(axis=1, keepdims=True, out=largest[start : start + at_once])
            shifted = np.subtract(part, top, out=scratch[: len(part)])
            sums[start : start + at_once] = np.exp(shifted, out=shifted).sum(axis=1, dtype=np.float32)
        return Summary(np.log(sums) + largest[:, 0], largest[:, 0], maxima)


def best_candidates(
    values: FloatArray,
    maxima: FloatArray,
    offsets: NDArray[np.float64],
    ranks: IntArray,
    count: int,
    sentences: IntArray,
) -> Candidates:
    """The `count` best of values + offsets in each of A `sentences`, the best first.

    Equal totals: the lowest token first, then the beam of the lowest rank.

    Args:
        values: (B, K, V), one behind the other in memory: logits or log-probabilities.
        maxima: (B, K, N), the largest of each block, as in `Summary`.
        offsets: (B, K), added to each value of a beam; -inf leaves the beam out, whatever it holds.
        ranks: (B, K), all different in a sentence.
        count: Candidates C of a sentence.
        sentences: Which of the B, ascending.
    """
    if len(sentences) < len(values):
        maxima = maxima[sentences]
    added = offsets[sentences]  # (A, K)
    dead = added == -np.inf
    if np.count_nonzero(dead):
        # The values of a dead beam may be anything.
        bounds = np.where(dead, 0.0, added)[:, :, None] + maxima
        bounds[dead] = -np.inf
    else:
        bounds = maxima + added[:, :, None]
    bounds = bounds.reshape(len(sentences), -1)
    found: Candidates | None = None
    rows: IntArray = np.zeros(0, np.int64)
    if bounds.shape[1] > count:
        rows, opened = _above(bounds, count)  # the best C values lie in the best C blocks, unless blocks tie
        if len(rows):
            rows, found = _open_blocks(sentences, rows, opened, values, maxima.shape[2], offsets, ranks)
            if len(rows) == len(sentences):
                return found
    whole = Candidates(
        np.full((len(sentences), count), -np.inf),
        np.zeros((len(sentences), count), np.int64),
        np.zeros((len(sentences), count), np.int64),
    )
    if found is not None:
        for array, part in zip(whole, found, strict=True):
            array[rows] = part
    for row in np.setdiff1d(np.arange(len(sentences)), rows).tolist():
        sentence = sentences[row]
        parts = _sorted_through(values[sentence], offsets[sentence], ranks[sentence], count)
        for array, part in zip(whole, parts, strict=True):
            array[row, : len(part)] = part
    return whole


def is_sound(totals: list[float], count: int) -> bool:
    """Whether the first `count` of these totals, best first, are no ties: one more is given, all are of outputs."""
    falling = all(map(operator.gt, totals, totals[1:]))  # not where a number is none
    return falling and len(totals) > count and totals[-1] > float("-inf")


def _open_blocks(
    sentences: IntArray,
    rows: IntArray,
    opened: IntArray,
    values: FloatArray,
    blocks: int,
    offsets: NDArray[np.float64],
    ranks: IntArray,
) -> tuple[IntArray, Candidates]:
    """The candidates of `rows`, from their `opened` blocks (A', C); of those whose values tie at the border, none.

    Returns:
        Which rows have candidates, and these.
    """
    _, num_beams, vocabulary = values.shape
    beams, columns = np.divmod(opened, blocks)
    tokens = columns[:, :, None] + np.arange(0, vocabulary, blocks)  # (A', C, values of a block)
    beam_rows = sentences[rows][:, None] * num_beams + beams  # (A', C)
    places = (beam_rows * vocabulary)[:, :, None] + tokens
    if vocabulary % blocks:
        np.minimum(places, values.size - 1, out=places)
    totals = values.reshape(-1)[places] + offsets.reshape(-1)[beam_rows][:, :, None]
    if vocabulary % blocks:
        totals[tokens >= vocabulary] = -np.inf  # the last blocks are one value short
    block_size = tokens.shape[2]
    totals, tokens = totals.reshape(len(rows), -1), tokens.reshape(len(rows), -1)
    chosen_rows, chosen = _above(totals, opened.shape[1])
    at = chosen_rows[:, None]
    totals, tokens, beams = totals[at, chosen], tokens[at, chosen], beams[at, chosen // block_size]
    rows = rows[chosen_rows]
    order = np.lexsort((ranks[sentences[rows][:, None], beams], tokens, -totals))
    at = np.arange(len(rows))[:, None]
    return rows, Candidates(totals, tokens, beams).at(at, order)


def _above(values: FloatArray, count: int) -> tuple[IntArray, IntArray]:
    """The columns (A', C) of the `count` largest of each row of values (A, X), and which rows (A') these are.

    Without the rows where values tie at the border, or fewer than `count` are above -inf.
    """
    thresholds = np.partition(values, -count, axis=1)[:, -count, None]
    above = values >= thresholds
    plain = (np.count_nonzero(above, axis=1) == count) & (thresholds[:, 0] > -np.inf)
    rows = plain.nonzero()[0]
    columns = (above if len(rows) == len(values) else above[rows]).nonzero()[1]
    return rows, columns.reshape(-1, count)


def _sorted_through(
    values: FloatArray, offsets: NDArray[np.float64], ranks: IntArray, count: int
) -> tuple[NDArray[np.float64], IntArray, IntArray]:
    """Totals, tokens and beams of one sentence whose values tie, or whose vocabulary is small: (K, V)."""
    live = (offsets > -np.inf).nonzero()[0]
    totals = (values[live] + offsets[live][:, None]).reshape(-1)
    if len(totals) > count:
        index = (totals >= np.partition(totals, -count)[-count]).nonzero()[0]
    else:
        index = np.arange(len(totals))
    beams, tokens = np.divmod(index, values.shape[1])
    beams = live[beams]
    order = np.lexsort((ranks[beams], tokens, -totals[index]))[:count]
    order = order[totals[index[order]] > -np.inf]
    return totals[index[order]], tokens[order], beams[order]

"""The best continuations among beams times vocabulary, and log-probabilities, in a few passes over the logits.

NumPy's partition of a whole vocabulary costs ten passes. Here the vocabulary is cut into interleaved blocks;
one pass gives the largest value of each block, and only the blocks that can hold one of the best are opened.

Letters: B sentences, K beams, R = B·K rows, V vocabulary, N blocks, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keras_transformer.decoding.steps import FloatArray, IntArray

BLOCK_SIZE = 32  # values of a block; measured: 16 to 50 cost the same
SMALLEST_VOCABULARY = 1024  # below it a block is one value
CHUNK_VALUES = 1 << 16  # values worked on at once: 256 KiB stay in the second-level cache


Candidate: TypeAlias = tuple[float, int, int, int]
"""A continuation: minus its total, its token, the rank of its beam and the beam. The smallest is the best."""


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


def summarise(logits: FloatArray) -> Summary:
    """The `Summary` of logits (R, V), in one walk over them."""
    rows, vocabulary = logits.shape
    block_size = BLOCK_SIZE if vocabulary >= SMALLEST_VOCABULARY else 1
    blocks = vocabulary // block_size
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
    logits: FloatArray,
    maxima: FloatArray,
    offsets: FloatArray,
    ranks: Sequence[Sequence[int]],
    count: int,
) -> list[list[Candidate]]:
    """The `count` best of logits + offsets in each sentence, the best first; fewer where there are fewer.

    Equal totals: the lowest token first, then the beam of the lowest rank.

    Args:
        logits: (B, K, V), one behind the other in memory.
        maxima: (B, K, N), of the same `Summary`.
        offsets: float64 (B, K), added to each logit of a beam; -inf leaves the beam out, whatever it holds.
        ranks: B times K numbers, all different in a sentence.
        count: Candidates C of a sentence.
    """
    num_sentences = len(logits)
    dead = offsets == -np.inf
    with np.errstate(invalid="ignore"):  # the logits of a dead beam may be anything
        bounds = (maxima + offsets[:, :, None]).reshape(num_sentences, -1)
    if dead.any():
        bounds[np.repeat(dead, maxima.shape[2], axis=1)] = -np.inf
    found: list[list[Candidate] | None] = [None] * num_sentences
    if bounds.shape[1] > count:
        rows, opened = _above(bounds, count)  # the best C values lie in the best C blocks, unless blocks tie
        if len(rows):
            _open_blocks(found, rows, opened, logits, maxima.shape[2], offsets, ranks)
    return [
        _sorted_through(logits[row], offsets[row], ranks[row], count) if of_one is None else of_one
        for row, of_one in enumerate(found)
    ]


def _open_blocks(
    found: list[list[Candidate] | None],
    rows: IntArray,
    opened: IntArray,
    logits: FloatArray,
    blocks: int,
    offsets: FloatArray,
    ranks: Sequence[Sequence[int]],
) -> None:
    """Find the candidates of `rows` (B') in their `opened` blocks (B', C), where no values tie at the border."""
    _, num_beams, vocabulary = logits.shape
    beams, columns = np.divmod(opened, blocks)
    tokens = columns[:, :, None] + np.arange(0, vocabulary, blocks)  # (B', C, values of a block)
    beam_rows = rows[:, None] * num_beams + beams  # (B', C)
    places = (beam_rows * vocabulary)[:, :, None] + tokens
    if vocabulary % blocks:
        np.minimum(places, logits.size - 1, out=places)
    totals = logits.reshape(-1)[places] + offsets.reshape(-1)[beam_rows][:, :, None]
    if vocabulary % blocks:
        totals[tokens >= vocabulary] = -np.inf  # the last blocks are one value short
    block_size = tokens.shape[2]
    totals, tokens = totals.reshape(len(rows), -1), tokens.reshape(len(rows), -1)
    chosen_rows, chosen = _above(totals, opened.shape[1])
    at = chosen_rows[:, None]
    for row, *columns_of_one in zip(
        rows[chosen_rows].tolist(),
        (-totals[at, chosen]).tolist(),
        tokens[at, chosen].tolist(),
        beams[at, chosen // block_size].tolist(),
        strict=True,
    ):
        rank = ranks[row]
        found[row] = sorted(
            (loss, token, rank[beam], beam) for loss, token, beam in zip(*columns_of_one, strict=True)
        )


def _above(values: FloatArray, count: int) -> tuple[IntArray, IntArray]:
    """The columns (B', C) of the `count` largest of each row of values (B, X), and which rows (B') these are.

    Without the rows where values tie at the border, or fewer than `count` are above -inf.
    """
    thresholds = np.partition(values, -count, axis=1)[:, -count, None]
    above = values >= thresholds
    plain = (np.count_nonzero(above, axis=1) == count) & (thresholds[:, 0] > -np.inf)
    rows = plain.nonzero()[0]
    columns = (above if len(rows) == len(values) else above[rows]).nonzero()[1]
    return rows, columns.reshape(-1, count)


def _sorted_through(
    logits: FloatArray, offsets: FloatArray, ranks: Sequence[int], count: int
) -> list[Candidate]:
    """One sentence whose values tie, or whose vocabulary is small: look at every value (K, V)."""
    live = (offsets > -np.inf).nonzero()[0]
    if not len(live):
        return []
    totals = (logits[live] + offsets[live][:, None]).reshape(-1)
    if len(totals) > count:
        index = (totals >= np.partition(totals, -count)[-count]).nonzero()[0]
    else:
        index = np.arange(len(totals))
    beams, tokens = np.divmod(index, logits.shape[1])
    beams = live[beams]
    order = np.lexsort((np.asarray(ranks)[beams], tokens, -totals[index]))[:count]
    return [
        (-float(totals[index[at]]), int(tokens[at]), ranks[beams[at]], int(beams[at]))
        for at in order
        if totals[index[at]] > -np.inf
    ]

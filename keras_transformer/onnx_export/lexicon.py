"""Which target tokens a source token is translated into, learnt from parallel text: IBM Model 1.

Brown et al. 1993, section 4.2, with the empty source token; NumPy only.

Letters: V vocabulary, N pairs of a source and a target token that stand in one sentence pair, C different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_transformer.errors import UserError
from keras_transformer.runtime.shortlist import Shortlist

IntArray = NDArray[np.integer[Any]]
IdPairs = Iterable[tuple[Sequence[int], Sequence[int]]]

ITERATIONS = 4
MOST_PAIRS = 60_000_000  # N: 8 bytes each, and 20 seconds in all; 100,000 sentences of 24 tokens
FEWEST_TOGETHER = 2  # sentence pairs with both tokens, for the one to count as a translation of the other
FEWEST_SENTENCES = 5  # with a source token, for its list to be trusted
CANDIDATES = (
    100  # of a source token: with 50 a fifth more outputs lacked a token, with 200 it was a third less
)
FREQUENT = 400  # target tokens that every sentence gets
LONGEST = 100  # tokens of a side; what is longer says little and costs its square
_CHUNK_PAIRS = 1 << 21


class Lexicon(NamedTuple):
    """p(target | source) of C pairs of tokens, ascending by source, then by target.

    Attributes:
        sources, targets: Tokens (C); the source V is the empty one.
        probabilities: float32 (C).
        source_counts, target_counts: Sentence pairs that hold a token on this side, (V).
    """

    sources: IntArray
    targets: IntArray
    probabilities: NDArray[np.float32]
    source_counts: IntArray
    target_counts: IntArray


class _Chunk(NamedTuple):
    """Some sentence pairs, as N pairs of tokens."""

    keys: NDArray[np.int64]  # source · V + target
    groups: NDArray[np.int32]  # which target token of the chunk a pair belongs to: each is shared out to 1
    sources: IntArray  # the different source tokens of each sentence
    targets: IntArray


def learn_lexicon(pairs: IdPairs, vocabulary_size: int) -> Lexicon:
    """Learn from the token ids of sentences and their translations, as far as `MOST_PAIRS` reach.

    Raises:
        UserError: no pair is one to learn from.
    """
    source_counts, target_counts = (np.zeros(vocabulary_size, np.int64) for _ in range(2))
    found, counts, chunks = [], [], []
    for chunk in _chunks(pairs, vocabulary_size):
        source_counts += np.bincount(chunk.sources, minlength=vocabulary_size)
        target_counts += np.bincount(chunk.targets, minlength=vocabulary_size)
        keys, places, together = np.unique(chunk.keys, return_inverse=True, return_counts=True)
        found.append(keys)
        counts.append(together)
        chunks.append((places.astype(np.int32), chunk.groups))
    if not found:
        raise UserError(
            f"A text to learn a shortlist from must hold sentence pairs of 1 to {LONGEST} tokens a side, it holds "
            "none. Name another text."
        )
    known, places = np.unique(np.concatenate(found), return_inverse=True)
    known = known[np.bincount(places, np.concatenate(counts)) >= FEWEST_TOGETHER]
    # Where the pairs of a chunk lie among those that are known; C stands for those that are not.
    placed = []
    for keys, (inverse, groups) in zip(found, chunks, strict=True):
        at = np.searchsorted(known, keys)
        at[np.append(known, -1)[at] != keys] = len(known)
        placed.append((at.astype(np.int32)[inverse], groups))
    del found, chunks
    sources, targets = np.divmod(known, vocabulary_size)
    probabilities = _expectation_maximisation(placed, sources, vocabulary_size)
    return Lexicon(sources, targets, probabilities, source_counts, target_counts)


def make_shortlist(lexicon: Lexicon, always: Sequence[int]) -> Shortlist:
    """The likeliest translations of each source token that the text has often enough, and the token itself.

    Args:
        lexicon: What was learnt.
        always: Tokens that are no text: they have no other translation.
    """
    vocabulary_size = len(lexicon.source_counts)
    bounds = np.searchsorted(lexicon.sources, np.arange(vocabulary_size + 1))
    lists: list[IntArray] = []
    for token in range(vocabulary_size):
        places = slice(bounds[token], bounds[token + 1])
        if token in always:
            lists.append(np.array([token]))
        elif lexicon.source_counts[token] < FEWEST_SENTENCES:
            lists.append(np.zeros(0, np.int64))
        else:
            order = np.argsort(-lexicon.probabilities[places], kind="stable")[:CANDIDATES]
            lists.append(np.union1d(lexicon.targets[places][order], [token]))  # itself: names, numbers
    frequent = np.argsort(-lexicon.target_counts, kind="stable")[:FREQUENT]
    starts = np.cumsum([0, *map(len, lists)])
    return Shortlist(starts, np.concatenate(lists), np.union1d(frequent, np.asarray(always)))


def _expectation_maximisation(
    chunks: Sequence[tuple[IntArray, IntArray]], sources: IntArray, vocabulary_size: int
) -> NDArray[np.float32]:
    """Probabilities (C), from equal ones; `chunks` hold the places and groups of N pairs."""
    size = len(sources)
    probabilities = np.ones(size + 1, np.float32)
    for _ in range(ITERATIONS):
        probabilities[-1] = 0.0
        expected = np.zeros(size + 1)
        for places, groups in chunks:
            shares = probabilities[places]
            sums = np.maximum(np.bincount(groups, shares), 1e-30)
            expected += np.bincount(places, shares / sums[groups], size + 1)
        totals = np.bincount(sources, expected[:-1], vocabulary_size + 1)
        probabilities[:-1] = expected[:-1] / np.maximum(totals, 1e-30)[sources]
    return probabilities[:-1]


def _chunks(pairs: IdPairs, vocabulary_size: int) -> Iterator[_Chunk]:
    """Sentence pairs as pairs of tokens; a token that a sentence has twice counts once."""
    parts: list[tuple[IntArray, ...]] = []
    size = total = num_groups = 0
    for source, target in pairs:
        if not len(source) or not len(target) or max(len(source), len(target)) > LONGEST:
            continue
        sources, targets = np.unique(np.asarray(source, np.int64)), np.unique(np.asarray(target, np.int64))
        with_empty = np.append(sources, vocabulary_size)
        keys = (with_empty * vocabulary_size + targets[:, None]).reshape(-1)
        groups = np.repeat(np.arange(num_groups, num_groups + len(targets), dtype=np.int32), len(with_empty))
        parts.append((keys, groups, sources, targets))
        num_groups += len(targets)
        size += len(keys)
        total += len(keys)
        if size >= _CHUNK_PAIRS or total >= MOST_PAIRS:
            yield _Chunk(*map(np.concatenate, zip(*parts, strict=True)))
            parts, size, num_groups = [], 0, 0
            if total >= MOST_PAIRS:
                return
    if parts:
        yield _Chunk(*map(np.concatenate, zip(*parts, strict=True)))

"""Top candidates and normalisers against plain sorting in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.decoding.candidates import (
    CHUNK_VALUES,
    SMALLEST_VOCABULARY,
    best_candidates,
    num_blocks,
    summarise,
)


def sorted_candidates(logits, offsets, ranks, count):
    """By definition: every continuation, sorted; a list of (total, beam, token) a sentence."""
    found = []
    for row in range(len(logits)):
        every = [
            (-(np.float64(logits[row, beam, token]) + offsets[row, beam]), token, ranks[row, beam], beam)
            for beam in range(logits.shape[1])
            if offsets[row, beam] > -np.inf
            for token in range(logits.shape[2])
        ]
        found.append([(-total, beam, token) for total, token, _, beam in sorted(every)[:count]])
    return found


def listed(candidates):
    return [
        [(total, beam, token) for total, token, beam in zip(*of_one, strict=True) if total > -np.inf]
        for of_one in zip(*(array.tolist() for array in candidates), strict=True)
    ]


def best(logits, offsets, ranks, count):
    rows = logits.reshape(-1, logits.shape[2])
    maxima = summarise(rows).maxima.reshape(*logits.shape[:2], -1)
    return best_candidates(logits, maxima, offsets, ranks, count, np.arange(len(logits)))


VOCABULARIES = st.sampled_from([3, 7, 50, SMALLEST_VOCABULARY, SMALLEST_VOCABULARY + 7, 1500])


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 10**6), VOCABULARIES, st.integers(1, 3), st.integers(1, 4), st.integers(1, 9),
    st.sampled_from([None, 2, 5, 40]), st.booleans(),
)  # fmt: skip
def test_the_best_are_those_of_a_full_sort(seed, vocabulary, sentences, beams, count, levels, some_dead):
    generator = np.random.default_rng(seed)
    shape = (sentences, beams, vocabulary)
    if levels is None:
        logits = generator.normal(0.0, 3.0, shape).astype(np.float32)
        offsets = generator.normal(0.0, 1.0, shape[:2])
    else:  # ties within and between beams
        logits = generator.integers(0, levels, shape).astype(np.float32)
        offsets = generator.integers(-2, 2, shape[:2]).astype(np.float64)
    ranks = np.array([generator.permutation(beams) for _ in range(sentences)])
    if some_dead:
        dead = generator.random(shape[:2]) < 0.4
        offsets[dead] = -np.inf
        logits[dead] = generator.choice([np.nan, np.inf, -np.inf, 1e38])
    with np.errstate(all="ignore"):
        found = listed(best(logits, offsets, ranks, count))
    assert found == sorted_candidates(logits, offsets, ranks, count)


def test_many_equal_block_maxima_are_told_apart():
    """More blocks tie for the border than there are candidates: the lowest tokens win."""
    logits = np.zeros((1, 2, 4 * SMALLEST_VOCABULARY), np.float32)
    found = best(logits, np.zeros((1, 2)), np.array([[1, 0]]), 4)
    assert listed(found) == [[(0.0, 1, 0), (0.0, 0, 0), (0.0, 1, 1), (0.0, 0, 1)]]


def test_several_of_the_best_in_one_block():
    blocks = num_blocks(2048)
    block_size = 2048 // blocks
    assert (blocks, block_size) == (64, 32)
    logits = np.zeros((1, 1, 2048), np.float32)
    logits[0, 0, 5::blocks] = np.arange(block_size, 0, -1)  # all in block 5
    found = best(logits, np.zeros((1, 1)), np.array([[0]]), 6)
    assert [token for _, _, token in listed(found)[0]] == [5 + blocks * nth for nth in range(6)]


@pytest.mark.parametrize("rows", [1, 3, 2 * CHUNK_VALUES // 1500 + 1])
@pytest.mark.parametrize("shift", [0.0, -3e4, 3e4])
def test_normalisers_are_those_of_float64(rows, shift):
    logits = np.random.default_rng(1).normal(0.0, 4.0, (rows, 1500)).astype(np.float32) + np.float32(shift)
    exact = np.log(np.exp(logits.astype(np.float64) - shift).sum(axis=1)) + shift
    # A float32 sum of 1,500 terms; the large shift goes in and out in float64.
    np.testing.assert_allclose(summarise(logits).normalisers, exact, rtol=0, atol=2e-6)


def test_the_normaliser_of_a_row_does_not_depend_on_its_mates():
    logits = np.random.default_rng(2).normal(0.0, 4.0, (100, 1500)).astype(np.float32)
    together = summarise(logits).normalisers
    assert [summarise(row[None]).normalisers[0] for row in logits] == together.tolist()

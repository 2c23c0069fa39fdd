"""ONNX Runtime's log-probabilities and block maxima against NumPy's."""

import numpy as np
import pytest

from keras_transformer.decoding.candidates import num_blocks, summarise
from keras_transformer.runtime.ranking import Ranking


@pytest.mark.parametrize(
    "vocabulary", [7, 1024, 1029, 1500], ids=["a value a block", "even", "some blocks longer", "with a rest"]
)
def test_log_probabilities_and_block_maxima_are_numpys(vocabulary):
    logits = np.random.default_rng(1).normal(0.0, 4.0, (3, vocabulary)).astype(np.float32)
    expected = summarise(logits)
    ranking = Ranking(vocabulary, 1)
    bound = ranking.bind(logits)
    log_probs = logits - expected.normalisers[:, None]
    for _ in range(2):  # log-probabilities are logits whose normaliser is 0
        ranking.session.run_with_iobinding(bound.binding)
        # Two float32 sums over the vocabulary.
        np.testing.assert_allclose(bound.ranked.log_probs, log_probs, rtol=0, atol=4e-6)
    assert bound.ranked.log_probs is logits
    blocks = num_blocks(vocabulary)
    assert bound.ranked.maxima.shape == (3, blocks)
    for block in range(blocks):
        expected_maxima = logits[:, block::blocks].max(axis=1)
        np.testing.assert_array_equal(bound.ranked.maxima[:, block], expected_maxima)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_shows_in_the_maxima_of_its_row(broken):
    logits = np.random.default_rng(2).normal(0.0, 4.0, (2, 1500)).astype(np.float32)
    logits[1, 700] = broken
    ranking = Ranking(1500, 1)
    bound = ranking.bind(logits)
    ranking.session.run_with_iobinding(bound.binding)
    largest = bound.ranked.maxima.max(axis=1)
    assert (largest > -30.0).tolist() == [True, False]  # what beam search asks


def test_a_row_does_not_depend_on_its_mates():
    logits = np.random.default_rng(3).normal(0.0, 4.0, (40, 1500)).astype(np.float32)
    ranking = Ranking(1500, 1)
    alone = []
    for row in logits:
        bound = ranking.bind(row[None].copy())
        ranking.session.run_with_iobinding(bound.binding)
        alone.append(bound.ranked.log_probs[0])
    bound = ranking.bind(logits)
    ranking.session.run_with_iobinding(bound.binding)
    np.testing.assert_array_equal(bound.ranked.log_probs, alone)

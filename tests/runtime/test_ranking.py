"""ONNX Runtime's log-probabilities and block maxima against NumPy's."""

import numpy as np
import pytest

from keras_transformer.decoding.candidates import (
    Candidates,
    best_candidates,
    is_sound,
    num_blocks,
    summarise,
)
from keras_transformer.onnx_export.quantization import quantize_columns
from keras_transformer.runtime.ranking import EstimateRanking, Ranking


@pytest.mark.parametrize(
    "vocabulary", [7, 1024, 1031, 1500], ids=["a value a block", "even", "some blocks longer", "blocks of 30"]
)
def test_log_probabilities_and_block_maxima_are_numpys(vocabulary):
    logits = np.random.default_rng(1).normal(0.0, 4.0, (3, vocabulary)).astype(np.float32)
    expected = summarise(logits)
    ranking = Ranking(vocabulary, 1)
    bound = ranking.bind(logits, 1)
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
    bound = ranking.bind(logits, 1)
    ranking.session.run_with_iobinding(bound.binding)
    largest = bound.ranked.maxima.max(axis=1)
    assert (largest > -30.0).tolist() == [True, False]  # what beam search asks


def test_a_row_does_not_depend_on_its_mates():
    logits = np.random.default_rng(3).normal(0.0, 4.0, (40, 1500)).astype(np.float32)
    ranking = Ranking(1500, 1)
    alone = []
    for row in logits:
        bound = ranking.bind(row[None].copy(), 1)
        ranking.session.run_with_iobinding(bound.binding)
        alone.append(bound.ranked.log_probs[0])
    bound = ranking.bind(logits, 1)
    ranking.session.run_with_iobinding(bound.binding)
    np.testing.assert_array_equal(bound.ranked.log_probs, alone)


BEAMS, SENTENCES = 3, 4
RANKS = np.array([[2, 0, 1]] * SENTENCES)


def sound_candidates(best, sentences, vocabulary):
    """What a beam search takes from a run; None where it must look itself."""
    if not all(is_sound(row, 2 * BEAMS) for row in best.totals[sentences].tolist()):
        return None
    beams, tokens = np.divmod(best.places[sentences, : 2 * BEAMS], vocabulary)
    return Candidates(best.totals[sentences, : 2 * BEAMS], tokens, beams)


def ranked(logits, totals):
    """The candidates of a run, and NumPy's, of all but sentence 1."""
    sentences = np.array([0, 2, 3])
    ranking = Ranking(logits.shape[1], 1)
    bound = ranking.bind(logits, BEAMS)
    bound.totals[:] = totals
    ranking.session.run_with_iobinding(bound.binding)
    shape = (SENTENCES, BEAMS, -1)
    maxima = bound.ranked.maxima.reshape(shape)
    expected = best_candidates(logits.reshape(shape), maxima, totals, RANKS, 2 * BEAMS, sentences)
    return sound_candidates(bound.ranked.best, sentences, logits.shape[1]), expected


@pytest.mark.parametrize("vocabulary", [7, 1000, 1024, 8000])
def test_the_best_continuations_are_numpys(vocabulary):
    generator = np.random.default_rng(vocabulary)
    logits = generator.normal(0.0, 4.0, (SENTENCES * BEAMS, vocabulary)).astype(np.float32)
    totals = -generator.random((SENTENCES, BEAMS)) * 5.0
    totals[1] = -np.inf  # a free slot
    totals[2, 1:] = -np.inf  # one output
    if vocabulary == 7:
        totals[
            2, 1
        ] = -1.0  # 7 values are too few to tell whether the sixth ties with what follows, 14 are not
    found, expected = ranked(logits, totals)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("column", [0, 5])
def test_equal_continuations_are_left_to_numpy(column):
    logits = np.random.default_rng(5).normal(0.0, 1.0, (SENTENCES * BEAMS, 1024)).astype(np.float32)
    totals = np.zeros((SENTENCES, BEAMS))
    assert ranked(logits.copy(), totals)[0] is not None
    # The best and the second, or the sixth and what follows.
    logits[6] = -20.0
    logits[6, :8] = 9.0 - np.arange(8)
    logits[6, column + 1] = logits[6, column]
    logits[7:9] = logits[6] - 60.0
    logits[7:9, 900] = 20.0  # their mass lies elsewhere
    totals[2, 1:] = -40.0
    found, expected = ranked(logits, totals)
    assert found is None
    assert (expected.totals[1, 0] == expected.totals[1, 1]) == (column == 0)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_is_left_to_numpy(broken):
    logits = np.random.default_rng(6).normal(0.0, 4.0, (SENTENCES * BEAMS, 1024)).astype(np.float32)
    logits[9:, 77] = broken  # every output of the last sentence
    ranking = Ranking(1024, 1)
    bound = ranking.bind(logits, BEAMS)
    ranking.session.run_with_iobinding(bound.binding)
    everyone, others = np.arange(SENTENCES), np.arange(SENTENCES - 1)
    assert sound_candidates(bound.ranked.best, everyone, 1024) is None
    assert sound_candidates(bound.ranked.best, others, 1024) is not None


WIDTH, VOCABULARY = 64, 2048


def hidden_and_table(seed):
    generator = np.random.default_rng(seed)
    table = generator.normal(0.0, 0.35, (VOCABULARY, WIDTH)).astype(np.float32)
    hidden = generator.normal(0.0, 1.0, (SENTENCES * BEAMS, WIDTH)).astype(np.float32)
    return hidden, table


def units_of(hidden):
    return np.abs(hidden).max(axis=1, keepdims=True)


def in_integers(hidden, table):
    """Estimates as the decoder makes them."""
    weight = quantize_columns(table.T)
    return np.rint(hidden / units_of(hidden) * 127) / 127 @ (weight.values * weight.scales)


def by_estimates(hidden, table, estimates, totals):
    """What a run finds, and NumPy in the whole product."""
    ranking = EstimateRanking(table, 1)
    bound = ranking.bind(estimates.astype(np.float32), units_of(hidden), hidden, BEAMS)
    bound.totals[:] = totals
    ranking.session.run_with_iobinding(bound.binding)
    logits = (hidden.astype(np.float64) @ table.T).astype(np.float32)
    normalisers, _, maxima = summarise(logits)
    log_probs = (logits - normalisers[:, None]).reshape(SENTENCES, BEAMS, -1)
    maxima = (maxima - normalisers[:, None]).reshape(SENTENCES, BEAMS, -1)
    everyone = np.arange(SENTENCES)
    expected = best_candidates(log_probs, maxima, totals, RANKS, 2 * BEAMS, everyone)
    return bound.ranked, sound_candidates(bound.ranked.best, everyone, VOCABULARY), expected


def test_what_the_estimates_tell_of_the_candidates_does_not_count():
    hidden, table = hidden_and_table(7)
    totals = np.where(np.arange(BEAMS) == 0, 0.0, -np.inf) * np.ones((SENTENCES, 1))
    estimates = hidden @ table.T / units_of(hidden)
    best = np.argsort(-estimates, axis=1)[:, : 2 * BEAMS + 1]  # one beam is alive: these are its candidates
    wrong = np.random.default_rng(8).normal(0.0, 0.004, best.shape)
    wrong[:, -1] = 0.0  # so that the last stays the last
    np.put_along_axis(estimates, best, np.take_along_axis(estimates, best, 1) + wrong, 1)
    ranked, found, expected = by_estimates(hidden, table, estimates, totals)
    assert ranked.log_probs is None
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.beams, expected.beams)
    np.testing.assert_allclose(found.totals, expected.totals, rtol=0, atol=5e-6)
    assert np.abs(wrong * units_of(hidden)).mean() > 5e-3  # what was mended


def test_estimates_in_integers_give_the_same_continuations():
    hidden, table = hidden_and_table(9)
    totals = -np.random.default_rng(9).random((SENTENCES, BEAMS)) * 5.0
    estimates = in_integers(hidden, table)
    _, found, expected = by_estimates(hidden, table, estimates, totals)
    np.testing.assert_array_equal(found.tokens[:, :BEAMS], expected.tokens[:, :BEAMS])
    np.testing.assert_array_equal(found.beams[:, :BEAMS], expected.beams[:, :BEAMS])
    np.testing.assert_allclose(found.totals, expected.totals, rtol=0, atol=5e-3)


def test_no_sentence_changes_the_estimated_ranking_of_another():
    hidden, table = hidden_and_table(10)
    estimates = in_integers(hidden, table).astype(np.float32)
    ranking = EstimateRanking(table, 1)
    found = []
    for rows in (slice(None), *(slice(row, row + BEAMS) for row in range(0, len(hidden), BEAMS))):
        bound = ranking.bind(estimates[rows].copy(), units_of(hidden[rows]), hidden[rows].copy(), BEAMS)
        ranking.session.run_with_iobinding(bound.binding)
        found.append(bound.ranked.best)
    np.testing.assert_array_equal(found[0].totals, np.concatenate([best.totals for best in found[1:]]))
    np.testing.assert_array_equal(found[0].places, np.concatenate([best.places for best in found[1:]]))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_estimate_that_is_no_number_is_sound_for_nobody(broken):
    hidden, table = hidden_and_table(11)
    hidden[9:, 5] = broken  # every output of the last sentence
    with np.errstate(all="ignore"):
        ranked, found, _ = by_estimates(
            hidden, table, in_integers(hidden, table), np.zeros((SENTENCES, BEAMS))
        )
    assert found is None
    assert sound_candidates(ranked.best, np.arange(SENTENCES - 1), VOCABULARY) is not None


def test_vocabularies_that_estimates_do_not_rank():
    assert [size for size in (7, 1000, 1024, 1031, 8000, 10000) if EstimateRanking.ranks(size)] == [
        1024,
        8000,
        10000,
    ]

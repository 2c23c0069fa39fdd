"""Greedy search, driven by scripts: no network, no engine."""

from __future__ import annotations

import numpy as np
import pytest

from keras_transformer.decoding import Cancellation, Cancelled, GreedySearch, LoopGuard, greedy_search

PAD, BOS, EOS, VOCABULARY = 0, 1, 2, 11


class Script:
    """A step whose row r says `outputs[r]` whatever it is fed; it notes what it was fed."""

    def __init__(self, *outputs: list[int], noise: float = 0.0) -> None:
        self.outputs = list(outputs)
        self.fed: list[list[int]] = []
        self.positions: list[int] = []
        self.noise = np.random.default_rng(7).normal(0.0, noise, (64, 64, VOCABULARY))

    def __call__(self, token_ids, position):
        self.fed.append(token_ids.tolist())
        self.positions.append(position)
        logits = np.array([self.noise[row, position] for row in range(len(self.outputs))])
        for row, output in enumerate(self.outputs):
            logits[row, output[position] if position < len(output) else 9] += 5.0
        return logits.astype(np.float32)


class ShrinkingScript(Script):
    def __init__(self, *outputs: list[int], noise: float = 0.0) -> None:
        super().__init__(*outputs, noise=noise)
        self.kept: list[list[int]] = []

    def keep(self, rows):
        self.kept.append(rows.tolist())
        self.outputs = [self.outputs[row] for row in rows]
        self.noise = self.noise[rows]


def search(step, batch_size, max_lengths=20, **options):
    limits = np.broadcast_to(max_lengths, (batch_size,))
    return greedy_search(step, bos_id=BOS, eos_id=EOS, pad_id=PAD, max_lengths=limits, **options)


def scores(result):
    """The mean log-probability of each sentence."""
    return [float(best.log_probs.mean()) for (best,) in result.hypotheses]


def lists(result):
    return [tokens.tolist() for tokens in result.tokens]


def test_takes_the_likeliest_token_until_eos_and_starts_from_bos():
    step = Script([5, 7, 4, EOS])
    result = search(step, 1)
    assert lists(result) == [[5, 7, 4]]
    assert step.fed == [[BOS], [5], [7], [4]]
    assert step.positions == [0, 1, 2, 3]
    assert result.finished.tolist() == [True]


def test_a_finished_row_is_frozen_and_fed_padding():
    step = Script([5, EOS, 8, 8, 8], [3, 4, 6, 7, EOS])
    result = search(step, 2)
    assert lists(result) == [[5], [3, 4, 6, 7]]
    assert step.fed == [[BOS, BOS], [5, 3], [PAD, 4], [PAD, 6], [PAD, 7]]


def test_garbage_from_a_finished_row_changes_nothing():
    class Garbage(Script):
        def __call__(self, token_ids, position):
            logits = super().__call__(token_ids, position)
            if position > 1:
                logits[0] = [np.nan, np.inf, -np.inf, 1e38, np.nan][position]
            return logits

    rows = ([5, EOS], [3, 4, 6, 7, EOS])
    clean = search(Script(*rows, noise=1.0), 2, scores=True)
    dirty = search(Garbage(*rows, noise=1.0), 2, scores=True)
    assert lists(clean) == lists(dirty) == [[5], [3, 4, 6, 7]]
    assert scores(clean) == scores(dirty)


def test_a_tie_goes_to_the_lowest_id():
    def step(token_ids, position):
        logits = np.zeros((len(token_ids), VOCABULARY), dtype=np.float32)
        logits[:, [4, 8] if position == 0 else [EOS, 3]] = 1.0
        return logits

    assert lists(search(step, 2)) == [[4], [4]]


def test_each_row_ends_at_its_own_limit_eos_counted():
    step = Script([5, 6, 7, 8], [5, 6, EOS], [5, 6, 7, 8])
    result = search(step, 3, np.array([2, 3, 3]))
    assert lists(result) == [[5, 6], [5, 6], [5, 6, 7]]
    assert result.finished.tolist() == [False, True, False]
    assert len(step.fed) == 3


def test_log_probs_by_hand_eos_counted():
    def step(token_ids, position):
        probabilities = [[0.1, 0.2, 0.3, 0.4], [0.25, 0.125, 0.5, 0.125]][position]
        return np.log(np.array([probabilities]))

    result = search(step, 1, scores=True)
    assert lists(result) == [[3]]
    (best,) = result.hypotheses[0]
    np.testing.assert_allclose(best.log_probs, np.log([0.4, 0.5]), rtol=1e-6)  # float32
    assert search(step, 1).hypotheses[0][0].log_probs is None  # nobody asked


@pytest.mark.parametrize("shift", [-3e4, 3e4])
def test_log_probs_are_stable_for_large_logits(shift):
    def step(token_ids, position):
        return np.array([[0.0, 0.0, 1.0, 0.0]], dtype=np.float32) + np.float32(shift)

    expected = -np.log(1.0 + 3.0 * np.exp(-1.0))
    np.testing.assert_allclose(search(step, 1, scores=True).hypotheses[0][0].log_probs, [expected], rtol=1e-6)


ROWS = ([5, EOS], [3, 4, 6, 7, 8, 3, 4, EOS], [6, 6, 6, EOS], [4, EOS], [7, 8, 9, 10, 3, EOS])


def test_shrinking_the_batch_changes_no_result():
    plain, shrinking = Script(*ROWS, noise=1.0), ShrinkingScript(*ROWS, noise=1.0)
    whole, shrunk = search(plain, 5, scores=True), search(shrinking, 5, scores=True)
    assert shrinking.kept == [[1, 4], [0]]  # after token 4 rows 1 and 4 are left, after token 6 only row 1
    assert [len(fed) for fed in shrinking.fed] == [5, 5, 5, 5, 2, 2, 1, 1]
    assert lists(whole) == lists(shrunk)
    assert scores(whole) == scores(shrunk)
    assert whole.finished.tolist() == shrunk.finished.tolist()


def test_batch_mates_and_their_order_change_no_result():
    together = search(Script(*ROWS), 5, scores=True)
    for order in ([0], [3, 1], [4, 3, 2, 1, 0]):
        part = search(Script(*(ROWS[row] for row in order)), len(order), scores=True)
        assert lists(part) == [lists(together)[row] for row in order]
        assert scores(part) == [scores(together)[row] for row in order]


def test_the_cancellation_is_asked_before_each_step():
    cancellation = Cancellation()

    class Cancelling(Script):
        def __call__(self, token_ids, position):
            if position == 1:
                cancellation.cancel()
            return super().__call__(token_ids, position)

    step = Cancelling([5, 6, 7, 8, 9])
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        search(step, 1, cancellation=cancellation)
    assert len(step.fed) == 2


def test_find_loop_cuts_one_row_and_leaves_its_mates():
    step = Script([5, *[6, 7] * 20], [3, 4, 8, 3, 4, 8, 9, 10, 3, 4, 8, 9, 7, 7, 7, 7, 9, EOS])
    result = search(step, 2, 40, scores=True, find_loop=LoopGuard([np.array([5, 4]), np.array([3])]))
    assert lists(result) == [[5, 6, 7], [3, 4, 8, 3, 4, 8, 9, 10, 3, 4, 8, 9, 7, 7, 7, 7, 9]]
    assert [best.cut for (best,) in result.hypotheses] == [True, False]
    assert result.finished.tolist() == [False, True]
    assert len(result.hypotheses[0][0].log_probs) == 3


def test_there_must_be_a_sentence():
    message = r"^`sentences` must hold at least one, got none\. Leave out empty batches\.$"
    with pytest.raises(ValueError, match=message):
        search(Script(), 0)


def test_max_lengths_must_have_one_entry_a_sentence():
    message = r"^`max_lengths` must have one entry a sentence \(2\), got 3\. Give each its own limit\.$"
    with pytest.raises(ValueError, match=message):
        GreedySearch(Script([5], [5]), [0, 1], [1, 2, 3], bos_id=BOS, eos_id=EOS, pad_id=PAD)


def test_max_lengths_must_be_positive():
    message = r"^`max_lengths` must be at least 1 for every sentence, got 0\. EOS counts as a token\.$"
    with pytest.raises(ValueError, match=message):
        search(Script([5], [5]), 2, np.array([1, 0]))


def test_logits_of_another_shape_are_refused():
    message = (
        r"^`step` must return logits of shape \(2, V\), got shape \(1, 11\)\. "
        r"Return one row of logits for each token fed\.$"
    )
    with pytest.raises(ValueError, match=message):
        search(Script([5]), 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    def step(token_ids, position):
        logits = np.zeros((2, VOCABULARY))
        logits[1, 4] = value
        return logits

    message = (
        r"^`step` must return finite logits, got a best logit that is not finite at position 0\. "
        r"Check the weights\.$"
    )
    with pytest.raises(FloatingPointError, match=message):
        search(step, 2)

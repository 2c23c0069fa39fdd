"""Ours draws sixteen bits a value, under JAX by a hash of its own: both must look like what they stand for."""

import keras
import numpy as np
import pytest

from keras_transformer.layers import Dropout
from tests.helpers import to_numpy


def made(rate, seed):
    """As the model makes it: given a seed of its own, Keras under torch would draw the same at each call."""
    keras.utils.set_random_seed(seed)
    return Dropout(rate)


def kept(dropout, shape):
    """Where a call kept the value: bool."""
    return to_numpy(dropout(np.ones(shape, "float32"), training=True)) > 0


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.75])
def test_the_share_of_the_dropped_and_the_mean(rate):
    values = to_numpy(made(rate, 3)(np.ones((50, 40, 128), "float32"), training=True))
    deviation = (rate * (1 - rate) / values.size) ** 0.5
    assert abs((values == 0).mean() - rate) < 5 * deviation
    assert set(np.unique(values).round(4)) == {0.0, np.float32(1 / (1 - rate)).round(4)}
    assert abs(values.mean() - 1) < 6 * deviation / (1 - rate)


def test_draws_depend_on_no_neighbour_no_call_and_no_seed():
    """Any two places, calls or seeds agree as often as chance lets them."""
    shape, rate = (60, 40, 128), 0.5
    dropout = made(rate, 3)
    calls = [kept(dropout, shape) for _ in range(4)]
    others = [kept(made(rate, seed), shape) for seed in (4, 3 + 2**16)]
    size = np.prod(shape)
    pairs = [(one, other) for i, one in enumerate([*calls, *others]) for other in [*calls, *others][:i]]
    for lag in (1, 2, 64, 127, 128, 129, 128 * 40):  # halves of a word, words, rows
        flat = calls[0].reshape(-1)
        pairs.append((flat[lag:], flat[:-lag]))
        flat_next = calls[1].reshape(-1)  # a shifted window of the same numbers would show here
        pairs.append((flat_next[lag:], flat[:-lag]))
    for one, other in pairs:
        assert abs((one == other).mean() - 0.5) < 5 * 0.5 / size**0.5
    # Columns and rows by themselves: no place of a word is drawn more often.
    for axes in ((0, 1), (0, 2), (1, 2)):
        shares = calls[0].mean(axis=axes)
        count = size / shares.size
        assert abs(shares - 0.5).max() < 5.5 * 0.5 / count**0.5


def test_values_are_dropped_together_where_keras_says_so():
    keras.utils.set_random_seed(3)
    rows = kept(Dropout(0.5, noise_shape=(1, 1, 64)), (3, 5, 64))
    assert (rows == rows[:1, :1]).all()
    assert 0 < rows.mean() < 1


@pytest.mark.parametrize("rate", [0.999999, 1.0])
def test_a_rate_may_drop_all(rate):
    assert not to_numpy(made(rate, 3)(np.ones((4, 8), "float32"), training=True)).any()


def test_the_same_seed_draws_the_same():
    draws = []
    for _ in range(2):
        dropout = made(0.3, 7)
        draws.append([kept(dropout, (5, 8)) for _ in range(3)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0][0] != draws[0][1]).any()


@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch draws from its global generator")
def test_it_goes_on_from_the_state_that_a_resume_point_keeps():
    first, second = made(0.3, 7), made(0.3, 1)
    kept(first, (5, 8))
    second.seed_generator.state.assign(first.seed_generator.state)
    np.testing.assert_array_equal(kept(second, (5, 8)), kept(first, (5, 8)))


def test_nothing_is_dropped_outside_training_or_at_rate_0():
    values = np.arange(6, dtype="float32").reshape(1, 1, 6)
    np.testing.assert_array_equal(to_numpy(Dropout(0.4)(values)), values)
    np.testing.assert_array_equal(to_numpy(Dropout(0.0)(values, training=True)), values)

"""The screen says what the whole product says, and never guesses."""

import re

import numpy as np
import pytest

from keras_transformer.onnx_export.quantization import quantize_columns
from keras_transformer.runtime import screen as screens
from keras_transformer.runtime.screen import Screen

V, D, R = 501, 24, 7


def screened(table, hidden):
    """What the graph hands over for this table and these hidden states, and the screen's choice."""
    weight = quantize_columns(table.T)
    rounded_table = (weight.values * weight.scales).T  # (V, D)
    norms = np.stack(
        [np.linalg.norm(rounded_table, axis=1), np.linalg.norm(table - rounded_table, axis=1)]
    ).astype(np.float32) * np.float32(1.0001)
    units = np.maximum(np.abs(hidden).max(axis=1, keepdims=True), np.float32(1e-30))
    rounded = (np.nan_to_num(np.rint(hidden / units * 127)) + 128).astype(np.uint8)
    estimates = ((rounded.astype(np.float64) - 128) / 127 @ rounded_table.T).astype(np.float32)
    return estimates, Screen(table, norms).likeliest(estimates, units, hidden, rounded)


def arrays(seed, spread=1.0):
    generator = np.random.default_rng(seed)
    table = (generator.standard_normal((V, D)) * spread).astype(np.float32)
    return table, generator.standard_normal((R, D)).astype(np.float32)


def test_it_is_the_whole_product_where_the_estimate_alone_is_wrong():
    wrong = 0
    for seed in range(60):
        table, hidden = arrays(seed)
        estimates, found = screened(table, hidden)
        expected = (hidden.astype(np.float64) @ table.T).argmax(axis=1)
        np.testing.assert_array_equal(found, expected)
        wrong += int((estimates.argmax(axis=1) != expected).sum())
    assert wrong > 5  # else this proves nothing


def test_one_value_that_is_far_larger_than_the_others():
    table, hidden = arrays(1)
    hidden[:, 0] *= 50
    np.testing.assert_array_equal(screened(table, hidden)[1], (hidden @ table.T).argmax(axis=1))


def test_of_a_hidden_state_of_zeros_the_lowest_id():
    table, hidden = arrays(1)
    hidden[2] = 0.0
    found = screened(table, hidden)[1]
    assert found is None or found[2] == 0
    assert screened(table, hidden[2:3])[1].tolist() == [0]


def test_rows_of_very_different_lengths():
    table, hidden = arrays(2)
    table[: V // 2] *= 30
    np.testing.assert_array_equal(
        screened(table, hidden)[1], (hidden.astype(np.float64) @ table.T).argmax(axis=1)
    )


def test_of_equals_the_lowest_id():
    table, hidden = arrays(3)
    best = (hidden.astype(np.float64) @ table.T).argmax(axis=1)
    for copy in (0, V - 1, 100):
        table[copy] = table[best[0]]
    assert screened(table, hidden[:1])[1].tolist() == [0]


def test_batch_mates_change_nothing():
    table, hidden = arrays(4)
    together = screened(table, hidden)[1]
    assert [int(screened(table, row[None])[1][0]) for row in hidden] == together.tolist()


def test_too_many_candidates_are_left_to_the_product(monkeypatch):
    table, hidden = arrays(5)
    table[:] = table[0] + 1e-5 * table
    monkeypatch.setattr(screens, "_MOST_CANDIDATES", 8)
    assert screened(table, hidden)[1] is None
    monkeypatch.setattr(screens, "_MOST_CANDIDATES", 100)  # enough for the first look, too few for the second
    assert screened(table, hidden)[1] is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error(bad):
    table, hidden = arrays(6)
    hidden[3, 5] = bad
    message = "The best logit must be a finite number, it is not. Check the weights."
    with pytest.raises(FloatingPointError, match=rf"\A{re.escape(message)}\Z"), np.errstate(all="ignore"):
        screened(table, hidden)

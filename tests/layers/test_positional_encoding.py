"""Section 3.5 against the oracle."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import PositionalEncoding
from keras_transformer.positions import sinusoidal_positions
from tests.helpers import (
    BATCH,
    MAX_LENGTH,
    MODEL_DIM,
    TARGET,
    normal,
    raises_message,
    to_numpy,
)
from tests.reference import transformer as reference


def test_table_by_hand():
    # D = 4: the rates are 1 and 1/100.
    expected = [[0, 1, 0, 1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)]]
    np.testing.assert_allclose(sinusoidal_positions(2, 4), expected, rtol=0, atol=1e-7)


def test_table_is_the_oracle_rounded_once():
    table = sinusoidal_positions(512, MODEL_DIM)
    assert table.dtype == np.float32
    # Half a unit in the last place of a float32 below 1 is 3e-8; the angles' own float64 error adds little.
    np.testing.assert_allclose(table, reference.positional_encoding(512, MODEL_DIM), rtol=0, atol=4e-8)


@pytest.mark.parametrize("position", [0, 6])
def test_adds_the_encoding_of_each_position(position):
    embedded = normal(BATCH, TARGET, MODEL_DIM)
    encoded = PositionalEncoding(MAX_LENGTH)(ops.convert_to_tensor(embedded), position=position)
    table = reference.positional_encoding(MAX_LENGTH, MODEL_DIM)[position : position + TARGET]
    np.testing.assert_allclose(to_numpy(encoded), embedded + table, rtol=0, atol=1e-6)


def test_positions_stay_distinct_in_bfloat16_until_the_sum():
    layer = PositionalEncoding(512, dtype="mixed_bfloat16")
    layer.build((None, None, MODEL_DIM))
    assert layer.table.dtype == np.float32
    encoded = layer(ops.zeros((1, 5, MODEL_DIM), dtype="bfloat16"), position=500)
    assert keras.backend.standardize_dtype(encoded.dtype) == "bfloat16"
    expected = reference.positional_encoding(512, MODEL_DIM)[500:505]
    # One rounding to 8 bits of values up to 1: at most 2^-9.
    np.testing.assert_allclose(to_numpy(encoded)[0], expected, rtol=0, atol=2**-9)


def test_the_table_is_no_weight():
    layer = PositionalEncoding(MAX_LENGTH)
    layer.build((None, None, MODEL_DIM))
    assert layer.weights == []


def test_config_round_trip():
    layer = PositionalEncoding(MAX_LENGTH, name="positions")
    copy = PositionalEncoding.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.max_length == MAX_LENGTH


def test_a_sequence_beyond_the_table_is_refused():
    message = (
        "`embedded` must have at most max_length = 4 positions, got 5. "
        "Split the text or build the model with a larger max_length."
    )
    with raises_message(ValueError, message):
        PositionalEncoding(4)(ops.zeros((1, 5, 6)))


@pytest.mark.parametrize("max_length", [0, -1, 2.0, True, "7"])
def test_max_length_must_be_a_count(max_length):
    message = f"`max_length` must be a whole number of at least 1, got {max_length!r}. Give a positive int."
    with raises_message(ValueError, message):
        PositionalEncoding(max_length)


def test_the_table_refuses_no_positions():
    with raises_message(ValueError, "`max_length` must be at least 1, got 0. Give the longest sequence."):
        sinusoidal_positions(0, 4)


@pytest.mark.parametrize("model_dim", [0, 5])
def test_the_table_refuses_an_odd_width(model_dim):
    message = (
        f"`model_dim` must be even and at least 2 (sine and cosine pairs), got {model_dim}. "
        "Use an even width."
    )
    with raises_message(ValueError, message):
        sinusoidal_positions(3, model_dim)

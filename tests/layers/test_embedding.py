"""Section 3.4: scaled look-up and the tied projection."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import TokenEmbedding
from tests.helpers import (
    BATCH,
    FLOAT32_TOLERANCE,
    MODEL_DIM,
    TARGET,
    VOCABULARY,
    normal,
    raises_message,
    to_numpy,
)


def _embedding(dtype=None):
    layer = TokenEmbedding(VOCABULARY, MODEL_DIM, dtype=dtype)
    layer.build()
    table = normal(VOCABULARY, MODEL_DIM, seed=1)
    layer.table.assign(table)
    return layer, table


def test_looks_up_rows_times_the_root_of_the_width():
    layer, table = _embedding()
    token_ids = np.array([[0, 22, 5], [7, 7, 1]], dtype=np.int32)
    embedded = to_numpy(layer(ops.convert_to_tensor(token_ids)))
    expected = table.astype(np.float64)[token_ids] * math.sqrt(MODEL_DIM)
    np.testing.assert_allclose(embedded, expected, rtol=0, atol=FLOAT32_TOLERANCE)


def test_projects_on_the_same_table():
    layer, table = _embedding()
    hidden = normal(BATCH, TARGET, MODEL_DIM)
    logits = to_numpy(layer.project(ops.convert_to_tensor(hidden)))
    expected = hidden.astype(np.float64) @ table.astype(np.float64).T
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT32_TOLERANCE)
    assert len(layer.weights) == 1


def test_a_functional_model_projects_on_the_living_table():
    hidden = keras.Input((None, MODEL_DIM))
    layer, table = _embedding()
    model = keras.Model(hidden, layer.project(hidden))
    assert model.output.shape == (None, None, VOCABULARY)
    assert len(model.trainable_weights) == 1
    layer.table.assign(2 * table)
    given = normal(BATCH, TARGET, MODEL_DIM)
    expected = given.astype(np.float64) @ (2 * table.astype(np.float64)).T
    np.testing.assert_allclose(to_numpy(model(given)), expected, rtol=0, atol=2 * FLOAT32_TOLERANCE)


def test_fresh_embeddings_have_unit_variance():
    keras.utils.set_random_seed(0)
    layer = TokenEmbedding(400, 64)
    embedded = to_numpy(layer(ops.arange(400, dtype="int32")[None]))
    # 25,600 normal draws: the deviation's own standard error is 1/sqrt(51200) = 0.0044; five of them.
    assert abs(embedded.std() - 1.0) < 0.022


def test_bfloat16_computes_low_and_keeps_the_table_float32():
    layer, table = _embedding("mixed_bfloat16")
    embedded = layer(ops.convert_to_tensor([[3]], dtype="int32"))
    assert keras.backend.standardize_dtype(embedded.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(layer.table.dtype) == "float32"
    # Two roundings to 8 bits, the row and the product.
    np.testing.assert_allclose(to_numpy(embedded)[0, 0], table[3] * math.sqrt(MODEL_DIM), rtol=2**-7)


def test_config_round_trip():
    layer = TokenEmbedding(VOCABULARY, MODEL_DIM, name="tokens")
    copy = TokenEmbedding.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.vocabulary_size, copy.model_dim) == (VOCABULARY, MODEL_DIM)


@pytest.mark.parametrize("name", ["vocabulary_size", "model_dim"])
def test_sizes_must_be_counts(name):
    message = f"`{name}` must be a whole number of at least 1, got 0. Give a positive int."
    with raises_message(ValueError, message):
        TokenEmbedding(**{"vocabulary_size": 3, "model_dim": 2, name: 0})

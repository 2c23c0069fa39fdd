"""Sections 3.2.1 and 3.2.2 against the oracle, with each kind of mask."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import MultiHeadAttention, attention
from tests.helpers import (
    BATCH,
    FLOAT32_TOLERANCE,
    HEADS,
    MODEL_DIM,
    SOURCE,
    TARGET,
    normal,
    ragged_mask,
    raises_message,
    set_layer_weights,
    to_numpy,
)
from tests.reference import transformer as reference

# So rare that no weight is dropped, and 1 / (1 - rate) is 1 in float32: what is left is the path itself.
HARMLESS_RATE = 1e-12


def _kernel(outputs, seed):
    return normal(MODEL_DIM, outputs, seed=seed) * MODEL_DIM**-0.5


def _self_attention(**arguments):
    layer = MultiHeadAttention(HEADS, **arguments)
    layer.build((None, None, MODEL_DIM))
    weights = {"query_key_value/kernel": _kernel(3 * MODEL_DIM, 1), "output/kernel": _kernel(MODEL_DIM, 2)}
    set_layer_weights(layer, weights)
    kernels = [*np.split(weights["query_key_value/kernel"], 3, axis=1), weights["output/kernel"]]
    return layer, [kernel.astype(np.float64) for kernel in kernels]


def _cross_attention(**arguments):
    layer = MultiHeadAttention(HEADS, is_cross=True, **arguments)
    layer.build((None, None, MODEL_DIM))
    weights = {
        "query/kernel": _kernel(MODEL_DIM, 3),
        "key_value/kernel": _kernel(2 * MODEL_DIM, 4),
        "output/kernel": _kernel(MODEL_DIM, 5),
    }
    set_layer_weights(layer, weights)
    key, value = np.split(weights["key_value/kernel"], 2, axis=1)
    kernels = [weights["query/kernel"], key, value, weights["output/kernel"]]
    return layer, [kernel.astype(np.float64) for kernel in kernels]


def test_equation_1_by_hand():
    # Two keys, K = 1, one query of 1: the scores are 0 and ln 3, so the weights are 1/4 and 3/4.
    query, key = np.ones((1, 1, 1, 1)), np.array([0.0, np.log(3.0)]).reshape(1, 1, 2, 1)
    value = np.array([8.0, 4.0]).reshape(1, 1, 2, 1)
    attended = reference.attention(query, key, value)
    np.testing.assert_allclose(attended.weights.ravel(), [0.25, 0.75], rtol=1e-15)
    np.testing.assert_allclose(attended.context.ravel(), [5.0], rtol=1e-15)


@pytest.mark.parametrize(("dropout_rate", "training"), [(0.0, False), (HARMLESS_RATE, True)])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_self_attention_matches_the_oracle(padded, is_causal, dropout_rate, training):
    layer, kernels = _self_attention(is_causal=is_causal, dropout_rate=dropout_rate)
    hidden = normal(BATCH, SOURCE, MODEL_DIM)
    allowed = np.ones((BATCH, SOURCE, SOURCE), dtype=bool)
    if is_causal:
        allowed &= reference.causal_mask(SOURCE)
    if padded:
        allowed &= ragged_mask()[:, None, :]
    attended = layer(
        ops.convert_to_tensor(hidden),
        key_padding_mask=ops.convert_to_tensor(ragged_mask()) if padded else None,
        training=training,
    )
    expected = reference.multi_head_attention(
        hidden.astype(np.float64), hidden.astype(np.float64), *kernels, HEADS, allowed
    )
    np.testing.assert_allclose(to_numpy(attended), expected, rtol=0, atol=FLOAT32_TOLERANCE)


@pytest.mark.parametrize(("dropout_rate", "training"), [(0.0, False), (HARMLESS_RATE, True)])
@pytest.mark.parametrize("padded", [False, True])
def test_cross_attention_matches_the_oracle(padded, dropout_rate, training):
    layer, kernels = _cross_attention(dropout_rate=dropout_rate)
    hidden, encoder_outputs = normal(BATCH, TARGET, MODEL_DIM), normal(BATCH, SOURCE, MODEL_DIM, seed=9)
    attended = layer(
        ops.convert_to_tensor(hidden),
        ops.convert_to_tensor(encoder_outputs),
        key_padding_mask=ops.convert_to_tensor(ragged_mask()) if padded else None,
        training=training,
    )
    expected = reference.multi_head_attention(
        hidden.astype(np.float64),
        encoder_outputs.astype(np.float64),
        *kernels,
        HEADS,
        ragged_mask()[:, None, :] if padded else None,
    )
    np.testing.assert_allclose(to_numpy(attended), expected, rtol=0, atol=FLOAT32_TOLERANCE)


@pytest.mark.parametrize("training", [False, True])
def test_garbage_behind_the_mask_changes_nothing(training):
    # Rate 0 keeps the fused kernel in training too.
    layer, _ = _cross_attention()
    hidden, encoder_outputs = normal(BATCH, TARGET, MODEL_DIM), normal(BATCH, SOURCE, MODEL_DIM, seed=9)
    garbage = np.where(ragged_mask()[..., None], encoder_outputs, 1e4).astype(np.float32)
    before, after = (
        to_numpy(
            layer(
                ops.convert_to_tensor(hidden),
                ops.convert_to_tensor(keys),
                key_padding_mask=ops.convert_to_tensor(ragged_mask()),
                training=training,
            )
        )
        for keys in (encoder_outputs, garbage)
    )
    assert np.abs(before - after).max() == 0.0


def test_the_future_changes_nothing():
    layer, _ = _self_attention(is_causal=True)
    hidden = normal(BATCH, SOURCE, MODEL_DIM)
    changed = hidden.copy()
    changed[:, 3:] = 1e4
    before, after = (to_numpy(layer(ops.convert_to_tensor(x))) for x in (hidden, changed))
    assert np.abs(before[:, :3] - after[:, :3]).max() == 0.0
    assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1.0


def test_dropout_acts_on_the_weights_in_training_only():
    keras.utils.set_random_seed(3)
    layer, _ = _self_attention(dropout_rate=0.5)
    hidden = ops.convert_to_tensor(normal(BATCH, SOURCE, MODEL_DIM))
    still, still_again = (to_numpy(layer(hidden, training=False)) for _ in range(2))
    first, second = (to_numpy(layer(hidden, training=True)) for _ in range(2))
    assert np.abs(still - still_again).max() == 0.0
    assert np.abs(first - second).max() > 0.01
    assert np.abs(first - still).max() > 0.01


def test_dropout_keeps_the_mean():
    keras.utils.set_random_seed(4)
    layer, _ = _self_attention(dropout_rate=0.25)
    hidden = normal(1, SOURCE, MODEL_DIM)
    copies = ops.convert_to_tensor(np.repeat(hidden, 4000, axis=0))
    mean = to_numpy(layer(copies, training=True)).mean(axis=0)
    expected = to_numpy(layer(ops.convert_to_tensor(hidden), training=False))[0]
    # One weight's deviation is sqrt(0.25 / 0.75) = 0.58 of its value; the mean of 4000 has 0.009 of it.
    # 140 values of order 1 are compared: 0.06 is more than six deviations; unscaled, 25 % is missing.
    np.testing.assert_allclose(mean, expected, rtol=0, atol=0.06)
    assert np.abs(expected).max() > 0.5


def test_fresh_kernels_have_one_scale():
    keras.utils.set_random_seed(0)
    layer = MultiHeadAttention(4)
    layer.build((None, None, 128))
    # Glorot's limit for a D x D block, sqrt(6 / 2D), as a uniform deviation: limit / sqrt(3).
    expected = (6 / 256) ** 0.5 / 3**0.5
    for kernel in (layer.query_key_value.kernel, layer.output_projection.kernel):
        # 16,384 draws or more; the deviation's standard error is below 0.4 %.
        assert abs(to_numpy(kernel).std() / expected - 1.0) < 0.02


def test_config_round_trip():
    for arguments in ({"is_cross": True, "dropout_rate": 0.25}, {"is_causal": True}):
        layer = MultiHeadAttention(HEADS, name="attention", **arguments)
        copy = MultiHeadAttention.from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()
        assert {name: getattr(copy, name) for name in arguments} == arguments


@pytest.mark.parametrize("num_heads", [0, 2.0, True])
def test_heads_must_be_a_count(num_heads):
    message = f"`num_heads` must be a whole number of at least 1, got {num_heads!r}. Give a positive int."
    with raises_message(ValueError, message):
        MultiHeadAttention(num_heads)


@pytest.mark.parametrize("dropout_rate", [-0.1, 1.0])
def test_the_rate_must_be_a_share(dropout_rate):
    message = f"`dropout_rate` must be in [0, 1), got {dropout_rate}. Use 0 to switch it off."
    with raises_message(ValueError, message):
        MultiHeadAttention(HEADS, dropout_rate=dropout_rate)


def test_cross_attention_has_no_order():
    message = "`is_causal` must be False with `is_cross`, got True. Source keys have no order."
    with raises_message(ValueError, message):
        MultiHeadAttention(HEADS, is_cross=True, is_causal=True)


def test_heads_must_divide_the_width():
    message = "`num_heads` must divide the width of `hidden` (30), got 7. Choose a divisor."
    with raises_message(ValueError, message):
        MultiHeadAttention(7).build((None, None, 30))


@pytest.mark.parametrize(("length", "padded"), [(6, False), (5, False), (6, True), (5, True)])
def test_a_mask_or_an_odd_length_keeps_jax_from_the_flash_kernel(length, padded, monkeypatch):
    """On a GPU Keras under JAX asks it in bfloat16, and it refuses these; otherwise Keras chooses."""
    asked = []
    real = ops.dot_product_attention
    monkeypatch.setattr(attention, "_has_fused_kernel", lambda query: True)
    monkeypatch.setattr(
        ops, "dot_product_attention", lambda *a, **k: (asked.append(k["flash_attention"]), real(*a, **k))[1]
    )
    layer = MultiHeadAttention(num_heads=2)
    mask = np.array([[True] * length, [True] * 3 + [False] * (length - 3)]) if padded else None
    layer(np.ones((2, length, 8), "float32"), key_padding_mask=mask)
    refused = keras.config.backend() == "jax" and (padded or length % 2)
    assert asked[-1:] == [False if refused else None]

"""The decoder layer (section 3.1) against the oracle, whole and one cached step at a time."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import DecoderLayer
from tests.helpers import (
    BATCH,
    FEED_FORWARD_DIM,
    FLOAT32_TOLERANCE,
    HEAD_DIM,
    HEADS,
    MAX_LENGTH,
    MODEL_DIM,
    SOURCE,
    TARGET,
    layer_weights,
    norm_placements,
    normal,
    ragged_mask,
    raises_message,
    set_layer_weights,
    tiny_config,
    to_numpy,
    variants,
)
from tests.reference import transformer as reference


def _layer(config, **arguments):
    arguments = {
        "dropout_rate": 0.0,
        "norm_placement": config.norm_placement,
        "activation": config.activation,
        **arguments,
    }
    layer = DecoderLayer(HEADS, FEED_FORWARD_DIM, **arguments)
    layer.build((None, None, MODEL_DIM))
    weights = layer_weights(config, "decoder_layers")
    set_layer_weights(layer, weights)
    return layer, weights


def test_it_stands_in_a_functional_model():
    hidden, encoder_outputs = keras.Input((None, MODEL_DIM)), keras.Input((None, MODEL_DIM))
    layer = DecoderLayer(HEADS, FEED_FORWARD_DIM)
    model = keras.Model([hidden, encoder_outputs], layer(hidden, encoder_outputs))
    assert model.output.shape == (None, None, MODEL_DIM)
    assert model(list(_inputs())).shape == (BATCH, TARGET, MODEL_DIM)


def _inputs():
    return normal(BATCH, TARGET, MODEL_DIM), normal(BATCH, SOURCE, MODEL_DIM, seed=9)


def _run(layer, hidden, encoder_outputs, mask, **arguments):
    outputs = layer(
        ops.convert_to_tensor(hidden, dtype="float32"),
        ops.convert_to_tensor(encoder_outputs, dtype="float32"),
        source_padding_mask=None if mask is None else ops.convert_to_tensor(mask),
        **arguments,
    )
    return to_numpy(outputs)


@variants
def test_matches_the_oracle(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    layer, weights = _layer(config)
    hidden, encoder_outputs = _inputs()
    expected = reference.decoder_layer(
        weights, config, hidden.astype(np.float64), encoder_outputs.astype(np.float64), ragged_mask()
    )
    outputs = _run(layer, hidden, encoder_outputs, ragged_mask())
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=FLOAT32_TOLERANCE)


def test_no_mask_means_that_all_are_real():
    layer, _ = _layer(tiny_config())
    everything = np.ones((BATCH, SOURCE), dtype=bool)
    outputs, expected = (_run(layer, *_inputs(), mask) for mask in (None, everything))
    # The same sums, perhaps by another kernel.
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)


@norm_placements
def test_garbage_behind_the_mask_changes_nothing(norm_placement):
    layer, _ = _layer(tiny_config(norm_placement=norm_placement))
    hidden, encoder_outputs = _inputs()
    garbage = np.where(ragged_mask()[..., None], encoder_outputs, 1e4)
    before = _run(layer, hidden, encoder_outputs, ragged_mask())
    after = _run(layer, hidden, garbage, ragged_mask())
    assert np.abs(before - after).max() == 0.0


@norm_placements
def test_the_future_changes_nothing(norm_placement):
    layer, _ = _layer(tiny_config(norm_placement=norm_placement))
    hidden, encoder_outputs = _inputs()
    changed = hidden.copy()
    changed[:, 2:] = 1e4 * normal(BATCH, TARGET - 2, MODEL_DIM, seed=8)
    before = _run(layer, hidden, encoder_outputs, ragged_mask())
    after = _run(layer, changed, encoder_outputs, ragged_mask())
    assert np.abs(before[:, :2] - after[:, :2]).max() == 0.0
    assert np.abs(before[:, 2:] - after[:, 2:]).max() > 0.01


@variants
def test_steps_match_the_oracle_and_leave_their_input_alone(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    layer, weights = _layer(config)
    hidden, encoder_outputs = _inputs()
    mask = ops.convert_to_tensor(ragged_mask())
    cache = layer.initial_cache(ops.convert_to_tensor(encoder_outputs), MAX_LENGTH)
    assert tuple(cache.self_keys.shape) == (BATCH, MAX_LENGTH, HEADS, HEAD_DIM)
    assert tuple(cache.cross_values.shape) == (BATCH, SOURCE, HEADS, HEAD_DIM)
    outputs = []
    for position in range(TARGET):
        before = [to_numpy(array).copy() for array in cache]
        step_input = ops.convert_to_tensor(hidden[:, position : position + 1])
        output, new_cache = layer.step(step_input, cache, position, mask)
        # State goes in and comes out: the cache that was given still holds what it held.
        for array, copy in zip(cache, before, strict=True):
            np.testing.assert_array_equal(to_numpy(array), copy)
        written = np.abs(to_numpy(new_cache.self_keys)).sum(axis=(0, 2, 3)) > 0
        assert written.tolist() == [p <= position for p in range(MAX_LENGTH)]
        outputs.append(to_numpy(output))
        cache = new_cache
    expected = reference.decoder_layer(
        weights, config, hidden.astype(np.float64), encoder_outputs.astype(np.float64), ragged_mask()
    )
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), expected, rtol=0, atol=FLOAT32_TOLERANCE)


@pytest.mark.parametrize("name", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_acts_in_training_only(name):
    keras.utils.set_random_seed(6)
    layer, _ = _layer(tiny_config(), **{name: 0.5})
    plain, _ = _layer(tiny_config())
    still = _run(layer, *_inputs(), ragged_mask(), training=False)
    expected = _run(plain, *_inputs(), ragged_mask(), training=True)
    first, second = (_run(layer, *_inputs(), ragged_mask(), training=True) for _ in range(2))
    assert np.abs(still - expected).max() == 0.0
    assert np.abs(first - second).max() > 0.01


def test_config_round_trip():
    arguments = {
        "num_heads": HEADS,
        "feed_forward_dim": FEED_FORWARD_DIM,
        "dropout_rate": 0.25,
        "attention_dropout_rate": 0.125,
        "norm_placement": "pre",
        "activation": "gelu",
    }
    layer = DecoderLayer(**arguments, name="decoder")
    copy = DecoderLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert {name: getattr(copy, name) for name in arguments} == arguments


def test_an_unknown_norm_placement_is_refused():
    message = '`norm_placement` must be "post" or "pre", got None. Use "post" for the paper.'
    with raises_message(ValueError, message):
        DecoderLayer(HEADS, FEED_FORWARD_DIM, norm_placement=None)

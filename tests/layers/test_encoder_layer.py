"""The encoder layer (section 3.1) against the oracle."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import EncoderLayer
from tests.helpers import (
    BATCH,
    FEED_FORWARD_DIM,
    FLOAT32_TOLERANCE,
    HEADS,
    MODEL_DIM,
    SOURCE,
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
    layer = EncoderLayer(HEADS, FEED_FORWARD_DIM, **arguments)
    layer.build((None, None, MODEL_DIM))
    weights = layer_weights(config, "encoder_layers")
    set_layer_weights(layer, weights)
    return layer, weights


@variants
def test_matches_the_oracle(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    layer, weights = _layer(config)
    hidden = normal(BATCH, SOURCE, MODEL_DIM)
    outputs = layer(ops.convert_to_tensor(hidden), source_padding_mask=ops.convert_to_tensor(ragged_mask()))
    expected = reference.encoder_layer(weights, config, hidden.astype(np.float64), ragged_mask())
    np.testing.assert_allclose(to_numpy(outputs), expected, rtol=0, atol=FLOAT32_TOLERANCE)


def test_it_stands_in_a_functional_model():
    hidden = keras.Input((None, MODEL_DIM))
    model = keras.Model(hidden, EncoderLayer(HEADS, FEED_FORWARD_DIM)(hidden))
    assert model.output.shape == (None, None, MODEL_DIM)
    assert model(normal(BATCH, SOURCE, MODEL_DIM)).shape == (BATCH, SOURCE, MODEL_DIM)


def test_no_mask_means_that_all_are_real():
    config = tiny_config()
    layer, weights = _layer(config)
    hidden = normal(BATCH, SOURCE, MODEL_DIM)
    everything = np.ones((BATCH, SOURCE), dtype=bool)
    expected = reference.encoder_layer(weights, config, hidden.astype(np.float64), everything)
    outputs = to_numpy(layer(ops.convert_to_tensor(hidden)))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=FLOAT32_TOLERANCE)


@norm_placements
def test_garbage_behind_the_mask_changes_nothing(norm_placement):
    layer, _ = _layer(tiny_config(norm_placement=norm_placement))
    mask = ragged_mask()
    hidden = normal(BATCH, SOURCE, MODEL_DIM)
    garbage = np.where(mask[..., None], hidden, 1e4 * normal(BATCH, SOURCE, MODEL_DIM, seed=8))
    before, after = (
        to_numpy(
            layer(ops.convert_to_tensor(x, dtype="float32"), source_padding_mask=ops.convert_to_tensor(mask))
        )
        for x in (hidden, garbage)
    )
    assert np.abs(before[mask] - after[mask]).max() == 0.0


@pytest.mark.parametrize("name", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_acts_in_training_only(name):
    keras.utils.set_random_seed(5)
    layer, _ = _layer(tiny_config(), **{name: 0.5})
    plain, _ = _layer(tiny_config())
    hidden = ops.convert_to_tensor(normal(BATCH, SOURCE, MODEL_DIM))
    still, expected = to_numpy(layer(hidden, training=False)), to_numpy(plain(hidden, training=True))
    first, second = (to_numpy(layer(hidden, training=True)) for _ in range(2))
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
    layer = EncoderLayer(**arguments, name="encoder")
    copy = EncoderLayer.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert {name: getattr(copy, name) for name in arguments} == arguments


def test_an_unknown_norm_placement_is_refused():
    message = '`norm_placement` must be "post" or "pre", got \'both\'. Use "post" for the paper.'
    with raises_message(ValueError, message):
        EncoderLayer(HEADS, FEED_FORWARD_DIM, norm_placement="both")


@pytest.mark.parametrize("dropout_rate", [-0.5, 1.0])
def test_the_rate_must_be_a_share(dropout_rate):
    message = f"`dropout_rate` must be in [0, 1), got {dropout_rate}. Use 0 to switch it off."
    with raises_message(ValueError, message):
        EncoderLayer(HEADS, FEED_FORWARD_DIM, dropout_rate=dropout_rate)

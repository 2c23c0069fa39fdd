"""Section 3.3, eq. 2, against the oracle."""

import numpy as np
import pytest
from keras import ops

from keras_transformer.layers import FeedForward
from tests.helpers import (
    BATCH,
    FEED_FORWARD_DIM,
    FLOAT32_TOLERANCE,
    MODEL_DIM,
    TARGET,
    normal,
    raises_message,
    set_layer_weights,
    to_numpy,
)
from tests.reference import transformer as reference


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_matches_the_oracle(activation):
    layer = FeedForward(FEED_FORWARD_DIM, activation)
    layer.build((None, None, MODEL_DIM))
    weights = {
        "inner/kernel": normal(MODEL_DIM, FEED_FORWARD_DIM, seed=1) * MODEL_DIM**-0.5,
        "inner/bias": normal(FEED_FORWARD_DIM, seed=2),
        "outer/kernel": normal(FEED_FORWARD_DIM, MODEL_DIM, seed=3) * FEED_FORWARD_DIM**-0.5,
        "outer/bias": normal(MODEL_DIM, seed=4),
    }
    set_layer_weights(layer, weights)
    hidden = normal(BATCH, TARGET, MODEL_DIM)
    expected = reference.feed_forward(hidden.astype(np.float64), *weights.values(), activation)
    mapped = to_numpy(layer(ops.convert_to_tensor(hidden)))
    np.testing.assert_allclose(mapped, expected, rtol=0, atol=FLOAT32_TOLERANCE)


def test_positions_do_not_mix():
    layer = FeedForward(FEED_FORWARD_DIM)
    hidden = normal(1, TARGET, MODEL_DIM)
    changed = hidden.copy()
    changed[:, 1] += 100.0
    before, after = (to_numpy(layer(ops.convert_to_tensor(x))) for x in (hidden, changed))
    assert np.abs(before[:, [0, 2]] - after[:, [0, 2]]).max() == 0.0
    assert np.abs(before[:, 1] - after[:, 1]).max() > 0.1


def test_config_round_trip():
    layer = FeedForward(FEED_FORWARD_DIM, "gelu", name="network")
    copy = FeedForward.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.feed_forward_dim, copy.activation) == (FEED_FORWARD_DIM, "gelu")


def test_the_width_must_be_a_count():
    message = "`feed_forward_dim` must be a whole number of at least 1, got 0. Give a positive int."
    with raises_message(ValueError, message):
        FeedForward(0)


def test_an_unknown_activation_is_refused():
    message = '`activation` must be "relu" or "gelu", got \'swish\'. Use "relu" for the paper.'
    with raises_message(ValueError, message):
        FeedForward(FEED_FORWARD_DIM, "swish")

"""The norm's epsilon, which hides where the variance is of order 1."""

import numpy as np
from keras import ops

from keras_transformer.layers.sub_layers import layer_norm
from tests.helpers import BATCH, FLOAT32_TOLERANCE, MODEL_DIM, TARGET, normal, to_numpy
from tests.reference import transformer as reference


def test_the_norm_matches_the_oracle_where_epsilon_counts():
    norm = layer_norm("norm", "float32")
    norm.build((None, None, MODEL_DIM))
    gamma, beta = 1 + normal(MODEL_DIM, seed=1), normal(MODEL_DIM, seed=2)
    norm.gamma.assign(gamma)
    norm.beta.assign(beta)
    # A variance of 1e-5, as large as epsilon: without it the values would be 1.4 times as far from beta.
    hidden = np.float32(1e-5**0.5) * normal(BATCH, TARGET, MODEL_DIM)
    expected = reference.layer_norm(
        hidden.astype(np.float64), gamma.astype(np.float64), beta.astype(np.float64)
    )
    np.testing.assert_allclose(
        to_numpy(norm(ops.convert_to_tensor(hidden))), expected, rtol=0, atol=FLOAT32_TOLERANCE
    )

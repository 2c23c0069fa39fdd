"""Position-wise feed-forward network (section 3.3)."""

import keras

from keras_transformer.layers.arguments import require_count
from keras_transformer.layers.dense import Dense

ACTIVATIONS = {
    "relu": keras.ops.relu,
    # Keras's default GELU is the tanh approximation; torch and ONNX mean the exact one.
    "gelu": lambda hidden: keras.ops.gelu(hidden, approximate=False),
}


@keras.saving.register_keras_serializable("keras_transformer")
class FeedForward(keras.layers.Layer):
    """Two dense maps with an activation between, the same at every position.

    FFN(x) = max(0, x W1 + b1) W2 + b2 (Vaswani et al. 2017, section 3.3, eq. 2). Deviation: the
    activation may be GELU.

    Args:
        feed_forward_dim: Inner width F, at least 1.
        activation: "relu" (the paper) or "gelu" (exact).

    Call arguments:
        hidden: float (B, T, D).

    Returns:
        float (B, T, D), the dtype of `hidden`.

    Raises:
        ValueError: the width is below 1 or the activation is unknown.
    """

    def __init__(self, feed_forward_dim, activation="relu", **kwargs):
        super().__init__(**kwargs)
        require_count("feed_forward_dim", feed_forward_dim)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'`activation` must be "relu" or "gelu", got {activation!r}. Use "relu" for the paper.'
            )
        self.feed_forward_dim = feed_forward_dim
        self.activation = activation

    def build(self, hidden_shape):
        self.inner = Dense(self.feed_forward_dim, dtype=self.dtype_policy, name="inner")
        self.outer = Dense(hidden_shape[-1], dtype=self.dtype_policy, name="outer")
        self.inner.build(hidden_shape)
        self.outer.build((*hidden_shape[:-1], self.feed_forward_dim))
        self.built = True

    def call(self, hidden):
        return self.outer(ACTIVATIONS[self.activation](self.inner(hidden)))

    def compute_output_shape(self, hidden_shape):
        return hidden_shape

    def get_config(self):
        return {
            **super().get_config(),
            "feed_forward_dim": self.feed_forward_dim,
            "activation": self.activation,
        }

"""How a sub-layer is joined to the stream: residual, dropout, norm (sections 3.1 and 5.4)."""

import keras

from keras_transformer.layers.arguments import require_rate
from keras_transformer.layers.dropout import Dropout

# torch's and the usual ONNX value; Keras's default of 1e-3 is visibly another function.
LAYER_NORM_EPSILON = 1e-5


def layer_norm(name, dtype):
    """LayerNormalization with the epsilon of this project; weights `gamma` and `beta`."""
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype=dtype, name=name)


@keras.saving.register_keras_serializable("keras_transformer")
class ResidualLayer(keras.layers.Layer):
    """What encoder and decoder layers share: post-norm LN(x + Dropout(f(x))) or pre-norm x + Dropout(f(LN(x))).

    Vaswani et al. 2017, section 3.1 (post) and 5.4 (dropout before the sum). Deviation: pre-norm, after
    Xiong et al. 2020, needs a final norm on the stack; the model adds it.

    Args:
        num_heads: Attention heads H, at least 1.
        feed_forward_dim: Inner width F, at least 1.
        dropout_rate: On each sub-layer's output, in [0, 1).
        attention_dropout_rate: On attention weights, in [0, 1).
        norm_placement: "post" or "pre".
        activation: "relu" or "gelu".

    Raises:
        ValueError: an argument breaks its rule.
    """

    def __init__(
        self,
        num_heads,
        feed_forward_dim,
        dropout_rate=0.1,
        attention_dropout_rate=0.0,
        norm_placement="post",
        activation="relu",
        **kwargs,
    ):
        super().__init__(**kwargs)
        require_rate("dropout_rate", dropout_rate)
        if norm_placement not in ("post", "pre"):
            raise ValueError(
                f'`norm_placement` must be "post" or "pre", got {norm_placement!r}. Use "post" for the paper.'
            )
        self.num_heads = num_heads
        self.feed_forward_dim = feed_forward_dim
        self.dropout_rate = dropout_rate
        self.attention_dropout_rate = attention_dropout_rate
        self.norm_placement = norm_placement
        self.activation = activation
        self.dropout = Dropout(dropout_rate, dtype=self.dtype_policy, name="dropout")

    def enter(self, hidden, norm):
        """What the sub-layer reads: `hidden`, normed where the norm comes first."""
        return norm(hidden) if self.norm_placement == "pre" else hidden

    def leave(self, hidden, sub_output, norm, training):
        """The stream after the sub-layer: residual sum, normed where the norm comes last."""
        summed = hidden + self.dropout(sub_output, training=training)
        return summed if self.norm_placement == "pre" else norm(summed)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "feed_forward_dim": self.feed_forward_dim,
            "dropout_rate": self.dropout_rate,
            "attention_dropout_rate": self.attention_dropout_rate,
            "norm_placement": self.norm_placement,
            "activation": self.activation,
        }

"""One layer of the encoder (section 3.1)."""

import keras

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.sub_layers import ResidualLayer, layer_norm


@keras.saving.register_keras_serializable("keras_transformer")
class EncoderLayer(ResidualLayer):
    """Self-attention, then a feed-forward network, each with its residual and norm.

    Vaswani et al. 2017, section 3.1, figure 1 (left). Arguments and errors: `ResidualLayer`.

    Call arguments:
        hidden: float (B, S, D).
        source_padding_mask: bool (B, S), True = a real token; None = all are.

    Returns:
        float (B, S, D), the dtype of `hidden`.
    """

    def build(self, hidden_shape):
        self.self_attention = MultiHeadAttention(
            self.num_heads,
            dropout_rate=self.attention_dropout_rate,
            dtype=self.dtype_policy,
            name="self_attention",
        )
        self.self_attention_norm = layer_norm("self_attention_norm", self.dtype_policy)
        self.feed_forward = FeedForward(
            self.feed_forward_dim, self.activation, dtype=self.dtype_policy, name="feed_forward"
        )
        self.feed_forward_norm = layer_norm("feed_forward_norm", self.dtype_policy)
        for layer in (
            self.self_attention,
            self.self_attention_norm,
            self.feed_forward,
            self.feed_forward_norm,
        ):
            layer.build(hidden_shape)
        self.built = True

    def compute_output_shape(self, hidden_shape):
        return hidden_shape

    def call(self, hidden, source_padding_mask=None, training=False):
        normed = self.enter(hidden, self.self_attention_norm)
        attended = self.self_attention(normed, key_padding_mask=source_padding_mask, training=training)
        hidden = self.leave(hidden, attended, self.self_attention_norm, training)
        mapped = self.feed_forward(self.enter(hidden, self.feed_forward_norm))
        return self.leave(hidden, mapped, self.feed_forward_norm, training)

"""One layer of the decoder (section 3.1), over a whole target or one cached step at a time."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_transformer.layers.attention import MultiHeadAttention
from keras_transformer.layers.feed_forward import FeedForward
from keras_transformer.layers.sub_layers import ResidualLayer, layer_norm


class LayerCache(NamedTuple):
    """Keys and values of one decoder layer; passed in and handed back, never kept by the layer."""

    self_keys: Any  # (B, MAX, H, K), filled up to the current position
    self_values: Any  # (B, MAX, H, K)
    cross_keys: Any  # (B, S, H, K), computed once a sentence
    cross_values: Any  # (B, S, H, K)


@keras.saving.register_keras_serializable("keras_transformer")
class DecoderLayer(ResidualLayer):
    """Causal self-attention, cross-attention, feed-forward, each with its residual and norm.

    Vaswani et al. 2017, section 3.1, figure 1 (right). Arguments and errors: `ResidualLayer`. Targets
    are padded on the right, so the causal rule alone hides their padding.

    Call arguments:
        hidden: float (B, T, D).
        encoder_outputs: float (B, S, D).
        source_padding_mask: bool (B, S), True = a real token; None = all are.

    Returns:
        float (B, T, D), the dtype of `hidden`.
    """

    def build(self, hidden_shape):
        attention = {"dropout_rate": self.attention_dropout_rate, "dtype": self.dtype_policy}
        self.self_attention = MultiHeadAttention(
            self.num_heads, is_causal=True, name="self_attention", **attention
        )
        self.self_attention_norm = layer_norm("self_attention_norm", self.dtype_policy)
        self.cross_attention = MultiHeadAttention(
            self.num_heads, is_cross=True, name="cross_attention", **attention
        )
        self.cross_attention_norm = layer_norm("cross_attention_norm", self.dtype_policy)
        self.feed_forward = FeedForward(
            self.feed_forward_dim, self.activation, dtype=self.dtype_policy, name="feed_forward"
        )
        self.feed_forward_norm = layer_norm("feed_forward_norm", self.dtype_policy)
        for layer in (
            self.self_attention,
            self.self_attention_norm,
            self.cross_attention,
            self.cross_attention_norm,
            self.feed_forward,
            self.feed_forward_norm,
        ):
            layer.build(hidden_shape)
        self.built = True

    def compute_output_shape(self, hidden_shape, encoder_outputs_shape):
        return hidden_shape

    def call(self, hidden, encoder_outputs, source_padding_mask=None, training=False):
        normed = self.enter(hidden, self.self_attention_norm)
        attended = self.self_attention(normed, training=training)
        hidden = self.leave(hidden, attended, self.self_attention_norm, training)
        normed = self.enter(hidden, self.cross_attention_norm)
        attended = self.cross_attention(
            normed, encoder_outputs, key_padding_mask=source_padding_mask, training=training
        )
        hidden = self.leave(hidden, attended, self.cross_attention_norm, training)
        mapped = self.feed_forward(self.enter(hidden, self.feed_forward_norm))
        return self.leave(hidden, mapped, self.feed_forward_norm, training)

    def initial_cache(self, encoder_outputs, max_length):
        """Cache before the first step, for `max_length` target positions: LayerCache."""
        cross_keys, cross_values = self.cross_attention.project_keys_values(encoder_outputs)
        batch, _, heads, head_dim = ops.shape(cross_keys)
        empty = ops.zeros((batch, max_length, heads, head_dim), dtype=cross_keys.dtype)
        return LayerCache(empty, empty, cross_keys, cross_values)

    def step(self, hidden, cache, position, source_padding_mask):
        """One target position, the same mathematics as `call`.

        Args:
            hidden: float (B, 1, D), the embedded token at `position`.
            cache: LayerCache filled for the positions before.
            position: int scalar, 0-based, below the cache's MAX.
            source_padding_mask: bool (B, S).

        Returns:
            Hidden (B, 1, D) and the cache with this position filled.
        """
        normed = self.enter(hidden, self.self_attention_norm)
        query, key, value = self.self_attention.project_query_keys_values(normed)  # (B, 1, H, K)
        start = (0, position, 0, 0)
        self_keys = ops.slice_update(cache.self_keys, start, ops.cast(key, cache.self_keys.dtype))
        self_values = ops.slice_update(cache.self_values, start, ops.cast(value, cache.self_values.dtype))
        seen = ops.arange(ops.shape(self_keys)[1]) <= position  # (MAX,)
        attended = self.self_attention.attend(query, self_keys, self_values, seen[None, None, None, :])
        hidden = self.leave(hidden, attended, self.self_attention_norm, training=False)

        normed = self.enter(hidden, self.cross_attention_norm)
        query = self.cross_attention.split_heads(self.cross_attention.query(normed))
        attended = self.cross_attention.attend(
            query, cache.cross_keys, cache.cross_values, source_padding_mask[:, None, None, :]
        )
        hidden = self.leave(hidden, attended, self.cross_attention_norm, training=False)

        mapped = self.feed_forward(self.enter(hidden, self.feed_forward_norm))
        hidden = self.leave(hidden, mapped, self.feed_forward_norm, training=False)
        return hidden, LayerCache(self_keys, self_values, cache.cross_keys, cache.cross_values)

"""Multi-head attention (section 3.2)."""

import functools

import keras
from keras import ops

from keras_transformer.layers.arguments import require_count, require_rate
from keras_transformer.layers.dense import Dense
from keras_transformer.layers.dropout import Dropout
from keras_transformer.layers.two_products import attend_in_two_products


@keras.saving.register_keras_serializable("keras_transformer")
class MultiHeadAttention(keras.layers.Layer):
    """Scaled dot-product attention in H heads, with a projection before and after.

    Attention(Q, K, V) = softmax(QKᵀ/√K) V in each head; MultiHead = Concat(heads) W^O
    (Vaswani et al. 2017, sections 3.2.1 and 3.2.2). No biases, as in the paper's equations. Deviation:
    the projections that read the same input are one matrix (Q|K|V, or K|V in cross-attention), so that
    a GPU does one product and an export is a copy.

    Args:
        num_heads: Number of heads H, at least 1; D must be a multiple of it.
        is_cross: Queries come from `hidden`, keys and values from `encoder_outputs`.
        is_causal: A query sees keys at its own position and before. Not with `is_cross`.
        dropout_rate: On the attention weights while training, in [0, 1). Above 0 training leaves the
            fused kernel.

    Call arguments:
        hidden: float (B, T, D).
        encoder_outputs: float (B, S, D), with `is_cross` only.
        key_padding_mask: bool (B, S), True = may be attended; None = every key. (S = T without `is_cross`.)

    Returns:
        float (B, T, D), the dtype of `hidden`.

    Raises:
        ValueError: an argument breaks its rule, or D is no multiple of H.
    """

    def __init__(self, num_heads, is_cross=False, is_causal=False, dropout_rate=0.0, **kwargs):
        super().__init__(**kwargs)
        require_count("num_heads", num_heads)
        require_rate("dropout_rate", dropout_rate)
        if is_cross and is_causal:
            raise ValueError(
                "`is_causal` must be False with `is_cross`, got True. Source keys have no order."
            )
        self.num_heads = num_heads
        self.is_cross = is_cross
        self.is_causal = is_causal
        self.dropout_rate = dropout_rate
        self.dropout = Dropout(dropout_rate, dtype=self.dtype_policy, name="dropout")

    def build(self, hidden_shape):
        model_dim = hidden_shape[-1]
        if model_dim % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of `hidden` ({model_dim}), got {self.num_heads}. "
                "Choose a divisor."
            )
        if self.is_cross:
            self.query = self._projection("query", model_dim, model_dim)
            self.key_value = self._projection("key_value", model_dim, 2 * model_dim)
        else:
            self.query_key_value = self._projection("query_key_value", model_dim, 3 * model_dim)
        self.output_projection = self._projection("output", model_dim, model_dim)
        self.built = True

    def _projection(self, name, model_dim, units):
        # Each D x D block gets its own Glorot scale: a fused kernel's fan-out would shrink it.
        limit = (6.0 / (model_dim + model_dim)) ** 0.5
        dense = Dense(
            units,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            dtype=self.dtype_policy,
            name=name,
        )
        dense.build((None, None, model_dim))
        return dense

    def call(self, hidden, encoder_outputs=None, key_padding_mask=None, training=False):
        if self.is_cross:
            query = self.split_heads(self.query(hidden))
            keys, values = self.project_keys_values(encoder_outputs)
        else:
            query, keys, values = self.project_query_keys_values(hidden)
        mask = None if key_padding_mask is None else key_padding_mask[:, None, None, :]  # (B, 1, 1, S)
        return self.attend(query, keys, values, mask, self.is_causal, training)

    def split_heads(self, projected):
        """(B, T, n·D) → (B, T, n·H, K): head h takes columns h·K to (h+1)·K."""
        batch, length, width = ops.shape(projected)[0], ops.shape(projected)[1], projected.shape[-1]
        head_dim = self.output_projection.units // self.num_heads
        return ops.reshape(projected, (batch, length, width // head_dim, head_dim))

    def project_query_keys_values(self, hidden):
        """Self-attention's three (B, T, H, K) from `hidden` (B, T, D)."""
        heads = self.split_heads(self.query_key_value(hidden))  # (B, T, 3H, K)
        return ops.split(heads, 3, axis=2)  # one copy backward, where slices are three sums of padded arrays

    def project_keys_values(self, encoder_outputs):
        """Cross-attention's keys and values (B, S, H, K) from `encoder_outputs` (B, S, D)."""
        return ops.split(self.split_heads(self.key_value(encoder_outputs)), 2, axis=2)  # from (B, S, 2H, K)

    def attend(self, query, keys, values, mask, is_causal=False, training=False):
        """Mixed values after W^O: float (B, T, D).

        Args:
            query: (B, T, H, K).
            keys, values: (B, S, H, K).
            mask: bool, broadcast to (B, H, T, S), True = may attend; or None.
            is_causal: Also apply the causal rule (T = S).
            training: Whether dropout acts.
        """
        dropout = self.dropout if training and self.dropout_rate > 0 else None
        batch, length = ops.shape(query)[0], ops.shape(query)[1]
        if dropout is None and _has_fused_kernel(query):
            context = ops.dot_product_attention(
                query, keys, values, mask=mask, is_causal=is_causal, flash_attention=_flash(query, mask)
            )
            context = ops.cast(context, query.dtype)
        else:
            if is_causal:
                positions = ops.arange(length)
                causal = positions[None, :] <= positions[:, None]  # (T, T)
                mask = causal if mask is None else ops.logical_and(mask, causal)
            kept = None
            if dropout is not None:
                ones = ops.ones((batch, self.num_heads, length, ops.shape(keys)[1]))
                kept = dropout(ones, training=True)
            context = attend_in_two_products(query, keys, values, mask, kept)
        merged = ops.reshape(context, (batch, length, self.output_projection.units))  # (B, T, D)
        return self.output_projection(merged)

    def compute_output_shape(self, hidden_shape, encoder_outputs_shape=None):
        return hidden_shape

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "is_cross": self.is_cross,
            "is_causal": self.is_causal,
            "dropout_rate": self.dropout_rate,
        }


def _flash(query, mask):
    # Keras under JAX does not ask whether the flash kernel takes the mask or the length; on a GPU it takes no mask of
    # one query row and no odd length, and raises or logs the traceback. None lets Keras choose.
    if keras.config.backend() != "jax":
        return None
    length = query.shape[1]
    return None if mask is None and length is not None and length % 2 == 0 else False


def _has_fused_kernel(query):
    """Whether a kernel that never holds all weights is no slower than two products.

    A GPU's is not, nor is torch's on a CPU in float32; in half precision that one is three to five times slower
    (forward and backward, measured).
    """
    # A torch tensor tells its device without torch being named here.
    device = getattr(getattr(query, "device", None), "type", None)
    if device is None:
        return _computes_on_gpu()
    return device != "cpu" or keras.backend.standardize_dtype(query.dtype) == "float32"


@functools.cache
def _computes_on_gpu():
    return not keras.distribution.list_devices()[0].lower().startswith("cpu")

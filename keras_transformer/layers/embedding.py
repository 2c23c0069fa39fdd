"""Token embedding, tied three ways (section 3.4)."""

import math

import keras
from keras import ops

from keras_transformer.layers.arguments import require_count


@keras.saving.register_keras_serializable("keras_transformer")
class TokenEmbedding(keras.layers.Layer):
    """One table for source tokens, target tokens and the projection to logits.

    Vaswani et al. 2017, section 3.4: looked-up rows are multiplied by √D; the same table, transposed,
    is the pre-softmax projection, without a bias. Deviation: none.

    Args:
        vocabulary_size: Number of rows V, at least 1.
        model_dim: Width D, at least 1.

    Call arguments:
        inputs: Token ids, int (B, T), each in [0, V); with `reverse` float (B, T, D).
        reverse: Project on the vocabulary, as in KerasHub's `ReversibleEmbedding`.

    Returns:
        float (B, T, D); with `reverse` logits (B, T, V).

    Raises:
        ValueError: a size is below 1.
    """

    def __init__(self, vocabulary_size, model_dim, **kwargs):
        super().__init__(**kwargs)
        require_count("vocabulary_size", vocabulary_size)
        require_count("model_dim", model_dim)
        self.vocabulary_size = vocabulary_size
        self.model_dim = model_dim

    def build(self, inputs_shape=None):
        # D^-0.5, so that a scaled row has unit variance and the first logits are of order 1.
        self.table = self.add_weight(
            name="table",
            shape=(self.vocabulary_size, self.model_dim),
            initializer=keras.initializers.RandomNormal(stddev=self.model_dim**-0.5),
        )
        self.built = True

    def call(self, inputs, reverse=False):
        if reverse:
            return ops.matmul(inputs, ops.transpose(ops.cast(self.table, inputs.dtype)))
        rows = ops.take(self.table, inputs, axis=0)  # (B, T, D)
        return ops.cast(rows, self.compute_dtype) * math.sqrt(self.model_dim)

    def project(self, hidden):
        """Logits (B, T, V) from `hidden` (B, T, D)."""
        return self(hidden, reverse=True)

    def compute_output_spec(self, inputs, reverse=False):
        shape = (*inputs.shape[:-1], self.vocabulary_size) if reverse else (*inputs.shape, self.model_dim)
        return keras.KerasTensor(shape, dtype=inputs.dtype if reverse else self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "model_dim": self.model_dim,
        }

"""Sinusoidal positional encoding (section 3.5)."""

import keras
from keras import ops

from keras_transformer.layers.arguments import require_count
from keras_transformer.positions import sinusoidal_positions


@keras.saving.register_keras_serializable("keras_transformer")
class PositionalEncoding(keras.layers.Layer):
    """Adds the sine and cosine of each position to its embedding.

    Vaswani et al. 2017, section 3.5. Deviation: none. The table is a float32 constant, no weight; it is
    cast last, because bfloat16 positions would keep 385 of 512 distinct values.

    Args:
        max_length: Number of positions L in the table, at least 1.

    Call arguments:
        embedded: float (B, T, D), D even.
        position: int scalar, the position of the first of the T tokens (0 but for a decoding step).

    Returns:
        float (B, T, D), the dtype of `embedded`.

    Raises:
        ValueError: `max_length` is below 1, D is odd, or T is known and above `max_length`.
    """

    def __init__(self, max_length, **kwargs):
        super().__init__(**kwargs)
        require_count("max_length", max_length)
        self.max_length = max_length

    def build(self, embedded_shape):
        # NumPy, not a tensor: a tensor made while a graph is traced would belong to that graph.
        self.table = sinusoidal_positions(self.max_length, embedded_shape[-1])
        self.built = True

    def call(self, embedded, position=0):
        length = embedded.shape[1]
        if isinstance(length, int) and length > self.max_length:
            raise ValueError(
                f"`embedded` must have at most max_length = {self.max_length} positions, got {length}. "
                "Split the text or build the model with a larger max_length."
            )
        # Gathered by position: a slice by a symbolic length fails under tracing.
        positions = position + ops.arange(ops.shape(embedded)[1])  # (T,)
        encoding = ops.take(ops.convert_to_tensor(self.table, dtype="float32"), positions, axis=0)  # (T, D)
        return embedded + ops.cast(encoding, embedded.dtype)[None]

    def compute_output_shape(self, embedded_shape):
        return embedded_shape

    def get_config(self):
        return {**super().get_config(), "max_length": self.max_length}

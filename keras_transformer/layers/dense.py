"""A dense map over rows of values."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_transformer")
class Dense(keras.layers.Dense):
    """`keras.layers.Dense` that computes on a matrix of all tokens, (B·T, D).

    With two axes of tokens XLA on a CPU turns the gradient's factors round in memory before it multiplies, and
    computes them, and the residual stream that they hang on, once more for it: a seventh of a step under JAX.

    Args:
        units: Width of the output.
        use_bias, kernel_initializer: As in `keras.layers.Dense`.

    Call arguments:
        inputs: float (..., D).

    Returns:
        float (..., units).
    """

    def call(self, inputs, training=None):
        shape = ops.shape(inputs)
        rows = super().call(ops.reshape(inputs, (-1, inputs.shape[-1])), training=training)
        return ops.reshape(rows, (*shape[:-1], self.units))

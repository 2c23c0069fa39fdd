"""Dropout (section 5.4) from few random bits."""

import math

import keras
import numpy as np
from keras import ops

LEVELS = 2**16
VALUES_A_WORD = 4  # a draw of 64 bits decides four


@keras.saving.register_keras_serializable("keras_transformer")
class Dropout(keras.layers.Dropout):
    """Sets a share of the values to 0 and scales the others up by 1 / (1 - rate), while training.

    Srivastava et al. 2014. Deviation: the rate is a multiple of 2^-16, so that 16 random bits decide a value;
    `keras.layers.Dropout` draws 32 to 64 of them, which on a CPU is a tenth of a small model's step.

    Args:
        rate: Share of values set to 0, in [0, 1].
        noise_shape, seed: As of `keras.layers.Dropout`, which draws where values are dropped together.

    Call arguments:
        inputs: float, any shape.

    Returns:
        float, the shape and dtype of `inputs`.
    """

    def call(self, inputs, training=False):
        dropped = round(self.rate * LEVELS)
        if not training or not dropped:
            return inputs
        # torch tells its device without being named here. On its GPU a seed read by the host would stop the
        # device at each call; Keras leaves the draw to torch there.
        device = getattr(getattr(inputs, "device", None), "type", "cpu")
        in_words = inputs.shape[-1] is not None and inputs.shape[-1] % VALUES_A_WORD == 0
        if device != "cpu" or not in_words or self.noise_shape is not None or dropped == LEVELS:
            return super().call(inputs, training=True)
        shape = ops.shape(inputs)
        words = _words((*shape[:-1], shape[-1] // VALUES_A_WORD), self.seed_generator)
        draws = ops.reshape(ops.view(words, "int16"), shape)  # uniform on -2^15 .. 2^15 - 1
        # 1 from this draw on, else 0, by whole numbers: torch on a CPU takes twice as long to compare and to turn
        # the answers into floats.
        least = dropped - LEVELS // 2
        kept = ops.minimum(ops.maximum(draws, least - 1), least) - (least - 1)
        # A product, not a choice: torch's CPU kernel for `where` with a scalar is four times slower, both ways.
        return inputs * (ops.cast(kept, inputs.dtype) * (LEVELS / (LEVELS - dropped)))


def _words(shape, seed_generator):
    """Random words of 64 bits, as int64 or as two uint32."""
    if keras.config.backend() != "jax":
        # One of 64 bits costs torch as much as one of 32.
        return keras.random.randint(shape, -(2**63), 2**63 - 1, dtype="int64", seed=seed_generator)
    # JAX's own generator, which is fit for more than dropout, takes twenty rounds twice over for an integer: a
    # twelfth of a small model's step on a CPU. Here each word is a hash of its number and the seed.
    shape = (*shape[:-1], 2 * shape[-1])
    seed = ops.cast(seed_generator.next(), "uint32")  # (2,): the generator's seed and how often it was asked
    first = _mixed(seed[0] + _mixed(seed[1]))
    second = _mixed(ops.bitwise_xor(seed[1], _mixed(first)))
    numbers = ops.reshape(ops.arange(math.prod(shape), dtype="uint32"), shape)
    return _mixed(ops.bitwise_xor(_mixed(numbers + first), second))


def _mixed(words):
    """MurmurHash3's finaliser: a permutation of uint32 in which each bit in moves each bit out half of the time."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = ops.bitwise_xor(words, ops.right_shift(words, np.uint32(shift))) * np.uint32(factor)
    return ops.bitwise_xor(words, ops.right_shift(words, np.uint32(16)))

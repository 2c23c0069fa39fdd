"""The floor of a cell, worked out by hand."""

from dataclasses import replace

import pytest

from benchmarks.engine_peers.cells import Cell
from benchmarks.engine_peers.floor import Rates, floor_seconds
from keras_transformer.config import ModelConfig

CONFIG = ModelConfig(
    vocabulary_size=100,
    model_dim=10,
    feed_forward_dim=30,
    num_heads=5,
    num_encoder_layers=3,
    num_decoder_layers=2,
)
BLOCK = 4 * 100 + 2 * 300  # weights of self-attention and feed-forward
ENCODER = 3 * BLOCK + 2 * 200  # and the cross keys and values
DECODER = 2 * (BLOCK + 200) + 1000  # cross query and output, projection


def rates(bandwidth, speed):
    return Rates(lambda size: bandwidth, {"fp32": speed, "int8": 2 * speed})


def test_a_step_that_reads_is_bound_by_bytes():
    # One row of 2 tokens: two steps, each reads all weights, 2 cross positions and 1 or 2 of its own.
    seconds = floor_seconds(Cell("small", "fp32", 1, 1, 1), CONFIG, [2], rates(1e3, 1e30))
    position = 2 * 2 * 10 * 4
    assert seconds == pytest.approx((2 * DECODER * 4 + (2 + 1 + 2 + 2) * position) / 1e3)


def test_a_step_that_computes_is_bound_by_operations():
    # Rows of 3 and 1 tokens in one batch, beam 4: the encoder reads 4 tokens, the steps have 8, 4 and 4 rows.
    seconds = floor_seconds(Cell("small", "fp32", 8, 1, 4), CONFIG, [3, 1], rates(1e30, 1e3))
    assert seconds == pytest.approx((2 * ENCODER * 4 + 2 * DECODER * (8 + 4 + 4)) / 1e3)


def test_int8_reads_a_quarter_and_threads_share():
    fast = floor_seconds(Cell("small", "int8", 1, 2, 1), CONFIG, [1], rates(1e3, 1e30))
    assert fast == pytest.approx((DECODER + 2 * 160) / 1e3 / 2)


def test_wide_heads_keep_their_own_keys_and_values_in_a_byte_in_int8():
    wide = ModelConfig(
        vocabulary_size=8, model_dim=128, num_heads=2, feed_forward_dim=4, num_decoder_layers=1
    )
    both = [replace(wide, num_heads=heads) for heads in (2, 4)]
    seconds = [floor_seconds(Cell("small", "int8", 1, 1, 1), one, [3], rates(1e3, 1e30)) for one in both]
    saved = 2 * 128 * 3 * (1 + 2 + 3)  # keys and values, bytes of a number, positions of three steps
    assert seconds[1] - seconds[0] == pytest.approx(saved / 1e3)

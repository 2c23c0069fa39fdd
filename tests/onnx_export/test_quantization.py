"""Integers that stay exact, scales that come from real sentences only, and batch mates that do not matter."""

import numpy as np
import onnxruntime as ort
import pytest

from keras_transformer.onnx_export.builder import GraphBuilder
from keras_transformer.onnx_export.calibration import calibrate
from keras_transformer.onnx_export.quantization import (
    ACTIVATION_LEVELS,
    WEIGHT_LEVELS,
    activation_scale,
    quantize_columns,
)
from keras_transformer.onnx_export.verify import _log_softmax
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from tests.onnx_export import runs
from tests.reference import transformer as oracle

WIDE = {"model_dim": 128, "num_heads": 2}  # heads of 64: caches in 8 bits


def test_two_products_fit_16_bits():
    assert 2 * ACTIVATION_LEVELS * WEIGHT_LEVELS <= 2**15 - 1
    kernel = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    assert np.abs(quantize_columns(kernel).values).max() <= WEIGHT_LEVELS


def test_each_column_has_its_own_scale():
    kernel = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    kernel[:, 1] *= 1000
    kernel[:, 2] = 0
    values, scales = quantize_columns(kernel)
    assert scales.shape == (3,)
    # Half a step of rounding, and the float32 division's own.
    assert (np.abs(values * scales - kernel) <= 0.5001 * scales).all()
    np.testing.assert_array_equal(np.abs(values).max(axis=0), [WEIGHT_LEVELS, WEIGHT_LEVELS, 0])
    alone = quantize_columns(kernel[:, :1])
    np.testing.assert_array_equal(alone.values[:, 0], values[:, 0])


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.2, 5.0), (2.0, 3.0), (-4.0, -3.0)])
def test_an_activation_comes_back_within_half_a_step(low, high):
    x = np.random.default_rng(0).uniform(low, high, 5000).astype(np.float32)
    scale, zero_point = activation_scale(x)
    rounded = np.clip(np.rint(x / scale) + zero_point, 0, ACTIVATION_LEVELS)
    step = (max(high, 0.0) - min(low, 0.0)) / ACTIVATION_LEVELS
    # Evenly spread values gain nothing from clipping beyond a step or two at the ends.
    assert np.abs((rounded - zero_point) * scale - x).mean() < 0.5 * step


def test_after_a_relu_the_zero_point_is_zero():
    x = np.maximum(np.random.default_rng(0).standard_normal(999), 0).astype(np.float32)
    assert activation_scale(x).zero_point == 0


def test_what_is_always_zero_gets_a_scale_all_the_same():
    assert activation_scale(np.zeros(5, np.float32)) == (1.0, 0)


def test_padding_is_not_measured():
    config = runs.config()
    weights = runs.weights_of(config)
    source, target = runs.rows_of(config, (7, 3), 1), runs.rows_of(config, (2, 5), 2)
    wide = [np.pad(ids, ((0, 0), (0, 4)), constant_values=config.pad_id) for ids in (source, target)]
    expected, got = calibrate(config, weights, source, target), calibrate(config, weights, *wide)
    assert got.inputs == expected.inputs
    np.testing.assert_array_equal(got.caches, expected.caches)


def test_every_linear_map_is_measured():
    config = runs.config()
    scales = calibrate(
        config, runs.weights_of(config), runs.rows_of(config, (5,)), runs.rows_of(config, (4,))
    )
    # 4 maps an encoder layer, 6 a decoder layer, cross keys and values of all layers in one, the projection.
    assert len(scales.inputs) == 4 * config.num_encoder_layers + 6 * config.num_decoder_layers + 2


def test_the_largest_key_and_value_of_every_column_is_measured(open_engine):
    config = runs.config(**WIDE)
    weights = runs.weights_of(config)
    source, target = runs.rows_of(config, (7,), 1), runs.rows_of(config, (6,), 2)
    state = open_engine(config, weights).start(list(source), 6)
    state.feed(target)
    caches = [state._past.numpy(part)[0, :, :6] for part in range(2 * config.num_decoder_layers)]  # (H, T, K)
    expected = [np.abs(cache).max(axis=1).ravel() for cache in caches]
    largest = calibrate(config, weights, source, target).caches
    np.testing.assert_allclose(largest, expected, rtol=1e-5)
    assert len(np.unique(largest)) == largest.size


@pytest.mark.parametrize("head_dim", [6, 64])
def test_keys_and_values_of_wide_heads_are_cached_in_8_bits(open_engine, head_dim):
    config = runs.config(**(WIDE if head_dim == 64 else {}))
    weights = runs.weights_of(config)
    source, target = runs.rows_of(config, (7, 7), 1), runs.rows_of(config, (6, 6), 2)
    caches = []
    for precision in ("fp32", "int8"):
        engine = open_engine(config, weights, precision)
        state = engine.start(list(source), 6)
        state.feed(target)
        caches.append(state._past.numpy(0)[:, :, :6])  # of the first layer, (R, H, T, K)
    floats, cached = caches
    assert cached.dtype == engine.cache_dtype == (np.int8 if head_dim == 64 else np.float32)
    if head_dim == 64:
        arrays = runs.reference_arrays(config, weights)
        pairs = (arrays[f"calibration/{side}_ids"] for side in ("source", "target_input"))
        scales = calibrate(config, weights, *pairs).caches[0].reshape(2, 1, 64) / 127
        assert np.abs(cached).max() == 127
        error = np.abs(cached * scales - np.clip(floats, -127 * scales, 127 * scales))
        assert error.mean() < 0.05 * np.abs(floats).mean()  # the product's roundings are in it


@pytest.mark.parametrize("beam_size", [1, 3], ids=["greedy", "beam"])
def test_a_batch_over_caches_in_8_bits_changes_no_translation(open_engine, beam_size):
    """Rows leave, are copied, and their caches grow."""
    config = runs.config(**WIDE)
    engine = open_engine(config, runs.weights_of(config), "int8")
    sources = [
        row[row != config.pad_id]
        for row in runs.rows_of(config, [1 + row % 11 for row in range(24)], 3, last=config.eos_id)
    ]
    found = {}

    def translate(rows):
        outputs = {}
        Scheduler(engine, engine.manifest).run(
            [sources[row] for row in rows],
            SearchOptions(beam_size),
            lambda ended: outputs.__setitem__(rows[ended.row], ended.hypotheses[0].tokens.tolist()),
        )
        return outputs

    together = translate(list(range(24)))
    for row in range(24):
        found |= translate([row])
    assert found == together
    assert len({len(tokens) for tokens in found.values()}) > 3


@pytest.mark.parametrize("sizes", [{}, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_int8_says_about_the_same_as_the_oracle(open_engine, activation, sizes):
    config = runs.config(activation=activation, **sizes)
    weights = runs.weights_of(config)
    source, target = runs.rows_of(config, (7, 7), 1), runs.rows_of(config, (6, 6), 2)
    logits = open_engine(config, weights, "int8").start(list(source)).feed(target)
    expected = _log_softmax(oracle.logits(weights, config, source, target))
    got = _log_softmax(logits.astype(np.float64))
    divergence = (np.exp(expected) * (expected - got)).sum(axis=-1).mean()
    # 30 wide behind sharp attention, so little averages out; 256 wide and trained: 0.001 (measured).
    assert 1e-4 < divergence < 0.15


@pytest.mark.parametrize("sizes", [{}, WIDE], ids=["narrow", "wide"])
def test_batch_mates_change_no_bit(open_engine, sizes):
    config = runs.config(**sizes)
    engine = open_engine(config, runs.weights_of(config), "int8")
    rows = [row[row != config.pad_id] for row in runs.rows_of(config, (3, 17, 1, 8, 12), 5)]
    target = runs.rows_of(config, (9,) * len(rows), 6, first=config.bos_id)
    together = _steps(engine.start(rows), target)
    for index, row in enumerate(rows):
        alone = _steps(engine.start([row]), target[index : index + 1])
        np.testing.assert_array_equal(together[index], alone[0])


def _steps(state, target):
    return np.stack([state(target[:, t], t).copy() for t in range(target.shape[1])], axis=1)


def saturating_product(left, right):
    """(1, K) uint8 · (K, N) int8 as AVX2 has it: sums of two products each, cut to 16 bits, then added up."""
    pairs = left.astype(np.int64)[0, :, None] * right.astype(np.int64)
    pairs = pairs[0::2] + pairs[1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=0)


def test_weights_of_7_bits_do_not_saturate_on_avx2():
    """The worst case, with onnxruntime's own product beside it; 8 bits fail it, so the model of AVX2 bites."""
    kernel = np.repeat(np.array([[1.0, -1.0]], np.float32), 64, axis=0)
    activations = np.full((1, 64), ACTIVATION_LEVELS, np.uint8)
    values = quantize_columns(kernel).values
    exact = activations.astype(np.int64) @ values.astype(np.int64)
    np.testing.assert_array_equal(saturating_product(activations, values), exact[0])
    session = ort.InferenceSession(_product_graph(values), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"left": activations})[0], exact)
    eight_bits = quantize_columns(kernel, 127).values
    assert (
        saturating_product(activations, eight_bits)
        != (activations.astype(np.int64) @ eight_bits.astype(np.int64))[0]
    ).all()


def test_no_kernel_of_a_model_saturates_on_avx2():
    generator = np.random.default_rng(3)
    for name, kernel in runs.weights_of(runs.config()).items():
        if name.endswith("kernel"):
            values = quantize_columns(kernel).values
            left = generator.integers(0, 256, (1, len(values))).astype(np.uint8)
            exact = left.astype(np.int64) @ values.astype(np.int64)
            np.testing.assert_array_equal(saturating_product(left, values), exact[0])


def _product_graph(values):
    graph = GraphBuilder("product")
    graph.input("left", np.uint8, [1, len(values)])
    graph.nodes("MatMulInteger", ["left", graph.constant("right", values)], ["y"])
    graph.output("y", np.int32, [1, values.shape[1]])
    return graph.build().SerializeToString()

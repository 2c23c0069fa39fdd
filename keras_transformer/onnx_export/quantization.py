"""Static int8: 8-bit activations with scales fixed at export, 7-bit weights with a scale for each column.

Weights lie in [-63, 63]: on AVX2 an unsigned × signed product of two pairs is summed in 16 bits, and
2 · 255 · 63 = 32130 still fits, so that the sums are exact on every processor. Activation scales come
from real sentences, not from the batch at hand: what shares a batch with a sentence cannot change its
translation. The embedding table is stored once and read by both the embedding and the projection.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.builder import CONTRIB, GraphBuilder
from keras_transformer.onnx_export.graph import (
    PROJECTION,
    FloatMaps,
    TransformerGraphs,
    Weights,
    padded_head_dim,
)
from keras_transformer.runtime import bundle as names

WEIGHT_LEVELS = 63  # 7 bits: exact on AVX2
TABLE_LEVELS = 127  # of the encoder's table, which no product reads
ACTIVATION_LEVELS = 255
_SAMPLES = 100_000  # values of one activation that are looked at; a scale is one number


class Quantized(NamedTuple):
    """Integers and the scales that give the floats back: values · scales."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


class ActivationScale(NamedTuple):
    """x ≈ scale · (q - zero_point), q in 0 … 255."""

    scale: np.float32
    zero_point: np.uint8


def quantize_columns(kernel: NDArray[np.float32], levels: int = WEIGHT_LEVELS) -> Quantized:
    """kernel (in, out) as int8 in [-levels, levels], with one scale a column (out).

    The largest weight of a column sets its scale: clipping it gains nothing at 63 levels (measured).
    """
    largest = np.abs(kernel).max(axis=0)
    scales = np.where(largest > 0, largest / levels, 1.0).astype(np.float32)  # (out)
    return Quantized(np.clip(np.rint(kernel / scales), -levels, levels).astype(np.int8), scales)


def activation_scale(values: NDArray[np.float32]) -> ActivationScale:
    """The scale and zero point with the smallest squared error on `values` (any shape).

    Zero is always represented exactly, so that a ReLU may be left to the rounding's lower bound.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if high - low <= 0:
        return ActivationScale(np.float32(1.0), np.uint8(0))
    sample = values.ravel()
    sample = sample[:: max(1, sample.size // _SAMPLES)].astype(np.float64)
    best: tuple[float, ActivationScale] | None = None
    for share in np.linspace(1.0, 0.3, 36):
        scale = np.float32((high - low) * share / ACTIVATION_LEVELS)
        zero_point = np.clip(np.rint(-low * share / scale), 0, ACTIVATION_LEVELS)
        rounded = np.clip(np.rint(sample / scale) + zero_point, 0, ACTIVATION_LEVELS)
        error = float(np.square((rounded - zero_point) * scale - sample).sum())
        if best is None or error < best[0]:
            best = error, ActivationScale(scale, np.uint8(zero_point))
    assert best is not None
    return best[1]


class Int8Maps:
    """Linear maps, embedding and projection in integers; everything else stays float32.

    Args:
        scales: Of the input of each linear map, by its name (`calibrate`).
    """

    def __init__(self, scales: Mapping[str, ActivationScale]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._scales = scales

    def linear(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        weight = quantize_columns(kernel)
        stored = graph.constant(f"{name}/kernel", weight.values)
        return self._product(graph, x, name, stored, weight.scales, bias)

    def activate(self, graph: GraphBuilder, x: str, activation: str) -> str:
        if activation == "relu":
            return x  # its input's zero point is 0: rounding to 0 … 255 cuts off what is negative
        return graph.node("Gelu", [x], approximate="none")

    def embed(self, graph: GraphBuilder, ids: str, table: NDArray[np.float32], *, shared: bool) -> str:
        rows = quantize_columns(table.T, WEIGHT_LEVELS if shared else TABLE_LEVELS)
        stored = graph.constant("embedding/table", rows.values.T)  # (V, D)
        scales = rows.scales[:, None] * np.float32(math.sqrt(table.shape[1]))  # (V, 1), √D folded
        integers = graph.node("Gather", [stored, ids], axis=0)  # (B, T, D)
        floats = graph.node("Cast", [integers], to=onnx.TensorProto.FLOAT)
        scale = graph.node(
            "Gather", [graph.constant("embedding/row_scales", scales), ids], axis=0
        )  # (B, T, 1)
        return graph.node("Mul", [floats, scale])

    def project(self, graph: GraphBuilder, x: str, table: NDArray[np.float32]) -> str:
        rows = quantize_columns(table.T)
        stored = graph.constant("embedding/table", rows.values.T)  # (V, D), the one that `embed` reads
        turned = graph.node("Transpose", [stored], perm=[1, 0])  # folded when the session opens
        return self._product(graph, x, PROJECTION, turned, rows.scales, None)

    def _product(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        weight: str,
        weight_scales: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        scale, zero_point = self._scales[name]
        x_scale = graph.constant(f"{name}/input_scale", np.array(scale, np.float32))
        x_zero = graph.constant(f"{name}/input_zero_point", np.array(zero_point, np.uint8))
        rounded = graph.node("QuantizeLinear", [x, x_scale, x_zero])
        inputs = [rounded, weight, x_scale, graph.constant(f"{name}/scales", weight_scales), x_zero]
        if bias is not None:
            inputs += ["", graph.constant(f"{name}/bias", bias)]
        return graph.node("MatMulIntegerToFloat", inputs, domain=CONTRIB)


def calibrate(
    config: ModelConfig,
    weights: Weights,
    source_ids: NDArray[np.integer[Any]],
    target_input_ids: NDArray[np.integer[Any]],
) -> dict[str, ActivationScale]:
    """Scales of the input of every linear map, from sentences run through the float32 graphs.

    Args:
        config, weights: The model.
        source_ids, target_input_ids: (N, S) and (N, T), right padded with `config.pad_id`; run one pair
            at a time, so that no padding is measured.
    """
    maps = FloatMaps()
    graphs = TransformerGraphs(config, weights, maps)
    encoder, encoder_taps = _tapped(graphs.encoder(), maps)
    decoder, decoder_taps = _tapped(graphs.decoder(), maps)
    seen: dict[str, list[NDArray[np.float32]]] = {}
    cross = [
        name(i) for i in range(config.num_decoder_layers) for name in (names.cross_key, names.cross_value)
    ]
    for source, target in _pairs(config, source_ids, target_input_ids):
        lengths = np.array([source.shape[1]], np.int32)
        keys_values = _run(
            encoder, {names.SOURCE_IDS: source, names.SOURCE_LENGTHS: lengths}, encoder_taps, cross, seen
        )
        _run(
            decoder,
            _decoder_feeds(config, source, target, dict(zip(cross, keys_values, strict=True))),
            decoder_taps,
            [],
            seen,
        )
    return {
        name: activation_scale(np.concatenate([a.ravel() for a in arrays])) for name, arrays in seen.items()
    }


def _tapped(model: onnx.ModelProto, maps: FloatMaps) -> tuple[ort.InferenceSession, dict[str, str]]:
    """A session over `model` that also gives out the input of each linear map, by the map's name."""
    taps = dict(maps.linear_inputs)
    maps.linear_inputs.clear()
    known = {output.name for output in model.graph.output}
    for tensor in sorted(set(taps.values()) - known):
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # keep the tensors
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), taps


def _run(
    session: ort.InferenceSession,
    feeds: dict[str, NDArray[Any]],
    taps: Mapping[str, str],
    wanted: Sequence[str],
    seen: dict[str, list[NDArray[np.float32]]],
) -> list[NDArray[np.float32]]:
    """Run once, note down every tapped tensor in `seen`, return the outputs in `wanted`."""
    outputs = session.run([*wanted, *taps.values()], feeds)
    for name, array in zip(taps, outputs[len(wanted) :], strict=True):
        seen.setdefault(name, []).append(array)
    return list(outputs[: len(wanted)])


def _pairs(
    config: ModelConfig, source_ids: NDArray[np.integer[Any]], target_input_ids: NDArray[np.integer[Any]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for source, target in zip(source_ids, target_input_ids, strict=True):
        yield _real(source, config.pad_id), _real(target, config.pad_id)


def _real(ids: NDArray[np.integer[Any]], pad_id: int) -> NDArray[np.int64]:
    return np.asarray(ids[ids != pad_id][None], np.int64)  # (1, length)


def _decoder_feeds(
    config: ModelConfig,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    cross: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[Any]]:
    """One whole target in one call, over caches of its own length."""
    length = target.shape[1]
    empty = np.zeros((1, config.num_heads, length, padded_head_dim(config.head_dim)), np.float32)
    pasts = [name(i) for i in range(config.num_decoder_layers) for name in (names.past_key, names.past_value)]
    return {
        names.TOKEN_IDS: target,
        names.POSITION_IDS: np.arange(length, dtype=np.int64),
        names.LAST_POSITIONS: np.array([length - 1], np.int32),
        names.TOTAL_LENGTH: np.array([length], np.int32),
        names.SOURCE_PADDING_MASK: np.ones(source.shape, np.int32),
        **cross,
        **dict.fromkeys(pasts, empty),
    }

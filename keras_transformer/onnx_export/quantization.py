"""Static int8: 8-bit activations with scales fixed at export, 7-bit weights with a scale for each column.

Weights lie in [-63, 63]: on AVX2 an unsigned × signed product of two pairs is summed in 16 bits, and
2 · 255 · 63 = 32130 still fits, so that the sums are exact on every processor. Activation scales come
from real sentences, not from the batch at hand: what shares a batch with a sentence cannot change its
translation. The embedding table is stored once and read by both the embedding and the projection. Wide heads
keep self-attention's keys and values in 8 bits.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from keras_transformer.onnx_export.builder import CONTRIB, GraphBuilder
from keras_transformer.onnx_export.maps import PROJECTION, Maps, projected_rows
from keras_transformer.runtime import names

WEIGHT_LEVELS = 63  # 7 bits: exact on AVX2
TABLE_LEVELS = 127  # of the encoder's table, which no product reads
ACTIVATION_LEVELS = 255
CACHE_LEVELS = 127
LEAST_CACHE_HEAD_DIM = 64  # of caches in 8 bits: narrower heads are no faster for it (measured)
_SAMPLES = 100_000  # values of one activation that are looked at; a scale is one number


class Quantized(NamedTuple):
    """Integers and the scales that give the floats back: values · scales."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]


class ActivationScale(NamedTuple):
    """x ≈ scale · (q - zero_point), q in 0 … 255."""

    scale: np.float32
    zero_point: np.uint8


class Calibration(NamedTuple):
    """What integers must know of activations.

    Attributes:
        inputs: Of each linear map, by its name.
        caches: float32 (2·layers, H·K), the largest key and value of each column, in the order of `past_names`.
    """

    inputs: Mapping[str, ActivationScale]
    caches: NDArray[np.float32]


def quantize_columns(kernel: NDArray[np.float32], levels: int = WEIGHT_LEVELS) -> Quantized:
    """kernel (in, out) as int8 in [-levels, levels], with one scale a column (out).

    The largest weight of a column sets its scale: clipping it gains nothing at 63 levels (measured).
    """
    scales = _scales(np.abs(kernel).max(axis=0), levels)  # (out)
    return Quantized(np.clip(np.rint(kernel / scales), -levels, levels).astype(np.int8), scales)


def _scales(largest: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Of values of which the largest is to be the last level; 1 where all are zero."""
    return np.where(largest > 0, largest / levels, 1.0).astype(np.float32)


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


# Kinds of linear maps, by what their names hold; "projection" is the embedding's table in all its uses.
KINDS = ("self_attention", "cross_attention", "feed_forward", PROJECTION)


class Int8Maps:
    """Linear maps, embedding and projection in integers; everything else stays float32.

    Args:
        calibration: From `calibrate`.
        in_floats: How the maps of `float_kinds` are computed.
        float_kinds: Those of `KINDS` that lose too much in integers.
    """

    def __init__(
        self,
        calibration: Calibration,
        in_floats: Maps | None = None,
        float_kinds: Collection[str] = (),
    ) -> None:
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self._calibration = calibration
        self._floats = {kind: in_floats for kind in float_kinds if in_floats is not None}

    def linear(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        for kind, floats in self._floats.items():
            if kind in name:
                return floats.linear(graph, x, name, kernel, bias)
        weight = quantize_columns(kernel)
        stored = graph.constant(f"{name}/kernel", weight.values)
        return self._product(graph, x, name, stored, weight.scales, bias)

    def activate(self, graph: GraphBuilder, x: str, activation: str) -> str:
        if "feed_forward" in self._floats:
            return self._floats["feed_forward"].activate(graph, x, activation)
        if activation == "relu":
            return x  # its input's zero point is 0: rounding to 0 … 255 cuts off what is negative
        return graph.node("Gelu", [x], approximate="none")

    def cache_scales(
        self, layer: int, head_dim: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        if head_dim < LEAST_CACHE_HEAD_DIM or "self_attention" in self._floats:
            return None
        largest = self._calibration.caches[2 * layer : 2 * layer + 2]  # keys, values: (2, H·K)
        keys, values = _scales(largest, CACHE_LEVELS)
        return keys, values

    def embed(self, graph: GraphBuilder, ids: str, table: NDArray[np.float32], *, shared: bool) -> str:
        if PROJECTION in self._floats:
            return self._floats[PROJECTION].embed(graph, ids, table, shared=shared)
        rows = quantize_columns(table.T, WEIGHT_LEVELS if shared else TABLE_LEVELS)
        stored = graph.constant(names.TABLE, rows.values.T)  # (V, D)
        scales = rows.scales[:, None] * np.float32(math.sqrt(table.shape[1]))  # (V, 1), √D folded
        integers = graph.node("Gather", [stored, ids], axis=0)  # (B, T, D)
        floats = graph.node("Cast", [integers], to=onnx.TensorProto.FLOAT)
        scale = graph.node(
            "Gather", [graph.constant("embedding/row_scales", scales), ids], axis=0
        )  # (B, T, 1)
        return graph.node("Mul", [floats, scale])

    def project(self, graph: GraphBuilder, x: str, table: NDArray[np.float32]) -> None:
        if PROJECTION in self._floats:
            self._floats[PROJECTION].project(graph, x, table)
            return
        rows = quantize_columns(table.T)
        stored = graph.constant(names.TABLE, rows.values.T)  # (V, D), the one that `embed` reads
        x = projected_rows(graph, x)
        turned = graph.node("Transpose", [stored], perm=[1, 0])  # folded when the session opens
        graph.nodes(
            "Identity", [self._product(graph, x, PROJECTION, turned, rows.scales, None)], [names.LOGITS]
        )
        graph.output(names.LOGITS, np.float32, ["rows", "target", len(table)])

    def _product(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        weight: str,
        weight_scales: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        scale, zero_point = self._calibration.inputs[name]
        x_scale = graph.constant(f"{name}/input_scale", np.array(scale, np.float32))
        x_zero = graph.constant(f"{name}/input_zero_point", np.array(zero_point, np.uint8))
        rounded = graph.node("QuantizeLinear", [x, x_scale, x_zero])
        inputs = [rounded, weight, x_scale, graph.constant(f"{name}/scales", weight_scales), x_zero]
        if bias is not None:
            inputs += ["", graph.constant(f"{name}/bias", bias)]
        return graph.node("MatMulIntegerToFloat", inputs, domain=CONTRIB)

"""Matrix products in float32 or float16."""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from keras_transformer.onnx_export.builder import CONTRIB, GraphBuilder
from keras_transformer.onnx_export.maps import PROJECTION, projected_rows
from keras_transformer.onnx_export.quantization import quantize_columns
from keras_transformer.runtime import names
from keras_transformer.runtime.screen import LEVELS, ZERO

_SMALLEST = 1e-30  # a row of zeros is divided by this


class FloatMaps:
    """Matrix products in float32 or float16.

    Attributes:
        linear_inputs: Name of each linear map -> name of its input tensor, for calibration.
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.linear_inputs: dict[str, str] = {}

    def linear(
        self,
        graph: GraphBuilder,
        x: str,
        name: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32] | None,
    ) -> str:
        self.linear_inputs[name] = x
        y = graph.node("MatMul", [x, graph.constant(f"{name}/kernel", kernel.astype(self.dtype))])
        if bias is None:
            return y
        return graph.node("Add", [y, graph.constant(f"{name}/bias", bias.astype(self.dtype))])

    def activate(self, graph: GraphBuilder, x: str, activation: str) -> str:
        if activation == "relu":
            return graph.node("Relu", [x])
        return graph.node("Gelu", [x], approximate="none")

    def cache_scales(self, layer: int, head_dim: int) -> None:
        return None

    def embed(self, graph: GraphBuilder, ids: str, table: NDArray[np.float32], *, shared: bool) -> str:
        scale = np.array(math.sqrt(table.shape[1]), self.dtype)
        rows = graph.node("Gather", [self._table(graph, table), ids], axis=0)  # (B, T, D)
        return graph.node("Mul", [rows, graph.constant("embedding/scale", scale)])

    def project(self, graph: GraphBuilder, x: str, table: NDArray[np.float32]) -> None:
        self.linear_inputs[PROJECTION] = x
        graph.output(names.LOGITS, np.float32, ["rows", "target", len(table)])
        if self.dtype != np.float32:
            logits = graph.node("FusedMatMul", [x, self._table(graph, table)], domain=CONTRIB, transB=1)
            graph.nodes("Cast", [logits], [names.LOGITS], to=onnx.TensorProto.FLOAT)
            # On a GPU a step hands out a number a row and not its logits.
            graph.nodes("ArgMax", [logits], [names.LIKELIEST], axis=-1, keepdims=0)
            graph.output(names.LIKELIEST, np.int64, ["rows", "target"])
            axis = graph.constant("last_axis", np.array([-1]))
            largest = graph.node("ReduceMax", [logits, axis], keepdims=0)
            graph.nodes("Cast", [largest], [names.LARGEST], to=onnx.TensorProto.FLOAT)
            graph.output(names.LARGEST, np.float32, ["rows", "target"])
            return
        x = projected_rows(graph, x)
        # An input with a default, so that onnxruntime keeps no packed copy for itself.
        graph.input(self._table(graph, table), np.float32, list(table.shape))
        whole = graph.input(names.WHOLE_LOGITS, np.bool_, [])
        empty = graph.constant("empty", np.zeros((0, 0, 0), np.float32))
        no_bytes = graph.constant("no_bytes", np.zeros((0, 0, 0), np.uint8))

        def logits_alone() -> list[str]:
            nothing = [graph.node("Identity", [name]) for name in (empty, empty, no_bytes)]
            return [_product(graph, x, names.TABLE, len(table)), *nothing]

        def screen() -> list[str]:
            return [graph.node("Identity", [empty]), *_screen(graph, x, table)]

        outputs = [names.LOGITS, names.SCREENED_LOGITS, names.SCREEN_UNITS, names.ROUNDED_HIDDEN]
        dtypes = [np.float32, np.float32, np.float32, np.uint8]
        graph.choose(whole, outputs, dtypes, logits_alone, screen)
        widths = (len(table), 1, table.shape[1])
        for name, dtype, width in zip(outputs[1:], dtypes[1:], widths, strict=True):
            graph.output(name, dtype, ["rows", "target", width])

    def _table(self, graph: GraphBuilder, table: NDArray[np.float32]) -> str:
        return graph.constant(names.TABLE, table.astype(self.dtype))  # (V, D), once for both uses


def _product(graph: GraphBuilder, x: str, table: str, vocabulary_size: int) -> str:
    """x (R, T, D) · tableᵀ (R, T, V), as the number of tokens has it fastest.

    For 2 to 64 tokens the table is the left operand: it is read once from end to end, as it lies in memory
    (1.4 to 3 times faster than the other way round, at 32,000 x 512 on one core with AVX-512).
    """
    shape = graph.node("Shape", [x])
    rows_target = graph.node(
        "Slice", [shape, graph.constant("0", np.array([0])), graph.constant("2", np.array([2]))]
    )  # R, T
    tokens = graph.node("ReduceProd", [rows_target], keepdims=1)
    few = graph.node(
        "And",
        [
            graph.node("Greater", [tokens, graph.constant("1", np.array([1]))]),
            graph.node("Less", [tokens, graph.constant("65", np.array([65]))]),
        ],
    )

    def table_first() -> list[str]:
        width = graph.constant("-1", np.array([-1]))
        last = graph.node(
            "Slice", [shape, graph.constant("2", np.array([2])), graph.constant("3", np.array([3]))]
        )
        flat = graph.node("Reshape", [x, graph.node("Concat", [width, last], axis=0)])  # (R*T, D)
        turned = graph.node("FusedMatMul", [table, flat], domain=CONTRIB, transB=1)  # (V, R*T)
        size = graph.constant("vocabulary_size", np.array([vocabulary_size]))
        turned = graph.node("Reshape", [turned, graph.node("Concat", [size, rows_target], axis=0)])
        return [graph.node("Transpose", [turned], perm=[1, 2, 0])]  # (R, T, V)

    def tokens_first() -> list[str]:
        return [graph.node("FusedMatMul", [x, table], domain=CONTRIB, transB=1)]

    return graph.choose(few, ["projection/product"], [np.float32], table_first, tokens_first)[0]


def _screen(graph: GraphBuilder, x: str, table: NDArray[np.float32]) -> list[str]:
    """An estimate of x · tableᵀ in integers, the unit of each row of it, and the integers of x.

    A row is rounded in steps of its own largest value: what shares a batch with it changes nothing. The norms
    for the estimate's error go into the file.
    """
    weight = quantize_columns(table.T)  # (D, V)
    rounded_table = weight.values.astype(np.float32) * weight.scales
    norms = np.stack([np.linalg.norm(rounded_table, axis=0), np.linalg.norm(rounded_table - table.T, axis=0)])
    # Rounded up: these are bounds.
    graph.constant(names.SCREEN_NORMS, np.nextafter(norms.astype(np.float32) * np.float32(1.0001), np.inf))
    axis = graph.constant("projection/width_axis", np.array([-1]))
    largest = graph.node("ReduceMax", [graph.node("Abs", [x]), axis], keepdims=1)  # (R, T, 1)
    smallest = graph.constant("projection/smallest", np.array(_SMALLEST, np.float32))
    unit = graph.node("Max", [largest, smallest])
    step = graph.constant("projection/screen_step", np.array(1.0 / LEVELS, np.float32))
    zero = graph.constant("projection/screen_zero", np.array(ZERO, np.uint8))
    rounded = graph.node("QuantizeLinear", [graph.node("Div", [x, unit]), step, zero])
    inputs = [
        rounded,
        graph.constant("projection/screen", weight.values),
        step,
        graph.constant("projection/screen_scales", weight.scales),
        zero,
    ]
    return [graph.node("MatMulIntegerToFloat", inputs, domain=CONTRIB), unit, rounded]

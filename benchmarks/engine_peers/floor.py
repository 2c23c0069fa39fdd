"""The physical limit beside a measurement: what must be read and computed, at rates measured on this machine.

A step of B rows reads every decoder weight once and the caches of its rows, and computes 2 operations a
weight and row; whichever takes longer at the measured rates is the floor of that step. The encoder's floor is
its operations alone. Threads are taken to multiply both rates. Nothing else is counted: no attention scores,
norms, soft-max, search or text work.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benchmarks.engine_peers.cells import FILE, Cell
from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.quantization import LEAST_CACHE_HEAD_DIM
from keras_transformer.runtime.manifest import padded_head_dim

FLOAT_BYTES = 4
WEIGHT_BYTES = {"fp32": 4, "int8": 1}
GEMM_SHAPE = (512, 512, 2048)  # rows, in, out: large enough to be the best a kernel does
FILE_BATCH = 32


@dataclass(frozen=True)
class Rates:
    """Of one core: copied bytes a second (read and written), by size; operations a second by precision."""

    copy: Callable[[int], float]
    operations: dict[str, float]


def measure_rates() -> Rates:
    """Measure this machine, one thread; a second or two."""
    seen: dict[int, float] = {}

    def copy(size: int) -> float:
        rounded = 1 << (size - 1).bit_length()
        if rounded not in seen:
            source, target = np.ones(rounded // 2, np.uint8), np.empty(rounded // 2, np.uint8)
            seen[rounded] = rounded / _best_seconds(lambda: np.copyto(target, source))
        return seen[rounded]

    rows, inner, outer = GEMM_SHAPE
    operations = {
        precision: 2.0 * rows * inner * outer / _best_seconds(_product(precision))
        for precision in WEIGHT_BYTES
    }
    return Rates(copy, operations)


def floor_seconds(cell: Cell, config: ModelConfig, lengths: Sequence[int], rates: Rates) -> float:
    """Least seconds for sentences of `lengths` tokens, EOS counted, with outputs of the same lengths."""
    width, inner = config.model_dim, config.feed_forward_dim
    block = 4 * width * width + 2 * width * inner  # self-attention and feed-forward
    encoder = config.num_encoder_layers * block + config.num_decoder_layers * 2 * width * width
    decoder = config.num_decoder_layers * (block + 2 * width * width) + config.vocabulary_size * width
    rate = rates.operations[cell.precision] * cell.threads
    weight_bytes = decoder * WEIGHT_BYTES[cell.precision]
    position_values = 2 * config.num_decoder_layers * width
    in_integers = cell.precision == "int8" and padded_head_dim(config.head_dim) >= LEAST_CACHE_HEAD_DIM
    own_bytes = position_values * (1 if in_integers else FLOAT_BYTES)
    batch = cell.batch or FILE_BATCH
    rows = sorted(lengths) if cell.batch == FILE else list(lengths)
    seconds = 0.0
    for start in range(0, len(rows), batch):
        some = np.array(rows[start : start + batch])
        seconds += 2.0 * encoder * some.sum() / rate
        for step in range(int(some.max())):
            alive = some[some > step]
            cached = int(
                (alive * position_values * FLOAT_BYTES + cell.beam_size * (step + 1) * own_bytes).sum()
            )
            read = (weight_bytes + cached) / rates.copy(weight_bytes + cached) / cell.threads
            seconds += max(read, 2.0 * decoder * len(alive) * cell.beam_size / rate)
    return seconds


def _best_seconds(work: Callable[[], object], least: float = 0.3) -> float:
    """Least processor time, so that a busy machine does not lower the rates."""
    work()
    found, until = [], time.perf_counter() + least
    while time.perf_counter() < until or len(found) < 5:
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def _product(precision: str) -> Callable[[], object]:
    """One matrix product in ONNX Runtime, as the graphs have them."""
    rows, inner, outer = GEMM_SHAPE
    generator = np.random.default_rng(1)
    if precision == "fp32":
        x, kind = generator.normal(size=(rows, inner)).astype(np.float32), TensorProto.FLOAT
        constants = {"w": generator.normal(size=(inner, outer)).astype(np.float32)}
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
    else:
        x, kind = generator.integers(0, 255, (rows, inner)).astype(np.uint8), TensorProto.UINT8
        constants = {
            "w": generator.integers(-63, 63, (inner, outer)).astype(np.int8),
            "x_scale": np.array(0.1, np.float32),
            "w_scale": np.full(outer, 0.1, np.float32),
            "x_zero": np.array(128, np.uint8),
        }
        node = helper.make_node("MatMulIntegerToFloat", ["x", *constants], ["y"], domain="com.microsoft")
        node.input[:] = ["x", "w", "x_scale", "w_scale", "x_zero"]
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, outer])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})

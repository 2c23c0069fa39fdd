"""Log-probabilities and block maxima of a step's logits, by ONNX Runtime: NumPy takes twice as long.

Letters: R rows, V vocabulary, N blocks (`decoding.candidates.num_blocks`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.decoding.candidates import num_blocks
from keras_transformer.decoding.steps import Ranked
from keras_transformer.runtime.small_graph import SmallGraph


class BoundRanking(NamedTuple):
    """A run of the ranking's session over one buffer of logits, which it overwrites."""

    binding: ort.IOBinding
    ranked: Ranked


class Ranking:
    """Ranks logits.

    Args:
        vocabulary_size: V.
        num_threads: As of `sessions.Engine.load`; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, vocabulary_size: int, num_threads: int) -> None:
        self._num_blocks = num_blocks(vocabulary_size)
        self.session = small_session(_ranking_graph(vocabulary_size, self._num_blocks), num_threads)

    def bind(self, logits: NDArray[np.float32]) -> BoundRanking:
        """Bind logits (R, V): a run turns them into log-probabilities where they lie."""
        maxima = np.empty((len(logits), self._num_blocks), np.float32)
        binding = self.session.io_binding()
        value = ort.OrtValue.ortvalue_from_numpy(logits)
        binding.bind_ortvalue_input("logits", value)
        binding.bind_ortvalue_output("log_probs", value)  # one row after the other is read, then written
        binding.bind_ortvalue_output("maxima", ort.OrtValue.ortvalue_from_numpy(maxima))
        return BoundRanking(binding, Ranked(logits, maxima))


def small_session(graph: bytes, num_threads: int) -> ort.InferenceSession:
    """A session over a small graph, on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = num_threads
    options.enable_mem_pattern = False  # as in `devices.open_session`
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _ranking_graph(vocabulary_size: int, blocks: int) -> bytes:
    """The largest of tokens j, j + N, j + 2N, … for each block j, in one pass over consecutive memory."""
    graph = SmallGraph()
    graph.input("logits", np.float32, 2)
    graph.output("log_probs", np.float32, 2)
    graph.output("maxima", np.float32, 2)
    values = graph.node("LogSoftmax", ["logits"], "log_probs")
    even = vocabulary_size // blocks * blocks
    axis, zero, end = (graph.constant(f"at_{place}", [place]) for place in (1, 0, even))
    if even < vocabulary_size:
        values = graph.node("Slice", [values, zero, end, axis], "even")
    shape = graph.constant("blocks", [0, vocabulary_size // blocks, blocks])
    values = graph.node("Reshape", [values, shape], "in_blocks")
    if even == vocabulary_size:
        graph.node("ReduceMax", [values, axis], "maxima", keepdims=0)
        return bytes(graph)
    values = graph.node("ReduceMax", [values, axis], "highest", keepdims=0)
    # The first blocks have one value more: tokens from `even` on.
    last, rest = graph.constant("last", [vocabulary_size]), graph.constant("rest", [vocabulary_size - even])
    more = graph.node("Slice", ["log_probs", end, last, axis], "more")
    first = graph.node("Slice", [values, zero, rest, axis], "first")
    others = graph.node("Slice", [values, rest, graph.constant("num_blocks", [blocks]), axis], "others")
    graph.node("Concat", [graph.node("Max", [first, more], "higher"), others], "maxima", axis=1)
    return bytes(graph)

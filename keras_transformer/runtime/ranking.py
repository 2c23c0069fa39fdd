"""What beam search asks of a step's logits, by ONNX Runtime: NumPy takes twice as long.

Log-probabilities, their block maxima, and the best continuations of each sentence: the best C of them lie in the
C blocks with the largest maxima (`decoding.candidates`).

Letters: B sentences, K beams, R = B·K rows, V vocabulary, N blocks, C candidates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.decoding.candidates import num_blocks
from keras_transformer.decoding.steps import Best, IntArray, Ranked
from keras_transformer.runtime.small_graph import SmallGraph

FLOAT64 = 11  # TensorProto.DOUBLE


class BoundRanking(NamedTuple):
    """A run of the ranking's session over one buffer of logits, which it overwrites.

    Attributes:
        binding: What to run.
        totals: (B, K), to be filled in before a run: added to the log-probabilities of a beam.
        ranked: What a run writes.
    """

    binding: ort.IOBinding
    totals: NDArray[np.float64]
    ranked: Ranked


class Ranking:
    """Ranks logits.

    Args:
        vocabulary_size: V.
        num_threads: As of `sessions.Engine.load`; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, vocabulary_size: int, num_threads: int) -> None:
        self._even = vocabulary_size % num_blocks(vocabulary_size) == 0
        if self._even:
            graph = SmallGraph()
            add_ranking(graph, graph.input("logits", np.float32, 2))
        else:
            graph = _uneven_graph(vocabulary_size, num_blocks(vocabulary_size))
        self.session = small_session(bytes(graph), num_threads)

    def bind(self, logits: NDArray[np.float32], beam_size: int) -> BoundRanking:
        """Bind logits (R, V): a run turns them into log-probabilities where they lie."""
        binding = self.session.io_binding()
        value = ort.OrtValue.ortvalue_from_numpy(logits)
        binding.bind_ortvalue_input("logits", value)
        binding.bind_ortvalue_output("values", value)  # one row after the other is read, then written
        if self._even:
            return bind_ranking(binding, logits, beam_size, None)
        rows, vocabulary = logits.shape
        maxima = np.empty((rows, num_blocks(vocabulary)), np.float32)
        binding.bind_ortvalue_output("maxima", ort.OrtValue.ortvalue_from_numpy(maxima))
        return BoundRanking(binding, np.zeros((rows // beam_size, beam_size)), Ranked(logits, maxima))


def small_session(graph: bytes, num_threads: int) -> ort.InferenceSession:
    """A session over a small graph, on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = num_threads
    options.enable_mem_pattern = False  # as in `devices.open_session`
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def add_ranking(graph: SmallGraph, logits: str) -> None:
    """Write `values`, `maxima` and what `Best` holds, of logits (R, V) in blocks of one size."""
    for name in ("blocks", "by_sentence", "candidates", "in_a_row", "opened", "all"):
        graph.input(name, np.int64, 1)
    for name in ("num_blocks", "vocabulary"):
        graph.input(name, np.int64, 0)
    graph.input("steps", np.int64, 1)  # from a value of a block to its next
    graph.input("offsets", np.int64, 3)  # (B, 1, 1), where a sentence's values start
    graph.input("totals", np.float64, 3)  # (B, K, 1)
    graph.input("beam_totals", np.float64, 2)  # (B, K), the same
    graph.output("values", np.float32, 2)
    graph.output("maxima", np.float32, 2)
    graph.output("best_totals", np.float64, 2)
    graph.output("best_places", np.int64, 2)
    node, one, two = graph.node, graph.constant("one", [1]), graph.constant("two", [2])
    values = node("LogSoftmax", [logits], "values")
    maxima = node("ReduceMax", [node("Reshape", [values, "blocks"], "in_blocks"), one], "maxima", keepdims=0)
    bounds = node("Cast", [node("Reshape", [maxima, "by_sentence"], "maxima_3")], "maxima_64", to=FLOAT64)
    bounds = node("Reshape", [node("Add", [bounds, "totals"], "bounds_3"), "in_a_row"], "bounds")  # (B, K·N)
    node("TopK", [bounds, "candidates"], "highest,blocks_found")  # (B, C)
    beams = node("Div", ["blocks_found", "num_blocks"], "beams")
    columns = node("Mod", ["blocks_found", "num_blocks"], "columns")
    firsts = node("Add", [node("Mul", [beams, "vocabulary"], "beam_starts"), columns], "firsts")
    places = node("Add", [node("Unsqueeze", [firsts, two], "firsts_3"), "steps"], "places_3")  # (B, C, V/N)
    flat = node("Reshape", [values, "all"], "flat")
    inside = node("Gather", [flat, node("Add", [places, "offsets"], "everywhere")], "inside")
    added = node("GatherElements", ["beam_totals", beams], "added", axis=1)
    sums = node("Cast", [inside], "inside_64", to=FLOAT64)
    sums = node("Add", [sums, node("Unsqueeze", [added, two], "added_3")], "sums_3")
    node("TopK", [node("Reshape", [sums, "opened"], "sums"), "candidates"], "best_totals,chosen")
    node("GatherElements", [node("Reshape", [places, "opened"], "places"), "chosen"], "best_places", axis=1)


def bind_ranking(
    binding: ort.IOBinding, values: NDArray[np.float32], beam_size: int, tokens: IntArray | None
) -> BoundRanking:
    """Bind all of `add_ranking` but its logits and values (R, V); `tokens` as in `Ranked`."""
    rows, vocabulary = values.shape
    blocks, sentences = num_blocks(vocabulary), rows // beam_size
    block_size = vocabulary // blocks
    # One more than are wanted: whether the last of them ties with what follows.
    count = min(2 * beam_size + 1, beam_size * blocks)
    totals = np.zeros((sentences, beam_size))
    offsets = (np.arange(sentences) * beam_size * vocabulary)[:, None, None]
    inputs: dict[str, NDArray[Any]] = {
        "blocks": np.array([0, block_size, blocks]),
        "by_sentence": np.array([sentences, beam_size, blocks]),
        "in_a_row": np.array([sentences, beam_size * blocks]),
        "candidates": np.array([count]),
        "opened": np.array([sentences, count * block_size]),
        "all": np.array([-1]),
        "num_blocks": np.array(blocks),
        "vocabulary": np.array(vocabulary),
        "steps": np.arange(block_size) * blocks,
        "offsets": offsets,
        "totals": totals[:, :, None],
        "beam_totals": totals,
    }
    maxima = np.empty((rows, blocks), np.float32)
    best = Best(np.empty((sentences, count)), np.empty((sentences, count), np.int64))
    outputs: dict[str, NDArray[Any]] = {
        "maxima": maxima,
        "best_totals": best.totals,
        "best_places": best.places,
    }
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    for name, array in outputs.items():
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
    return BoundRanking(binding, totals, Ranked(values, maxima, tokens, best))


def _uneven_graph(vocabulary_size: int, blocks: int) -> SmallGraph:
    """The largest of tokens j, j + N, j + 2N, … for each block j, in one pass over consecutive memory."""
    graph = SmallGraph()
    graph.input("logits", np.float32, 2)
    graph.output("values", np.float32, 2)
    graph.output("maxima", np.float32, 2)
    values = graph.node("LogSoftmax", ["logits"], "values")
    even = vocabulary_size // blocks * blocks
    axis, zero, end = (graph.constant(f"at_{place}", [place]) for place in (1, 0, even))
    values = graph.node("Slice", [values, zero, end, axis], "even")
    shape = graph.constant("blocks", [0, vocabulary_size // blocks, blocks])
    values = graph.node("Reshape", [values, shape], "in_blocks")
    values = graph.node("ReduceMax", [values, axis], "highest", keepdims=0)
    # The first blocks have one value more: tokens from `even` on.
    last, rest = graph.constant("last", [vocabulary_size]), graph.constant("rest", [vocabulary_size - even])
    more = graph.node("Slice", ["values", end, last, axis], "more")
    first = graph.node("Slice", [values, zero, rest, axis], "first")
    others = graph.node("Slice", [values, rest, graph.constant("num_blocks", [blocks]), axis], "others")
    graph.node("Concat", [graph.node("Max", [first, more], "higher"), others], "maxima", axis=1)
    return graph

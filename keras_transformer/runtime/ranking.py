"""What beam search asks of a step's logits, by ONNX Runtime: NumPy takes twice as long.

Log-probabilities, their block maxima, and the best continuations of each sentence: the best C of them lie in the
C blocks with the largest maxima (`decoding.candidates`).

In float32 it works on the screen's estimates (`runtime.screen`): the best C continuations that these tell are
computed in full, and put in the place of their estimates in the normaliser's sum too. What is left estimated is
the rest of that sum: a log-probability is off by 0.001 (README, "The engine").

Letters: B sentences, K beams, R = B·K rows, V vocabulary, D model_dim, N blocks, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.decoding.candidates import SMALLEST_VOCABULARY, blocks_are_even, num_blocks
from keras_transformer.decoding.steps import Best, IntArray, Ranked
from keras_transformer.runtime.devices import PROVIDERS, session_options
from keras_transformer.runtime.small_graph import SmallGraph

FLOAT32, FLOAT64 = 1, 11  # of TensorProto.DataType


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
        self._even = blocks_are_even(vocabulary_size)
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


class EstimateRanking:
    """Ranks estimates of logits, and computes the best in full.

    Args:
        table: (V, D), the projection's rows.
        num_threads: As of `sessions.Engine.load`.
    """

    def __init__(self, table: NDArray[np.float32], num_threads: int) -> None:
        self._table = table
        graph = SmallGraph()
        for name in ("estimates", "units", "hidden", "table"):
            graph.input(name, np.float32, 2)
        scaled = graph.node("Mul", ["estimates", "units"], "scaled")
        totals, places = _add_best(graph, scaled)
        _add_exact(graph, scaled, totals, places)
        self.session = small_session(bytes(graph), num_threads)

    @staticmethod
    def ranks(vocabulary_size: int) -> bool:
        """Whether it can: blocks must be of one size, and errors must be many for their mean to be small."""
        return vocabulary_size >= SMALLEST_VOCABULARY and blocks_are_even(vocabulary_size)

    def bind(
        self,
        estimates: NDArray[np.float32],
        units: NDArray[np.float32],
        hidden: NDArray[np.float32],
        beam_size: int,
    ) -> BoundRanking:
        """Bind estimates (R, V) in units (R, 1) of hidden (R, D)."""
        binding = self.session.io_binding()
        rows, vocabulary = estimates.shape
        first_rows = np.arange(0, rows, beam_size)[:, None]
        inputs: dict[str, NDArray[Any]] = {
            "estimates": estimates,
            "units": units,
            "hidden": hidden,
            "table": self._table,
            "first_rows": first_rows,
            "first_places": first_rows * vocabulary,
            "no_mass": np.zeros(()),
            "all_mass": np.ones(()),
        }
        bind_inputs(binding, inputs)
        totals, best = _bind_best(binding, ("exact_totals", "exact_places"), rows, vocabulary, beam_size)
        return BoundRanking(binding, totals, Ranked(best=best))


def small_session(graph: bytes, num_threads: int) -> ort.InferenceSession:
    """A session over a small graph, on the CPU."""
    return ort.InferenceSession(graph, session_options(num_threads), providers=[PROVIDERS["cpu"]])


def bind_inputs(binding: ort.IOBinding, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Bind these arrays where they lie, by their names."""
    for name, array in arrays.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))


def add_ranking(graph: SmallGraph, logits: str) -> None:
    """Write `values`, `maxima` and what `Best` holds, of logits (R, V) in blocks of one size."""
    graph.output("values", np.float32, 2)
    graph.output("maxima", np.float32, 2)
    totals, places = _add_best(graph, logits)
    graph.output(totals, np.float64, 2)
    graph.output(places, np.int64, 2)


def _add_best(graph: SmallGraph, logits: str) -> tuple[str, str]:
    """The best C continuations of each sentence: totals and places (B, C)."""
    for name in ("blocks", "by_sentence", "candidates", "in_a_row", "opened", "all"):
        graph.input(name, np.int64, 1)
    for name in ("num_blocks", "vocabulary"):
        graph.input(name, np.int64, 0)
    graph.input("steps", np.int64, 1)  # from a value of a block to its next
    graph.input("offsets", np.int64, 3)  # (B, 1, 1), where a sentence's values start
    graph.input("totals", np.float64, 3)  # (B, K, 1)
    graph.input("beam_totals", np.float64, 2)  # (B, K), the same
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
    return "best_totals", "best_places"


def _add_exact(graph: SmallGraph, estimates: str, totals: str, places: str) -> None:
    """Write `exact_totals` and `exact_places` (B, C): what `_add_best` found in full, the best first."""
    node, one, two = graph.node, "one", "two"
    graph.input("first_rows", np.int64, 2)  # (B, 1), a sentence's first row
    graph.input("first_places", np.int64, 2)  # (B, 1), the same times V
    graph.input("no_mass", np.float64, 0)
    graph.input("all_mass", np.float64, 0)
    beams = node("Div", [places, "vocabulary"], "their_beams")  # (B, C)
    hidden = node("Gather", ["hidden", node("Add", [beams, "first_rows"], "their_rows")], "their_hidden")
    rows = node("Gather", ["table", node("Mod", [places, "vocabulary"], "their_tokens")], "their_weights")
    exact = node("ReduceSum", [node("Mul", [hidden, rows], "products"), two], "exact", keepdims=0)
    at = node("Add", [places, "first_places"], "at")
    estimate = node("Gather", [node("Reshape", [estimates, "all"], "flat_estimates"), at], "their_estimates")
    gain = node("Sub", [exact, estimate], "gain")  # (B, C), of a logit
    # In doubles, whose roundings no batch mate can move into the float32 that is left of them.
    before = node("Cast", [node("Gather", ["flat", at], "before")], "before_64", to=FLOAT64)
    gain = node("Cast", [gain], "gain_64", to=FLOAT64)
    after = node("Exp", [node("Add", [before, gain], "after")], "mass_after")
    mass = node("Sub", [after, node("Exp", [before], "mass_before")], "mass_gained")
    # What the candidates of the same beam add to the normaliser's sum: (B, C, C), then (B, C).
    same = node("Equal", [node("Unsqueeze", [beams, axis], f"beams_{axis}") for axis in (one, two)], "same")
    mates = node("Where", [same, node("Unsqueeze", [mass, one], "masses"), "no_mass"], "of_mates")
    after = node("Add", [node("ReduceSum", [mates, two], "gained", keepdims=0), "all_mass"], "sum_after")
    gain = node("Sub", [gain, node("Log", [after], "log_sum_after")], "total_gain")
    gain = node("Cast", [gain], "total_gain_32", to=FLOAT32)
    gain = node("Cast", [gain], "total_gain_64", to=FLOAT64)
    node("TopK", [node("Add", [totals, gain], "new_totals"), "candidates"], "exact_totals,order")
    node("GatherElements", [places, "order"], "exact_places", axis=1)
    graph.output("exact_totals", np.float64, 2)
    graph.output("exact_places", np.int64, 2)


def bind_ranking(
    binding: ort.IOBinding, values: NDArray[np.float32], beam_size: int, tokens: IntArray | None
) -> BoundRanking:
    """Bind all of `add_ranking` but its logits and values (R, V); `tokens` as in `Ranked`."""
    rows, vocabulary = values.shape
    maxima = np.empty((rows, num_blocks(vocabulary)), np.float32)
    binding.bind_ortvalue_output("maxima", ort.OrtValue.ortvalue_from_numpy(maxima))
    totals, best = _bind_best(binding, ("best_totals", "best_places"), rows, vocabulary, beam_size)
    return BoundRanking(binding, totals, Ranked(values, maxima, tokens, best))


def _bind_best(
    binding: ort.IOBinding, outputs: tuple[str, str], rows: int, vocabulary: int, beam_size: int
) -> tuple[NDArray[np.float64], Best]:
    """Bind what `_add_best` reads, and totals and places (B, C) by these names: `BoundRanking.totals` and these."""
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
    best = Best(np.empty((sentences, count)), np.empty((sentences, count), np.int64), vocabulary)
    bind_inputs(binding, inputs)
    for name, array in zip(outputs, (best.totals, best.places), strict=True):
        binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
    return totals, best


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

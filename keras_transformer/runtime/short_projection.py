"""The projection of a batch on the tokens of its sentences' shortlists alone.

The columns that any sentence of the batch asks for are gathered once a batch. A mask leaves to each sentence
its own, so that batch mates change nothing.

Letters: B sentences, R = B·beam_size rows, D model_dim, V vocabulary, N columns, of which some may be filling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.runtime import names
from keras_transformer.runtime.ranking import (
    BoundRanking,
    add_ranking,
    bind_inputs,
    bind_ranking,
    small_session,
)
from keras_transformer.runtime.shortlist import BoolArray, IntArray, Shortlist
from keras_transformer.runtime.small_graph import CONTRIB, SmallGraph

Weights: TypeAlias = dict[str, NDArray[Any]]

# Of the vocabulary: where a batch asks for more, all of it is projected, as without a shortlist, and masked. A
# gathered column costs 1.7 (32 rows) to 2.5 times (one row) what one of the decoder's own does (measured).
LARGEST_SHARE = 0.4
COLUMN_MULTIPLE = 128  # a multiple of every block of `num_blocks`, up to a vocabulary of 45,000


class BoundProjection(NamedTuple):
    """A run over the hidden states that a step leaves behind.

    Attributes:
        session, binding: What to run.
        values: float32 (R, N): logits, or log-probabilities where they are ranked.
        tokens: Of the columns.
        ranking: Where it was asked for.
    """

    session: ort.InferenceSession
    binding: ort.IOBinding
    values: NDArray[np.float32]
    tokens: IntArray
    ranking: BoundRanking | None


class ShortProjection:
    """Projects on some tokens.

    Args:
        weights: `names.TABLE`, float32 or int8 (V, D), and of an int8 one its scales and those of its input.
        num_threads: As of `sessions.Engine.load`; 0 leaves it to ONNX Runtime.
    """

    def __init__(self, weights: Weights, num_threads: int) -> None:
        self._table = weights[names.TABLE]
        self._in_integers = self._table.dtype == np.int8
        if self._in_integers:
            self._table = np.ascontiguousarray(self._table.T)  # (D, V), as the product reads it
        self._weights = {name: array for name, array in weights.items() if name != names.TABLE}
        self._num_threads = num_threads
        self._sessions: dict[tuple[bool, bool], ort.InferenceSession] = {}

    def columns(self, tokens: IntArray) -> Weights:
        """What a run reads for these tokens."""
        if not self._in_integers:
            return {"weight": self._table[tokens]}  # (N, D)
        weight = self._table.take(tokens, axis=1)  # (D, N)
        return {"weight": weight, "scales": self._weights[names.TABLE_SCALES][tokens]}

    def bind(
        self,
        hidden: NDArray[np.float32],
        tokens: IntArray,
        columns: Weights,
        mask: NDArray[np.float32],
        beam_size: int,
        ranked: bool,
    ) -> BoundProjection:
        """Bind a run over hidden (R, D) with mask (R, N), added to the logits of `tokens`."""
        rows, count = mask.shape
        kind = ranked, rows == 1
        session = self._sessions.get(kind)
        if session is None:
            session = self._sessions[kind] = self._session(*kind)
        inputs = {"hidden": hidden, "mask": mask, **columns}
        if self._in_integers:
            inputs["input_scale"] = self._weights[names.INPUT_SCALE]
            inputs["zero_point"] = self._weights[names.INPUT_ZERO_POINT]
        values = np.empty((rows, count), np.float32)
        binding = session.io_binding()
        bind_inputs(binding, inputs)
        binding.bind_ortvalue_output("values", ort.OrtValue.ortvalue_from_numpy(values))
        ranking = bind_ranking(binding, values, beam_size, tokens) if ranked else None
        return BoundProjection(session, binding, values, tokens, ranking)

    def _session(self, ranked: bool, one_row: bool) -> ort.InferenceSession:
        graph = SmallGraph()
        graph.input("hidden", np.float32, 2)
        graph.input("mask", np.float32, 2)
        if self._in_integers:
            graph.input("weight", np.int8, 2)
            graph.input("scales", np.float32, 1)
            graph.input("input_scale", np.float32, 0)
            graph.input("zero_point", np.uint8, 0)
            graph.node("QuantizeLinear", ["hidden", "input_scale", "zero_point"], "rounded")
            inputs = ["rounded", "weight", "input_scale", "scales", "zero_point"]
            logits = graph.node("MatMulIntegerToFloat", inputs, "logits", CONTRIB)
        else:
            graph.input("weight", np.float32, 2)
            if one_row:
                logits = graph.node("FusedMatMul", ["hidden", "weight"], "logits", CONTRIB, transB=1)
            else:  # read once from end to end, as in the decoder
                logits = graph.node("FusedMatMul", ["weight", "hidden"], "turned", CONTRIB, transB=1)
                logits = graph.node("Transpose", [logits], "logits")
        if ranked:
            add_ranking(graph, graph.node("Add", [logits, "mask"], "masked"))
        else:
            graph.output("values", np.float32, 2)
            graph.node("Add", [logits, "mask"], "values")
        return small_session(bytes(graph), self._num_threads)


class BatchShortlist:
    """The shortlists of a batch's sentences, and the columns of all of them.

    Args:
        shortlist: Of the bundle.
        projection: Of the engine.
        sources: Token ids of each sentence.
        beam_size: Rows of a sentence.

    Attributes:
        tokens: Those of the columns (N), ascending; the last may stand there more than once. None where the
            whole vocabulary is projected.
    """

    def __init__(
        self, shortlist: Shortlist, projection: ShortProjection, sources: Sequence[IntArray], beam_size: int
    ) -> None:
        self._projection = projection
        self._beam_size = beam_size
        self._allowed: BoolArray = shortlist.allowed(sources)  # (B, V)
        self.tokens: IntArray | None
        self._columns: Weights
        self._mask: NDArray[np.float32]  # (R, N)
        self._gather()

    def keep(self, sentences: IntArray, rows: IntArray) -> None:
        """Keep only these sentences and their rows, in this order."""
        self._allowed, self._mask = self._allowed[sentences], self._mask[rows]

    def bind(self, hidden: NDArray[np.float32], ranked: bool) -> BoundProjection:
        """Bind a run over hidden (R, D)."""
        assert self.tokens is not None
        return self._projection.bind(hidden, self.tokens, self._columns, self._mask, self._beam_size, ranked)

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Leave to each row of logits (R, V) its own tokens."""
        logits += self._mask

    def whole(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(R, N) -> (R, V), -inf where a token is not asked for."""
        assert self.tokens is not None
        logits = np.full((len(values), self._allowed.shape[1]), -np.inf, np.float32)
        logits[:, self.tokens[: self._count]] = values[:, : self._count]
        return logits

    def _gather(self) -> None:
        tokens: IntArray = np.logical_or.reduce(self._allowed).nonzero()[0]
        if len(tokens) > LARGEST_SHARE * self._allowed.shape[1]:
            self.tokens = None
            allowed = self._allowed
        else:
            self._count = len(tokens)
            filling = -len(tokens) % COLUMN_MULTIPLE
            self.tokens = np.pad(tokens, (0, filling), mode="edge")
            self._columns = self._projection.columns(self.tokens)
            allowed = self._allowed[:, self.tokens]
            allowed[:, len(tokens) :] = False
        mask = np.where(allowed, np.float32(0.0), np.float32(-np.inf))
        self._mask = np.repeat(mask, self._beam_size, axis=0)

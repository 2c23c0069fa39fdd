"""A batch in memory: its encoded sources, its caches, and the decoder's runs over them.

Letters: B batch (sentences), R = B·beam_size rows (row r belongs to sentence r // beam_size), S source,
T target, L cache length.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.decoding.cancellation import Cancellation
from keras_transformer.runtime.encoding import encode
from keras_transformer.runtime.short_projection import BatchShortlist
from keras_transformer.runtime.step_buffers import Memory, Outputs, StepBuffers

if TYPE_CHECKING:
    from keras_transformer.runtime.sessions import Engine

IntArray: TypeAlias = NDArray[np.integer[Any]]


class BatchState:
    """Rows that go and grow, and what the decoder has seen of them. `DecodeState` says what is asked of it.

    Args:
        engine: What runs.
        source_ids: (B, S), right padded.
        source_lengths: (B), each at least 1.
        max_length: Target positions L to make room for.
        beam_size: Rows of each sentence.
        cancellation: Ends a running call of this state, which then raises `Cancelled`.
        short: Whether steps choose among the sentences' shortlists alone. `feed` does not.
    """

    def __init__(
        self,
        engine: Engine,
        source_ids: NDArray[np.int64],
        source_lengths: NDArray[np.int32],
        max_length: int,
        beam_size: int = 1,
        cancellation: Cancellation | None = None,
        short: bool = False,
    ) -> None:
        self._engine = engine
        self._max_length = max_length
        self._beam_size = beam_size
        self._cancellation = cancellation
        self._options = _options_until(cancellation, self) if cancellation is not None else None
        manifest = engine.manifest
        self._cross = self._encode(source_ids, source_lengths)
        places = np.arange(self._cross.num_positions)
        self._mask = (places < source_lengths[:, None]).astype(np.int32)  # (B, S)
        num_rows = len(source_ids) * beam_size
        expected = int(1.25 * source_ids.shape[1]) + 8  # most targets are no longer; the others grow
        shape = (num_rows, manifest.num_heads, min(max_length, expected), manifest.cache_head_dim)
        self._past: Any = engine.pool.room((2 * manifest.num_decoder_layers, *shape), engine.cache_dtype)
        self._outputs: Outputs = {}
        self._filled = 0  # positions of the caches
        self._shortlist: BatchShortlist | None = None
        if short:
            self._shortlist = engine.batch_shortlist(_without_padding(source_ids, source_lengths), beam_size)
        self._bind()

    @property
    def batch_size(self) -> int:
        """Sentences B still in the batch."""
        return len(self._mask)

    @property
    def _num_rows(self) -> int:
        return int(self._past.num_rows)

    @property
    def beam_size(self) -> int:
        """Rows of each sentence."""
        return self._beam_size

    def copy_rows(self, sources: Sequence[int], destinations: Sequence[int], starts: Sequence[int]) -> None:
        """Make each row of `destinations` a copy of its row in `sources`, as it was before the call.

        Args:
            sources, destinations: Row numbers (N,); a destination stands there once, and belongs to the
                same sentence as its source.
            starts: Positions (N,) up to which both were fed the same.
        """
        self._past.copy_rows(sources, destinations, starts, self._filled)
        if self._engine.memory_device is not None:  # the caches lie elsewhere now
            self._bind()

    def keep(self, sentences: IntArray) -> None:
        """Keep only these sentences (numbers in the current batch), in this order: the rest costs less."""
        sentences = np.asarray(sentences)
        rows = self._rows(sentences)
        self._past.keep(rows, self._filled)
        self._cross.keep(sentences, self._cross.num_positions)
        self._mask = self._mask[sentences]
        if self._shortlist is not None:
            self._shortlist.keep(sentences, rows)
        self._bind()

    def _rows(self, sentences: IntArray) -> IntArray:
        return (sentences[:, None] * self._beam_size + np.arange(self._beam_size)).ravel()

    def _encode(self, source_ids: NDArray[np.int64], source_lengths: NDArray[np.int32]) -> Any:
        engine = self._engine
        return encode(
            engine.encoder,
            engine.manifest,
            engine.pool,
            engine.dtype,
            source_ids,
            source_lengths,
            self._run,
        )

    def _step(self, token_ids: IntArray, position: int, outputs: tuple[str, ...]) -> list[NDArray[Any]]:
        """Feed one token a row; these outputs, without their axis T."""
        if token_ids.shape != (self._num_rows,) or not 0 <= position < self._max_length:
            raise ValueError(
                f"`token_ids` must have shape ({self._num_rows},) at a position from 0 to "
                f"{self._max_length - 1}, got shape {token_ids.shape} at {position}. "
                "Feed one token a row, and stop at `max_length`."
            )
        if position >= self._past.num_positions:
            self._grow(position + 1)
        self._filled = position + 1
        self._buffers.write(token_ids, position)
        step = self._buffers.step(outputs)
        self._run(self._engine.decoder, step.binding)
        return step.results

    def _grow(self, needed: int) -> None:
        """Make the caches longer: at least `needed` positions, and half as many again as they had."""
        room = max(needed, self._past.num_positions * 3 // 2)
        self._past = self._past.grown(min(room, self._max_length))
        self._bind()

    def _check_feed(self, token_ids: IntArray, position: int) -> None:
        rows, length = token_ids.shape
        if rows != self._num_rows or length < 1 or not 0 <= position <= self._max_length - length:
            raise ValueError(
                f"`token_ids` must have {self._num_rows} rows that end at or below position "
                f"{self._max_length}, got shape {token_ids.shape} at {position}. Feed fewer tokens."
            )

    def _feed(self, token_ids: IntArray, position: int, outputs: Outputs) -> None:
        length = token_ids.shape[1]
        if position + length > self._past.num_positions:
            self._grow(position + length)
        self._filled = position + length
        binding, inputs = self._buffers.feed(token_ids, position, outputs)
        self._run(self._engine.decoder, binding)
        del inputs  # lived until here

    def _run(self, session: ort.InferenceSession, binding: ort.IOBinding) -> None:
        if self._cancellation is None:
            session.run_with_iobinding(binding)
            return
        try:
            session.run_with_iobinding(binding, self._options)
        except Exception:
            self._cancellation.check()
            raise
        self._cancellation.check()

    def _bind(self) -> None:
        """The rows or their memory have moved."""
        memory = Memory(self._past, self._cross, self._mask)
        self._buffers = StepBuffers(self._engine, memory, self._beam_size, self._outputs)


def _options_until(cancellation: Cancellation, state: BatchState) -> ort.RunOptions:
    """Options for all runs of a state: they end once `cancellation` is cancelled, as does every run to come."""
    options = ort.RunOptions()
    # Said to be absent, the entry is looked for in a Python `except`, which costs 25 µs a run.
    options.add_run_config_entry("gpu_graph_id", "-1")

    def terminate() -> None:
        options.terminate = True

    stack = contextlib.ExitStack()
    stack.enter_context(cancellation.on_cancel(terminate))
    weakref.finalize(state, stack.close).atexit = False
    return options


def _without_padding(ids: IntArray, lengths: IntArray) -> list[IntArray]:
    return [row[:length] for row, length in zip(ids, lengths.tolist(), strict=True)]

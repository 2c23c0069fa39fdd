"""One batch on its way: its encoded sources, its caches, and the step that the search calls.

Letters: B batch (sentences), R = B·beam_size rows (row r belongs to sentence r // beam_size), S source,
T target, L cache length, H heads, K head width, V vocabulary.
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
from keras_transformer.decoding.steps import Ranked
from keras_transformer.runtime import names
from keras_transformer.runtime.encoding import encode
from keras_transformer.runtime.ranking import BoundRanking
from keras_transformer.runtime.short_projection import BatchShortlist, BoundProjection
from keras_transformer.runtime.step_buffers import Memory, Outputs, StepBuffers

if TYPE_CHECKING:
    from keras_transformer.runtime.sessions import Engine

IntArray: TypeAlias = NDArray[np.integer[Any]]

_LOGITS, _HIDDEN, _CHOSEN = (names.LOGITS,), (names.HIDDEN,), (names.LIKELIEST, names.LARGEST)
_SCREENED = (names.SCREENED_LOGITS, names.HIDDEN, names.ROUNDED_HIDDEN)
_NOT_FINITE = "The best logit must be a finite number, it is not. Check the weights."


class DecodeState:
    """The decoder over one batch. Not for several threads at once; one state for each batch.

    Made by `Engine.start`.

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
        self._vocabulary_size = manifest.vocabulary_size
        self._cross = self._encode(source_ids, source_lengths)
        places = np.arange(self._cross.num_positions)
        self._mask = (places < source_lengths[:, None]).astype(np.int32)  # (B, S)
        num_rows = len(source_ids) * beam_size
        expected = int(1.25 * source_ids.shape[1]) + 8  # most targets are no longer; the others grow
        shape = (num_rows, manifest.num_heads, min(max_length, expected), manifest.cache_head_dim)
        self._past: Any = engine.pool.room((2 * manifest.num_decoder_layers, *shape))
        self._outputs: Outputs = {}
        self._last = np.full(num_rows, -1, np.int32)  # position of each row's newest token
        self._ranking: BoundRanking | None = None
        self._projections: dict[bool, BoundProjection] = {}
        self._shortlist: BatchShortlist | None = None
        if short:
            self._shortlist = engine.batch_shortlist(_without_padding(source_ids, source_lengths), beam_size)
        self._bind()

    @property
    def batch_size(self) -> int:
        """Sentences B still in the batch."""
        return len(self._mask)

    @property
    def beam_size(self) -> int:
        """Rows of each sentence."""
        return self._beam_size

    def __call__(self, token_ids: IntArray, positions: int | IntArray) -> NDArray[np.float32]:
        """Feed one token a row.

        Args:
            token_ids: (R,).
            positions: Of these tokens: the number of tokens that a row was fed before; one for all rows or
                one a row, (R,).

        Returns:
            float32 (R, V), the logits of the token that follows; overwritten by the next call.

        Raises:
            ValueError: another number of tokens than rows, or no room left at a position.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, positions)
        if bound is not None and self._shortlist is not None:
            return self._shortlist.whole(bound.values)
        return self._whole_step(token_ids, positions)

    def likeliest(self, token_ids: IntArray, positions: int | IntArray) -> NDArray[np.int64]:
        """Feed one token a row, as a call does; return the likeliest next token of each row.

        Returns:
            int64 (R,), the lowest id of equals.

        Raises:
            ValueError: another number of tokens than rows, or no room left at a position.
            FloatingPointError: the best logit of a row is not a finite number.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, positions)
        if bound is not None and bound.tokens is not None:
            return np.asarray(bound.tokens[self._best_of(bound.values)], np.int64)
        if self._engine.may_choose:
            likeliest, largest = self._step(token_ids, positions, _CHOSEN)
            if not np.isfinite(largest).all():
                raise FloatingPointError(_NOT_FINITE)
            return likeliest
        screen = self._engine.screen
        if screen is not None and self._shortlist is None:
            screened = screen.likeliest(*self._step(token_ids, positions, _SCREENED))
            if screened is not None:
                return screened
        # The same step again, if it was screened, writes the same caches.
        return self._best_of(self._whole_step(token_ids, positions))

    def _best_of(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = logits.argmax(axis=1)
        # A sum is finite where all of it is: one pass for the few numbers there are.
        if not np.isfinite(logits[self._buffers.row_numbers, found].sum(dtype=np.float64)):
            raise FloatingPointError(_NOT_FINITE)
        return found

    def ranked(self, token_ids: IntArray, positions: int | IntArray) -> Ranked:
        """Feed one token a row, as a call does; return log-probabilities (R, V) and their block maxima.

        Raises:
            ValueError: another number of tokens than rows, or no room left at a position.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, positions, ranked=True)
        if bound is not None and bound.maxima is not None:
            return Ranked(bound.values, bound.maxima, bound.tokens)
        logits = self._whole_step(token_ids, positions)
        if self._ranking is None:
            self._ranking = self._engine.ranking.bind(logits)
        self._run(self._engine.ranking.session, self._ranking.binding)
        return self._ranking.ranked

    def _whole_step(self, token_ids: IntArray, positions: int | IntArray) -> NDArray[np.float32]:
        """Feed one token a row; project on the whole vocabulary."""
        (logits,) = self._step(token_ids, positions, _LOGITS)
        if self._shortlist is not None:
            self._shortlist.mask(logits)
        return logits

    def _short_step(
        self, token_ids: IntArray, positions: int | IntArray, *, ranked: bool = False
    ) -> BoundProjection | None:
        """Feed one token a row and project on the shortlists of the batch; None where there are none to gather."""
        shortlist = self._shortlist
        if shortlist is None or shortlist.tokens is None:
            return None
        (hidden,) = self._step(token_ids, positions, _HIDDEN)
        bound = self._projections.get(ranked)
        if bound is None:
            bound = self._projections[ranked] = shortlist.bind(hidden, ranked)
        self._run(bound.session, bound.binding)
        return bound

    def feed(self, token_ids: IntArray, position: int = 0) -> NDArray[np.float32]:
        """Feed token_ids (R, T) at `position` and after it: a forced prefix, or a whole target to score.

        Returns:
            float32 (R, T, V), a new array.

        Raises:
            ValueError: another number of rows, no tokens, or no room left.
            Cancelled: the state's cancellation was cancelled.
        """
        self._check_feed(token_ids, position)
        rows, length = token_ids.shape
        if rows > 1 and length > 1 and position > 0:
            # GroupQueryAttention goes on from a filled cache only where R or T is 1 (onnxruntime 1.32).
            steps = [self(token_ids[:, t], position + t).copy() for t in range(length)]
            return np.stack(steps, axis=1)
        logits = np.empty((rows, length, self._vocabulary_size), np.float32)
        self._feed(token_ids, position, {names.LOGITS: logits})
        return logits

    def attention(self, token_ids: IntArray) -> NDArray[np.float32]:
        """Feed whole targets (B, T) from position 0; return where each token looked in its source.

        Returns:
            float32 (B, H, T, S), the cross-attention weights of the manifest's alignment layer: they add up
            to 1 over the source, and padding has none.

        Raises:
            ValueError: the state has beams, another number of rows, no tokens, or no room left.
            Cancelled: the state's cancellation was cancelled.
        """
        if self._beam_size != 1:
            raise ValueError(
                f"`attention` must be asked of a state without beams, got {self._beam_size}. Start another."
            )
        self._check_feed(token_ids, 0)
        manifest = self._engine.manifest
        batch, length = token_ids.shape
        heads, width = manifest.num_heads, manifest.cache_head_dim
        query = np.empty((batch, length, heads * width), self._engine.cache_dtype)
        self._feed(token_ids, 0, {names.ALIGNMENT_QUERY: query})
        query = query.reshape(batch, length, heads, width).astype(np.float32)
        mask = self._mask[:, : self._mask.sum(axis=1).max()]  # (B, S), S no more rounded up
        key = self._cross.numpy(2 * manifest.alignment_layer)[:, :, : mask.shape[1]].astype(np.float32)
        scores = np.einsum("bthk,bhsk->bhts", query, key) / np.sqrt(manifest.model_dim / heads)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)

    def copy_rows(self, sources: IntArray, destinations: IntArray) -> None:
        """Make each row of `destinations` a copy of its row in `sources`, as it was before the call.

        Args:
            sources, destinations: Row numbers (N,); a destination stands there once, and belongs to the
                same sentence as its source.
        """
        sources, destinations = np.asarray(sources), np.asarray(destinations)
        self._past.copy_rows(sources, destinations, self._last[sources] + 1)
        self._last[destinations] = self._last[sources]
        if self._engine.memory_device is not None:  # the caches lie elsewhere now
            self._bind()

    def keep(self, sentences: IntArray) -> None:
        """Keep only these sentences (numbers in the current batch), in this order: the rest costs less."""
        sentences = np.asarray(sentences)
        rows = self._rows(sentences)
        self._past.keep(rows, self._last[rows] + 1)
        self._cross.keep(sentences, np.full(len(sentences), self._mask.shape[1]))
        self._mask = self._mask[sentences]
        self._last = self._last[rows]
        if self._shortlist is not None:
            self._shortlist.keep(sentences, rows)
        self._bind()

    def replace(self, sentences: IntArray, source_ids: Sequence[IntArray]) -> None:
        """Put new sources into the places of `sentences`; their rows start again at position 0.

        Args:
            sentences: Numbers in the current batch, each once.
            source_ids: One array a sentence, as in `Engine.start`.

        Raises:
            ValueError: another number of sources than sentences, or a source breaks a rule of `Engine.start`.
            Cancelled: the state's cancellation was cancelled.
        """
        sentences = np.asarray(sentences)
        if len(sentences) != len(source_ids):
            raise ValueError(
                f"`source_ids` must hold one source a sentence ({len(sentences)}), got {len(source_ids)}. "
                "Name as many of both."
            )
        ids, lengths = self._engine.padded(source_ids)
        new = self._encode(ids, lengths)
        grows = new.num_positions > self._cross.num_positions
        if grows:
            self._cross = self._cross.grown(new.num_positions)
            self._mask = np.pad(self._mask, ((0, 0), (0, new.num_positions - self._mask.shape[1])))
        self._cross.put(sentences, new)
        self._mask[sentences] = np.arange(self._mask.shape[1]) < lengths[:, None]
        self._last[self._rows(sentences)] = -1
        if self._shortlist is not None:
            self._shortlist.replace(sentences, source_ids)
            self._projections = {}
        if grows or self._engine.memory_device is not None:
            self._bind()

    def _rows(self, sentences: IntArray) -> IntArray:
        return (sentences[:, None] * self._beam_size + np.arange(self._beam_size)).ravel()

    def _encode(self, source_ids: NDArray[np.int64], source_lengths: NDArray[np.int32]) -> Any:
        engine = self._engine
        return encode(
            engine.encoder,
            engine.manifest,
            engine.pool,
            source_ids,
            source_lengths,
            self._run,
        )

    def _step(
        self, token_ids: IntArray, positions: int | IntArray, outputs: tuple[str, ...]
    ) -> list[NDArray[Any]]:
        """Feed one token a row; these outputs, without their axis T."""
        lowest, highest = (
            (positions, positions)
            if isinstance(positions, int)
            else (int(positions.min()), int(positions.max()))
        )
        if token_ids.shape != self._last.shape or lowest < 0 or highest >= self._max_length:
            raise ValueError(
                f"`token_ids` must have shape ({len(self._last)},) at positions from 0 to "
                f"{self._max_length - 1}, got shape {token_ids.shape} at {lowest} to {highest}. "
                "Feed one token a row, and stop at `max_length`."
            )
        if highest >= self._past.num_positions:
            self._grow(highest + 1)
        self._buffers.write(token_ids, positions, highest)
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
        if rows != len(self._last) or length < 1 or not 0 <= position <= self._max_length - length:
            raise ValueError(
                f"`token_ids` must have {len(self._last)} rows that end at or below position "
                f"{self._max_length}, got shape {token_ids.shape} at {position}. Feed fewer tokens."
            )

    def _feed(self, token_ids: IntArray, position: int, outputs: Outputs) -> None:
        length = token_ids.shape[1]
        if position + length > self._past.num_positions:
            self._grow(position + length)
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
        self._buffers = StepBuffers(self._engine, memory, self._last, self._beam_size, self._outputs)
        self._ranking = None
        self._projections = {}


def _options_until(cancellation: Cancellation, state: DecodeState) -> ort.RunOptions:
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

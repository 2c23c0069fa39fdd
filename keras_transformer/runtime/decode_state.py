"""What a search asks of a batch: logits, the likeliest token, the best continuations; and a whole target at once.

Letters: B batch (sentences), R = B·beam_size rows (row r belongs to sentence r // beam_size), S source,
T target, L cache length, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keras_transformer.decoding.steps import Ranked
from keras_transformer.runtime import names
from keras_transformer.runtime.batch_state import BatchState, IntArray

if TYPE_CHECKING:
    from keras_transformer.runtime.ranking import BoundRanking
    from keras_transformer.runtime.short_projection import BoundProjection

_LOGITS, _HIDDEN, _CHOSEN = (names.LOGITS,), (names.HIDDEN,), (names.LIKELIEST, names.LARGEST)
_ESTIMATED = (names.SCREENED_LOGITS, names.SCREEN_UNITS, names.HIDDEN)
_SCREENED = (*_ESTIMATED, names.ROUNDED_HIDDEN)
_NOT_FINITE = "The best logit must be a finite number, it is not. Check the weights."


class DecodeState(BatchState):
    """The decoder over one batch, as a search calls it. Not for several threads at once; one state for each batch.

    Made by `Engine.start`.
    """

    _ranking: BoundRanking | None
    _projections: dict[bool, BoundProjection]

    def __call__(self, token_ids: IntArray, position: int) -> NDArray[np.float32]:
        """Feed one token a row.

        Args:
            token_ids: (R,).
            position: Of these tokens: the number of tokens that a row was fed before.

        Returns:
            float32 (R, V), the logits of the token that follows; overwritten by the next call.

        Raises:
            ValueError: another number of tokens than rows, or no room left at `position`.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, position)
        if bound is not None and self._shortlist is not None:
            return self._shortlist.whole(bound.values)
        return self._whole_step(token_ids, position)

    def likeliest(self, token_ids: IntArray, position: int) -> NDArray[np.int64]:
        """Feed one token a row, as a call does; return the likeliest next token of each row.

        Returns:
            int64 (R,), the lowest id of equals.

        Raises:
            ValueError: another number of tokens than rows, or no room left at `position`.
            FloatingPointError: the best logit of a row is not a finite number.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, position)
        if bound is not None and bound.tokens is not None:
            return np.asarray(bound.tokens[self._best_of(bound.values)], np.int64)
        if self._engine.may_choose:
            likeliest, largest = self._step(token_ids, position, _CHOSEN)
            if not np.isfinite(largest).all():
                raise FloatingPointError(_NOT_FINITE)
            return likeliest
        screen = self._engine.screen
        if screen is not None:
            estimates, units, hidden, rounded = self._step(token_ids, position, _SCREENED)
            if self._shortlist is not None:
                self._shortlist.mask(estimates)
            screened = screen.likeliest(estimates, units, hidden, rounded)
            if screened is not None:
                return screened
        # The same step again, if it was screened, writes the same caches.
        return self._best_of(self._whole_step(token_ids, position))

    def ranked(self, token_ids: IntArray, position: int, totals: NDArray[np.float64]) -> Ranked:
        """Feed one token a row, as a call does; return what is likeliest after outputs of these `totals` (B, K).

        With a float32 table by estimates (`ranking.EstimateRanking`): then it knows of nothing else.

        Raises:
            ValueError: another number of tokens than rows, or no room left at `position`.
            Cancelled: the state's cancellation was cancelled.
        """
        bound = self._short_step(token_ids, position, totals)
        if bound is not None and bound.ranking is not None:
            return bound.ranking.ranked
        by_estimates = self._engine.estimate_ranking if self._shortlist is None else None
        if by_estimates is not None:
            estimates, units, hidden = self._step(token_ids, position, _ESTIMATED)
            session = by_estimates.session
            ranking = self._ranking or by_estimates.bind(estimates, units, hidden, self._beam_size)
        else:
            logits = self._whole_step(token_ids, position)
            session = self._engine.ranking.session
            ranking = self._ranking or self._engine.ranking.bind(logits, self._beam_size)
        self._ranking = ranking
        ranking.totals[:] = totals
        self._run(session, ranking.binding)
        return ranking.ranked

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
        logits = np.empty((rows, length, self._engine.manifest.vocabulary_size), np.float32)
        self._feed(token_ids, position, {names.LOGITS: logits})
        return logits

    def fill(self, token_ids: IntArray) -> None:
        """Feed token_ids (R, T) from position 0 for what steps after them need alone: no logits are computed.

        Raises:
            ValueError: another number of rows, no tokens, or no room.
            Cancelled: the state's cancellation was cancelled.
        """
        self._check_feed(token_ids, 0)
        self._feed(token_ids, 0, {})

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
        query = np.empty((batch, length, heads * width), self._engine.dtype)
        self._feed(token_ids, 0, {names.ALIGNMENT_QUERY: query})
        query = query.reshape(batch, length, heads, width).astype(np.float32)
        mask = self._mask[:, : self._mask.sum(axis=1).max()]  # (B, S), S no more rounded up
        key = self._cross.numpy(2 * manifest.alignment_layer)[:, :, : mask.shape[1]].astype(np.float32)
        scores = np.einsum("bthk,bhsk->bhts", query, key) / np.sqrt(manifest.model_dim / heads)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)

    def _best_of(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = logits.argmax(axis=1)
        if not all(math.isfinite(logits.item(place)) for place in enumerate(found.tolist())):
            raise FloatingPointError(_NOT_FINITE)
        return found

    def _whole_step(self, token_ids: IntArray, position: int) -> NDArray[np.float32]:
        """Feed one token a row; project on the whole vocabulary."""
        (logits,) = self._step(token_ids, position, _LOGITS)
        if self._shortlist is not None:
            self._shortlist.mask(logits)
        return logits

    def _short_step(
        self, token_ids: IntArray, position: int, totals: NDArray[np.float64] | None = None
    ) -> BoundProjection | None:
        """Feed one token a row and project on the shortlists of the batch; None where there are none to gather.

        With `totals` (B, K) rank, too.
        """
        shortlist = self._shortlist
        if shortlist is None or shortlist.tokens is None:
            return None
        (hidden,) = self._step(token_ids, position, _HIDDEN)
        ranked = totals is not None
        bound = self._projections.get(ranked)
        if bound is None:
            bound = self._projections[ranked] = shortlist.bind(hidden, ranked)
        if bound.ranking is not None:
            bound.ranking.totals[:] = totals
        self._run(bound.session, bound.binding)
        return bound

    def _bind(self) -> None:
        super()._bind()
        self._ranking, self._projections = None, {}  # bound to outputs that have moved

"""Greedy search over any step function: Keras and ONNX Runtime each supply a step, the search knows neither.

Letters: B batch (rows), T target tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]


class DecodeStep(Protocol):
    """One step of a decoder. Its state (the caches) belongs to the step object, one object for each batch."""

    def __call__(self, token_ids: IntArray, position: int) -> FloatArray:
        """Feed token_ids (B,) at `position` (from 0); return the logits (B, V) of the token that follows."""
        ...


@runtime_checkable
class ShrinkingStep(Protocol):
    """A step that can drop finished rows, so that the rest costs less."""

    def keep(self, rows: IntArray) -> None:
        """Keep only `rows` (ascending indices into the current batch), in this order."""
        ...


class Cancelled(Exception):  # noqa: N818 - not an error: the caller asked for it
    """Raised between two steps when `should_stop()` turns true."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found, one entry a row.

    Attributes:
        tokens: B int64 arrays, the chosen tokens; BOS, EOS and padding excluded.
        log_probs: B float32 arrays, the log-probability of each chosen token; where the row ended by
            itself, that of EOS is the last one.
        scores: float32 (B,), the mean of `log_probs` a row: at most 0, and nearer 0 is surer.
        finished: bool (B,), True where the row ended with EOS and not at its limit.
        cut: bool (B,), True where `find_loop` cut the row.
    """

    tokens: list[IntArray]
    log_probs: list[FloatArray]
    scores: FloatArray
    finished: BoolArray
    cut: BoolArray


def greedy_search(
    step: DecodeStep,
    *,
    batch_size: int,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    max_lengths: IntArray,
    should_stop: Callable[[], bool] | None = None,
    find_loop: Callable[[int, IntArray], int | None] | None = None,
) -> SearchResult:
    """Take the likeliest token at each step until every row has ended.

    A tie goes to the lowest id. A row that has ended is frozen: it is fed `pad_id`, and what comes back is
    ignored. Where `step` has a `keep(rows)` method, rows that ended leave the batch once they are half of it.

    Args:
        step: The decoder; called with token_ids int64 (B,) and position 0, 1, …
        batch_size: Rows B, at least 1.
        bos_id: The token fed at position 0.
        eos_id: The token that ends a row.
        pad_id: The token fed to rows that have ended.
        max_lengths: int (B,), most tokens of each row, EOS counted and BOS not, each at least 1.
        should_stop: Asked before each step; True raises `Cancelled`.
        find_loop: Given a row's number and its tokens so far, says how many to keep if the row has run
            into a loop, else None (`limits.LoopGuard`).

    Raises:
        ValueError: `batch_size` or `max_lengths` breaks its rule, or `step` returns not (B, V).
        FloatingPointError: the best logit of a live row is not a finite number.
        Cancelled: `should_stop()` turned true.
    """
    limits = _checked_limits(batch_size, max_lengths)
    longest = int(limits.max())
    tokens = np.full((batch_size, longest), pad_id, dtype=np.int64)  # (B, T), EOS included where it came
    log_probs = np.zeros((batch_size, longest), dtype=np.float32)  # (B, T)
    lengths = np.zeros(batch_size, dtype=np.int64)  # tokens written a row, EOS counted
    finished = np.zeros(batch_size, dtype=np.bool_)
    kept: dict[int, int] = {}  # row -> tokens to keep, where a loop was cut

    rows = np.arange(batch_size)  # the row of the caller that each row of the current batch is
    alive = np.ones(batch_size, dtype=np.bool_)  # over the current batch
    fed = np.full(batch_size, bos_id, dtype=np.int64)
    for position in range(longest):
        if should_stop is not None and should_stop():
            raise Cancelled("The search was cancelled.")
        chosen, chosen_log_probs = _likeliest(step(fed, position), alive, position)
        written = rows[alive]
        tokens[written, position] = chosen[alive]
        log_probs[written, position] = chosen_log_probs[alive]
        lengths[written] = position + 1

        ended = alive & (chosen == eos_id)
        finished[rows[ended]] = True
        alive = alive & ~ended & (limits[rows] > position + 1)
        if find_loop is not None:
            for index in np.flatnonzero(alive):
                row = int(rows[index])
                keep = find_loop(row, tokens[row, : position + 1])
                if keep is not None:
                    kept[row] = keep
                    alive[index] = False

        num_alive = int(np.count_nonzero(alive))
        if num_alive == 0:
            break
        if 2 * num_alive <= len(rows) and isinstance(step, ShrinkingStep):
            stay = np.flatnonzero(alive)
            step.keep(stay)
            rows, chosen, alive = rows[stay], chosen[stay], alive[stay]
        fed = np.where(alive, chosen, pad_id)

    return _result(tokens, log_probs, lengths, finished, kept)


def _checked_limits(batch_size: int, max_lengths: IntArray) -> IntArray:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}. Leave out empty batches.")
    limits = np.asarray(max_lengths)
    if limits.shape != (batch_size,):
        raise ValueError(
            f"`max_lengths` must have one entry a row, shape ({batch_size},), got shape {limits.shape}. "
            "Give each row its own limit."
        )
    if limits.min() < 1:
        raise ValueError(
            f"`max_lengths` must be at least 1 in every row, got {int(limits.min())}. EOS counts as a token."
        )
    return limits


def _likeliest(logits: FloatArray, alive: BoolArray, position: int) -> tuple[IntArray, FloatArray]:
    """The best token of each row, lowest id first, and its log-probability: both (B,)."""
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[0] != len(alive):
        raise ValueError(
            f"`step` must return logits of shape ({len(alive)}, V), got shape {logits.shape}. "
            "Return one row of logits for each token fed."
        )
    chosen = logits.argmax(axis=1)  # the first of equals
    best = logits[np.arange(len(chosen)), chosen].astype(np.float32)
    if not np.isfinite(best[alive]).all():
        raise FloatingPointError(
            f"`step` must return finite logits, got a best logit that is not finite at position {position}. "
            "Check the weights."
        )
    best = np.where(alive, best, np.float32(0.0))  # a frozen row may hold anything
    # log softmax of the best logit: best - (best + log Σ exp(logits - best)); no exponent is above 0.
    with np.errstate(all="ignore"):  # rows that have ended
        shifted = np.exp(logits - best[:, None])
        return chosen, -np.log(shifted.sum(axis=1, dtype=np.float32))


def _result(
    tokens: IntArray, log_probs: FloatArray, lengths: IntArray, finished: BoolArray, kept: dict[int, int]
) -> SearchResult:
    out_tokens: list[IntArray] = []
    out_log_probs: list[FloatArray] = []
    for row, length in enumerate(lengths):
        counted = kept.get(row, int(length))
        out_tokens.append(tokens[row, : counted - int(finished[row])].copy())
        out_log_probs.append(log_probs[row, :counted].copy())
    scores = np.array([float(row.mean()) if len(row) else 0.0 for row in out_log_probs], dtype=np.float32)
    cut = np.zeros(len(tokens), dtype=np.bool_)
    cut[list(kept)] = True
    return SearchResult(out_tokens, out_log_probs, scores, finished, cut)

"""Sentences in the slots of one running batch: each at its own position, each with its own limit.

A finished sentence leaves a free slot, which another sentence can take while the rest goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np

from keras_transformer.decoding.steps import NEWEST, Ended, FindLoop, IntArray, ShrinkingStep

_BACKWARDS = 1 + np.arange(NEWEST)
_SHORTEST_LOOK = 8  # tokens; nobody calls fewer a loop
_LOOK_STEPS = 4  # between two looks for loops


class SlotOptions(TypedDict):
    """What every search is told.

    Keys:
        bos_id: The token fed at position 0.
        eos_id: The token that ends an output.
        pad_id: The token fed to the rows of free slots.
        find_loop: See `steps.FindLoop`; `limits.LoopGuard` is one. Left out, nothing is cut.
    """

    bos_id: int
    eos_id: int
    pad_id: int
    find_loop: NotRequired[FindLoop | None]


class Slots:
    """What greedy and beam search share: who is in which slot, and at which position.

    Args:
        step: The decoder; it has `num_slots` slots of `rows_per_slot` rows.
        num_slots: Slots B, at least 1. All are free at first.
        rows_per_slot: Rows of a sentence.
        options: See `SlotOptions`.
    """

    def __init__(
        self,
        step: Any,
        num_slots: int,
        rows_per_slot: int,
        **options: Unpack[SlotOptions],
    ) -> None:
        if num_slots < 1:
            raise ValueError(f"`num_slots` must be at least 1, got {num_slots}. Leave out empty batches.")
        self._step = step
        self._width = rows_per_slot
        self._bos_id, self._eos_id, self._pad_id = options["bos_id"], options["eos_id"], options["pad_id"]
        self._find_loop = options.get("find_loop")
        self._sentences = np.full(num_slots, -1, np.int64)  # the caller's number, -1 = free
        self._alive = np.zeros(num_slots, np.bool_)
        self._positions = np.zeros(num_slots, np.int64)  # tokens fed before, a slot
        self._starts = np.zeros(num_slots, np.int64)  # the first position whose token is the search's own
        self._limits = np.ones(num_slots, np.int64)  # the position at which an output must have ended
        self._num_alive = 0
        self._steps_left = 0  # until the first sentence is at its limit, at the least
        self._shared: int | None = 0  # the position of all, until one is put in later than the others
        self._num_steps: int | None = 0  # of all, up to a multiple of `_LOOK_STEPS`; None: they differ
        self._fed = np.full(num_slots * rows_per_slot, self._pad_id, np.int64)  # (R,)
        self._row_index = np.arange(num_slots * rows_per_slot)
        self._tokens = np.full((num_slots * rows_per_slot, 32), self._pad_id, np.int64)  # (R, T)
        self._log_probs = np.zeros((num_slots * rows_per_slot, 32), np.float32)  # (R, T)

    @property
    def num_slots(self) -> int:
        """Slots B, free ones counted."""
        return len(self._alive)

    @property
    def num_alive(self) -> int:
        """Sentences that are not done."""
        return self._num_alive

    @property
    def free(self) -> IntArray:
        """The free slots, ascending."""
        return np.flatnonzero(~self._alive)

    def put(
        self,
        slots: Sequence[int] | IntArray,
        sentences: Sequence[int] | IntArray,
        max_lengths: Sequence[int] | IntArray,
        *,
        token_ids: Sequence[int] | IntArray | None = None,
        position: int = 0,
    ) -> None:
        """Let sentences begin in free slots; the step already holds their sources.

        Args:
            slots: Free slots, one for each sentence.
            sentences: The caller's numbers, given back when a sentence is done.
            max_lengths: Most tokens of each output, EOS counted and BOS not, each at least 1.
            token_ids: The token to feed to each first; None feeds BOS.
            position: Where that token stands: the tokens before it were fed by the caller.

        Raises:
            ValueError: a limit is below 1, or there is not one for each sentence.
        """
        slots, limits = np.asarray(slots, np.int64), np.asarray(max_lengths)
        if limits.shape != slots.shape:
            raise ValueError(
                f"`max_lengths` must have one entry a row, shape {slots.shape}, got shape {limits.shape}. "
                "Give each row its own limit."
            )
        if len(limits) and limits.min() < 1:
            raise ValueError(
                f"`max_lengths` must be at least 1 in every row, got {int(limits.min())}. EOS counts as a token."
            )
        if not self._num_alive:
            self._shared, self._num_steps = position, 0
        else:
            if self._num_steps != 0 or self._shared != position:
                self._shared = None
            if self._num_steps is not None and self._num_steps % _LOOK_STEPS:
                self._num_steps = None
        self._num_alive += len(slots)
        self._sentences[slots], self._limits[slots] = sentences, limits + position
        self._positions[slots], self._starts[slots], self._alive[slots] = position, position, True
        rows = self._rows_of(slots)
        self._fed[rows] = self._bos_id if token_ids is None else np.repeat(np.asarray(token_ids), self._width)
        self._steps_left = int((self._limits - self._positions)[self._alive].min())
        self._grow(int(self._limits.max()))
        self._begin(slots)

    def advance(self) -> list[Ended]:
        """Run one step; return the sentences that are done with it. Their slots are free.

        Raises:
            ValueError: the step returns anything but (R, V).
            FloatingPointError: the best logit of a live row is not a finite number.
        """
        raise NotImplementedError

    def shrink(self) -> None:
        """Give the free slots up, where the step can; the slots that stay are numbered anew."""
        stay = np.flatnonzero(self._alive)
        if not isinstance(self._step, ShrinkingStep) or len(stay) in (0, self.num_slots):
            return
        self._step.keep(stay)
        self._keep(stay, self._rows_of(stay))

    def _begin(self, slots: IntArray) -> None:
        """Sentences have been put into `slots`."""

    def _keep(self, slots: IntArray, rows: IntArray) -> None:
        self._sentences, self._alive = self._sentences[slots], self._alive[slots]
        self._positions, self._limits = self._positions[slots], self._limits[slots]
        self._starts = self._starts[slots]
        self._fed, self._row_index = self._fed[rows], np.arange(len(rows))
        self._tokens, self._log_probs = self._tokens[rows], self._log_probs[rows]

    def _fed_positions(self) -> int | IntArray:
        """What to call the step with beside `_fed`."""
        if self._shared is not None:
            return self._shared
        return self._positions if self._width == 1 else np.repeat(self._positions, self._width)

    def _unseen_steps(self) -> int:
        """Steps up to and with the next at which loops are looked for or a sentence is at its limit."""
        if self._num_steps is None:
            return 1
        return max(1, min(_LOOK_STEPS - self._num_steps % _LOOK_STEPS, self._steps_left))

    def _skip(self, count: int) -> None:
        """All have moved on by `count` tokens that were written and are looked at with the next one."""
        if self._shared is not None:
            self._shared += count
        if self._num_steps is not None:
            self._num_steps += count
        self._positions += count
        self._steps_left -= count

    def _moved(self, done: list[int]) -> None:
        """All have moved on by one token; the slots `done` are free."""
        self._skip(1)
        if len(done):
            self._alive[done] = False
            self._num_alive -= len(done)
            if self._num_alive:
                self._steps_left = int((self._limits - self._positions)[self._alive].min())
        if self._num_alive < len(self._alive):
            free = ~self._alive
            # A free slot is fed padding at the first position, where it attends to nothing but itself.
            self._positions[free] = 0
            self._fed[free if self._width == 1 else np.repeat(free, self._width)] = self._pad_id

    def _loops(self) -> list[tuple[int, int, int]]:
        """Slot, row and tokens to keep of the outputs, the newest tokens written, that run into a loop.

        Every fourth token is soon enough to look.
        """
        if self._find_loop is None or (
            self._num_steps is not None and self._num_steps % _LOOK_STEPS != _LOOK_STEPS - 1
        ):
            return []
        phases = (self._positions - self._starts) % _LOOK_STEPS
        slots = (self._alive & (phases == _LOOK_STEPS - 1)).nonzero()[0]
        starts, ends = self._starts[slots], self._positions[slots] + 1
        if len(slots) and (ends - starts).max() < _SHORTEST_LOOK:
            return []
        if self._width > 1:
            starts, ends = np.repeat(starts, self._width), np.repeat(ends, self._width)
        rows = self._rows_of(slots)
        places = ends[:, None] - _BACKWARDS  # (N, NEWEST)
        newest = self._tokens[rows[:, None], np.maximum(places, 0)]
        newest[places < starts[:, None]] = -1
        found = []
        for nth in self._find_loop.suspects(newest, ends - starts).tolist():
            row = int(rows[nth])
            slot = row // self._width
            tokens = self._tokens[row, starts[nth] : ends[nth]]
            keep = self._find_loop(int(self._sentences[slot]), tokens)
            if keep is not None:
                found.append((slot, row, keep))
        return found

    def _rows_of(self, slots: IntArray) -> IntArray:
        """The rows of slots, ascending."""
        return (slots[:, None] * self._width + np.arange(self._width)).reshape(-1)

    def _checked(self, logits: Any) -> Any:
        logits = np.asarray(logits)
        if logits.ndim != 2 or logits.shape[0] != len(self._fed):
            raise ValueError(
                f"`step` must return logits of shape ({len(self._fed)}, V), got shape {logits.shape}. "
                "Return one row of logits for each token fed."
            )
        return logits

    def _check_finite(self, best: Any) -> None:
        """`best` (R,) is the largest logit of each row."""
        if np.isfinite(best).all():
            return
        wrong = ~np.isfinite(best).reshape(self.num_slots, self._width).all(axis=1) & self._alive
        if wrong.any():
            position = int(self._positions[np.flatnonzero(wrong)[0]])
            raise FloatingPointError(
                f"`step` must return finite logits, got a best logit that is not finite at position {position}. "
                "Check the weights."
            )

    def _grow(self, length: int) -> None:
        """Make room for outputs of `length` tokens."""
        missing = length - self._tokens.shape[1]
        if missing > 0:
            self._tokens = np.pad(self._tokens, ((0, 0), (0, missing)), constant_values=self._pad_id)
            self._log_probs = np.pad(self._log_probs, ((0, 0), (0, missing)))

"""Sentences in the slots of one batch. They begin together and stand at one position; each has its own limit.

What is kept of a sentence is Python's numbers and lists: for the few of a step they cost a fifth of what calls of
NumPy do, which the weights drive out of the processor's caches between two steps (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np

from keras_transformer.decoding.steps import Ended, FindLoop, IntArray, ShrinkingStep

_SHORTEST_LOOK = 8  # tokens; nobody calls fewer a loop
_LOOK_STEPS = 4  # between two looks for loops


class SlotOptions(TypedDict):
    """What every search is told.

    Keys:
        bos_id: The token fed at position 0.
        eos_id: The token that ends an output.
        pad_id: The token fed to the rows of sentences that are done.
        find_loop: See `steps.FindLoop`; `limits.LoopGuard` is one. Left out, nothing is cut.
        first_ids: (B,), the token fed to each sentence first; left out: BOS.
        position: Where that token stands, left out: 0. The caller has fed the tokens before it.
    """

    bos_id: int
    eos_id: int
    pad_id: int
    find_loop: NotRequired[FindLoop | None]
    first_ids: NotRequired[Sequence[int] | IntArray]
    position: NotRequired[int]


class Slots:
    """What greedy and beam search share: which sentence is in which slot, and how far they are.

    Args:
        step: The decoder; it holds the sources of B sentences, in as many slots of `rows_per_slot` rows.
        sentences: (B,), the caller's numbers, given back when a sentence is done.
        max_lengths: (B,), most tokens of each output, EOS counted and BOS not, each at least 1.
        rows_per_slot: Rows of a sentence.
        options: See `SlotOptions`.

    Raises:
        ValueError: there is no sentence, not one limit for each, or one below 1.
    """

    def __init__(
        self,
        step: Any,
        sentences: Iterable[int],
        max_lengths: Sequence[int] | IntArray,
        rows_per_slot: int,
        **options: Unpack[SlotOptions],
    ) -> None:
        self._sentences = list(sentences)
        self._limits = np.asarray(max_lengths, np.int64).tolist()
        if not self._sentences:
            raise ValueError("`sentences` must hold at least one, got none. Leave out empty batches.")
        if len(self._limits) != len(self._sentences):
            raise ValueError(
                f"`max_lengths` must have one entry a sentence ({len(self._sentences)}), got "
                f"{len(self._limits)}. Give each its own limit."
            )
        if min(self._limits) < 1:
            raise ValueError(
                f"`max_lengths` must be at least 1 for every sentence, got {min(self._limits)}. "
                "EOS counts as a token."
            )
        self._step = step
        self._width = rows_per_slot
        self._eos_id, self._pad_id = options["eos_id"], options["pad_id"]
        self._find_loop: FindLoop = options.get("find_loop") or _no_loop
        self._start = self._position = options.get("position", 0)  # of the tokens fed first, and of the next
        self._length = 0  # tokens of the outputs
        self._running = list(range(self.num_slots))  # slots of sentences that are not done, ascending
        self._ended_rows: IntArray = np.zeros(0, np.int64)
        first = np.asarray(options.get("first_ids", [options["bos_id"]] * self.num_slots), np.int64)
        self._fed: IntArray = np.repeat(first, rows_per_slot)  # (R,)

    @property
    def num_slots(self) -> int:
        """Slots B, those of sentences that are done counted."""
        return len(self._sentences)

    @property
    def num_running(self) -> int:
        """Sentences that are not done."""
        return len(self._running)

    def advance(self) -> list[Ended]:
        """Run one step; return the sentences that are done with it.

        Raises:
            ValueError: the step returns anything but (R, V).
            FloatingPointError: the best logit of a running row is not a finite number.
        """
        raise NotImplementedError

    def shrink(self) -> None:
        """Give up the slots of sentences that are done, where the step can; those that stay are numbered anew."""
        if isinstance(self._step, ShrinkingStep) and 0 < self.num_running < self.num_slots:
            slots = np.array(self._running)
            self._step.keep(slots)
            self._keep(self._running, self._rows_of(slots))
            self._running = list(range(len(slots)))

    def _keep(self, slots: list[int], rows: IntArray) -> None:
        self._sentences = [self._sentences[slot] for slot in slots]
        self._limits = [self._limits[slot] for slot in slots]
        self._fed, self._ended_rows = self._fed[rows], self._ended_rows[:0]

    def _moved(self, done: list[int]) -> None:
        """All have moved on by one token, `_fed` is what was chosen; the sentences in the slots `done` have ended."""
        self._position += 1
        if done:
            self._running = [slot for slot in self._running if slot not in done]
            ended = sorted(set(range(self.num_slots)).difference(self._running))
            self._ended_rows = self._rows_of(np.array(ended))
        if len(self._ended_rows):
            self._fed[self._ended_rows] = self._pad_id

    def _looks_for_loops(self) -> bool:
        """Every fourth token is soon enough."""
        return self._length >= _SHORTEST_LOOK and self._length % _LOOK_STEPS == 0

    def _rows_of(self, slots: IntArray) -> IntArray:
        """The rows of slots, in their order."""
        return slots if self._width == 1 else (slots[:, None] * self._width + np.arange(self._width)).ravel()

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
        if not np.isfinite(best[self._rows_of(np.array(self._running))]).all():
            raise FloatingPointError(
                "`step` must return finite logits, got a best logit that is not finite at position "
                f"{self._position}. Check the weights."
            )


def _no_loop(sentence: int, tokens: Sequence[int]) -> None:
    """Nothing is cut."""

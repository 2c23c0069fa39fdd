"""Greedy search: the likeliest token at each step.

Letters: B sentences, V vocabulary; a sentence has one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import numpy as np

from keras_transformer.decoding.candidates import summarise
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import ChoosingStep, DecodeStep, Ended, Hypothesis, IntArray


class GreedySearch(Slots):
    """Takes the likeliest token of each sentence, the lowest id of equals.

    Args:
        step: The decoder. Without `scores`, one that can choose by itself (`ChoosingStep`) is let.
        sentences, max_lengths: See `Slots`.
        scores: Whether hypotheses carry log-probabilities.
        options: See `SlotOptions`.
    """

    def __init__(
        self,
        step: DecodeStep,
        sentences: Iterable[int],
        max_lengths: Sequence[int] | IntArray,
        *,
        scores: bool = False,
        **options: Unpack[SlotOptions],
    ) -> None:
        super().__init__(step, sentences, max_lengths, 1, **options)
        self._choosing = step if isinstance(step, ChoosingStep) and not scores else None
        self._outputs: list[list[int]] = [[] for _ in self._sentences]
        self._scores = scores
        self._log_probs: list[list[float]] = [[] for _ in self._sentences]  # empty unless asked for

    def advance(self) -> list[Ended]:
        """As in `Slots`."""
        if self._choosing is not None:
            self._fed = self._choosing.likeliest(self._fed, self._position)
        else:
            self._fed = self._choose(self._step(self._fed, self._position))
        chosen = self._fed.tolist()
        self._length += 1
        looks, done, found = self._looks_for_loops(), [], []
        for slot in self._running:
            output, keep = self._outputs[slot], None
            finished, at_limit = chosen[slot] == self._eos_id, self._length == self._limits[slot]
            if not finished:
                output.append(chosen[slot])
                if looks and not at_limit:
                    keep = self._find_loop(self._sentences[slot], output)
            if finished or at_limit or keep is not None:
                done.append(slot)
                found.append(self._ended(slot, finished=finished, keep=keep))
        self._moved(done)
        return found

    def _choose(self, logits: Any) -> IntArray:
        logits = self._checked(logits)
        chosen: IntArray = logits.argmax(axis=1)  # the first of equals
        best = np.take_along_axis(logits, chosen[:, None], axis=1)[:, 0]
        self._check_finite(best)
        if self._scores:
            for output, value in zip(self._log_probs, best - summarise(logits).normalisers, strict=True):
                output.append(value)
        return chosen

    def _keep(self, slots: list[int], rows: IntArray) -> None:
        super()._keep(slots, rows)
        self._outputs = [self._outputs[slot] for slot in slots]
        self._log_probs = [self._log_probs[slot] for slot in slots]

    def _ended(self, slot: int, *, finished: bool, keep: int | None) -> Ended:
        """`keep` tokens are left of an output that was cut."""
        tokens = np.array(self._outputs[slot][:keep], np.int64)
        log_probs = np.array(self._log_probs[slot][:keep], np.float32) if self._scores else None
        return Ended(self._sentences[slot], (Hypothesis(tokens, log_probs, finished, keep is not None),))

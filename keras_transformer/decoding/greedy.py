"""Greedy search: the likeliest token at each step.

Letters: B sentences, V vocabulary; a sentence has one row.
"""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from keras_transformer.decoding.candidates import summarise
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import ChoosingStep, DecodeStep, Ended, Hypothesis, IntArray


class GreedySearch(Slots):
    """Takes the likeliest token of each sentence, the lowest id of equals.

    Args:
        step: The decoder. Without `scores`, one that can choose by itself (`ChoosingStep`) is let.
        num_slots: Slots B, at least 1.
        scores: Whether hypotheses carry log-probabilities.
        options: See `SlotOptions`.
    """

    def __init__(
        self, step: DecodeStep, num_slots: int, *, scores: bool = False, **options: Unpack[SlotOptions]
    ) -> None:
        super().__init__(step, num_slots, 1, **options)
        self._choosing = step if isinstance(step, ChoosingStep) and not scores else None
        self._scores = scores

    def advance(self) -> list[Ended]:
        """As in `Slots`; a step that chooses by itself is run until the next look for loops."""
        if self._choosing is not None:
            chosen = self._follow(self._choosing)  # (B, N)
        else:
            chosen = self._choose(self._step(self._fed, self._fed_positions()))[:, None]
        count = chosen.shape[1]
        if self._shared is not None:
            self._tokens[:, self._shared : self._shared + count] = chosen
        else:
            self._tokens[self._row_index[:, None], self._positions[:, None] + np.arange(count)] = chosen
        if count > 1:
            self._skip(count - 1)
        self._fed[:] = chosen[:, -1]
        ends = chosen == self._eos_id
        done, found = [], []
        if self._steps_left <= 1 or np.count_nonzero(ends):
            ended = ends.any(axis=1)
            done = ((ended | (self._positions + 1 >= self._limits)) & self._alive).nonzero()[0].tolist()
            for slot in done:
                behind = count - 1 - int(ends[slot].argmax()) if ended[slot] else 0  # steps after EOS
                found.append(self._ended(slot, finished=bool(ended[slot]), behind=behind))
        for slot, _, keep in self._loops():
            if slot not in done:
                done.append(slot)
                found.append(self._ended(slot, keep=keep))
        self._moved(done)
        return found

    def _follow(self, step: ChoosingStep) -> IntArray:
        """What is chosen (B, N) in steps on end, as long as nothing has to be looked at and a sentence goes on."""
        fed: IntArray = self._fed
        positions = self._fed_positions()
        most = self._unseen_steps()
        if most == 1:
            return step.likeliest(fed, positions)[:, None]
        chosen = np.empty((len(fed), most), np.int64)
        ended = ~self._alive
        for nth in range(most):
            fed = step.likeliest(fed, positions + nth)
            chosen[:, nth] = fed
            ended |= fed == self._eos_id
            if np.count_nonzero(ended) == len(ended):
                break
        return chosen[:, : nth + 1]

    def _choose(self, logits: Any) -> IntArray:
        logits = self._checked(logits)
        chosen: IntArray = logits.argmax(axis=1)  # the first of equals
        best = logits[self._row_index, chosen]
        self._check_finite(best)
        if self._scores:
            self._log_probs[self._row_index, self._positions] = best - summarise(logits).normalisers
        return chosen

    def _ended(self, slot: int, *, finished: bool = False, behind: int = 0, keep: int | None = None) -> Ended:
        start = int(self._starts[slot])
        end = int(self._positions[slot]) + 1 - behind if keep is None else start + keep
        log_probs = self._log_probs[slot, start:end].copy() if self._scores else None
        tokens = self._tokens[slot, start : end - int(finished)].copy()
        return Ended(int(self._sentences[slot]), (Hypothesis(tokens, log_probs, finished, keep is not None),))

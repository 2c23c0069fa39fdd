"""Beam search: the best few unfinished outputs of each sentence, side by side.

A finished output is ranked by its log-probability over the length penalty of Wu et al. 2016 (GNMT), eq. 14,
without coverage: ((5 + length) / 6) ** length_penalty, EOS counted. A sentence is done when no unfinished
output can still beat the worst of those it is to return, whatever followed (Huang et al. 2017).

Letters: B sentences, K = beam_size, R = B·K rows, C = 2·K candidates, V vocabulary. Beam k of slot b lives in
row b·K + k; which of a sentence's rows it is says nothing about its rank.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple, Unpack

import numpy as np

from keras_transformer.decoding.candidates import (
    Candidates,
    best_candidates,
    sound_candidates,
    summarise,
)
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import BeamStep, Ended, Hypothesis, IntArray, RankingStep

_LEAST_LARGEST = -30.0  # of the largest log-probability of a row, of which no vocabulary has less than -log V


class _Ranked(NamedTuple):
    score: float  # log-probability over length penalty
    hypothesis: Hypothesis


class BeamSearch(Slots):
    """Keeps `beam_size` unfinished outputs of each sentence.

    At each step the 2·K best continuations of a sentence are looked at. Those of the best K that end with EOS
    are finished; the best K that do not end go on. Equal totals: the lowest token, then the better output.
    Outputs that reach the limit, or are cut as a loop, stand behind the finished ones.

    Args:
        step: The decoder, with K rows for each slot.
        num_slots: Slots B, at least 1.
        beam_size: K, at least 1.
        length_penalty: Exponent, at least 0; 0 ranks by plain log-probability and favours short outputs.
        num_hypotheses: Hypotheses of a sentence, from 1 to K.
        options: See `SlotOptions`.

    Raises:
        ValueError: an argument breaks its rule.
    """

    def __init__(
        self,
        step: BeamStep,
        num_slots: int,
        *,
        beam_size: int,
        length_penalty: float = 0.6,
        num_hypotheses: int = 1,
        **options: Unpack[SlotOptions],
    ) -> None:
        check_beam(beam_size, length_penalty, num_hypotheses)
        super().__init__(step, num_slots, beam_size, **options)
        self._ranking = step if isinstance(step, RankingStep) else None
        self._earlier = np.tri(beam_size, k=-1, dtype=np.bool_)  # (K, K): the second comes before the first
        self._length_penalty = length_penalty
        self._num_hypotheses = num_hypotheses
        self._totals = np.full((num_slots, beam_size), -np.inf)  # (B, K) log-probabilities, -inf = no output
        self._ranks = np.tile(np.arange(beam_size), (num_slots, 1))  # (B, K), of each beam
        self._worst = np.full(num_slots, -np.inf)  # score of the last hypothesis, once there are enough
        self._mildest = np.ones(num_slots)  # the length penalty of the longest output
        self._pools: list[list[_Ranked]] = [[] for _ in range(num_slots)]  # finished, best first
        self._fallbacks: list[list[_Ranked]] = [[] for _ in range(num_slots)]  # at the limit, or cut

    def advance(self) -> list[Ended]:
        slots = self._alive.nonzero()[0]  # (A,)
        children = self._continue(slots)
        best = children.totals[:, 0]
        # A total only falls, and the longest output has the mildest penalty; a worst of -inf beats -inf alone.
        over = self._worst[slots] >= best / self._mildest[slots]
        if self._steps_left <= 1:
            at_limit = self._positions[slots] + 1 >= self._limits[slots]
            for nth in at_limit.nonzero()[0].tolist():
                self._enter_unfinished(int(slots[nth]), children, nth)
            over |= at_limit
        if np.count_nonzero(over):
            goes_on = ~over
            self._go_on(slots[goes_on], children.at(goes_on))
        else:
            self._go_on(slots, children)
        done = slots[over].tolist()
        done += self._cut_loops(done)
        found = [self._ended(slot) for slot in done]
        self._moved(done)
        return found

    def _continue(self, slots: IntArray) -> Candidates:
        """The best K that do not end, (A, K); those among the best K that end with EOS enter their pools."""
        width = self._width
        candidates = self._candidates(slots)
        ends = candidates.tokens == self._eos_id
        if not np.count_nonzero(ends):
            return candidates.at(slice(None), slice(width))
        for nth, column in zip(*(ends & (candidates.totals > -np.inf))[:, :width].nonzero(), strict=True):
            beam, total = int(candidates.beams[nth, column]), float(candidates.totals[nth, column])
            self._enter(int(slots[nth]), beam, self._eos_id, total)
        # At most K of the 2·K can end.
        order = np.argsort(ends, axis=1, kind="stable")[:, :width]
        at = np.arange(len(slots))[:, None]
        return candidates.at(at, order)

    def _candidates(self, slots: IntArray) -> Candidates:
        """The best 2·K continuations, (A, 2·K)."""
        tokens = None
        if self._ranking is not None:
            values, maxima, tokens, best = self._ranking.ranked(
                self._fed, self._fed_positions(), self._totals
            )
            found = sound_candidates(best, slots, values.shape[1], 2 * self._width) if best else None
            if found is not None:
                return found if tokens is None else found._replace(tokens=tokens[found.tokens])
            largest, offsets = maxima.max(axis=1), self._totals
            sound = largest > _LEAST_LARGEST
        else:
            values = self._checked(self._step(self._fed, self._fed_positions()))
            normalisers, largest, maxima = summarise(values)
            offsets = self._totals - normalisers.reshape(self._totals.shape)
            sound = np.isfinite(largest)
        if np.count_nonzero(sound) < len(sound):
            self._check_finite(np.where(sound | (self._totals == -np.inf).reshape(-1), 0.0, np.nan))
            # A dead beam's values may be anything.
            offsets = np.where(self._totals > -np.inf, offsets, -np.inf)
        shape = (self.num_slots, self._width, -1)
        found = best_candidates(
            values.reshape(shape), maxima.reshape(shape), offsets, self._ranks, 2 * self._width, slots
        )
        return found if tokens is None else found._replace(tokens=tokens[found.tokens])

    def _enter_unfinished(self, slot: int, children: Candidates, nth: int) -> None:
        """Outputs at their limit become fallbacks if there are not enough finished ones."""
        if self._worst[slot] == -np.inf:
            for total, token, beam in zip(*(array[nth].tolist() for array in children), strict=True):
                if total > -np.inf:
                    self._enter(slot, beam, token, total, ended=False)

    def _enter(self, slot: int, beam: int, token: int, total: float, *, ended: bool = True) -> None:
        """Keep the output of a beam with one more token, if it is among the best of its sentence."""
        start, position = int(self._starts[slot]), int(self._positions[slot])
        score = total / _penalty(position + 1 - start, self._length_penalty)
        if ended and score <= self._worst[slot]:
            return
        row = slot * self._width + beam
        last = np.float32(total - self._totals[slot, beam])
        log_probs = np.append(self._log_probs[row, start:position], last)
        tokens = self._tokens[row, start:position]
        hypothesis = Hypothesis(tokens.copy() if ended else np.append(tokens, token), log_probs, ended, False)
        if not ended:
            _insert(self._fallbacks[slot], _Ranked(score, hypothesis))
            return
        pool = self._pools[slot]
        _insert(pool, _Ranked(score, hypothesis))
        del pool[self._num_hypotheses :]
        if len(pool) == self._num_hypotheses:
            self._worst[slot] = pool[-1].score

    def _go_on(self, slots: IntArray, children: Candidates) -> None:
        """Each parent's row goes to its best child; only further children are copied into free rows."""
        totals, tokens, parents = children  # (A, K)
        if not len(slots):
            return
        width, dead = self._width, totals == -np.inf
        same = (parents[:, :, None] == parents[:, None, :]) & self._earlier  # (A, K, K): an earlier sibling
        some_dead = np.count_nonzero(dead) > 0
        if some_dead:
            # What is no output takes what is left; its row holds whatever it held.
            tokens = np.where(dead, self._pad_id, tokens)
            copied = dead | (same & ~dead[:, None, :]).any(axis=2)
        else:
            copied = same.any(axis=2)
        beams, moves = parents, np.count_nonzero(copied) > 0
        if moves:
            at = np.arange(len(slots))[:, None]
            taken = np.zeros(parents.shape, np.bool_)
            taken[(~copied).nonzero()[0], parents[~copied]] = True
            free = np.argsort(taken, axis=1, kind="stable")  # beams without a child first, ascending
            beams = np.where(copied, free[at, np.cumsum(copied, axis=1) - 1], parents)
        first_rows = slots[:, None] * width
        rows, parent_rows = first_rows + beams, first_rows + parents
        if moves:
            moved = copied & ~dead
            sources, destinations = parent_rows[moved], rows[moved]
            if len(sources):
                self._step.copy_rows(sources, destinations)
                self._tokens[destinations] = self._tokens[sources]
                self._log_probs[destinations] = self._log_probs[sources]
        flat, positions = self._totals.reshape(-1), self._positions[slots][:, None]
        self._tokens[rows, positions] = tokens
        before = flat[parent_rows]
        if some_dead:  # -inf less -inf is no number, of outputs that are none
            before = np.where(dead, 0.0, before)
        self._log_probs[rows, positions] = totals - before
        flat[rows] = totals
        self._fed[rows] = tokens
        self._ranks.reshape(-1)[rows] = np.arange(width)

    def _cut_loops(self, done: list[int]) -> list[int]:
        """Outputs that repeat themselves without end go no further; the sentences that have no other left."""
        emptied = []
        for slot, row, keep in self._loops():
            beam, start = row - slot * self._width, int(self._starts[slot])
            if slot in done or self._totals[slot, beam] == -np.inf:
                continue
            self._totals[slot, beam] = -np.inf
            tokens = self._tokens[row, start : start + keep].copy()
            log_probs = self._log_probs[row, start : start + keep].copy()
            score = float(log_probs.sum(dtype=np.float64)) / _penalty(keep, self._length_penalty)
            _insert(self._fallbacks[slot], _Ranked(score, Hypothesis(tokens, log_probs, False, True)))
            if not (self._totals[slot] > -np.inf).any():
                emptied.append(slot)
        return emptied

    def _ended(self, slot: int) -> Ended:
        found = [ranked.hypothesis for ranked in self._pools[slot]]
        seen = {hypothesis.tokens.tobytes() for hypothesis in found}
        for _, hypothesis in self._fallbacks[slot]:
            if hypothesis.tokens.tobytes() not in seen:  # two loops may be cut to the same output
                seen.add(hypothesis.tokens.tobytes())
                found.append(hypothesis)
        self._totals[slot] = -np.inf
        return Ended(int(self._sentences[slot]), tuple(found[: self._num_hypotheses]))

    def _begin(self, slots: IntArray) -> None:
        self._totals[slots] = -np.inf
        self._totals[slots, 0] = 0.0
        self._ranks[slots], self._worst[slots] = np.arange(self._width), -np.inf
        for slot in slots.tolist():
            longest = int(self._limits[slot] - self._starts[slot])
            self._mildest[slot] = _penalty(longest, self._length_penalty)
            self._pools[slot], self._fallbacks[slot] = [], []

    def _keep(self, slots: IntArray, rows: IntArray) -> None:
        super()._keep(slots, rows)
        self._totals = self._totals[slots]
        self._ranks, self._worst = self._ranks[slots], self._worst[slots]
        self._mildest = self._mildest[slots]
        self._pools = [self._pools[slot] for slot in slots]
        self._fallbacks = [self._fallbacks[slot] for slot in slots]


def check_beam(beam_size: int, length_penalty: float, num_hypotheses: int) -> None:
    """Raise ValueError if one of them breaks its rule; see `BeamSearch`."""
    if beam_size < 1:
        raise ValueError(f"`beam_size` must be at least 1, got {beam_size}. 1 is greedy search.")
    if not 0 <= length_penalty < np.inf:
        raise ValueError(
            f"`length_penalty` must be a finite number of at least 0, got {length_penalty}. "
            "0.6 is the usual one."
        )
    if not 1 <= num_hypotheses <= beam_size:
        raise ValueError(
            f"`num_hypotheses` must be from 1 to `beam_size` ({beam_size}), got {num_hypotheses}. "
            "Widen the beam."
        )


def _penalty(length: int, exponent: float) -> float:
    """Wu et al. 2016, eq. 14."""
    return float(((5.0 + length) / 6.0) ** exponent)


def _insert(ranked: list[_Ranked], entry: _Ranked) -> None:
    """Best first; among equals the first to come stays first."""
    bisect.insort_right(ranked, entry, key=lambda one: -one.score)

"""Beam search: the best few unfinished outputs of each sentence, side by side.

A finished output is ranked by its log-probability over the length penalty of Wu et al. 2016 (GNMT), eq. 14,
without coverage: ((5 + length) / 6) ** length_penalty, EOS counted. A sentence is done when no unfinished
output can still beat the worst of those it is to return, whatever followed (Huang et al. 2017).

Letters: B sentences, K = beam_size, R = B·K rows, C = 2·K candidates, V vocabulary. Beam k of slot b lives in
row b·K + k; which of a sentence's rows it is says nothing about its rank.
"""

from __future__ import annotations

import bisect
from typing import Any, NamedTuple

import numpy as np

from keras_transformer.decoding.candidates import Candidate, best_candidates, summarise
from keras_transformer.decoding.slots import Slots
from keras_transformer.decoding.steps import BeamStep, Ended, Hypothesis, IntArray


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
        options: As in `Slots`.

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
        **options: Any,
    ) -> None:
        check_beam(beam_size, length_penalty, num_hypotheses)
        super().__init__(step, num_slots, beam_size, **options)
        self._length_penalty = length_penalty
        self._num_hypotheses = num_hypotheses
        self._totals = np.full((num_slots, beam_size), -np.inf)  # (B, K) log-probabilities, -inf = no output
        self._ranks = [list(range(beam_size)) for _ in range(num_slots)]  # of each beam
        self._worst = [-np.inf] * num_slots  # score of the last hypothesis, once there are enough
        self._mildest = [1.0] * num_slots  # the length penalty of the longest output
        self._pools: list[list[_Ranked]] = [[] for _ in range(num_slots)]  # finished, best first
        self._fallbacks: list[list[_Ranked]] = [[] for _ in range(num_slots)]  # at the limit, or cut

    def advance(self) -> list[Ended]:
        logits = self._checked(self._step(self._fed, self._fed_positions()))
        summary = summarise(logits)
        live = self._totals > -np.inf
        if not np.isfinite(summary.largest).all():
            self._check_finite(np.where(live.reshape(-1), summary.largest, 0.0))
        shape = (self.num_slots, self._width, -1)
        # A dead beam's logits may be anything.
        offsets = np.where(live, self._totals - summary.normalisers.reshape(shape[:2]), -np.inf)
        candidates = best_candidates(
            logits.reshape(shape), summary.maxima.reshape(shape), offsets, self._ranks, 2 * self._width
        )
        done, moves = [], _Moves()
        for slot in self._alive.nonzero()[0].tolist():
            children = self._children(slot, candidates[slot])
            if self._is_done(slot, children):
                done.append(slot)
            else:
                self._go_on(slot, children, moves)
        self._apply(moves)
        done += self._cut_loops(done)
        found = [self._ended(slot) for slot in done]
        self._moved(np.array(done, np.int64))
        return found

    def _children(self, slot: int, candidates: list[Candidate]) -> list[Candidate]:
        """The best K that go on; those among the best K that end with EOS enter the sentence's pool."""
        children = []
        for nth, candidate in enumerate(candidates):
            loss, token, _, beam = candidate
            if token != self._eos_id:
                children.append(candidate)
                if len(children) == self._width:
                    break
            elif nth < self._width:
                self._enter(slot, beam, token, -loss)
        return children

    def _is_done(self, slot: int, children: list[Candidate]) -> bool:
        """Whether a sentence ends with this step; outputs at their limit become fallbacks if they are needed."""
        if self._positions[slot] + 1 >= self._limits[slot]:
            if self._worst[slot] == -np.inf:
                for loss, token, _, beam in children:
                    self._enter(slot, beam, token, -loss, ended=False)
            return True
        # A total only falls, and the longest output has the mildest penalty.
        return not children or self._worst[slot] >= -children[0][0] / self._mildest[slot]

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

    def _go_on(self, slot: int, children: list[Candidate], moves: _Moves) -> None:
        """Each parent's row goes to its best child; only further children are copied into free rows."""
        first_row, width = slot * self._width, self._width
        free = [True] * width
        for _, _, _, parent in children:
            free[parent] = False
        unused = [beam for beam in range(width) if free[beam]]
        kept = [False] * width
        ranks, next_rank = [0] * width, len(children)
        for rank, (loss, token, _, parent) in enumerate(children):
            beam = parent
            if kept[parent]:
                beam = unused.pop(0)
                moves.sources.append(first_row + parent)
                moves.destinations.append(first_row + beam)
            kept[parent] = True
            ranks[beam] = rank
            moves.add(first_row + beam, first_row + parent, token, -loss)
        for beam in unused:
            ranks[beam] = next_rank
            next_rank += 1
            moves.add(first_row + beam, first_row + beam, self._pad_id, -np.inf)
        self._ranks[slot] = ranks

    def _apply(self, moves: _Moves) -> None:
        if moves.sources:
            sources, destinations = np.array(moves.sources), np.array(moves.destinations)
            self._step.copy_rows(sources, destinations)
            self._tokens[destinations] = self._tokens[sources]
            self._log_probs[destinations] = self._log_probs[sources]
        rows, tokens, totals = np.array(moves.rows, np.int64), np.array(moves.tokens), np.array(moves.totals)
        flat = self._totals.reshape(-1)
        positions = self._positions[rows // self._width]
        self._tokens[rows, positions] = tokens
        with np.errstate(invalid="ignore"):  # -inf less -inf, of outputs that are none
            self._log_probs[rows, positions] = totals - flat[moves.parents]
        flat[rows] = totals
        self._fed[rows] = tokens

    def _cut_loops(self, done: list[int]) -> list[int]:
        """Outputs that repeat themselves without end go no further; the sentences that have no other left."""
        emptied = []
        for slot in self._looked_at().tolist():
            if slot in done:
                continue
            start = int(self._starts[slot])
            for beam in (self._totals[slot] > -np.inf).nonzero()[0].tolist():
                row = slot * self._width + beam
                keep = self._loop_in(slot, row)
                if keep is None:
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
        for slot in slots.tolist():
            self._ranks[slot] = list(range(self._width))
            self._worst[slot] = -np.inf
            longest = int(self._limits[slot] - self._starts[slot])
            self._mildest[slot] = _penalty(longest, self._length_penalty)
            self._pools[slot], self._fallbacks[slot] = [], []

    def _keep(self, slots: IntArray, rows: IntArray) -> None:
        super()._keep(slots, rows)
        self._totals = self._totals[slots]
        kept = slots.tolist()
        self._ranks, self._worst = [self._ranks[i] for i in kept], [self._worst[i] for i in kept]
        self._mildest = [self._mildest[i] for i in kept]
        self._pools = [self._pools[i] for i in kept]
        self._fallbacks = [self._fallbacks[i] for i in kept]


class _Moves:
    """What a step writes, by row: gathered for all sentences and written at once."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.parents: list[int] = []  # rows whose outputs go on
        self.tokens: list[int] = []
        self.totals: list[float] = []
        self.sources: list[int] = []  # rows to be copied
        self.destinations: list[int] = []

    def add(self, row: int, parent: int, token: int, total: float) -> None:
        self.rows.append(row)
        self.parents.append(parent)
        self.tokens.append(token)
        self.totals.append(total)


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

"""Beam search: the best few unfinished outputs of each sentence, side by side.

A finished output is ranked by its log-probability over the length penalty of Wu et al. 2016 (GNMT), eq. 14,
without coverage: ((5 + length) / 6) ** length_penalty, EOS counted. A sentence is done when no unfinished
output can still beat the worst of those it is to return, whatever followed (Huang et al. 2017), in at most 10
tokens more than the longest of these has.

Letters: B sentences, K = beam_size, R = B·K rows, C = 2·K candidates, V vocabulary. Beam k of slot b lives in
row b·K + k; which of a sentence's rows it is says nothing about its rank.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import NamedTuple, TypeAlias, Unpack

import numpy as np

from keras_transformer.decoding.candidates import best_candidates, is_sound, summarise
from keras_transformer.decoding.slots import SlotOptions, Slots
from keras_transformer.decoding.steps import BeamStep, Ended, Hypothesis, IntArray, RankingStep

MOST_LONGER = 10  # tokens; what is longer than a finished output by more is hardly ever the better one
MOST_BEAMS = 256  # beyond it quality falls, and the memory of a batch grows with each
GREATEST_PENALTY = (
    10.0  # an exponent that ranks by length alone; far greater ones are no floating-point numbers
)
_LEAST_LARGEST = -30.0  # of the largest log-probability of a row, of which no vocabulary has less than -log V
_NONE = float("-inf")  # total of a beam that holds no output
# Of an output with one more token: its total, the token, and the beam it comes from.
_Child: TypeAlias = tuple[float, int, int]


class _Candidates(NamedTuple):
    """The best continuations of A sentences, the best first; a total of -inf is none, nor is what follows it.

    Attributes:
        totals: A lists of log-probabilities.
        places: A lists of numbers: `vocabulary_size` · the beam + the token.
        vocabulary_size: V.
        tokens: (V), which the tokens are; None where they are their own numbers.
    """

    totals: list[list[float]]
    places: list[list[int]]
    vocabulary_size: int
    tokens: IntArray | None


class _Ranked(NamedTuple):
    """An output that goes no further.

    Attributes:
        score: Its log-probability over the length penalty.
        tokens: Without EOS.
        totals: Log-probabilities after each token, EOS counted where it has ended.
        finished, cut: See `Hypothesis`.
    """

    score: float
    tokens: list[int]
    totals: list[float]
    finished: bool = False
    cut: bool = False


@dataclass(slots=True)
class _Sentence:
    """What is known of a sentence.

    Attributes:
        longest: Most tokens of an output that may still beat the finished ones, EOS counted.
        mildest: The length penalty of an output as long as that.
        outputs: (K), the tokens of each beam.
        totals: (K), log-probabilities of the outputs.
        earlier: (K), the totals after each of its tokens.
        ranks: (K), places of the beams by their totals; equal totals keep the order they came in.
        finished: The best finished outputs, the best first.
        unfinished: Outputs at the limit, or cut.
        worst: Score of the last one finished, once there are enough.
    """

    longest: int
    mildest: float
    outputs: list[list[int]]
    totals: list[float]
    earlier: list[list[float]]
    ranks: list[int]
    finished: list[_Ranked] = field(default_factory=list)
    unfinished: list[_Ranked] = field(default_factory=list)
    worst: float = _NONE


class BeamSearch(Slots):
    """Keeps `beam_size` unfinished outputs of each sentence.

    At each step the 2·K best continuations of a sentence are looked at. Those of the best K that end with EOS
    are finished; the best K that do not end go on. Equal totals: the lowest token, then the better output.
    Outputs that reach the limit, or are cut as a loop, stand behind the finished ones.

    Args:
        step: The decoder, with K rows for each slot.
        sentences, max_lengths: See `Slots`.
        beam_size: K, from 1 to `MOST_BEAMS`.
        length_penalty: Exponent, from 0 to `GREATEST_PENALTY`; 0 ranks by plain log-probability and favours short
            outputs.
        num_hypotheses: Hypotheses of a sentence, from 1 to K.
        options: See `SlotOptions`.

    Raises:
        TypeError: `beam_size`, `length_penalty` or `num_hypotheses` is no number of its kind.
        ValueError: an argument breaks its rule.
    """

    def __init__(
        self,
        step: BeamStep,
        sentences: Iterable[int],
        max_lengths: Sequence[int] | IntArray,
        *,
        beam_size: int,
        length_penalty: float = 0.6,
        num_hypotheses: int = 1,
        **options: Unpack[SlotOptions],
    ) -> None:
        check_beam(beam_size, length_penalty, num_hypotheses)
        super().__init__(step, sentences, max_lengths, beam_size, **options)
        self._ranking = step if isinstance(step, RankingStep) else None
        self._length_penalty = length_penalty
        self._num_hypotheses = num_hypotheses
        self._beams = [
            _Sentence(
                longest=limit,
                mildest=_penalty(limit, length_penalty),
                outputs=[[] for _ in range(beam_size)],
                totals=[0.0, *[_NONE] * (beam_size - 1)],
                earlier=[[] for _ in range(beam_size)],
                ranks=list(range(beam_size)),
            )
            for limit in self._limits
        ]

    def advance(self) -> list[Ended]:
        """As in `Slots`."""
        found = self._candidates()
        self._length += 1
        penalty, looks = _penalty(self._length, self._length_penalty), self._looks_for_loops()
        fed = [self._pad_id] * len(self._fed)
        sources: list[int] = []
        destinations: list[int] = []
        starts: list[int] = []
        done = []
        for nth, slot in enumerate(self._running):
            sentence = self._beams[slot]
            children = self._children(slot, found, nth, penalty)
            best = children[0][0] if children else _NONE
            # A total only falls, and the longest output has the mildest penalty; a worst of -inf beats -inf alone.
            over = sentence.worst >= best / sentence.mildest
            if self._length >= sentence.longest:
                self._leave_unfinished(sentence, children, penalty)
                over = True
            if not over:
                first = slot * self._width
                before = sentence.outputs
                for beam, token, parent in self._go_on(sentence, children):
                    fed[first + beam] = token
                    if beam != parent:
                        sources.append(first + parent)
                        destinations.append(first + beam)
                        starts.append(self._start + 1 + _num_shared(before[parent], before[beam]))
                over = looks and self._cut_loops(self._sentences[slot], sentence)
            if over:
                done.append(slot)
        if sources:
            self._step.copy_rows(sources, destinations, starts)
        self._fed[:] = fed
        ended = [self._ended(slot) for slot in done]
        self._moved(done)
        return ended

    def _candidates(self) -> _Candidates:
        """The best 2·K continuations of each sentence that is not done."""
        count, tokens = 2 * self._width, None
        totals = np.array([sentence.totals for sentence in self._beams])  # (B, K)
        values = maxima = None
        if self._ranking is not None:
            values, maxima, tokens, best = self._ranking.ranked(self._fed, self._position, totals)
            if best is not None:
                found = _Candidates(best.totals.tolist(), best.places.tolist(), best.vocabulary_size, tokens)
                if len(self._running) < self.num_slots:
                    found = found._replace(
                        totals=[found.totals[slot] for slot in self._running],
                        places=[found.places[slot] for slot in self._running],
                    )
                if all(is_sound(row, count) for row in found.totals):
                    return found
        if values is not None and maxima is not None:
            largest, offsets = maxima.max(axis=1), totals
            sound = largest > _LEAST_LARGEST
        else:
            values = self._checked(self._step(self._fed, self._position))
            normalisers, largest, maxima = summarise(values)
            offsets = totals - normalisers.reshape(totals.shape)
            sound = np.isfinite(largest)
        if np.count_nonzero(sound) < len(sound):
            self._check_finite(np.where(sound | (totals == _NONE).reshape(-1), 0.0, np.nan))
            # The values of a beam without an output may be anything.
            offsets = np.where(totals > _NONE, offsets, _NONE)
        shape, ranks = (self.num_slots, self._width, -1), np.array([one.ranks for one in self._beams])
        slots, vocabulary_size = np.array(self._running), values.shape[1]
        best_of = best_candidates(values.reshape(shape), maxima.reshape(shape), offsets, ranks, count, slots)
        places = vocabulary_size * best_of.beams + best_of.tokens
        return _Candidates(best_of.totals.tolist(), places.tolist(), vocabulary_size, tokens)

    def _children(self, slot: int, found: _Candidates, nth: int, penalty: float) -> list[_Child]:
        """The best K of the nth candidates that do not end; those among the best K that end are finished."""
        width, vocabulary_size, tokens = self._width, found.vocabulary_size, found.tokens
        children: list[_Child] = []
        for column, (total, place) in enumerate(zip(found.totals[nth], found.places[nth], strict=True)):
            if total == _NONE:
                break
            beam, token = divmod(place, vocabulary_size)
            if tokens is not None:
                token = int(tokens[token])
            if token != self._eos_id:
                children.append((total, token, beam))
                if len(children) == width:
                    break
            elif column < width:
                self._finish(slot, total, beam, penalty)
        return children

    def _go_on(self, sentence: _Sentence, children: list[_Child]) -> list[tuple[int, int, int]]:
        """Each parent's row goes to its best child, rows without a child to the others: row, token and parent."""
        width = self._width
        rows, free = [], set(range(width)).difference([parent for _, _, parent in children])
        taken = set()
        outputs: list[list[int]] = [[]] * width
        earlier: list[list[float]] = [[]] * width
        totals, ranks = [_NONE] * width, [width] * width
        for rank, (total, token, parent) in enumerate(children):
            beam = parent
            if parent in taken:
                beam = min(free)
                free.remove(beam)
            taken.add(parent)
            outputs[beam] = [*sentence.outputs[parent], token]
            earlier[beam] = [*sentence.earlier[parent], total]
            totals[beam], ranks[beam] = total, rank
            rows.append((beam, token, parent))
        sentence.outputs, sentence.earlier = outputs, earlier
        sentence.totals, sentence.ranks = totals, ranks
        return rows

    def _finish(self, slot: int, total: float, beam: int, penalty: float) -> None:
        """Keep an output that ends, if it is among the best of its sentence."""
        sentence, score = self._beams[slot], total / penalty
        if score <= sentence.worst:
            return
        totals = [*sentence.earlier[beam], total]
        _insert(sentence.finished, _Ranked(score, sentence.outputs[beam], totals, finished=True))
        del sentence.finished[self._num_hypotheses :]
        if len(sentence.finished) == self._num_hypotheses:
            sentence.worst = sentence.finished[-1].score
            longest = max(len(ranked.totals) for ranked in sentence.finished)
            sentence.longest = min(longest + MOST_LONGER, self._limits[slot])
            sentence.mildest = _penalty(sentence.longest, self._length_penalty)

    def _leave_unfinished(self, sentence: _Sentence, children: list[_Child], penalty: float) -> None:
        """Outputs at their limit are kept if there are not enough finished ones."""
        if sentence.worst > _NONE:
            return
        for total, token, beam in children:
            tokens, totals = [*sentence.outputs[beam], token], [*sentence.earlier[beam], total]
            _insert(sentence.unfinished, _Ranked(total / penalty, tokens, totals))

    def _cut_loops(self, number: int, sentence: _Sentence) -> bool:
        """Outputs that repeat themselves without end go no further; whether the sentence has no other left."""
        for beam, output in enumerate(sentence.outputs):
            keep = self._find_loop(number, output) if sentence.totals[beam] > _NONE else None
            if keep is not None:
                totals = sentence.earlier[beam][:keep]
                score = totals[-1] / _penalty(keep, self._length_penalty)
                _insert(sentence.unfinished, _Ranked(score, output[:keep], totals, cut=True))
                sentence.totals[beam] = _NONE
        return max(sentence.totals) == _NONE

    def _ended(self, slot: int) -> Ended:
        sentence = self._beams[slot]
        found: dict[tuple[int, ...], _Ranked] = {}
        for ranked in sentence.finished + sentence.unfinished:
            found.setdefault(tuple(ranked.tokens), ranked)  # two loops may be cut to the same output
        sentence.totals = [_NONE] * self._width
        kept = list(found.values())[: self._num_hypotheses]
        return Ended(self._sentences[slot], tuple(map(_hypothesis, kept)))

    def _keep(self, slots: list[int], rows: IntArray) -> None:
        super()._keep(slots, rows)
        self._beams = [self._beams[slot] for slot in slots]


def _num_shared(tokens: list[int], others: list[int]) -> int:
    """Tokens that both begin with."""
    for place, (token, other) in enumerate(zip(tokens, others, strict=False)):
        if token != other:
            return place
    return min(len(tokens), len(others))


def _hypothesis(ranked: _Ranked) -> Hypothesis:
    log_probs = np.diff(np.array(ranked.totals), prepend=0.0).astype(np.float32)
    return Hypothesis(np.array(ranked.tokens, np.int64), log_probs, ranked.finished, ranked.cut)


def check_beam(beam_size: int, length_penalty: float, num_hypotheses: int) -> None:
    """Raise TypeError or ValueError if one of them breaks its rule; see `BeamSearch`."""
    for name, value in (("beam_size", beam_size), ("num_hypotheses", num_hypotheses)):
        if not isinstance(value, Integral):
            raise TypeError(f"`{name}` must be a whole number, got {value!r}. Pass an int.")
    if not isinstance(length_penalty, Real):
        raise TypeError(f"`length_penalty` must be a number, got {length_penalty!r}. Pass a float.")
    if not 1 <= beam_size <= MOST_BEAMS:
        raise ValueError(
            f"`beam_size` must be from 1 to {MOST_BEAMS}, got {beam_size}. 1 is greedy search, 4 a usual beam."
        )
    if not 0 <= length_penalty <= GREATEST_PENALTY:
        raise ValueError(
            f"`length_penalty` must be from 0 to {GREATEST_PENALTY:g}, got {length_penalty}. "
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

"""Length limits and the loop guard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_transformer.decoding.limits import LoopGuard, length_limits, most_repeats, tail_repeats


def test_length_limits_by_hand():
    assert length_limits(np.array([1, 5, 20, 400]), 64).tolist() == [12, 20, 50, 64]
    assert length_limits([3], 7).tolist() == [7]


def slow_tail_repeats(tokens: list[int], unit: int) -> int:
    """The same by definition: count copies of the last unit, from the end."""
    count, last = 0, tokens[-unit:]
    while len(tokens) >= unit and tokens[-unit:] == last:
        tokens, count = tokens[:-unit], count + 1
    return count


@given(st.lists(st.integers(0, 2), max_size=24), st.integers(1, 5))
def test_tail_repeats_agrees_with_its_definition(tokens, unit):
    assert tail_repeats(np.array(tokens, dtype=np.int64), unit) == slow_tail_repeats(tokens, unit)


@given(st.lists(st.integers(0, 2), max_size=20))
def test_most_repeats_is_the_most_over_all_ends_and_units(tokens):
    ends = range(1, len(tokens) + 1)
    slow = max((slow_tail_repeats(tokens[:end], unit) for end in ends for unit in range(1, 25)), default=0)
    assert most_repeats(np.array(tokens, dtype=np.int64)) == slow


def feed(guard: LoopGuard, tokens: list[int]) -> list[int] | None:
    """Feed `tokens` one by one, as a search does; the tokens kept at the first cut, or None."""
    for length in range(1, len(tokens) + 1):
        keep = guard(0, tokens[:length])
        if keep is not None:
            return tokens[:keep]
    return None


@pytest.mark.parametrize("unit", [1, 2, 3, 5, 7, 24])
@pytest.mark.parametrize("start", [[], [90, 91, 92], [90, 90]])
def test_a_loop_is_cut_to_its_first_unit(unit, start):
    loop = list(range(10, 10 + unit))
    assert feed(LoopGuard([np.array([3, 4, 5])]), start + loop * 60) == start + loop


@pytest.mark.parametrize(
    "tokens",
    [
        [5, 5, 6],  # very very good
        [7, 8, 7, 8, 7, 8, 9],  # no, no, no.
        [7, 8] * 5,  # ha, ha, ha, ha, ha
        [4] * 8,  # too short to matter
        [4, 5, 6, 7, 8, 9] * 3 + [10, 11, 12, 13],  # a refrain
        list(range(3, 90)),
    ],
)
def test_ordinary_repetition_stays(tokens):
    assert feed(LoopGuard([np.array([3, 4, 5])]), tokens) is None


def test_what_repeats_in_the_source_may_repeat_in_the_translation():
    laughs = [7, 8] * 20
    assert feed(LoopGuard([np.array([3, *[4, 5] * 20])]), laughs) is None
    assert feed(LoopGuard([np.array([3, 4, 5, 6])]), laughs) == [7, 8]


def test_each_row_has_its_own_source():
    guard = LoopGuard([np.array([4] * 30), np.array([4])])
    loop = [9] * 28
    assert guard(0, loop) is None
    assert guard(1, loop) == 1

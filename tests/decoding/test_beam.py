"""Beam search against a plain one, against every possible output, and by hand."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.decoding import (
    Cancellation,
    Cancelled,
    LoopGuard,
    beam,
    beam_search,
    greedy_search,
)
from keras_transformer.decoding.beam import check_beam
from keras_transformer.decoding.candidates import summarise
from keras_transformer.decoding.steps import Best, Ranked
from tests.decoding.trees import BOS, EOS, PAD, Tree, TreeStep

IDS = {"bos_id": BOS, "eos_id": EOS, "pad_id": PAD}


def penalty(length, exponent):
    return ((5.0 + length) / 6.0) ** exponent


def plain_search(tree, sentence, limit, beam_size, length_penalty, num_hypotheses, most_longer=10):
    """The rules in lists, to the limit or `most_longer` beyond the finished: (tokens, finished) a hypothesis."""
    live, pool, order = [((), 0.0)], [], itertools.count()
    for length in range(1, limit + 1):
        every = []
        for rank, (prefix, total) in enumerate(live):
            logits = tree.logits(sentence, prefix)
            offset = total - summarise(logits[None]).normalisers[0]
            every += [(-(np.float64(logit) + offset), token, rank) for token, logit in enumerate(logits)]
        best = sorted(every)[: 2 * beam_size]
        for total, token, rank in best[:beam_size]:
            if token == EOS:
                pool.append((total / penalty(length, length_penalty), next(order), (live[rank][0], True)))
        rest = [one for one in best if one[1] != EOS][:beam_size]
        live = [((*live[rank][0], token), -total) for total, token, rank in rest]
        lengths = [len(tokens) + 1 for _, _, (tokens, _) in sorted(pool)[:num_hypotheses]]
        if len(lengths) == num_hypotheses and length >= max(lengths) + most_longer:
            break
    found = [hypothesis for _, _, hypothesis in sorted(pool)]
    return (found + [(prefix, False) for prefix, _ in live])[:num_hypotheses]


def search(tree, sentences, limits, beam_size=3, step=None, **options):
    step = step or TreeStep(tree, sentences, beam_size)
    limits = np.broadcast_to(limits, (len(sentences),))
    result = beam_search(step, beam_size=beam_size, max_lengths=limits, **IDS, **options)
    return result.hypotheses


def listed(hypotheses):
    return [(tuple(one.tokens.tolist()), one.finished) for one in hypotheses]


TREES = st.builds(
    Tree,
    vocabulary=st.integers(4, 9),
    seed=st.integers(0, 10**6),
    sharpness=st.sampled_from([0.5, 2.0, 4.0]),
    levels=st.sampled_from([None, None, 2, 4]),
    ending=st.sampled_from([-2.0, 0.0, 2.0]),
)


@settings(deadline=None, max_examples=200)
@given(TREES, st.data())
def test_it_finds_what_the_rules_say_without_its_short_cuts(tree, data):
    beam_size = data.draw(st.integers(1, 5))
    num_hypotheses = data.draw(st.integers(1, beam_size))
    exponent = data.draw(st.sampled_from([0.0, 0.6, 1.0, 2.5]))
    limits = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    most_longer = data.draw(st.sampled_from([0, 1, 2, 10]))
    options = {"length_penalty": exponent, "num_hypotheses": num_hypotheses}
    with mock.patch.object(beam, "MOST_LONGER", most_longer):
        found = search(tree, range(len(limits)), limits, beam_size, **options)
    for sentence, limit in enumerate(limits):
        expected = plain_search(tree, sentence, limit, beam_size, exponent, num_hypotheses, most_longer)
        assert listed(found[sentence]) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.6, 1.0]), st.sampled_from([-1.0, 1.0]))
def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all_outputs(seed, exponent, ending):
    limit, tree = 4, Tree(5, seed, ending=ending)
    ordinary = [token for token in range(5) if token != EOS]
    scores = {}
    for length in range(limit):
        for tokens in itertools.product(ordinary, repeat=length):
            log_prob = 0.0
            for position, token in enumerate([*tokens, EOS]):
                logits = tree.logits(0, tokens[:position]).astype(np.float64)
                log_prob += logits[token] - np.log(np.exp(logits).sum())
            scores[tokens] = log_prob / penalty(length + 1, exponent)
    best = sorted(scores, key=lambda tokens: -scores[tokens])[:3]
    (found,) = search(tree, [0], limit, 4**limit, length_penalty=exponent, num_hypotheses=3)
    assert [tuple(one.tokens.tolist()) for one in found] == best
    for one, tokens in zip(found, best, strict=True):
        total = float(one.log_probs.sum(dtype=np.float64))
        # float32 log-probabilities of up to 4 tokens
        assert total / penalty(len(tokens) + 1, exponent) == pytest.approx(scores[tokens], abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(TREES, st.integers(1, 12))
def test_a_beam_of_one_without_a_stop_rule_is_greedy(tree, limit):
    greedy = greedy_search(TreeStep(tree, [7]), max_lengths=np.array([limit]), scores=True, **IDS)
    (found,) = search(tree, [7], limit, 1, length_penalty=0.0)  # else a longer output may win
    assert listed(found) == listed(greedy.hypotheses[0])
    np.testing.assert_allclose(found[0].log_probs, greedy.hypotheses[0][0].log_probs, atol=1e-6)


def test_batch_mates_and_their_order_change_nothing():
    tree, limits = Tree(300, 5, ending=3.0), [3, 12, 7, 9, 1, 15]
    alone = [search(tree, [s], limits[s], 4, num_hypotheses=3)[0] for s in range(6)]
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1], [4, 2, 0, 1]):
        together = search(tree, order, [limits[s] for s in order], 4, num_hypotheses=3)
        for sentence, found in zip(order, together, strict=True):
            assert listed(found) == listed(alone[sentence])
            for one, other in zip(found, alone[sentence], strict=True):
                assert one.log_probs.tolist() == other.log_probs.tolist()


def test_a_search_may_begin_behind_a_forced_prefix():
    tree, prefix = Tree(12, 3), [5, 7, 4]
    step = TreeStep(tree, [0], 3)
    step.histories = [[BOS, 5, 7] for _ in range(3)]
    (found,) = search(tree, [0], 6, 3, step, first_ids=[4], position=3)

    class Behind:
        logits = staticmethod(lambda sentence, tokens: tree.logits(sentence, (*prefix, *tokens)))

    assert listed(found) == plain_search(Behind, 0, 6, 3, 0.6, 1)


class Table:
    """Probabilities by prefix; a token that is not named has next to none, a prefix that is not is even."""

    vocabulary = 8

    def __init__(self, rows):
        self._rows = rows

    def logits(self, sentence, prefix):
        values = np.full(self.vocabulary, 1e-9)
        for token, probability in self._rows.get(tuple(prefix), {}).items():
            values[token] = probability
        return np.log(values).astype(np.float32)


GARDEN = Table(
    {
        (): {3: 0.6, 4: 0.4},
        (3,): {5: 0.5, EOS: 0.3, 6: 0.2},
        (4,): {5: 0.9, EOS: 0.1},
        (3, 5): {EOS: 0.5, 7: 0.5},
        (3, 6): {EOS: 1.0},
        (4, 5): {EOS: 0.95, 7: 0.05},
        (3, 5, 7): {EOS: 1.0},
        (4, 5, 7): {EOS: 1.0},
    }
)


def test_by_hand_greedy_is_led_down_the_garden_path_and_the_beam_is_not():
    greedy = greedy_search(TreeStep(GARDEN, [0]), max_lengths=np.array([6]), **IDS)
    assert greedy.tokens[0].tolist() == [3, 5]  # 0.6 · 0.5 · 0.5 = 0.15
    (found,) = search(GARDEN, [0], 6, 2, length_penalty=0.0, num_hypotheses=2)
    assert listed(found) == [((4, 5), True), ((3, 5), True)]  # 0.4 · 0.9 · 0.95 = 0.342
    np.testing.assert_allclose(np.exp(found[0].log_probs), [0.4, 0.9, 0.95], rtol=1e-5)


@pytest.mark.parametrize(
    ("exponent", "best"),
    # ln 0.3 = -1.204 over 1 token, ln 0.28 = -1.273 over 4: ((5+1)/6)^a = 1, ((5+4)/6)^a = 1.5^a.
    [(0.0, ()), (0.13, ()), (0.14, (3, 3, 3)), (1.0, (3, 3, 3))],
)
def test_the_length_penalty_by_hand(exponent, best):
    table = Table(
        {
            (): {EOS: 0.3, 3: 0.28, 4: 0.14, 5: 0.14, 6: 0.14},
            (3,): {3: 1.0},
            (3, 3): {3: 1.0},
            (3, 3, 3): {EOS: 1.0},
            (4,): {4: 1.0},
        }
        | {(4,) * n: {4: 1.0} for n in range(2, 9)}
    )
    (found,) = search(table, [0], 9, 2, length_penalty=exponent)
    assert tuple(found[0].tokens.tolist()) == best


def test_it_stops_as_soon_as_nothing_can_win_and_not_before():
    rows = {(3,) * n: {3: 0.5, EOS: 0.5} for n in range(1, 40)}
    sure = TreeStep(Table(rows | {(): {EOS: 0.9, 3: 0.1}}), [0], 2)
    search(None, [0], 30, 2, step=sure, length_penalty=0.0)
    assert sure.steps == 1  # what goes on has 0.1 at most
    unsure = TreeStep(Table(rows | {(): {EOS: 0.55, 3: 0.45}, (3,): {3: 1.0}}), [0], 2)
    search(None, [0], 30, 2, step=unsure, length_penalty=1.0)
    # ln 0.55 = -0.598 at length 1. ln 0.45 = -0.799 may still win while its penalty can grow to 16/6, that of 10
    # tokens more: it is given up when ln 0.45 + n ln 0.5 < -0.598 · 16/6 = -1.59, with n = 2, after 4 tokens.
    assert unsure.steps == 4
    # Up to a limit of 5 tokens, 10/6: -1.0, with n = 1.
    unsure = TreeStep(Table(rows | {(): {EOS: 0.55, 3: 0.45}, (3,): {3: 1.0}}), [0], 2)
    search(None, [0], 5, 2, step=unsure, length_penalty=1.0)
    assert unsure.steps == 3


def test_an_output_much_longer_than_a_finished_one_is_not_waited_for():
    rows = {(): {EOS: 0.4, 3: 0.6}} | {(3,) * n: {3: 1.0} for n in range(1, 40)}
    step = TreeStep(Table(rows | {(3,) * 10: {EOS: 1.0}}), [0], 2)
    (found,) = search(None, [0], 30, 2, step=step, length_penalty=1.0)
    assert listed(found) == [((3,) * 10, True)]  # 11 tokens with EOS: 10 more than the other
    step = TreeStep(Table(rows | {(3,) * 11: {EOS: 1.0}}), [0], 2)
    (found,) = search(None, [0], 30, 2, step=step, length_penalty=1.0)
    assert listed(found) == [((), True)]
    assert step.steps == 11


def test_ties_go_to_the_lowest_token_then_to_the_better_output():
    class Flat:
        vocabulary = 6

        def logits(self, sentence, prefix):
            return np.zeros(6, np.float32)

    (found,) = search(Flat(), [0], 2, 3, num_hypotheses=3, length_penalty=0.0)
    # Step 1: 0, 1 and EOS = 2 are the best three; 0, 1 and 3 go on. Step 2, all equal: token 0 of each.
    assert listed(found) == [((), True), ((0, 0), False), ((1, 0), False)]


def test_each_parent_keeps_its_row_for_its_best_child():
    step = TreeStep(Tree(50, 2, ending=-50.0), [0, 1], 4)
    search(None, [0, 1], 30, 4, step=step)
    assert step.steps == 30
    # 29 steps with children, 2 sentences, 4 beams: 232 if every row moved.
    assert step.copied <= 0.6 * 232


def test_a_single_chain_of_parents_copies_nothing():
    """Each of the beams has one child at each step: after the first, no row moves."""
    rows = {(): {3: 0.5, 4: 0.5}} | {(t,) * n: {t: 1.0} for t in (3, 4) for n in range(1, 12)}
    step = TreeStep(Table(rows), [0], 2)
    search(None, [0], 10, 2, step=step)
    assert step.copied == 1


def test_outputs_at_the_limit_stand_behind_finished_ones():
    table = Table({(): {3: 0.9, EOS: 0.1}, (3,): {3: 0.9, 4: 0.1}})
    (found,) = search(table, [0], 2, 3, num_hypotheses=3)
    assert listed(found) == [((), True), ((3, 3), False), ((3, 4), False)]


def test_a_loop_is_cut_and_flagged():
    rows = {(): {3: 1.0}} | {(3,) * n: {3: 1.0} for n in range(1, 41)}
    (found,) = search(Table(rows), [0], 40, 1, find_loop=LoopGuard([np.array([5, 6])]))
    assert [(one.tokens.tolist(), one.finished, one.cut) for one in found] == [([3], False, True)]
    assert len(found[0].log_probs) == 1


def test_an_output_that_loops_leaves_the_others_alone():
    rows = {(): {3: 0.6, 4: 0.4}} | {(3,) * n: {3: 1.0} for n in range(1, 41)}
    rows |= {tuple(range(4, 4 + 1)): {5: 1.0}, (4, 5): {6: 1.0}}
    chain = [4, 5, 6, 7] * 4
    rows |= {tuple(chain[:n]): {[*chain, EOS][n]: 1.0} for n in range(1, 17)}
    (found,) = search(Table(rows), [0], 40, 2, num_hypotheses=2, find_loop=LoopGuard([np.array([5, 6])]))
    assert [(one.tokens.tolist(), one.cut) for one in found] == [(chain, False), ([3], True)]


class OnlyTheBest(TreeStep):
    """Ranks by itself, and tells nothing but the best; `whole` counts the steps whose logits were asked for."""

    whole = 0

    def __call__(self, token_ids, position):
        self.whole += 1
        return super().__call__(token_ids, position)

    def ranked(self, token_ids, position, totals):
        logits = super().__call__(token_ids, position).astype(np.float64)
        log_probs = logits - summarise(logits).normalisers[:, None]
        every = (log_probs + totals.reshape(-1, 1)).reshape(len(totals), -1)
        places = np.argsort(-every, axis=1, kind="stable")[:, : 2 * self.beam_size + 1]
        return Ranked(best=Best(np.take_along_axis(every, places, 1), places, self.tree.vocabulary))


@pytest.mark.parametrize("levels", [None, 4], ids=["all values differ", "many tie"])
def test_a_step_that_tells_only_the_best_is_asked_for_the_rest_where_they_tie(levels):
    tree, limits = Tree(40, 3, ending=1.0, levels=levels), [9, 12, 7]
    step = OnlyTheBest(tree, [0, 1, 2], 3)
    found = search(tree, [0, 1, 2], limits, step=step)
    assert [listed(one) for one in found] == [listed(one) for one in search(tree, [0, 1, 2], limits)]
    assert (step.whole > 0) == (levels is not None)


def test_garbage_in_dead_rows_changes_nothing():
    tree, limits = Tree(20, 9, ending=1.0), [2, 12]

    class Garbage(TreeStep):
        keep = None  # it cannot shrink: dead rows stay

        def __call__(self, token_ids, positions):
            logits = super().__call__(token_ids, positions)
            if self.steps > 2:
                logits[:3] = [np.nan, np.inf, -np.inf][self.steps % 3]
            return logits

    clean = search(tree, [0, 1], limits)
    dirty = search(tree, [0, 1], limits, step=Garbage(tree, [0, 1], 3))
    assert [listed(found) for found in clean] == [listed(found) for found in dirty]


def test_a_logit_that_is_no_number_in_a_live_row_is_refused():
    class Broken(Tree):
        def logits(self, sentence, prefix):
            return super().logits(sentence, prefix) + np.float32(np.nan if len(prefix) == 2 else 0.0)

    message = (
        r"^`step` must return finite logits, got a best logit that is not finite at position 2\. "
        r"Check the weights\.$"
    )
    with pytest.raises(FloatingPointError, match=message):
        search(Broken(9, 1, ending=-9.0), [0], 9)


def test_the_cancellation_is_asked_before_each_step():
    cancellation = Cancellation()

    class Cancelling(TreeStep):
        def __call__(self, token_ids, positions):
            if self.steps == 3:
                cancellation.cancel()
            return super().__call__(token_ids, positions)

    step = Cancelling(Tree(20, 1, ending=-9.0), [0], 3)
    with pytest.raises(Cancelled, match=r"^The call was cancelled\.$"):
        search(None, [0], 20, step=step, cancellation=cancellation)
    assert step.steps == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"beam_size": 0},
            r"^`beam_size` must be from 1 to 256, got 0\. 1 is greedy search, 4 a usual beam\.$",
        ),
        (
            {"length_penalty": -0.5},
            r"^`length_penalty` must be from 0 to 10, got -0\.5\. 0\.6 is the usual one\.$",
        ),
        (
            {"length_penalty": float("nan")},
            r"^`length_penalty` must be from 0 to 10, got nan\. 0\.6 is the usual one\.$",
        ),
        (
            {"length_penalty": 1000},
            r"^`length_penalty` must be from 0 to 10, got 1000\. 0\.6 is the usual one\.$",
        ),
        ({"beam_size": 100_000}, r"^`beam_size` must be from 1 to 256, got 100000\. 1 is greedy"),
        (
            {"num_hypotheses": 4},
            r"^`num_hypotheses` must be from 1 to `beam_size` \(3\), got 4\. Widen the beam\.$",
        ),
        (
            {"num_hypotheses": 0},
            r"^`num_hypotheses` must be from 1 to `beam_size` \(3\), got 0\. Widen the beam\.$",
        ),
    ],
)
def test_options_that_break_a_rule_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search(Tree(9), [0], 5, step=TreeStep(Tree(9), [0], 3), **options)


def test_options_of_another_type_are_named():
    with pytest.raises(TypeError, match=r"^`beam_size` must be a whole number, got '4'\. Pass an int\.$"):
        check_beam("4", 0.6, 1)
    with pytest.raises(TypeError, match=r"^`length_penalty` must be a number, got None\. Pass a float\.$"):
        check_beam(4, None, 1)

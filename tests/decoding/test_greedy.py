"""Greedy search over slots: sentences come and go, and a step that can choose is let."""

from __future__ import annotations

import numpy as np
import pytest

from keras_transformer.decoding import GreedySearch, greedy_search
from keras_transformer.decoding.search import run_to_end
from tests.decoding.trees import BOS, EOS, PAD, Tree, TreeStep

IDS = {"bos_id": BOS, "eos_id": EOS, "pad_id": PAD}


def alone(tree, sentence, limit, **options):
    return greedy_search(
        TreeStep(tree, [sentence]), batch_size=1, max_lengths=np.array([limit]), **IDS, **options
    ).hypotheses[0]


class Choosing(TreeStep):
    """Chooses by itself; whoever asks for its logits must have a reason."""

    asked = 0

    def __call__(self, token_ids, positions):
        self.asked += 1
        return super().__call__(token_ids, positions)

    def likeliest(self, token_ids, positions):
        return super().__call__(token_ids, positions).argmax(axis=1)


@pytest.mark.parametrize("scores", [False, True])
def test_a_step_that_can_choose_is_asked_for_logits_only_where_scores_are_wanted(scores):
    tree = Tree(30, 3, ending=1.0)
    step = Choosing(tree, [0, 1, 2])
    found = greedy_search(step, batch_size=3, max_lengths=np.full(3, 20), scores=scores, **IDS)
    assert (step.asked > 0) == scores
    for sentence, tokens in enumerate(found.tokens):
        assert tokens.tolist() == alone(tree, sentence, 20)[0].tokens.tolist()


@pytest.mark.parametrize("step_type", [TreeStep, Choosing])
def test_a_sentence_put_into_a_free_slot_is_searched_as_if_alone(step_type):
    tree, waiting, found = Tree(30, 8, ending=1.5), list(range(3, 25)), {}
    limits = [2 + (5 * sentence) % 13 for sentence in range(25)]
    step = step_type(tree, [0, 1, 2])
    running = GreedySearch(step, 3, **IDS)
    running.put([0, 1, 2], [0, 1, 2], limits[:3])
    while running.num_alive:
        found.update(running.advance())
        free = running.free[: len(waiting)]
        if len(free):
            chosen, waiting = waiting[: len(free)], waiting[len(free) :]
            step.replace(free, chosen)
            running.put(free, chosen, [limits[sentence] for sentence in chosen])
        elif len(waiting) == 0:
            running.shrink()
    assert sorted(found) == list(range(25))
    for sentence, (best,) in found.items():
        (expected,) = alone(tree, sentence, limits[sentence])
        assert (best.tokens.tolist(), best.finished) == (expected.tokens.tolist(), expected.finished)


def test_positions_are_one_number_until_a_sentence_comes_later():
    seen = []

    class Noting(TreeStep):
        def __call__(self, token_ids, positions):
            seen.append(positions if isinstance(positions, int) else positions.tolist())
            return super().__call__(token_ids, positions)

    step = Noting(Tree(30, 8, ending=-50.0), [0, 1])
    running = GreedySearch(step, 2, **IDS)
    running.put([0, 1], [0, 1], [2, 4])
    running.advance()
    assert [ended.row for ended in running.advance()] == [0]
    step.replace([0], [5])
    running.put([0], [5], [3])
    list(run_to_end(running))
    assert seen == [0, 1, [0, 2], [1, 3], [2]]


def test_a_search_may_begin_behind_a_forced_prefix():
    tree, prefix = Tree(30, 5, ending=0.5), [7, 9]
    step = TreeStep(tree, [4])
    step.histories = [[BOS, 7]]
    running = GreedySearch(step, 1, scores=True, **IDS)
    running.put([0], [4], [10], token_ids=[9], position=2)
    ((row, (found,)),) = list(run_to_end(running))
    expected = []
    while len(expected) < 10:
        token = int(tree.logits(4, [*prefix, *expected]).argmax())
        if token == EOS:
            break
        expected.append(token)
    assert (row, found.tokens.tolist()) == (4, expected)
    assert len(found.log_probs) == len(expected) + found.finished

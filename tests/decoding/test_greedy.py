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
        TreeStep(tree, [sentence]), max_lengths=np.array([limit]), **IDS, **options
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
    found = greedy_search(step, max_lengths=np.full(3, 20), scores=scores, **IDS)
    assert (step.asked > 0) == scores
    for sentence, tokens in enumerate(found.tokens):
        assert tokens.tolist() == alone(tree, sentence, 20)[0].tokens.tolist()


@pytest.mark.parametrize("step_type", [TreeStep, Choosing])
def test_a_sentence_among_others_is_searched_as_if_alone(step_type):
    tree, limits = Tree(30, 8, ending=1.5), [2 + (5 * sentence) % 13 for sentence in range(25)]
    running = GreedySearch(step_type(tree, range(25)), range(25), limits, **IDS)
    found = dict(run_to_end(running))
    assert sorted(found) == list(range(25))
    for sentence, (best,) in found.items():
        (expected,) = alone(tree, sentence, limits[sentence])
        assert (best.tokens.tolist(), best.finished) == (expected.tokens.tolist(), expected.finished)


def test_a_search_may_begin_behind_a_forced_prefix():
    tree, prefix = Tree(30, 5, ending=0.5), [7, 9]
    step = TreeStep(tree, [4])
    step.histories = [[BOS, 7]]
    ((found,),) = greedy_search(
        step, max_lengths=[10], scores=True, first_ids=[9], position=2, **IDS
    ).hypotheses
    expected = []
    while len(expected) < 10:
        token = int(tree.logits(4, [*prefix, *expected]).argmax())
        if token == EOS:
            break
        expected.append(token)
    assert found.tokens.tolist() == expected
    assert len(found.log_probs) == len(expected) + found.finished

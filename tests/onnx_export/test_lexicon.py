"""The lexicon against one worked out with dictionaries, and the shortlist made of it."""

from collections import defaultdict

import numpy as np
import pytest

from keras_transformer.errors import UserError
from keras_transformer.onnx_export import lexicon
from keras_transformer.onnx_export.lexicon import learn_lexicon, make_shortlist

VOCABULARY = 12
EMPTY = VOCABULARY
# 4 is always 7, 5 is always 8, and 6 stands in two sentences only.
PAIRS = [([4, 5], [7, 8]), ([4], [7]), ([5, 4, 4], [8, 7]), ([6, 5], [9, 8]), ([6, 4], [7, 9])] * 2


def by_dictionaries(pairs, iterations):
    """IBM Model 1 as in the paper's equations, over the sets of tokens of each sentence."""
    together = defaultdict(int)
    sets = [(sorted({*source, EMPTY}), sorted(set(target))) for source, target in pairs]
    for sources, targets in sets:
        for source in sources:
            for target in targets:
                together[source, target] += 1
    probability = {pair: 1.0 for pair, count in together.items() if count >= lexicon.FEWEST_TOGETHER}
    for _ in range(iterations):
        expected = defaultdict(float)
        for sources, targets in sets:
            for target in targets:
                shares = {s: probability.get((s, target), 0.0) for s in sources}
                for source, share in shares.items():
                    if share:
                        expected[source, target] += share / sum(shares.values())
        totals = defaultdict(float)
        for (source, _), count in expected.items():
            totals[source] += count
        probability = {pair: count / totals[pair[0]] for pair, count in expected.items()}
    return probability


def as_dictionary(found):
    pairs = zip(found.sources.tolist(), found.targets.tolist(), strict=True)
    return dict(zip(pairs, found.probabilities.tolist(), strict=True))


@pytest.mark.parametrize("chunk", [1, 13, 1 << 21])
def test_probabilities_are_those_of_the_papers_equations(monkeypatch, chunk):
    monkeypatch.setattr(lexicon, "_CHUNK_PAIRS", chunk)
    found = learn_lexicon(PAIRS, VOCABULARY)
    expected = by_dictionaries(PAIRS, lexicon.ITERATIONS)
    assert as_dictionary(found) == pytest.approx(expected, abs=1e-6)  # float32
    assert found.probabilities[(found.sources == 4) & (found.targets == 7)].item() > 0.8
    assert found.source_counts.tolist() == [0, 0, 0, 0, 8, 6, 4, 0, 0, 0, 0, 0]
    assert found.target_counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 8, 6, 4, 0, 0]


def test_what_stands_together_once_is_no_translation():
    found = learn_lexicon([([4], [7]), ([4], [7]), ([4], [10])], VOCABULARY)
    assert set(as_dictionary(found)) == {(4, 7), (EMPTY, 7)}


def test_only_as_many_pairs_are_read_as_memory_is_meant_for(monkeypatch):
    monkeypatch.setattr(lexicon, "MOST_PAIRS", 7)
    assert learn_lexicon(PAIRS, VOCABULARY).source_counts.sum() == 3  # 3·2 pairs of tokens, then 2·1 more


@pytest.mark.parametrize("pairs", [[], [([], [4]), ([4], []), ([4] * 101, [4])]])
def test_a_text_without_a_pair_to_learn_from_is_refused(pairs):
    with pytest.raises(
        UserError,
        match=r"\AA text to learn a shortlist from must hold sentence pairs of 1 to 100 tokens a side, it holds "
        r"none\. Name another text\.\Z",
    ):
        learn_lexicon(pairs, VOCABULARY)


def test_a_list_holds_the_likeliest_and_the_token_itself(monkeypatch):
    monkeypatch.setattr(lexicon, "CANDIDATES", 1)
    monkeypatch.setattr(lexicon, "FREQUENT", 1)
    shortlist = make_shortlist(learn_lexicon(PAIRS, VOCABULARY), always=[0, 2])
    allowed = shortlist.allowed([np.array([4, 2]), np.array([5, 4])])
    assert [row.nonzero()[0].tolist() for row in allowed] == [[0, 2, 4, 7], [0, 2, 4, 5, 7, 8]]
    # 6 stands in 4 sentences, 11 in none, 2 is no text.
    assert [shortlist.covers(np.array(ids)) for ids in ([4, 2], [4, 6], [11], [2])] == [
        True,
        False,
        False,
        True,
    ]

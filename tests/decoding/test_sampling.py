"""Sampling: what may be drawn and how often, worked out by hand; streams that know no batch mates."""

from __future__ import annotations

import re

import numpy as np
import pytest

from keras_transformer.decoding import SamplingSearch, sampling_search
from keras_transformer.decoding.sampling import candidates, softmax
from tests.decoding.trees import BOS, EOS, PAD, Tree, TreeStep

IDS = {"bos_id": BOS, "eos_id": EOS, "pad_id": PAD}
PROBABILITIES = np.array([0.05, 0.4, 0.2, 0.05, 0.3])


@pytest.mark.parametrize(
    ("top_k", "top_p", "tokens"),
    [
        (None, None, [1, 4, 2, 0, 3]),  # equals: the lowest id first
        (2, None, [1, 4]),
        (9, None, [1, 4, 2, 0, 3]),
        (None, 0.1, [1]),  # never none
        (None, 0.45, [1, 4]),  # 0.4 does not exceed it, 0.7 does
        (None, 0.75, [1, 4, 2]),
        (None, 1.0, [1, 4, 2, 0, 3]),
        (2, 0.95, [1, 4]),
    ],
)
def test_which_tokens_may_be_drawn(top_k, top_p, tokens):
    found, kept = candidates(PROBABILITIES, top_k, top_p)
    assert found.tolist() == tokens
    assert kept.tolist() == PROBABILITIES[tokens].tolist()


class Fixed:
    """The same logits whatever is fed."""

    def __init__(self, logits):
        self.logits = np.array(logits, np.float32)

    def __call__(self, token_ids, positions):
        return np.tile(self.logits, (len(token_ids), 1))


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, [0, 0.4, 0, 0.2, 0.3, 0.1]),
        (
            {"temperature": 0.5},
            [0, 16 / 30, 0, 4 / 30, 9 / 30, 1 / 30],
        ),  # squares of 4, 2, 3, 1 over their sum
        ({"top_k": 2}, [0, 4 / 7, 0, 0, 3 / 7, 0]),
        ({"top_p": 0.8}, [0, 4 / 9, 0, 2 / 9, 3 / 9, 0]),
        ({"top_k": 1}, [0, 1, 0, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_by_their_probability(options, shares):
    with np.errstate(divide="ignore"):
        step = Fixed(np.log([0, 0.4, 0, 0.2, 0.3, 0.1]))
    found = sampling_search(step, seed=1, max_lengths=np.full(4, 2500), **IDS, **options)
    drawn = np.bincount(np.concatenate(found.tokens), minlength=6) / 10_000
    # Of 10,000 draws a share p varies by sqrt(p (1 - p) / 10,000), at most 0.005; this is four of it.
    np.testing.assert_allclose(drawn, shares, atol=0.02)
    assert drawn[np.array(shares) == 0].sum() == 0


def test_log_probs_are_the_models_whatever_the_temperature():
    step = Fixed(np.log([0.1, 0.2, 0.0001, 0.6999]))
    (found,) = sampling_search(step, seed=2, temperature=3.0, max_lengths=np.array([30]), **IDS).hypotheses[0]
    model = softmax(step.logits.astype(np.float64))
    tokens = [*found.tokens, EOS] if found.finished else found.tokens
    np.testing.assert_allclose(found.log_probs, np.log(model[tokens]), rtol=1e-6)


def searched(tree, sentences, seed, numbers):
    step = TreeStep(tree, sentences)
    running, found = SamplingSearch(step, numbers, np.full(len(sentences), 20), seed=seed, **IDS), {}
    while running.num_running:
        found.update(running.advance())
        running.shrink()
    return {number: best.tokens.tolist() for number, (best,) in found.items()}


def test_a_sentence_draws_by_the_seed_and_its_number_alone():
    tree = Tree(30, 5, sharpness=1.0, ending=1.0)
    together = searched(tree, [0, 1, 2, 3], 7, [0, 1, 2, 3])
    assert len({len(tokens) for tokens in together.values()}) > 1
    for sentence, tokens in together.items():
        assert searched(tree, [sentence], 7, [sentence])[sentence] == tokens
    assert searched(tree, [0, 1, 2, 3], 8, [0, 1, 2, 3]) != together
    assert searched(tree, [0], 7, [9])[9] != together[0]


def test_each_sentence_has_one_stream_however_long_it_gets(monkeypatch):
    made, make = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: made.append(seed) or make(seed))
    sampling_search(Fixed([0.0, 1.0, -1e9, 2.0]), seed=5, max_lengths=np.array([30, 20]), **IDS)
    assert made == [(5, 0), (5, 1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "`seed` must be at least 0, got -1. Choose a value there."),
        ({"temperature": 0.0}, "`temperature` must be above 0, got 0.0. Choose a value there."),
        ({"top_k": 0}, "`top_k` must be at least 1, got 0. Choose a value there."),
        ({"top_p": 0.0}, "`top_p` must be in (0, 1], got 0.0. Choose a value there."),
        ({"top_p": 1.1}, "`top_p` must be in (0, 1], got 1.1. Choose a value there."),
    ],
)
def test_broken_rules_are_named(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SamplingSearch(Fixed([0, 1, 2]), [0], [1], **{"seed": 0, **options}, **IDS)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(
        FloatingPointError, match="`step` must return finite logits, got a best logit that is"
    ):
        sampling_search(Fixed([0.0, np.nan, 1.0]), seed=0, max_lengths=np.array([3]), **IDS)

"""`generate(sampler=…)` on a Keras model: KerasHub's names, configurations and objects."""

import keras
import numpy as np
import pytest

from keras_transformer.generation import resolve_sampler
from tests.helpers import batch, raises_message, random_model, tiny_config
from tests.reference import transformer as reference


@pytest.fixture(scope="module")
def model_and_weights():
    return random_model(tiny_config(norm_placement="pre"), seed=3)


@pytest.fixture(scope="module")
def sources(model_and_weights):
    return batch(model_and_weights[0].config, batch_size=4)[0]


def tokens(found):
    return [row.tolist() for row in found]


def total(config, weights, source_ids, row):
    """Log-probability of an output by the uncached float64 oracle."""
    output = [*row, config.eos_id][: config.max_length]
    inputs = np.array([[config.bos_id, *output[:-1]]])
    logits = reference.logits(weights, config, source_ids[None], inputs)[0]
    log_probs = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    log_probs -= logits.max(-1, keepdims=True)
    return log_probs[np.arange(len(output)), output].sum()


def test_what_can_draw_the_likeliest_alone_is_greedy(model_and_weights, sources):
    model, _ = model_and_weights
    greedy = tokens(model.generate(sources))
    for sampler in (
        "greedy",
        {"class_name": "beam", "config": {"num_beams": 1}},
        {"class_name": "top_k", "config": {"k": 1}},
        {"class_name": "top_p", "config": {"p": 1e-9}},
        {"class_name": "keras_hub>RandomSampler", "config": {"temperature": 1e-4, "seed": 5}},
    ):
        assert tokens(model.generate(sources, sampler=sampler)) == greedy, sampler


def test_a_beam_finds_likelier_outputs(model_and_weights, sources):
    model, weights = model_and_weights
    greedy, beam = model.generate(sources), model.generate(sources, sampler="beam")
    totals = [
        [total(model.config, weights, source, row) for source, row in zip(sources, found, strict=True)]
        for found in (greedy, beam)
    ]
    assert all(b >= g - 1e-4 for g, b in zip(*totals, strict=True))
    assert any(b > g + 1e-3 for g, b in zip(*totals, strict=True))
    single = [model.generate(source[None], sampler="beam")[0].tolist() for source in sources]
    assert single == tokens(beam)
    longer = {"class_name": "beam", "config": {"length_penalty": 3.0}}
    lengths = [sum(map(len, model.generate(sources, sampler=sampler))) for sampler in ("beam", longer)]
    assert lengths[0] < lengths[1]


def test_a_seed_makes_draws_the_same_and_keras_may_give_it(model_and_weights, sources):
    model, _ = model_and_weights

    def drawn(seed):
        return tokens(model.generate(sources, sampler={"class_name": "random", "config": {"seed": seed}}))

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)
    assert (
        drawn(4)[0]
        == tokens(model.generate(sources[:1], sampler={"class_name": "random", "config": {"seed": 4}}))[0]
    )
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        results.append([tokens(model.generate(sources, sampler="random")) for _ in range(2)])
    assert results[0] == results[1]
    assert results[0] != results[2]
    assert results[0][0] != results[0][1]


def test_an_object_of_kerashub_is_taken():
    class TopPSampler:
        def get_config(self):
            return {"temperature": 0.5, "p": 0.3, "k": 7, "seed": 2}

    assert resolve_sampler(TopPSampler()) == ("top_p", TopPSampler().get_config())
    assert resolve_sampler("top_k") == ("top_k", {"temperature": 1.0, "k": 5, "seed": None})


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (
            "contrastive",
            (
                "`sampler` must be one of greedy, beam, top_k, top_p, random, a configuration or object of it, "
                "got 'contrastive'. Choose one of them."
            ),
        ),
        (
            {"class_name": "top_k", "config": {"p": 0.1, "q": 1}},
            "`sampler` 'top_k' must have no argument but temperature, k, seed, got p, q. Leave it out.",
        ),
        (
            {"class_name": "beam", "config": {"return_all_beams": True}},
            (
                "`sampler` 'beam' must have return_all_beams False and temperature 1.0, got True and 1.0. "
                "Leave them out."
            ),
        ),
    ],
)
def test_other_samplers_are_refused(model_and_weights, sources, sampler, message):
    with raises_message(ValueError, message):
        model_and_weights[0].generate(sources, sampler=sampler)

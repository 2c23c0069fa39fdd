"""The copier's weights, by the float64 oracle: every output is the source, and ends where it ends."""

import numpy as np
import pytest

from benchmarks.engine_peers.copier import copier_weights
from keras_transformer.config import ModelConfig
from tests.reference import transformer as oracle


def config(**changes):
    fields = {
        "vocabulary_size": 300,
        "model_dim": 120,
        "feed_forward_dim": 44,
        "num_heads": 10,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "max_length": 64,
    }
    return ModelConfig(**{**fields, **changes})


def sources(model_config, lengths=(29, 1, 12, 20)):
    generator = np.random.default_rng(0)
    rows = np.full((len(lengths), max(lengths)), model_config.pad_id, np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = generator.integers(4, model_config.vocabulary_size, length)
        row[length - 1] = model_config.eos_id
    return rows


@pytest.mark.parametrize("norm_placement", ["pre", "post"])
@pytest.mark.parametrize("num_decoder_layers", [1, 3])
def test_greedy_output_is_the_source(norm_placement, num_decoder_layers):
    model_config = config(norm_placement=norm_placement, num_decoder_layers=num_decoder_layers)
    source_ids = sources(model_config)
    output_ids = oracle.greedy(copier_weights(model_config), model_config, source_ids, 40)
    np.testing.assert_array_equal(output_ids, source_ids)


def test_the_copied_token_has_rivals():
    # A beam over a certain output would have nothing to choose from.
    model_config = config()
    source_ids = sources(model_config, (29,))
    fed = np.concatenate([[[model_config.bos_id]], source_ids[:, :-1]], axis=1)
    logits = oracle.logits(copier_weights(model_config), model_config, source_ids, fed)
    copied = np.exp(oracle.log_softmax(logits))[0, np.arange(29), source_ids[0]]
    assert copied.min() > 0.3
    assert copied.max() < 0.9


def test_one_seed_gives_one_model():
    first, again, other = (copier_weights(config(), seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["embedding/table"], other["embedding/table"])

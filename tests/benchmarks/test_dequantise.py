"""The floats that an int8 bundle stands for."""

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.engine_peers.dequantise import bundle_weights
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.translator import SHIPPED_BUNDLE
from tests.onnx_export import runs


@pytest.mark.parametrize(("norm_placement", "activation"), [("pre", "relu"), ("post", "gelu")])
def test_every_weight_is_within_half_a_level(tmp_path, norm_placement, activation):
    # K = 8 is stored as it is; 63 levels on either side of zero, a scale for each column or table row.
    config = runs.config(model_dim=40, norm_placement=norm_placement, activation=activation, dropout_rate=0.1)
    weights = runs.weights_of(config)
    found_config, found = bundle_weights(runs.write_bundle(tmp_path / "bundle", config, weights, ("int8",)))
    assert found_config == config
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        axis = 1 if name == "embedding/table" else 0
        quantised = name.endswith(("/kernel", "/table"))
        bound = np.abs(weight).max(axis=axis, keepdims=True) / 63 / 2 if quantised else 0.0
        assert found[name].dtype == np.float32
        assert (np.abs(found[name] - weight) <= bound * 1.001).all(), name


def test_the_shipped_bundle_is_read():
    config, weights = bundle_weights(Bundle.open(SHIPPED_BUNDLE))
    assert weights["embedding/table"].shape == (config.vocabulary_size, config.model_dim)


def test_padded_heads_are_refused(tmp_path):
    config = runs.config()  # K = 6
    bundle = runs.write_bundle(tmp_path / "bundle", config, runs.weights_of(config), ("int8",))
    with pytest.raises(ValueError, match=re.escape("heads of 6 are stored padded, which is not read here.")):
        bundle_weights(bundle)
    manifest = replace(bundle.manifest, cache_head_dim=6, num_encoder_layers=9)
    with pytest.raises(ValueError, match="hold no 'encoder_layers/2/"):
        bundle_weights(replace(bundle, manifest=manifest))

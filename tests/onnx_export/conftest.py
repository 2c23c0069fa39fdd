"""Engines over bundles made from weights, without a gate."""

import pytest

from keras_transformer.runtime.sessions import Engine
from tests.onnx_export import runs


@pytest.fixture
def open_engine(tmp_path):
    """open_engine(config, weights, precision="fp32") -> Engine on one thread."""

    def open_(config, weights, precision="fp32"):
        bundle = runs.write_bundle(tmp_path, config, weights, (precision,))
        return Engine.load(bundle, "cpu", 1, precision=precision)

    return open_

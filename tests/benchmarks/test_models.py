"""The benchmark's own models, without the peers: what the exporter asks of a run."""

import dataclasses

import pytest

from benchmarks.engine_peers import models
from keras_transformer.onnx_export.checkpoint import load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.text.tokenizer import Tokenizer


@pytest.mark.parametrize("size", sorted({config.vocabulary_size for config in models.COPIERS.values()}))
def test_a_models_tokenizer_has_its_vocabulary_and_reads_as_the_shipped_one(tmp_path, size):
    models.write_tokenizer(tmp_path / "tokenizer.json", size)
    written, shipped = (
        Tokenizer.from_file(p) for p in (tmp_path / "tokenizer.json", models.tokenizer_path())
    )
    assert written.vocabulary_size == size
    text = "The filler <filler 9000> of 20 °C, naïve 日本."
    assert written.encode(text) == shipped.encode(text)


def test_a_model_with_a_larger_vocabulary_than_the_shipped_one_is_exported(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_TRANSFORMER_DATA", raising=False)
    small = {"model_dim": 128, "feed_forward_dim": 64, "num_encoder_layers": 1, "num_decoder_layers": 1}
    config = dataclasses.replace(models.COPIERS["small"], vocabulary_size=8200, max_length=64, **small)
    models.write_run(config, tmp_path / "run")
    bundle = export_bundle(load_checkpoint(tmp_path / "run"), tmp_path / "bundle", ("int8",), name="tiny")
    assert bundle.manifest.vocabulary_size == 8200

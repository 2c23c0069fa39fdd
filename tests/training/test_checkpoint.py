import json

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

from keras_transformer.config import ModelConfig, TrainConfig
from keras_transformer.errors import UserError
from keras_transformer.training import checkpoint
from keras_transformer.training.optimization import compiled_model

CONFIG = ModelConfig(
    vocabulary_size=23,
    model_dim=8,
    feed_forward_dim=12,
    num_heads=2,
    num_encoder_layers=1,
    num_decoder_layers=2,
    max_length=20,
    norm_placement="pre",
)
SOURCES = [[5, 6, 7], [8], [9, 10, 11, 12], [13, 14], [15], [16, 17]]
TARGETS = [[6, 5], [9, 9, 9], [10], [11, 12, 13, 14], [16], [18]]


@pytest.fixture
def model():
    keras.utils.set_random_seed(4)
    made = compiled_model(CONFIG, TrainConfig(warmup_steps=2))
    x = {"source_ids": np.full((2, 3), 5), "target_input_ids": np.full((2, 4), 6)}
    made.train_on_batch(x, np.full((2, 4), 7), np.ones((2, 4), "float32"))
    return made


def save(folder, model, **facts):
    reference = checkpoint.reference_outputs(model, SOURCES, TARGETS)
    checkpoint.save_checkpoint(folder, model, {"training": facts}, reference)


def test_a_checkpoint_gives_back_the_weights(tmp_path, model):
    save(tmp_path / "last", model, steps=1)
    again = compiled_model(CONFIG, TrainConfig(warmup_steps=2))
    again.load_safetensors(tmp_path / "last" / "weights.safetensors")
    for name, variable in model.named_weights().items():
        np.testing.assert_array_equal(
            ops.convert_to_numpy(variable), ops.convert_to_numpy(again.named_weights()[name])
        )
    assert checkpoint.read_description(tmp_path / "last")["training"] == {"steps": 1}


def test_the_average_is_the_mean_of_each_weight(tmp_path, model):
    table = model.named_weights()["embedding/table"]
    for i, value in enumerate((1.0, 2.0, 6.0)):
        table.assign(np.full(table.shape, value, np.float32))
        checkpoint.save_weights(tmp_path / f"{i}.safetensors", model)
    checkpoint.load_average(sorted(tmp_path.iterdir()), model)
    assert np.unique(ops.convert_to_numpy(table)).tolist() == [3.0]


def test_reference_outputs_are_the_models_own(model):
    arrays = checkpoint.reference_outputs(model, SOURCES, TARGETS)
    for i, rows in enumerate((6, 1, 2)):
        inputs = {key: arrays[f"reference_{i}/{key}"] for key in ("source_ids", "target_input_ids")}
        assert len(inputs["source_ids"]) == rows
        np.testing.assert_array_equal(arrays[f"reference_{i}/logits"], ops.convert_to_numpy(model(inputs)))
    ragged = arrays["reference_0/source_ids"]
    assert ragged[5].tolist() == [CONFIG.eos_id, 0, 0, 0, 0]  # the empty source
    assert (ragged == CONFIG.pad_id).any()
    greedy = model.generate(arrays["greedy_0/source_ids"], int(arrays["greedy_0/max_length"]))
    for row, tokens in zip(arrays["greedy_0/output_ids"], greedy, strict=True):
        assert row[: len(tokens)].tolist() == tokens.tolist()


def test_the_long_reference_fills_the_model(model):
    long = checkpoint.reference_outputs(model, SOURCES * 4, TARGETS * 4)["reference_2/source_ids"]
    assert long.shape[1] == CONFIG.max_length


def test_saving_again_replaces_and_leaves_nothing_beside(tmp_path, model):
    save(tmp_path / "last", model, steps=1)
    save(tmp_path / "last", model, steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert checkpoint.read_description(tmp_path / "last")["training"] == {"steps": 2}


def test_published_weights_are_float32(tmp_path, model):
    save(tmp_path / "last", model)
    arrays = load_file(str(tmp_path / "last" / "weights.safetensors"))
    assert {array.dtype for array in arrays.values()} == {np.dtype("float32")}
    assert "decoder_layers/1/cross_attention/key_value/kernel" in arrays


def test_other_weights_are_refused(tmp_path, model):
    save(tmp_path / "last", model)
    other = compiled_model(ModelConfig.from_dict(CONFIG.to_dict() | {"num_decoder_layers": 1}), TrainConfig())
    with pytest.raises(UserError, match="must hold this model's weights; these names differ"):
        other.load_safetensors(tmp_path / "last" / "weights.safetensors")
    wide = compiled_model(ModelConfig.from_dict(CONFIG.to_dict() | {"model_dim": 4}), TrainConfig())
    with pytest.raises(UserError, match=r"embedding/table must have shape \(23, 4\), got \(23, 8\)"):
        wide.load_safetensors(tmp_path / "last" / "weights.safetensors")


def test_the_best_checkpoint_of_a_run_is_found_before_its_last(tmp_path, model):
    save(tmp_path / "checkpoints" / "last", model)
    assert checkpoint.find_checkpoint(tmp_path) == tmp_path / "checkpoints" / "last"
    save(tmp_path / "checkpoints" / "best", model)
    assert checkpoint.find_checkpoint(tmp_path) == tmp_path / "checkpoints" / "best"
    last = tmp_path / "checkpoints" / "last"
    assert checkpoint.find_checkpoint(last) == last


def test_missing_and_foreign_folders_are_refused(tmp_path, model):
    with pytest.raises(UserError, match=r"must hold model\.json, found none at "):
        checkpoint.read_description(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="must have format 1, got 99"):
        checkpoint.read_description(tmp_path)
    with pytest.raises(
        UserError, match=r"--init-from must be a run or a checkpoint, .*none holds no model\.json"
    ):
        checkpoint.find_checkpoint(tmp_path / "none")
    with pytest.raises(UserError, match="`path` must be a safetensors file, found none"):
        model.load_safetensors(tmp_path / "none.safetensors")

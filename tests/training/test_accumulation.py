"""Gradients of a batch in parts against the same batch at once, and a value worked out by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.config import TrainConfig
from keras_transformer.training.accumulation import AccumulatingTransformer, _stacked
from keras_transformer.training.optimization import compiled_model
from tests.helpers import batch, raises_message, tiny_config, to_numpy

# Both orders of adding up give float32 errors of about 1e-6 of a gradient of order 1; Adam at its first update
# divides by the gradient's size, so a wrong weighting moves weights by a share of the rate, 1e-2 and more.
TOLERANCE = 2e-5


def trained(parts, updates, config, **changes):
    keras.utils.set_random_seed(3)
    settings = TrainConfig(accumulate_steps=parts, warmup_steps=2, learning_rate=1.0, epsilon=1e-4, **changes)
    model = compiled_model(config, settings)
    logs = None
    for update in range(updates):
        source_ids, inputs, outputs = batch(config, seed=update, batch_size=5)
        x = {"source_ids": source_ids, "target_input_ids": inputs}
        weights = (outputs != config.pad_id).astype("float32")
        logs = model.train_on_batch(x, outputs, weights, return_dict=True)
    return model, logs


CONFIG = tiny_config(num_encoder_layers=1, num_decoder_layers=1)
OPTIONS = {"ema_decay": 0.5, "clip_norm": 0.1}  # which Keras's own accumulation would apply to every part


@pytest.fixture(scope="module")
def whole():
    return trained(1, 2, CONFIG, **OPTIONS)


@pytest.mark.parametrize("parts", [2, 7])  # 5 rows: padded to 6 and to 7
def test_parts_make_the_update_of_the_whole_batch(whole, parts):
    model, logs = whole
    split, split_logs = trained(parts, 2, CONFIG, **OPTIONS)
    assert split_logs["token_loss"] == pytest.approx(logs["token_loss"], rel=1e-5)
    assert int(split.optimizer.iterations) == 2  # the schedule sees updates, not parts
    pairs = [(model.trainable_variables, split.trainable_variables)]
    pairs += [(model.optimizer.variables, split.optimizer.variables)]  # moments and moving average
    for ones, others in pairs:
        for one, other in zip(ones, others, strict=True):
            np.testing.assert_allclose(to_numpy(other), to_numpy(one), atol=TOLERANCE, err_msg=one.path)


def test_shares_by_hand():
    # Rows with 3, 1 and 2 real tokens in two parts of two rows: the added row counts nothing.
    weights = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], "float32")
    ids = np.arange(9, dtype="int32").reshape(3, 3)
    x, y, parts, shares = _stacked(({"source_ids": ids}, ids + 10, weights), 2)
    np.testing.assert_allclose(to_numpy(shares), [4 / 6, 2 / 6], rtol=1e-6)
    assert to_numpy(parts).tolist() == [[[1, 1, 1], [1, 0, 0]], [[1, 1, 0], [0, 0, 0]]]
    assert ops.convert_to_numpy(x["source_ids"])[1].tolist() == [[6, 7, 8], [6, 7, 8]]
    assert ops.convert_to_numpy(y)[0].tolist() == [[10, 11, 12], [13, 14, 15]]


def test_shares_do_not_depend_on_the_size_of_the_weights():
    weights = 1e-3 * np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]], "float32")
    ids = np.ones((3, 3), "int32")
    shares = _stacked(({"source_ids": ids}, ids, weights), 2)[3]
    np.testing.assert_allclose(to_numpy(shares), [4 / 6, 2 / 6], rtol=1e-5)


def test_a_model_in_parts_is_saved_and_loaded(tmp_path):
    AccumulatingTransformer(CONFIG, 3).save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").parts == 3


def test_rows_of_weight_0_alone_have_no_share():
    # What a replica gets of a batch with fewer rows than replicas; 0 / 0 would spoil the sum of all.
    ids, weights = np.ones((2, 3), "int32"), np.zeros((2, 3), "float32")
    assert to_numpy(_stacked(({"source_ids": ids}, ids, weights), 2)[3]).tolist() == [0, 0]


def test_the_loss_by_hand():
    # All weights 0 make every token's loss log V; tokens of both parts count alike: log 23 whatever the split.
    config = CONFIG
    model = AccumulatingTransformer(config, parts=2, name="transformer")
    model.build()
    for variable in model.trainable_variables:
        variable.assign(np.zeros(variable.shape, "float32"))
    template = compiled_model(config, TrainConfig())
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=template.loss, jit_compile=False)
    source_ids, inputs, outputs = batch(config, batch_size=3)
    weights = (outputs != config.pad_id).astype("float32")
    x = {"source_ids": source_ids, "target_input_ids": inputs}
    logs = model.train_on_batch(x, outputs, weights, return_dict=True)
    assert logs["token_loss"] == pytest.approx(np.log(23), rel=1e-6)


@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch's generator has no counter to look at")
def test_each_part_draws_its_own_dropout():
    config = tiny_config(num_encoder_layers=1, num_decoder_layers=1, dropout_rate=0.5)
    drawn = [
        [int(to_numpy(variable)[1]) for variable in trained(parts, 1, config)[0].non_trainable_variables]
        for parts in (1, 2)
    ]
    assert drawn[1] == [2 * count for count in drawn[0]]
    assert min(drawn[0]) > 0


def test_no_parts_are_refused():
    with raises_message(ValueError, "`parts` must be at least 1, got 0. 1 computes the batch at once."):
        AccumulatingTransformer(tiny_config(), parts=0)

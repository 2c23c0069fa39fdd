"""What does not need a second process; tests/system/test_replicas.py trains with two."""

import keras
import numpy as np
import pytest

from keras_transformer.errors import UserError
from keras_transformer.training import replicas
from keras_transformer.training.batches import Batch
from keras_transformer.training.replicas import Replicas, rows_of


def batch(rows):
    ids = np.arange(10, 10 + rows, dtype=np.int32)[:, None] * np.ones((1, 3), np.int32)
    return Batch(ids, ids + 20, ids + 40, np.ones((rows, 3), np.float32))


def test_rows_are_dealt_out_in_turn_and_filled_up_at_weight_0():
    given = batch(5)
    parts = [rows_of(given, part, 2, 4) for part in range(2)]  # 5 rows become 8, for 4 devices in 2 processes
    assert [part.source_ids[:, 0].tolist() for part in parts] == [[10, 12, 14, 10], [11, 13, 10, 10]]
    assert [part.target_output_ids[:, 0].tolist() for part in parts] == [[50, 52, 54, 50], [51, 53, 50, 50]]
    assert [part.weights.sum(axis=1).tolist() for part in parts] == [[3, 3, 3, 0], [3, 3, 0, 0]]
    assert given.weights.sum() == 15  # the batch itself stays


def test_one_device_gets_the_batch_as_it_is():
    given, one = batch(3), Replicas()
    assert one.rows(given) is given
    assert one.is_first
    assert one.any((False, True, 0)) == [False, True, False]
    variables = [keras.Variable(2.5), keras.Variable(7.0)]
    assert one.read(variables) == [2.5, 7.0]
    one.write(variables, [1.0, 4.0])
    assert one.read(variables) == [1.0, 4.0]


def test_one_device_and_no_launcher_is_one_replica(monkeypatch):
    for name in ("WORLD_SIZE", "TF_CONFIG", "KERAS_DISTRIBUTION_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    assert replicas.join().count == 1


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TF_CONFIG is TensorFlow's")
@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 3}'])
def test_a_broken_tf_config_is_a_users_mistake(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"TF_CONFIG must be JSON with cluster\.worker and task, got "):
        replicas.join()

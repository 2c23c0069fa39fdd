import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.training.random_state import seed_layers, seed_update
from tests.helpers import random_model, tiny_config

torch_only = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the others draw from the model's state"
)


def drawn():
    dropout = keras.layers.Dropout(0.5)
    return ops.convert_to_numpy(dropout(np.ones((4, 50), "float32"), training=True)).tolist()


@torch_only
def test_an_update_draws_the_same_whatever_was_drawn_before():
    seed_update(1, 7)
    first = drawn()
    drawn()
    seed_update(1, 7)
    assert drawn() == first


@torch_only
def test_each_update_each_seed_and_each_process_draws_anew():
    results = []
    for seed, step, rank in ((1, 7, 0), (1, 8, 0), (2, 7, 0), (7, 1, 0), (1, 7, 1), (1, 7, 2)):
        seed_update(seed, step, rank)
        results.append(drawn())
    assert all(one != other for i, one in enumerate(results) for other in results[:i])


def mask_of(model):
    return ops.convert_to_numpy(model.dropout(np.ones((4, 48), "float32"), training=True)).tolist()


@torch_only
def test_the_layers_of_each_process_draw_for_themselves():
    model, _ = random_model(tiny_config(dropout_rate=0.5))
    start = ops.convert_to_numpy(model.dropout.seed_generator.state.value)
    masks = []
    for rank in (0, 1, 2, 1):
        model.dropout.seed_generator.state.assign(start)
        seed_layers(model, rank)
        state = ops.convert_to_numpy(model.dropout.seed_generator.state.value)
        assert state[1] == start[1]
        assert (state[0] == start[0]) == (rank == 0)
        masks.append(mask_of(model))
    assert masks[1] == masks[3]
    assert all(one != other for i, one in enumerate(masks[:3]) for other in masks[:i])


TWO_DEVICES = """
import json, sys
import tensorflow as tf

device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from keras_transformer.training.random_state import seed_layers
from keras_transformer.training.replicas import join
from tests.helpers import random_model, tiny_config

replicas = join()
assert replicas.count == 2
keras.utils.set_random_seed(4)
with replicas.scope():
    model, _ = random_model(tiny_config(dropout_rate=0.5))
seed_layers(model, 0)
ones = tf.ones((4, 48))
masks = replicas.strategy.run(tf.function(lambda: model.dropout(ones, training=True)))
json.dump([mask.numpy().tolist() for mask in masks.values], sys.stdout)
"""


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the devices of a strategy are TensorFlow's"
)
def test_the_devices_of_a_process_draw_for_themselves_and_the_first_as_if_alone():
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first != second
    keras.utils.set_random_seed(4)
    model, _ = random_model(tiny_config(dropout_rate=0.5))
    assert first == mask_of(model)

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.training.random_state import seed_update

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

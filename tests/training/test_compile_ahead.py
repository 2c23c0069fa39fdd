"""Updates compiled side by side under JAX: the same ones, each once, and nothing left behind."""

import threading

import keras
import numpy as np
import pytest

from keras_transformer import LabelSmoothedCrossEntropy, ModelConfig, build_transformer
from keras_transformer.training.batches import Batches
from keras_transformer.training.compile_ahead import compiled_ahead
from keras_transformer.training.feeds import feed
from keras_transformer.training.replicas import Replicas

pytestmark = pytest.mark.skipif(keras.config.backend() != "jax", reason="only JAX compiles every shape")


def _batches(max_shapes=2):
    rng = np.random.default_rng(0)
    sides = [[rng.integers(4, 30, n).astype(np.int32) for n in rng.integers(2, 14, 120)] for _ in range(2)]
    return Batches(*sides, batch_tokens=60, pad_id=0, bos_id=1, eos_id=2, seed=1, max_shapes=max_shapes)


def _trained(batches, updates, ahead, callbacks=()):
    keras.utils.set_random_seed(1)
    config = ModelConfig(
        vocabulary_size=30, model_dim=8, feed_forward_dim=8, num_heads=2, num_encoder_layers=1,
        num_decoder_layers=1, dropout_rate=0.1, max_length=20,
    )  # fmt: skip
    model = build_transformer(config)
    model.compile(keras.optimizers.Adam(0.01), LabelSmoothedCrossEntropy(0.1, 0))
    with compiled_ahead(model, batches.buckets, updates if ahead else 0, Replicas()):
        used = model.train_function is not None
        model.fit(
            feed(batches.stream), steps_per_epoch=updates, shuffle=False, verbose=0, callbacks=list(callbacks)
        )
    return model, used


def test_the_updates_are_the_same_to_the_bit_and_each_shape_is_traced_once(monkeypatch):
    batches, traced = _batches(), []
    of_hidden = LabelSmoothedCrossEntropy.of_hidden

    def counted(self, y_true, hidden, *arguments, **options):
        traced.append(hidden.shape)
        return of_hidden(self, y_true, hidden, *arguments, **options)

    plain, used = _trained(batches, 2 * len(batches), ahead=False)
    assert not used
    monkeypatch.setattr(LabelSmoothedCrossEntropy, "of_hidden", counted)
    ours, used = _trained(batches, 2 * len(batches), ahead=True)
    assert used
    assert len(batches.buckets) == len({shape[:2] for shape in traced}) == 2
    assert len(traced) <= 3  # Keras asks once for the shape of the loss
    for one, other in ((ours, plain), (ours.optimizer, plain.optimizer)):
        for variable, expected in zip(one.variables, other.variables, strict=True):
            np.testing.assert_array_equal(np.array(variable.value), np.array(expected.value), variable.path)


def test_fewer_updates_than_shapes_compile_nothing_ahead():
    batches = _batches()
    _, used = _trained(batches, len(batches.buckets) - 1, True)
    assert not used


def test_an_error_leaves_no_thread():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, number, logs=None):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        _trained(_batches(max_shapes=1), 50, True, [Stop()])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compile")]

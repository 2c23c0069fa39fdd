import threading

import keras
import numpy as np
import pytest

from keras_transformer.config import ModelConfig, TrainConfig
from keras_transformer.training.batches import Batch
from keras_transformer.training.feeds import feed, prefetched
from keras_transformer.training.run import compiled_model


def batch(b, s, t, first=5):
    ids = [np.arange(first, first + n, dtype=np.int32) % 20 + 3 for n in (b * s, b * t, b * t)]
    source, inputs, outputs = (x.reshape(b, -1) for x in ids)
    return Batch(source, inputs, outputs, np.ones((b, t), np.float32))


def tiny_model(**changes):
    config = ModelConfig(
        vocabulary_size=30,
        model_dim=8,
        feed_forward_dim=12,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        max_length=16,
        **changes,
    )
    return compiled_model(config, TrainConfig())


def test_items_come_in_order_and_errors_come_through():
    def items():
        yield 1
        yield 2
        raise RuntimeError("from the thread")

    ahead = prefetched(items(), depth=1)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(RuntimeError, match="from the thread"):
        next(ahead)
    assert list(prefetched(range(100))) == list(range(100))


def test_a_reader_that_leaves_ends_the_thread():
    before = threading.active_count()
    ahead = prefetched(iter(range(10**9)), depth=2)
    next(ahead)
    ahead.close()
    for thread in threading.enumerate():
        if thread.name == "prefetch":
            thread.join(5)
    assert threading.active_count() <= before


def test_a_feed_gives_keras_every_batch_in_its_own_shape():
    """Lengths that change after two equal batches: Keras left alone would freeze the first shape."""
    model = tiny_model()
    given = [batch(2, 3, 5), batch(2, 3, 5), batch(3, 7, 4, first=9), batch(1, 2, 6)]
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_end(self, number, logs=None):
            seen.append(number)

    model.fit(feed(lambda: iter(given)), epochs=1, verbose=0, shuffle=False, callbacks=[Seen()])
    assert seen == [0, 1, 2, 3]
    assert np.isfinite(model.evaluate(feed(lambda: iter(given)), verbose=0, return_dict=True)["token_loss"])


def test_the_reported_loss_is_weighted_by_tokens():
    model = tiny_model(dropout_rate=0.0)
    given = [batch(1, 3, 2), batch(4, 3, 9)]
    alone = [
        model.evaluate(feed(lambda one=one: iter([one])), verbose=0, return_dict=True)["token_loss"]
        for one in given
    ]
    together = model.evaluate(feed(lambda: iter(given)), verbose=0, return_dict=True)["token_loss"]
    assert together == pytest.approx((2 * alone[0] + 36 * alone[1]) / 38, rel=1e-5)
    assert together != pytest.approx((alone[0] + 4 * alone[1]) / 5, rel=1e-4)

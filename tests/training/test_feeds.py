import threading

import keras
import numpy as np
import pytest

from keras_transformer.config import ModelConfig, TrainConfig
from keras_transformer.training.batches import Batch, Batches
from keras_transformer.training.feeds import feed, prefetched
from keras_transformer.training.losses import LabelSmoothedCrossEntropy
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


def test_batches_are_made_while_the_step_runs():
    """The reader holds its first batch and asks for no more: the next ones are made all the same."""
    made, enough = [], threading.Event()

    def source():
        for number in range(9):
            made.append(number)
            if number == 3:
                enough.set()
            yield batch(2, 3, 5)

    reader = iter(feed(source))
    next(reader)
    assert enough.wait(20), f"made only {len(made)} batches"


@pytest.mark.skipif(keras.config.backend() == "torch", reason="torch compiles nothing")
def test_nothing_is_compiled_after_the_first_epoch(monkeypatch):
    """Python runs the loss once for each compilation, which bakes in what it did."""
    rng = np.random.default_rng(0)
    sides = [[rng.integers(4, 30, n).astype(np.int32) for n in rng.integers(2, 14, 60)] for _ in range(2)]
    batches = Batches(*sides, batch_tokens=60, pad_id=0, bos_id=1, eos_id=2, seed=1, max_shapes=3)
    traced, counts = [], []
    of_hidden = LabelSmoothedCrossEntropy.of_hidden

    def counted(self, *arguments, **options):
        traced.append(True)
        return of_hidden(self, *arguments, **options)

    monkeypatch.setattr(LabelSmoothedCrossEntropy, "of_hidden", counted)

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, number, logs=None):
            counts.append(len(traced))

    steps = 3 * len(batches)
    tiny_model().fit(
        feed(batches.stream), steps_per_epoch=steps, callbacks=[Count()], shuffle=False, verbose=0
    )
    first = counts[len(batches) - 1]
    assert len(batches.buckets) == 3
    assert first >= (3 if keras.config.backend() == "jax" else 1)
    assert counts[-1] == first < len(batches)


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

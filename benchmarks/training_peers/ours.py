"""Our training as `fit` runs it: its model, optimizer, loss, feed and `model.fit`, on the current backend."""

import queue
from collections.abc import Callable
from typing import Any

import keras

from benchmarks.training_peers.cells import BETA_2, EPSILON, LABEL_SMOOTHING, LEARNING_RATE
from benchmarks.training_peers.corpus import Corpus, sampled
from keras_transformer.config import TrainConfig
from keras_transformer.training.allocator import keep_freed_memory
from keras_transformer.training.feeds import feed
from keras_transformer.training.optimization import compiled_model
from keras_transformer.training.random_state import seed_update

ENDLESS = 10**9


def train(corpus: Corpus, open_gate: Callable[[dict[str, Any]], Any]) -> None:
    """Train until the gate closes."""
    keep_freed_memory()
    keras.utils.set_random_seed(1)
    config = TrainConfig(
        warmup_steps=1,
        learning_rate=LEARNING_RATE * corpus.model.model_dim**0.5,
        label_smoothing=LABEL_SMOOTHING,
        clip_norm=0.0,
        beta_2=BETA_2,
        epsilon=EPSILON,
        precision="float32",
    )
    model = compiled_model(corpus.model, config)
    batches = corpus.batches()
    tokens: queue.SimpleQueue[int] = queue.SimpleQueue()

    def counted():
        for batch in sampled(batches):
            tokens.put(int(batch.weights.sum()))
            yield batch

    facts = {
        "weights": model.count_params(),
        "shapes": len(batches.buckets),
        "padding": round(batches.padding_share(), 4),
        "keras": keras.__version__,
    }
    gate = open_gate(facts)

    class Updates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seed_update(1, batch)

        def on_train_batch_end(self, batch, logs=None):
            float(logs["token_loss"])  # as `fit`'s own callbacks read it
            gate.update(tokens.get())

    model.fit(feed(counted), steps_per_epoch=ENDLESS, callbacks=[Updates()], shuffle=False, verbose=0)

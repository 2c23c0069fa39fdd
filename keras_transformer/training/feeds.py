"""One NumPy source of batches, brought to each backend in the form it likes.

Of training only this file, accumulation.py, compile_ahead.py, largest_batch.py, random_state.py, replicas.py and
torch_loss.py name torch, TensorFlow or JAX.
"""

import queue
import threading

import keras

from keras_transformer.training.replicas import Replicas, rows_of


def as_fit_tuple(batch):
    """`Batch` → (x, y, sample_weight), the one form all three backends take from every loader."""
    x = {"source_ids": batch.source_ids, "target_input_ids": batch.target_input_ids}
    return x, batch.target_output_ids, batch.weights


def has_gpu():
    """Whether the current backend computes on a GPU."""
    backend = keras.config.backend()
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return jax.default_backend() == "gpu"


def compiles_shapes():
    """Whether the current backend compiles the model anew for each shape of batch."""
    return keras.config.backend() == "jax" or (keras.config.backend() == "tensorflow" and has_gpu())


def feed(make_batches, replicas=None):
    """What `model.fit` and `model.evaluate` read on the current backend, some batches ahead.

    Args:
        make_batches: Called without arguments for an iterable of `Batch`.
        replicas: Replicas that share the rows of each; None: there are none.
    """
    replicas = replicas or Replicas()
    backend = keras.config.backend()
    if backend == "tensorflow":
        if replicas.count > 1:
            return replicas.dataset(
                lambda own, count: _tensorflow_feed(
                    lambda: (rows_of(batch, i, count, count) for batch in make_batches() for i in own)
                )
            )
        return _tensorflow_feed(make_batches)

    def own_batches():
        return map(replicas.rows, make_batches())

    if backend == "torch":
        return _torch_feed(own_batches)
    return (as_fit_tuple(batch) for batch in prefetched(own_batches()))


def prefetched(items, depth=4):
    """`items` made by a thread, `depth` ahead; an error there is raised here."""
    ahead = queue.Queue(depth)
    closed = threading.Event()
    end = object()

    def put(item):
        while not closed.is_set():
            try:
                ahead.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work():
        try:
            for item in items:
                put((item, None))
                if closed.is_set():
                    return
            put((end, None))
        except Exception as error:  # noqa: BLE001 - raised again in the consumer
            put((end, error))

    threading.Thread(target=work, name="prefetch", daemon=True).start()
    try:
        while True:
            item, error = ahead.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        closed.set()


def _torch_feed(make_batches):
    import torch

    # cuDNN's attention plans anew for every shape of batch: an update took 256 ms on an H200 where 112 will do.
    torch.backends.cuda.enable_cudnn_sdp(False)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return (as_fit_tuple(batch) for batch in prefetched(make_batches()))

    return torch.utils.data.DataLoader(Stream(), batch_size=None, pin_memory=torch.cuda.is_available())


def _tensorflow_feed(make_batches):
    import tensorflow as tf

    # Left to itself Keras infers shapes from the first two batches and freezes what they share.
    ids, weights = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.float32)
    signature = ({"source_ids": ids, "target_input_ids": ids}, ids, weights)
    dataset = tf.data.Dataset.from_generator(
        lambda: map(as_fit_tuple, iter(make_batches())), output_signature=signature
    )
    return dataset.prefetch(4)

"""Under JAX: the update of every shape of batch, compiled side by side while training begins."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import keras


@contextmanager
def compiled_ahead(model, buckets, updates, replicas):
    """Inside, `model.fit` under JAX finds its updates compiled, or waits for the one that it needs.

    `jax.jit` compiles a shape when it first comes, one after another: ten seconds for one of a tiny model on one
    core, twenty-five for one on a GPU's machine with fifteen cores to spare. The updates are the same to the bit.
    Under other backends, on several replicas and where fewer updates than shapes are left, nothing changes.

    Args:
        model: The compiled `Transformer`.
        buckets: The `Bucket`s that its batches come from.
        updates: How many are left.
        replicas: Replicas.
    """
    if (
        keras.config.backend() != "jax"
        or not model.jit_compile
        or replicas.count > 1
        or updates < len(buckets)
    ):
        yield
        return
    ahead = _Ahead(model, buckets)
    model.train_function = ahead  # what Keras would otherwise make
    try:
        yield
    finally:
        model.train_function = None
        ahead.close()


class _Ahead:
    """A train function of Keras's JAX trainer: (state, iterator of batches) → (logs, state)."""

    def __init__(self, model, buckets):
        # Those of most batches first: they are asked for first.
        ordered = sorted(buckets, key=lambda bucket: -bucket.batches)
        self._shapes = [(bucket.rows, bucket.source_length, bucket.target_length) for bucket in ordered]
        self._model, self._updates = model, None

    def __call__(self, state, iterator):
        batch = next(iterator)
        if self._updates is None:
            self._updates = Updates(self._model, state, self._shapes)
        return self._updates(state, batch)

    def close(self):
        """Wait for what is being compiled; begin no more."""
        if self._updates is not None:
            self._updates.close()


class Updates:
    """Keras's update of a model for batches of known shapes, compiled side by side from now on.

    Args:
        model: The compiled `Transformer`.
        state: What Keras's JAX trainer gives an update, or arrays like it.
        shapes: (B, S, T) of the batches, in the order in which they are likely to come.

    Call arguments:
        state: As above; its arrays are given away.
        batch: (x, y, weights) of one of the shapes.

    Returns:
        Logs and the new state.
    """

    def __init__(self, model, state, shapes):
        import jax

        self._struct = jax.ShapeDtypeStruct
        self._step = jax.jit(model.train_step, donate_argnums=0)
        self._state = jax.tree.map(lambda value: self._struct(value.shape, value.dtype), state)
        self._tracing = threading.Lock()  # tracing sets what the model computes its loss from
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "compile")
        # By shape; futures at first.
        self._compiled = {shape: self._pool.submit(self._compile, shape) for shape in shapes}

    def __call__(self, state, batch):
        x, y, _ = batch
        shape = (*x["source_ids"].shape, y.shape[1])
        update = self._compiled[shape]
        if isinstance(update, Future):
            # One that nobody has begun with need not wait for the others.
            update = self._compiled[shape] = self._compile(shape) if update.cancel() else update.result()
        return update(state, batch)

    def _compile(self, shape):
        rows, source_length, target_length = shape
        sources, targets = (self._struct((rows, n), "int32") for n in (source_length, target_length))
        weights = self._struct(targets.shape, "float32")
        with self._tracing:
            x = {"source_ids": sources, "target_input_ids": targets}
            lowered = self._step.lower(self._state, (x, targets, weights))
        return lowered.compile()

    def wait(self):
        """Return when all are compiled."""
        wait(self._compiled.values())

    def close(self):
        """Wait for what is being compiled; begin no more."""
        self._pool.shutdown(cancel_futures=True)

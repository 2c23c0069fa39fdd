"""A batch computed in parts, one after another or on several devices: the update of the whole batch.

Keras's own accumulation averages the parts equally and moves its schedule and moving average once a part; its
replicas count equally too. Here an update stays one step of Keras, and each part counts for its tokens.
"""

import contextlib

import keras
from keras import ops

from keras_transformer.model import Transformer
from keras_transformer.training.replicas import Replicas


@keras.saving.register_keras_serializable("keras_transformer")
class AccumulatingTransformer(Transformer):
    """A `Transformer` whose `train_step` adds up the gradients of `parts` slices of the batch.

    Args:
        config: ModelConfig.
        parts: Slices of a batch, at least 1; rows are added at weight 0 where they do not divide.
        replicas: Replicas that compute the rest of the batch; None: there are none.

    Call arguments, Returns: as `Transformer`.

    Raises:
        ValueError: `parts` is below 1.
    """

    def __init__(self, config, parts, replicas=None, **kwargs):
        super().__init__(config, **kwargs)
        if parts < 1:
            raise ValueError(f"`parts` must be at least 1, got {parts}. 1 computes the batch at once.")
        self.parts, self.replicas = parts, replicas or Replicas()
        steps = {"torch": self._torch_step, "tensorflow": self._tensorflow_step, "jax": self._jax_step}
        self._step = steps[keras.config.backend()]

    def train_step(self, *arguments):
        with self._loss_on_hidden():
            return self._step(*arguments)

    def get_config(self):
        return {**super().get_config(), "parts": self.parts}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: it is built. Keras under TensorFlow would build it on the mean of the replicas' token ids."""

    def _torch_step(self, data):
        import torch

        self.zero_grad()
        several = self.replicas.count > 1
        model, replica_share = self, self.replicas.share(data[2])
        if several:
            model = self.replicas.wrapped(self)
        for i, (x, y, weights, share) in enumerate(_slices(data, self.parts)):
            waits = several and i + 1 < self.parts  # the replicas' gradients meet in the last part
            with model.no_sync() if waits else contextlib.nullcontext():
                loss = self._part_loss(model, x, y, weights)
                # torch adds the gradients up itself.
                (self.optimizer.scale_loss(loss) * share * replica_share).backward()
        variables = self.trainable_variables
        with torch.no_grad():
            self.optimizer.apply([variable.value.grad for variable in variables], variables)
        return self.compute_metrics(None, None, None)

    def _tensorflow_step(self, data):
        import tensorflow as tf

        variables, sums = self.trainable_variables, None
        replica_share = self.replicas.share(data[2])
        for x, y, weights, share in _slices(data, self.parts):
            # Without an order TensorFlow may compute the parts at once, with the whole batch's memory.
            with tf.control_dependencies(sums or []), tf.GradientTape() as tape:
                loss = self._part_loss(self, x, y, weights)
                loss = self.optimizer.scale_loss(loss) * share * replica_share
            gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
            sums = [a + b for a, b in zip(sums, gradients, strict=True)] if sums else gradients
        self.optimizer.apply(self.replicas.added(sums), variables)
        logs = self.compute_metrics(None, None, None)
        # Between workers Keras takes the mean of logs along an axis that its scalars lack.
        return {name: value[None] for name, value in logs.items()} if self.replicas.processes > 1 else logs

    def _jax_step(self, state, data):
        import jax

        trained, others, optimizer_state, metrics = state
        gradient_of = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)

        def one_part(carry, part):
            sums, others, metrics, rows_loss = carry
            x, y, weights, share = part
            (_, (loss, _, others, metrics)), gradients = gradient_of(
                trained, others, metrics, x, y, weights, training=True, optimizer_variables=optimizer_state
            )
            sums = [a + share * b for a, b in zip(sums, gradients, strict=True)]
            return (sums, others, metrics, rows_loss + share * loss), None

        start = ([ops.zeros_like(value) for value in trained], others, metrics, ops.zeros(()))
        (sums, others, metrics, loss), _ = jax.lax.scan(one_part, start, _stacked(data, self.parts))
        trained, optimizer_state = self.optimizer.stateless_apply(optimizer_state, sums, trained)
        x, y, weights = data
        logs, metrics = self._update_metrics_variables(metrics, loss, x, y, None, weights)
        return logs, (trained, others, optimizer_state, metrics)

    def _part_loss(self, model, x, y, weights):
        output = model(x, training=True)
        loss = self._compute_loss(x=x, y=y, y_pred=output, sample_weight=weights, training=True)
        self._loss_tracker.update_state(loss)
        return loss


def _stacked(data, parts):
    """(x, y, weights, share) with a leading axis of `parts`; the shares of the batch's weight sum to 1."""
    x, y, weights = data
    count = ops.shape(y)[0]
    rows = (count + parts - 1) // parts * parts
    chosen = ops.arange(rows, dtype="int32")
    real = ops.cast(chosen < count, weights.dtype)
    chosen = ops.minimum(chosen, count - 1)

    def split(array):
        taken = ops.take(array, chosen, axis=0)  # (rows, …)
        return ops.reshape(taken, (parts, rows // parts, *ops.shape(array)[1:]))

    weights = split(weights) * ops.reshape(real, (parts, rows // parts, 1))  # (parts, rows / parts, T)
    totals = ops.sum(weights, axis=(1, 2))
    total = ops.maximum(ops.sum(totals), keras.config.epsilon())  # a replica may have rows of weight 0 alone
    shares = totals / total
    return {name: split(ids) for name, ids in x.items()}, split(y), weights, shares


def _slices(data, parts):
    x, y, weights, shares = _stacked(data, parts)
    for i in range(parts):
        yield {name: ids[i] for name, ids in x.items()}, y[i], weights[i], shares[i]

"""Label-smoothed cross-entropy (section 5.4), of logits or straight from the decoder's output."""

import keras
from keras import ops

from keras_transformer.layers.log_partition import mean_log_partition
from keras_transformer.training.feeds import has_gpu

# Logits alive at a time: long products, but on a CPU small enough that the allocator keeps the memory (glibc gives
# blocks of 32 MB and more back at once).
CPU_CHUNK_LOGITS = 5 * 2**20
GPU_CHUNK_LOGITS = 2**27


@keras.saving.register_keras_serializable("keras_transformer")
class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """(1-ε)·(-log p(y)) + ε·mean over the vocabulary of -log p, from logits.

    Vaswani et al. 2017, section 5.4; Szegedy et al. 2016, section 7. With log p = z - logsumexp(z) this is
    logsumexp(z) - (1-ε)·z_y - ε·mean(z): no one-hot targets, no second softmax. The loss of a batch is the
    mean over its real tokens. `Transformer.fit` and `evaluate` call `of_hidden`, which never holds all logits.

    Args:
        label_smoothing: ε in [0, 1).
        pad_id: Targets with this id count nothing where no `sample_weight` is given.
        dtype: "float32" or "float64".

    Call arguments:
        y_true: int (B, T).
        y_pred: Logits, float (B, T, V).
        sample_weight: float (B, T), 0 at padding; None = 1 at every y_true other than `pad_id`.

    Returns:
        float scalar, in nats a token.

    Raises:
        ValueError: `label_smoothing` is outside [0, 1), or `dtype` has half precision.
    """

    def __init__(
        self,
        label_smoothing=0.1,
        pad_id=0,
        name="label_smoothed_cross_entropy",
        reduction="mean_with_sample_weight",
        dtype="float32",
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if self.dtype not in ("float32", "float64"):
            # Keras casts the ids to it, too: 301 would be 300.
            raise ValueError(f'`dtype` must be "float32" or "float64", got {self.dtype!r}. Leave it out.')
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                f"`label_smoothing` must be in [0, 1), got {label_smoothing}. The paper uses 0.1."
            )
        self.label_smoothing = label_smoothing
        self.pad_id = pad_id

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is None:
            sample_weight = ops.cast(ops.not_equal(y_true, self.pad_id), "float32")
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        scores = ops.cast(y_pred, "float32")
        target_ids = ops.cast(y_true, "int32")[..., None]
        target_score = ops.squeeze(ops.take_along_axis(scores, target_ids, axis=-1), axis=-1)  # (B, T)
        loss = ops.logsumexp(scores, axis=-1) - (1.0 - self.label_smoothing) * target_score
        return loss - self.label_smoothing * ops.mean(scores, axis=-1) if self.label_smoothing else loss

    def of_hidden(self, y_true, hidden, table, sample_weight=None, training=True):
        """The same loss where logits = hidden · tableᵀ, with a chunk of the logits alive at a time.

        z_y and mean(z) are products of `hidden` with one row of the table; only logsumexp(z) meets the whole
        vocabulary.

        Args:
            y_true: int (B, T).
            hidden: float (B, T, D), the decoder's output.
            table: float (V, D).
            sample_weight: As in a call.
            training: Whether a gradient will be asked for.

        Returns:
            float32 scalar.
        """
        targets = ops.reshape(ops.cast(y_true, "int32"), (-1,))  # (N,), N = B·T
        if sample_weight is None:
            sample_weight = ops.not_equal(targets, self.pad_id)
        weights = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
        shares = weights / ops.maximum(ops.sum(weights), keras.config.epsilon())
        hidden = ops.reshape(hidden, (-1, hidden.shape[-1]))  # (N, D)
        log_partition = self._log_partition(hidden, ops.cast(table, hidden.dtype), shares, training)
        wanted = (1.0 - self.label_smoothing) * ops.take(table, targets, axis=0)  # (N, D)
        if self.label_smoothing:
            wanted = wanted + self.label_smoothing * ops.mean(table, axis=0)
        wanted_score = ops.sum(ops.cast(hidden, "float32") * ops.cast(wanted, "float32"), axis=-1)  # (N,)
        return log_partition - ops.sum(shares * wanted_score)

    def _log_partition(self, hidden, table, shares, training):
        if keras.config.backend() == "torch":
            from keras_transformer.training import torch_loss

            if torch_loss.fits(hidden):
                return torch_loss.mean_log_partition(hidden, table, shares, needs_gradient=training)
        chunk_logits = GPU_CHUNK_LOGITS if has_gpu() else CPU_CHUNK_LOGITS
        return mean_log_partition(hidden, table, shares, chunk_logits, needs_gradient=training)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "pad_id": self.pad_id}

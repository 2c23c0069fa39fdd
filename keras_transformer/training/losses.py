"""Label-smoothed cross-entropy (section 5.4), in one pass over the vocabulary."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_transformer")
class LabelSmoothedCrossEntropy(keras.losses.Loss):
    """(1-ε)·(-log p(y)) + ε·mean over the vocabulary of -log p, from logits.

    Vaswani et al. 2017, section 5.4; Szegedy et al. 2016, section 7. With log p = z - logsumexp(z) this is
    logsumexp(z) - (1-ε)·z_y - ε·mean(z): no one-hot targets, no second softmax. The loss of a batch is the
    mean over its real tokens.

    Args:
        label_smoothing: ε in [0, 1).
        pad_id: Targets with this id count nothing where no `sample_weight` is given.

    Call arguments:
        y_true: int (B, T).
        y_pred: Logits, float (B, T, V).
        sample_weight: float (B, T), 0 at padding; None = 1 at every y_true other than `pad_id`.

    Returns:
        float scalar, in nats a token.

    Raises:
        ValueError: `label_smoothing` is outside [0, 1).
    """

    def __init__(
        self,
        label_smoothing=0.1,
        pad_id=0,
        name="label_smoothed_cross_entropy",
        reduction="mean_with_sample_weight",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
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
        return smoothed_cross_entropy(ops.cast(y_true, "int32"), y_pred, self.label_smoothing)

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.label_smoothing, "pad_id": self.pad_id}


def smoothed_cross_entropy(targets, logits, label_smoothing):
    """Loss of each token, float32 (B, T), from `targets` int (B, T) and `logits` float (B, T, V).

    The vocabulary is most of a small model's work, so the gradient is written out: softmax(z) - ε/V, less
    1-ε at the target, from the exponentials of the forward pass and in the logits' own dtype. Automatic
    differentiation of the same formula walks the (B, T, V) array about twice as often.
    """

    @ops.custom_gradient
    def loss_of(logits):
        vocabulary_size = logits.shape[-1]
        scores = ops.cast(logits, "float32")
        top = ops.max(scores, axis=-1, keepdims=True)  # (B, T, 1)
        exponentials = ops.exp(scores - top)  # (B, T, V)
        total = ops.sum(exponentials, axis=-1, keepdims=True)
        target_score = ops.squeeze(ops.take_along_axis(scores, targets[..., None], axis=-1), axis=-1)
        loss = ops.squeeze(ops.log(total) + top, axis=-1) - (1.0 - label_smoothing) * target_score
        if label_smoothing > 0:
            loss = loss - label_smoothing * ops.mean(scores, axis=-1)

        def gradient(*args, upstream=None):
            if upstream is None:  # torch passes it by name, TensorFlow and JAX by position
                (upstream,) = args
            share = ops.cast(upstream, "float32")[..., None]  # (B, T, 1)
            everywhere = exponentials * (share / total) - (label_smoothing / vocabulary_size) * share
            everywhere = ops.reshape(ops.cast(everywhere, logits.dtype), (-1, vocabulary_size))  # (B·T, V)
            flat_targets = ops.reshape(targets, (-1,))
            rows = ops.arange(ops.shape(flat_targets)[0], dtype="int32")
            cells = ops.stack([rows, flat_targets], axis=-1)  # (B·T, 2)
            here = ops.take_along_axis(everywhere, flat_targets[:, None], axis=-1) - ops.cast(
                ops.reshape((1.0 - label_smoothing) * share, (-1, 1)), logits.dtype
            )
            everywhere = ops.scatter_update(everywhere, cells, ops.squeeze(here, axis=-1))
            return ops.reshape(everywhere, ops.shape(logits))

        return loss, gradient

    return loss_of(logits)

import numpy as np
import pytest
from keras import ops

from keras_transformer.training.losses import LabelSmoothedCrossEntropy, smoothed_cross_entropy

B, T, V = 2, 3, 7
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(B, T, V)).astype("float32")
TARGETS = RNG.integers(1, V, (B, T)).astype("int32")


def by_hand(logits, targets, smoothing):
    """The paper's form: cross-entropy with a smoothed one-hot, in float64."""
    logits = logits.astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = np.full(logits.shape, smoothing / logits.shape[-1])
    np.put_along_axis(wanted, targets[..., None], 1 - smoothing + smoothing / logits.shape[-1], -1)
    return -(wanted * log_probs).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_each_token_is_the_smoothed_one_hot_form(smoothing):
    loss = ops.convert_to_numpy(
        smoothed_cross_entropy(ops.convert_to_tensor(TARGETS), ops.convert_to_tensor(LOGITS), smoothing)
    )
    np.testing.assert_allclose(loss, by_hand(LOGITS, TARGETS, smoothing), rtol=1e-5)  # float32 sums of 7


def test_large_logits_do_not_overflow():
    loss = ops.convert_to_numpy(
        smoothed_cross_entropy(ops.convert_to_tensor(TARGETS), ops.convert_to_tensor(LOGITS * 1000), 0.1)
    )
    np.testing.assert_allclose(loss, by_hand(LOGITS * 50, TARGETS, 0.1) * 20, rtol=1e-2)


def test_mean_counts_real_tokens_only():
    weights = np.array([[1, 1, 1], [1, 0, 0]], "float32")
    loss = float(ops.convert_to_numpy(LabelSmoothedCrossEntropy(0.1)(TARGETS, LOGITS, weights)))
    expected = (by_hand(LOGITS, TARGETS, 0.1) * weights).sum() / 4
    assert loss == pytest.approx(expected, rel=1e-5)


def test_padding_counts_nothing_without_weights():
    targets = TARGETS.copy()
    targets[1, 1:] = 6
    loss = LabelSmoothedCrossEntropy(0.1, pad_id=6)
    weights = (targets != 6).astype("float32")
    assert weights.sum() < weights.size
    assert float(ops.convert_to_numpy(loss(targets, LOGITS))) == pytest.approx(
        float(ops.convert_to_numpy(loss(targets, LOGITS, weights))), rel=1e-6
    )


def test_gradient_is_that_of_the_formula():
    """Central differences of the float64 form, at every cell."""
    from tests.training.gradients import gradient

    weights = RNG.uniform(0.5, 2.0, (B, T))
    found = gradient(
        lambda logits: ops.sum(
            smoothed_cross_entropy(ops.convert_to_tensor(TARGETS), logits, 0.1) * ops.cast(weights, "float32")
        ),
        LOGITS,
    )
    expected = np.zeros(LOGITS.shape)
    for cell in np.ndindex(*LOGITS.shape):
        nudge = np.zeros(LOGITS.shape)
        nudge[cell] = 1e-5
        plus, minus = (by_hand(LOGITS.astype("float64") + s * nudge, TARGETS, 0.1) for s in (1, -1))
        expected[cell] = ((plus - minus) * weights).sum() / 2e-5
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_config_round_trip():
    loss = LabelSmoothedCrossEntropy(0.2, pad_id=4)
    again = LabelSmoothedCrossEntropy.from_config(loss.get_config())
    assert (again.label_smoothing, again.pad_id, again.reduction) == (0.2, 4, "mean_with_sample_weight")


def test_smoothing_outside_its_range_is_refused():
    with pytest.raises(
        ValueError, match=r"^`label_smoothing` must be in \[0, 1\), got 1\. The paper uses 0\.1\.$"
    ):
        LabelSmoothedCrossEntropy(1)

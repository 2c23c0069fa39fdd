import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.training import losses
from keras_transformer.training.losses import LabelSmoothedCrossEntropy
from tests.helpers import to_numpy
from tests.training.gradients import gradient

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
    loss = to_numpy(LabelSmoothedCrossEntropy(smoothing).call(TARGETS, ops.convert_to_tensor(LOGITS)))
    np.testing.assert_allclose(loss, by_hand(LOGITS, TARGETS, smoothing), rtol=1e-5)  # float32 sums of 7


def test_large_logits_do_not_overflow():
    loss = to_numpy(LabelSmoothedCrossEntropy(0.1).call(TARGETS, ops.convert_to_tensor(LOGITS * 1000)))
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


# straight from the decoder's output

D = 4
HIDDEN = RNG.normal(size=(B, T, D)).astype("float32")
TABLE = RNG.normal(size=(V, D)).astype("float32")
WEIGHTS = np.array([[0.5, 1, 2], [1, 0, 0.25]], "float32")


def by_hand_of_hidden(hidden, table, smoothing):
    loss = by_hand(hidden.astype("float64") @ table.astype("float64").T, TARGETS, smoothing)
    return (loss * WEIGHTS).sum() / WEIGHTS.sum()


@pytest.fixture(params=[1, 2, 4, 6, 100])
def chunk_tokens(request, monkeypatch):
    """Chunks of one token, of parts of a row, uneven and larger than the batch of six tokens."""
    monkeypatch.setattr(losses, "CPU_CHUNK_LOGITS", request.param * V)
    if keras.config.backend() == "torch":
        from keras_transformer.training import torch_loss

        monkeypatch.setattr(torch_loss, "CHUNK_LOGITS", request.param * V)
    return request.param


@pytest.mark.usefixtures("chunk_tokens")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("training", [False, True])
def test_the_loss_of_hidden_is_that_of_its_logits(smoothing, training):
    loss = LabelSmoothedCrossEntropy(smoothing)
    hidden, table = ops.convert_to_tensor(HIDDEN), ops.convert_to_tensor(TABLE)
    found = float(to_numpy(loss.of_hidden(TARGETS, hidden, table, WEIGHTS, training)))
    assert found == pytest.approx(by_hand_of_hidden(HIDDEN, TABLE, smoothing), rel=1e-5)
    assert found == pytest.approx(float(to_numpy(loss(TARGETS, HIDDEN @ TABLE.T, WEIGHTS))), rel=1e-5)


@pytest.mark.usefixtures("chunk_tokens")
@pytest.mark.parametrize("which", ["hidden", "table"])
def test_the_gradient_of_hidden_and_table_is_that_of_the_formula(which):
    """Central differences of the float64 form, at every cell."""
    given = {"hidden": HIDDEN, "table": TABLE}
    loss = LabelSmoothedCrossEntropy(0.1)

    def loss_of(values):
        tensors = {name: ops.convert_to_tensor(array) for name, array in given.items()}
        tensors[which] = values
        return 3.0 * loss.of_hidden(TARGETS, tensors["hidden"], tensors["table"], WEIGHTS)

    found = gradient(loss_of, given[which])
    expected = np.zeros(given[which].shape)
    for cell in np.ndindex(*expected.shape):
        ends = []
        for sign in (1, -1):
            moved = {name: array.astype("float64") for name, array in given.items()}
            moved[which][cell] += sign * 1e-5
            ends.append(by_hand_of_hidden(moved["hidden"], moved["table"], 0.1))
        expected[cell] = 3.0 * (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_loss_of_hidden_leaves_padding_out_and_stands_extremes():
    targets = TARGETS.copy()
    targets[1, 1:] = 6
    loss = LabelSmoothedCrossEntropy(0.1, pad_id=6)
    hidden, table = ops.convert_to_tensor(HIDDEN * 1000), ops.convert_to_tensor(TABLE)
    found = float(to_numpy(loss.of_hidden(targets, hidden, table)))
    expected = float(to_numpy(loss(targets, 1000 * HIDDEN @ TABLE.T)))
    assert found == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(found)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch has sums of its own")
@pytest.mark.usefixtures("chunk_tokens")
def test_torch_s_own_sums_are_those_of_keras_ops(monkeypatch):
    import torch

    from keras_transformer.training import torch_loss

    assert torch_loss.fits(torch.zeros(2))
    assert not torch_loss.fits(torch.zeros(2, dtype=torch.bfloat16))

    def value_and_gradients():
        hidden, table = torch.tensor(HIDDEN, requires_grad=True), torch.tensor(TABLE, requires_grad=True)
        loss = LabelSmoothedCrossEntropy(0.1).of_hidden(TARGETS, hidden, table, WEIGHTS)
        loss.backward()
        return [to_numpy(tensor.detach()) for tensor in (loss, hidden.grad, table.grad)]

    own = value_and_gradients()
    monkeypatch.setattr(torch_loss, "fits", lambda hidden: False)
    for found, expected in zip(own, value_and_gradients(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 sums of 7


def test_config_round_trip():
    loss = LabelSmoothedCrossEntropy(0.2, pad_id=4)
    again = LabelSmoothedCrossEntropy.from_config(loss.get_config())
    assert (again.label_smoothing, again.pad_id, again.reduction) == (0.2, 4, "mean_with_sample_weight")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_which_no_token_id_survives_is_refused(dtype):
    message = f'`dtype` must be "float32" or "float64", got {dtype!r}. Leave it out.'
    with pytest.raises(ValueError, match=re.escape(message)):
        LabelSmoothedCrossEntropy(dtype=dtype)


def test_smoothing_outside_its_range_is_refused():
    with pytest.raises(
        ValueError, match=r"^`label_smoothing` must be in \[0, 1\), got 1\. The paper uses 0\.1\.$"
    ):
        LabelSmoothedCrossEntropy(1)

"""Loss, schedule, gradients and `fit` against the oracle, as a user's own script would call them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.model import build_transformer
from keras_transformer.training.losses import LabelSmoothedCrossEntropy
from keras_transformer.training.schedule import WarmupInverseSquareRoot
from tests.helpers import (
    batch,
    norm_placements,
    normal,
    random_model,
    tiny_config,
    to_numpy,
    variants,
)
from tests.reference import transformer as reference

LABEL_SMOOTHING = 0.1


def _shallow_config(**changes):
    """One encoder layer and two decoder layers: enough to see a stack, and half the time to compile."""
    return tiny_config(**{"num_encoder_layers": 1, "num_decoder_layers": 2, **changes})


def _pairs(config, num_pairs=6):
    """Arrays as `fit` takes them: inputs, targets, and a weight of 1 at each real target."""
    source_ids, target_input_ids, target_output_ids = batch(config, batch_size=num_pairs, target_length=4)
    inputs = {"source_ids": source_ids, "target_input_ids": target_input_ids}
    return inputs, target_output_ids, (target_output_ids != config.pad_id).astype(np.float32)


def _oracle_loss(weights, config, inputs, target_output_ids, sample_weight):
    logits = reference.logits(weights, config, inputs["source_ids"], inputs["target_input_ids"])
    return reference.label_smoothed_cross_entropy(logits, target_output_ids, LABEL_SMOOTHING, sample_weight)


def _compiled(model, learning_rate):
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate), loss=LabelSmoothedCrossEntropy(LABEL_SMOOTHING)
    )
    return model


# the loss and the schedule


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.3])
def test_the_loss_matches_the_oracle(label_smoothing):
    config = _shallow_config()
    _, targets, sample_weight = _pairs(config)
    logits = 3 * normal(*targets.shape, config.vocabulary_size)
    loss = LabelSmoothedCrossEntropy(label_smoothing)
    expected = reference.label_smoothed_cross_entropy(logits, targets, label_smoothing, sample_weight)
    # One sum over 23 values of order 10 in float32.
    assert float(loss(targets, logits, sample_weight)) == pytest.approx(expected, abs=1e-5)
    assert float(loss(targets, logits)) == pytest.approx(expected, abs=1e-5)
    uneven = np.random.default_rng(1).uniform(size=targets.shape).astype(np.float32)
    expected = reference.label_smoothed_cross_entropy(logits, targets, label_smoothing, uneven)
    assert float(loss(targets, logits, uneven)) == pytest.approx(expected, abs=1e-5)


def test_the_loss_by_hand():
    # V = 2, both logits 0: every log-probability is -ln 2, smoothed or not.
    zero = LabelSmoothedCrossEntropy(0.3)(np.array([[1]]), np.zeros((1, 1, 2), dtype=np.float32))
    assert float(zero) == pytest.approx(np.log(2), abs=1e-6)
    # Probabilities 3/4 and 1/4, target 0, e = 0.2: 0.8 ln(4/3) + 0.1 ln(4/3) + 0.1 ln 4.
    logits = np.array([[[np.log(3.0), 0.0]]], dtype=np.float32)
    loss = LabelSmoothedCrossEntropy(0.2, pad_id=1)(np.array([[0]]), logits)
    assert float(loss) == pytest.approx(0.9 * np.log(4 / 3) + 0.1 * np.log(4), abs=1e-6)


def test_the_loss_counts_every_real_token_once_whatever_the_padding():
    loss = LabelSmoothedCrossEntropy(LABEL_SMOOTHING, pad_id=9)
    logits, targets = normal(1, 3, 11), np.array([[4, 0, 7]])
    wider = np.concatenate([logits, 50 * normal(1, 2, 11, seed=1)], axis=1)
    padded = np.array([[4, 0, 7, 9, 9]])
    assert float(loss(padded, wider)) == pytest.approx(float(loss(targets, logits)), abs=1e-6)


def test_the_schedule_matches_equation_3():
    schedule = WarmupInverseSquareRoot(model_dim=512, warmup_steps=4000, factor=2.0)
    for updates_made in (0, 1, 99, 3998, 3999, 4000, 99_999):
        expected = reference.learning_rate(updates_made + 1, 512, 4000, scale=2.0)
        assert float(schedule(updates_made)) == pytest.approx(expected, rel=1e-5)
    # The peak by hand: (512 * 4000)^-0.5.
    peak = float(WarmupInverseSquareRoot(512, 4000)(3999))
    assert peak == pytest.approx((512 * 4000) ** -0.5, rel=1e-5)


# gradients


def _gradients(model, inputs, targets, sample_weight):
    """The gradient of the loss by each weight's published name, by this backend's own means."""
    loss_function = LabelSmoothedCrossEntropy(LABEL_SMOOTHING)
    inputs = {name: ops.convert_to_tensor(ids) for name, ids in inputs.items()}
    targets, sample_weight = ops.convert_to_tensor(targets), ops.convert_to_tensor(sample_weight)
    named = model.named_weights()
    if keras.backend.backend() == "torch":
        loss = loss_function(targets, model(inputs, training=True), sample_weight)
        model.zero_grad()
        loss.backward()
        gradients = {name: variable.value.grad for name, variable in named.items()}
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_function(targets, model(inputs, training=True), sample_weight)
        values = {name: variable.value for name, variable in named.items()}
        gradients = tape.gradient(loss, values)
        gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
    else:
        import jax

        def loss_of(trainable):
            fixed = [variable.value for variable in model.non_trainable_variables]
            logits, _ = model.stateless_call(trainable, fixed, inputs, training=True)
            return loss_function(targets, logits, sample_weight)

        values = jax.jit(jax.grad(loss_of))([variable.value for variable in model.trainable_variables])
        by_path = dict(zip((v.path for v in model.trainable_variables), values, strict=True))
        gradients = {name: by_path[variable.path] for name, variable in named.items()}
    assert all(gradient is not None for gradient in gradients.values())
    return {name: to_numpy(gradient) for name, gradient in gradients.items()}


@variants
def test_every_gradient_matches_the_oracles_slope(norm_placement, activation):
    """Along one random direction for each weight: central differences of the float64 oracle."""
    config = _shallow_config(norm_placement=norm_placement, activation=activation)
    model, weights = random_model(config)
    pairs = _pairs(config)
    gradients = _gradients(model, *pairs)
    assert gradients.keys() == weights.keys()
    generator = np.random.default_rng(2)
    step = 1e-6
    for name, gradient in gradients.items():
        assert np.abs(gradient).max() > 1e-5, f"{name} has no gradient"
        # Along the gradient's signs in part, so that the slope is large beside the error.
        direction = np.sign(gradient) * generator.uniform(0.5, 1.5, gradient.shape)
        losses = []
        for sign in (1, -1):
            moved = {**weights, name: weights[name].astype(np.float64) + sign * step * direction}
            losses.append(_oracle_loss(moved, config, *pairs))
        slope = (losses[0] - losses[1]) / (2 * step)
        # float32 sums leave 1e-5 of the slope; the difference's own error is 1e-10 / 1e-6 at the most.
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-4), name


@norm_placements
def test_every_block_and_row_has_a_gradient(norm_placement):
    config = _shallow_config(norm_placement=norm_placement)
    model, _ = random_model(config)
    gradients = _gradients(model, *_pairs(config))
    for name, gradient in gradients.items():
        if name.endswith(("query_key_value/kernel", "key_value/kernel")):
            blocks = np.split(gradient, gradient.shape[1] // config.model_dim, axis=1)
            assert all(np.abs(block).max() > 1e-6 for block in blocks), name
    assert (np.abs(gradients["embedding/table"]).max(axis=1) > 1e-6).all()


# fit


def _as_arrays(inputs, targets, sample_weight):
    return {"x": inputs, "y": targets, "sample_weight": sample_weight, "batch_size": 2}


def _as_tf_data(inputs, targets, sample_weight):
    tf = pytest.importorskip("tensorflow", reason="tf.data needs tensorflow")
    return {"x": tf.data.Dataset.from_tensor_slices((inputs, targets, sample_weight)).batch(2)}


def _as_torch_loader(inputs, targets, sample_weight):
    torch = pytest.importorskip("torch", reason="a DataLoader needs torch")

    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return len(targets)

        def __getitem__(self, row):
            return {name: ids[row] for name, ids in inputs.items()}, targets[row], sample_weight[row]

    return {"x": torch.utils.data.DataLoader(Pairs(), batch_size=2)}


SOURCES = pytest.mark.parametrize("as_source", [_as_arrays, _as_tf_data, _as_torch_loader])


@SOURCES
def test_fit_reports_the_oracles_loss(as_source):
    """With a rate of 0 the weights stay: the reported loss is the mean over all real tokens."""
    config = _shallow_config()
    model, weights = random_model(config)
    pairs = _pairs(config)
    assert len({*pairs[2].reshape(3, -1).sum(axis=1)}) > 1  # the batches differ in tokens
    history = _compiled(model, 0.0).fit(**as_source(*pairs), epochs=1, shuffle=False, verbose=0).history
    expected = _oracle_loss(weights, config, *pairs)
    assert history["token_loss"] == [pytest.approx(expected, abs=1e-5)]


RATE = 0.05


@pytest.fixture(scope="module")
def descended():
    """The weights after three steps of plain gradient descent, worked out with `_gradients`."""
    config = _shallow_config(norm_placement="pre", activation="gelu")
    model, weights = random_model(config)
    inputs, targets, sample_weight = _pairs(config)
    for start in (0, 2, 4):
        rows = slice(start, start + 2)
        part = {name: ids[rows] for name, ids in inputs.items()}
        gradients = _gradients(model, part, targets[rows], sample_weight[rows])
        weights = {name: array - np.float32(RATE) * gradients[name] for name, array in weights.items()}
        for name, variable in model.named_weights().items():
            variable.assign(weights[name])
    return weights


@SOURCES
def test_fit_takes_the_steps_of_plain_gradient_descent(as_source, descended):
    config = _shallow_config(norm_placement="pre", activation="gelu")
    model, weights = random_model(config)
    _compiled(model, RATE).fit(**as_source(*_pairs(config)), epochs=1, shuffle=False, verbose=0)
    for name, variable in model.named_weights().items():
        trained = to_numpy(variable)
        # The same gradients, compiled or not: rounding only.
        np.testing.assert_allclose(trained, descended[name], rtol=0, atol=1e-5, err_msg=name)
        assert np.abs(trained - weights[name]).max() > 1e-6, f"{name} did not move"


def test_a_step_hands_the_decoders_output_to_the_loss_unless_someone_reads_logits():
    """With a metric of the user's the step makes logits; the loss and the weights after it are the same."""
    config = _shallow_config(norm_placement="pre")
    inputs, targets, sample_weight = _pairs(config)
    seen, trained = [], []

    class Seeing(LabelSmoothedCrossEntropy):
        def of_hidden(self, *arguments):
            seen.append("hidden")
            return super().of_hidden(*arguments)

        def call(self, y_true, y_pred):
            seen.append("logits")
            assert y_pred.shape[-1] == config.vocabulary_size
            return super().call(y_true, y_pred)

    for metrics, expected in ((None, "hidden"), (["sparse_categorical_accuracy"], "logits")):
        model, _ = random_model(config)
        model.compile(keras.optimizers.SGD(RATE), loss=Seeing(LABEL_SMOOTHING), metrics=metrics)
        arguments = {"sample_weight": sample_weight, "verbose": 0}
        model.evaluate(inputs, targets, batch_size=6, **arguments)  # Keras builds a loss by calling it once
        seen.clear()
        model.fit(inputs, targets, batch_size=6, **arguments)
        model.evaluate(inputs, targets, batch_size=3, **arguments)
        assert set(seen) == {expected}
        trained.append({name: to_numpy(variable) for name, variable in model.named_weights().items()})
        logits = model({name: ops.convert_to_tensor(ids) for name, ids in inputs.items()}, training=True)
        assert logits.shape[-1] == config.vocabulary_size  # outside a step a call gives logits
    for name in trained[0]:  # the same sums in another order
        np.testing.assert_allclose(trained[0][name], trained[1][name], rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("setting", ["loss_weights", "sum", "sum_over_batch_size", "regularizer"])
def test_what_keras_makes_of_a_loss_holds_with_metrics_and_without(setting):
    config = _shallow_config()
    inputs, targets, sample_weight = _pairs(config)
    model, _ = random_model(config)
    reduction = setting if setting.startswith("sum") else "mean_with_sample_weight"
    if setting == "regularizer":
        model.embedding.table.regularizer = keras.regularizers.L2(1.0)
    losses = []
    for metrics in (None, ["sparse_categorical_accuracy"]):
        model.compile(
            "sgd",
            LabelSmoothedCrossEntropy(LABEL_SMOOTHING, reduction=reduction),
            loss_weights=[3.0] if setting == "loss_weights" else None,
            metrics=metrics,
        )
        scores = model.evaluate(
            inputs, targets, sample_weight=sample_weight, batch_size=6, verbose=0, return_dict=True
        )
        losses.append(scores["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    plain = _oracle_loss(random_model(config)[1], config, inputs, targets, sample_weight)
    assert abs(losses[0] - plain) > 0.01


def test_a_model_of_bfloat16_alone_trains():
    model = build_transformer(_shallow_config(), dtype="bfloat16")
    model.compile(keras.optimizers.SGD(0.1), LabelSmoothedCrossEntropy(LABEL_SMOOTHING))
    inputs, targets, sample_weight = _pairs(_shallow_config())
    arguments = {"sample_weight": sample_weight, "batch_size": 6, "epochs": 3, "verbose": 0}
    losses = model.fit(inputs, targets, **arguments).history["token_loss"]
    assert losses[2] < losses[0] < 2 * np.log(_shallow_config().vocabulary_size)


def test_padding_is_not_learned_without_weights():
    """`fit(x, y)` alone leaves padding out as well."""
    config = _shallow_config()
    model, weights = random_model(config)
    inputs, targets, sample_weight = _pairs(config)
    history = _compiled(model, 0.0).fit(inputs, targets, batch_size=2, shuffle=False, verbose=0).history
    expected = _oracle_loss(weights, config, inputs, targets, sample_weight)
    assert history["token_loss"] == [pytest.approx(expected, abs=1e-5)]


def test_evaluate_and_predict_take_the_same_arrays():
    config = _shallow_config()
    model, weights = random_model(config)
    inputs, targets, sample_weight = _pairs(config)
    _compiled(model, 0.0)
    scores = model.evaluate(
        inputs, targets, sample_weight=sample_weight, batch_size=2, verbose=0, return_dict=True
    )
    expected = _oracle_loss(weights, config, inputs, targets, sample_weight)
    assert scores["token_loss"] == pytest.approx(expected, abs=1e-5)
    logits = model.predict(inputs, batch_size=2, verbose=0)
    oracle = reference.logits(weights, config, inputs["source_ids"], inputs["target_input_ids"])
    np.testing.assert_allclose(logits, oracle, rtol=0, atol=1e-5)


@pytest.fixture
def bfloat16_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("bfloat16_policy")
def test_mixed_bfloat16_trains_float32_weights():
    keras.utils.set_random_seed(3)
    config = _shallow_config(dropout_rate=0.1, attention_dropout_rate=0.1)
    model, _ = random_model(config)
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss=LabelSmoothedCrossEntropy(LABEL_SMOOTHING))
    inputs, targets, sample_weight = _pairs(config)
    losses = model.fit(
        inputs, targets, sample_weight=sample_weight, batch_size=6, epochs=8, verbose=0
    ).history["token_loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]
    for name, variable in model.named_weights().items():
        assert keras.backend.standardize_dtype(variable.dtype) == "float32", name
        assert np.isfinite(to_numpy(variable)).all(), name


def test_dropout_draws_anew_at_each_step_of_fit():
    """With a rate of 0 only the dropout masks can move the loss from one step to the next."""
    keras.utils.set_random_seed(4)
    config = _shallow_config(dropout_rate=0.2)
    model, weights = random_model(config)
    inputs, targets, sample_weight = _pairs(config)
    arguments = {"sample_weight": sample_weight, "batch_size": 6, "epochs": 4, "verbose": 0}
    losses = _compiled(model, 0.0).fit(inputs, targets, **arguments).history["token_loss"]
    still = _oracle_loss(weights, config, inputs, targets, sample_weight)
    assert len({round(loss, 5) for loss in [still, *losses]}) == 5


@pytest.mark.parametrize("batch_size", [4, 6])
@pytest.mark.parametrize("column", [False, True])
def test_a_weight_a_sentence_counts_for_each_of_its_tokens(column, batch_size):
    """With as many sentences as target positions, too, where weights of either axis would fit."""
    config = _shallow_config()
    inputs, targets, _ = _pairs(config, batch_size)
    assert targets.shape[1] == 4
    rows = np.arange(1.0, batch_size + 1, dtype=np.float32)
    model, weights = random_model(config)
    every = np.broadcast_to(rows[:, None], targets.shape)
    expected = _oracle_loss(weights, config, inputs, targets, every)
    assert abs(expected - _oracle_loss(weights, config, inputs, targets, np.ones_like(every))) > 0.01
    for metrics in (None, ["sparse_categorical_accuracy"]):
        model.compile("sgd", LabelSmoothedCrossEntropy(LABEL_SMOOTHING), metrics=metrics)
        scores = model.evaluate(
            inputs,
            targets,
            sample_weight=rows[:, None] if column else rows,
            batch_size=batch_size,
            verbose=0,
            return_dict=True,
        )
        assert (scores["loss"], scores["token_loss"]) == (pytest.approx(expected, rel=1e-5),) * 2


def test_a_subclass_of_the_loss_is_called():
    """`of_hidden` knows nothing of what it computes."""

    class Tripled(LabelSmoothedCrossEntropy):
        def call(self, y_true, y_pred):
            return 3.0 * super().call(y_true, y_pred)

    config = _shallow_config()
    inputs, targets, sample_weight = _pairs(config)
    model, weights = random_model(config)
    model.compile("sgd", Tripled(LABEL_SMOOTHING))
    scores = model.evaluate(
        inputs, targets, sample_weight=sample_weight, batch_size=6, verbose=0, return_dict=True
    )
    expected = 3 * _oracle_loss(weights, config, inputs, targets, sample_weight)
    assert scores["loss"] == pytest.approx(expected, rel=1e-5)

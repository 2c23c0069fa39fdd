import keras
import numpy as np
import pytest
from keras import ops

from keras_transformer.config import TrainConfig
from keras_transformer.training.feeds import has_gpu
from keras_transformer.training.optimization import compiled_model, float32_twin, publish_weights, schedule
from keras_transformer.training.replicas import Replicas
from tests.helpers import batch, tiny_config, to_numpy

CONFIG = tiny_config(num_encoder_layers=1, num_decoder_layers=1)


def update(model, seed):
    source_ids, inputs, outputs = batch(CONFIG, seed=seed)
    weights = (outputs != CONFIG.pad_id).astype("float32")
    model.train_on_batch({"source_ids": source_ids, "target_input_ids": inputs}, outputs, weights)
    return {name: to_numpy(variable) for name, variable in model.named_weights().items()}


def published(model, settings):
    twin = float32_twin(CONFIG, settings)
    publish_weights(model, twin)
    return {name: to_numpy(variable) for name, variable in twin.named_weights().items()}


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])  # which wraps the optimizer
def test_the_moving_average_by_its_definition(precision):
    if precision == "mixed_float16" and keras.config.backend() == "jax" and not has_gpu():
        pytest.skip("JAX multiplies no float16 matrices at full precision on a CPU")
    settings = TrainConfig(ema_decay=0.75, warmup_steps=2, precision=precision, clip_norm=0.0)
    model = compiled_model(CONFIG, settings)
    average = update(model, 0)  # it starts at the first update's weights
    for seed in (1, 2):
        weights = update(model, seed)
        average = {name: 0.75 * average[name] + 0.25 * weights[name] for name in weights}
    found = published(model, settings)
    moved = 0.0
    for name, array in found.items():
        np.testing.assert_allclose(array, average[name], atol=1e-6, err_msg=name)  # float32 sums of order 1
        moved = max(moved, np.abs(array - weights[name]).max())
    assert moved > 1e-3  # it is not the weights themselves


@pytest.mark.skipif(keras.config.backend() != "torch", reason="the others trace an update once")
def test_the_moving_average_copies_no_number_for_each_weight(monkeypatch):
    """On a GPU the update waits for each of them."""
    import torch

    copied = {}
    real = torch.as_tensor
    for decay in (0.0, 0.75):
        model = compiled_model(CONFIG, TrainConfig(ema_decay=decay, warmup_steps=2))
        update(model, 0)
        seen = []
        monkeypatch.setattr(
            torch,
            "as_tensor",
            lambda value, *a, seen=seen, **k: (seen.append(value), real(value, *a, **k))[1],
        )
        update(model, 1)
        monkeypatch.setattr(torch, "as_tensor", real)
        copied[decay] = sum(not torch.is_tensor(value) for value in seen)
    assert copied[0.75] <= copied[0.0] + 4 < len(model.trainable_variables) + copied[0.0]


@pytest.mark.parametrize("steps", [False, True])  # whether several devices share the update
def test_all_weights_are_updated_at_once_under_torch(steps):
    """A subclass of Adam would not be Keras's form for torch, which takes some tens of calls for each weight less."""
    replicas = Replicas()
    replicas.steps = steps
    optimizer = compiled_model(CONFIG, TrainConfig(warmup_steps=2), replicas).optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert hasattr(optimizer, "_parallel_update_step") == (keras.config.backend() == "torch")
    gradients = [("a gradient", "its weight")]
    if keras.config.backend() == "tensorflow" and steps:  # summed before they were clipped
        assert optimizer._all_reduce_sum_gradients(gradients) is gradients


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch on a CPU has an update of its own")
@pytest.mark.parametrize(  # rounded to half precision, later gradients show every last bit of a weight
    ("precision", "updates"), [("float32", 4), ("mixed_bfloat16", 1), ("mixed_float16", 1)]
)
def test_updates_are_those_of_keras(precision, updates):
    settings = TrainConfig(warmup_steps=2, precision=precision, epsilon=1e-4)  # large enough to be seen
    ours, keras_own = (compiled_model(CONFIG, settings) for _ in range(2))
    optimizer = getattr(keras_own.optimizer, "inner_optimizer", keras_own.optimizer)
    if not has_gpu():
        del optimizer._parallel_update_step  # what is left is the class's
    for variable, other in zip(keras_own.variables, ours.variables, strict=True):
        variable.assign(other)
    for seed in range(updates):
        for model in (ours, keras_own):
            keras.utils.set_random_seed(seed)  # of the dropout
            update(model, seed)
        states = [[*model.variables, *model.optimizer.variables] for model in (ours, keras_own)]
        for found, expected in zip(*states, strict=True):
            found, expected = to_numpy(found), to_numpy(expected)
            largest = np.abs(expected).max(initial=1e-9)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * largest)


def test_without_a_decay_the_weights_themselves_are_published():
    settings = TrainConfig(warmup_steps=2)
    model = compiled_model(CONFIG, settings)
    weights = update(model, 0)
    before = published(model, settings)
    for name, array in before.items():
        np.testing.assert_array_equal(array, weights[name])


def test_the_published_weights_are_copies():
    settings = TrainConfig(warmup_steps=2)
    model = compiled_model(CONFIG, settings)
    twin = float32_twin(CONFIG, settings)
    publish_weights(model, twin)
    before = to_numpy(twin.named_weights()["embedding/table"]).copy()
    update(model, 0)
    np.testing.assert_array_equal(to_numpy(twin.named_weights()["embedding/table"]), before)


def test_the_optimizer_is_the_configured_one():
    settings = TrainConfig(warmup_steps=7, learning_rate=2.0, max_steps=50, cooldown_steps=10, clip_norm=0.0)
    model = compiled_model(CONFIG, settings)
    optimizer = model.optimizer
    assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.98, 1e-9)
    assert optimizer.global_clipnorm is None
    # Update 3 of 7 in the warm-up: 2 · 28^-0.5 · 3 · 7^-1.5.
    rate = float(ops.convert_to_numpy(schedule(CONFIG, settings)(2)))
    assert rate == pytest.approx(2 * 28**-0.5 * 3 * 7**-1.5, rel=1e-5)
    optimizer.iterations.assign(2)
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(rate, rel=1e-6)


def test_a_seed_fixes_the_first_weights():
    tables = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        tables.append(to_numpy(compiled_model(CONFIG, TrainConfig()).named_weights()["embedding/table"]))
    np.testing.assert_array_equal(tables[0], tables[1])
    assert (tables[0] != tables[2]).any()

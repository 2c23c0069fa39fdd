"""The whole Transformer: oracle, invariants, decoding, weights on disk, errors."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file, save_file

import keras_transformer as kt
from keras_transformer.config import ModelConfig
from keras_transformer.errors import UserError
from keras_transformer.model import Transformer, build_transformer
from tests.helpers import (
    BATCH,
    FLOAT32_TOLERANCE,
    MAX_LENGTH,
    SOURCE,
    TARGET,
    VOCABULARY,
    batch,
    model_of,
    norm_placements,
    raises_message,
    random_model,
    tiny_config,
    to_numpy,
    variants,
)
from tests.reference import transformer as reference

ROOT = Path(__file__).parents[1]
# Found with the oracle: the rows of `_sources` end at four different steps, by EOS or at the limit.
GREEDY_SEEDS = {"post": 106, "pre": 218}


def _logits(model, source_ids, target_input_ids, **arguments):
    inputs = {
        "source_ids": ops.convert_to_tensor(source_ids, dtype="int32"),
        "target_input_ids": ops.convert_to_tensor(target_input_ids, dtype="int32"),
    }
    return to_numpy(model(inputs, **arguments))


def _decode(model, target_input_ids, encoder_outputs, source_padding_mask):
    return to_numpy(
        model.decode(
            ops.convert_to_tensor(target_input_ids, dtype="int32"),
            ops.convert_to_tensor(encoder_outputs, dtype="float32"),
            ops.convert_to_tensor(source_padding_mask),
        )
    )


@variants
def test_logits_match_the_oracle(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    expected = reference.logits(weights, config, source_ids, target_input_ids)
    logits = _logits(model, source_ids, target_input_ids)
    assert logits.shape == (BATCH, TARGET, VOCABULARY)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT32_TOLERANCE)


def test_special_ids_come_from_the_config():
    config = tiny_config(pad_id=9, bos_id=4, eos_id=7, unk_id=0)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    expected = reference.logits(weights, config, source_ids, target_input_ids)
    logits = _logits(model, source_ids, target_input_ids)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT32_TOLERANCE)


@norm_placements
def test_encoder_outputs_match_the_oracle(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config)
    source_ids, _, _ = batch(config)
    encoded = to_numpy(model.encode(ops.convert_to_tensor(source_ids)))
    expected = reference.encode(weights, config, source_ids)
    np.testing.assert_allclose(encoded, expected, rtol=0, atol=FLOAT32_TOLERANCE)


@norm_placements
def test_every_weight_counts(norm_placement):
    """Each weight, changed alone, changes the logits: none is built and forgotten."""
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    before = _logits(model, source_ids, target_input_ids)
    for name, variable in model.named_weights().items():
        variable.assign(weights[name] + np.float32(0.5) * np.sign(weights[name]))
        assert np.abs(_logits(model, source_ids, target_input_ids) - before).max() > 1e-4, name
        variable.assign(weights[name])


@norm_placements
def test_a_later_target_changes_nothing_before_it(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, _ = random_model(config)
    source_ids, target_input_ids, _ = batch(config, target_length=7)
    before = _logits(model, source_ids, target_input_ids)
    for position in range(1, 7):
        changed = target_input_ids.copy()
        changed[:, position:] = 4 + (changed[:, position:] + 5) % (VOCABULARY - 4)
        after = _logits(model, source_ids, changed)
        assert np.abs(before[:, :position] - after[:, :position]).max() == 0.0
        assert np.abs(before[:, position:] - after[:, position:]).max() > 0.01


@norm_placements
def test_what_stands_behind_the_source_mask_changes_nothing(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, _ = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    mask = reference.padding_mask(source_ids, config.pad_id)
    assert not mask.all()
    encoder_outputs = to_numpy(model.encode(ops.convert_to_tensor(source_ids)))
    garbage = np.where(mask[..., None], encoder_outputs, 1e4)
    before = _decode(model, target_input_ids, encoder_outputs, mask)
    assert np.abs(before - _decode(model, target_input_ids, garbage, mask)).max() == 0.0
    # The mask is what keeps it out.
    assert np.abs(before - _decode(model, target_input_ids, garbage, np.ones_like(mask))).max() > 0.01


def test_the_padding_embedding_changes_nothing():
    """The source's padded positions may hold anything, in every layer of both stacks."""
    config = tiny_config()
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    target_input_ids = np.where(target_input_ids == config.pad_id, config.unk_id, target_input_ids)
    before = _logits(model, source_ids, target_input_ids)
    table = weights["embedding/table"].copy()
    table[config.pad_id] = 1e3
    model.named_weights()["embedding/table"].assign(table)
    after = _logits(model, source_ids, target_input_ids)
    words = np.arange(VOCABULARY) != config.pad_id  # the table's row is also a column of the logits
    assert np.abs(before[..., words] - after[..., words]).max() == 0.0


def test_every_decoder_layer_ignores_source_padding():
    """From the second layer on too, where Keras's implicit masks are lost."""
    config = tiny_config()
    model, _ = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    mask = reference.padding_mask(source_ids, config.pad_id)
    encoder_outputs = to_numpy(model.encode(ops.convert_to_tensor(source_ids)))
    garbage = np.where(mask[..., None], encoder_outputs, 1e4)
    for layer in model.decoder_layers:
        seen = []
        for keys in (encoder_outputs, garbage):
            hidden = ops.cast(model.embedding(ops.convert_to_tensor(target_input_ids)), "float32")
            output = layer(
                hidden,
                ops.convert_to_tensor(keys, dtype="float32"),
                source_padding_mask=ops.convert_to_tensor(mask),
            )
            seen.append(to_numpy(output))
        assert np.abs(seen[0] - seen[1]).max() == 0.0


def test_more_padding_changes_nothing():
    config = tiny_config()
    model, _ = random_model(config)
    source_ids, target_input_ids, _ = batch(config)
    wider = np.pad(source_ids, ((0, 0), (0, 4)), constant_values=config.pad_id)
    longer = np.pad(target_input_ids, ((0, 0), (0, 2)), constant_values=config.pad_id)
    before = _logits(model, source_ids, target_input_ids)
    after = _logits(model, wider, longer)[:, :TARGET]
    # Other shapes take other kernels, which sum in another order: rounding, not padding.
    np.testing.assert_allclose(after, before, rtol=0, atol=FLOAT32_TOLERANCE)


def test_batch_order_and_mates_change_nothing():
    config = tiny_config()
    model, _ = random_model(config)
    source_ids, target_input_ids, _ = batch(config, batch_size=6)
    together = _logits(model, source_ids, target_input_ids)
    order = [4, 0, 5, 2, 1, 3]
    np.testing.assert_allclose(
        _logits(model, source_ids[order], target_input_ids[order]),
        together[order],
        rtol=0,
        atol=FLOAT32_TOLERANCE,
    )
    for row in range(6):
        alone = _logits(model, source_ids[row : row + 1], target_input_ids[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], rtol=0, atol=FLOAT32_TOLERANCE)


@variants
def test_cached_steps_match_the_full_pass(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config, target_length=7)
    source = ops.convert_to_tensor(source_ids)
    mask = model.padding_mask(source)
    caches = model.initial_caches(model.encode(source), MAX_LENGTH)
    steps = []
    for position in range(7):
        token_ids = ops.convert_to_tensor(target_input_ids[:, position : position + 1])
        logits, caches = model.decode_step(token_ids, position, caches, mask)
        steps.append(to_numpy(logits))
    cached = np.stack(steps, axis=1)
    full = _logits(model, source_ids, target_input_ids)
    np.testing.assert_allclose(cached, full, rtol=0, atol=FLOAT32_TOLERANCE)
    oracle = reference.logits(weights, config, source_ids, target_input_ids)
    np.testing.assert_allclose(cached, oracle, rtol=0, atol=FLOAT32_TOLERANCE)


def _sources(config):
    """Five sources of different lengths, the last one empty."""
    source_ids, _, _ = batch(config, seed=7, batch_size=5, source_length=9)
    source_ids[4] = config.pad_id
    source_ids[4, 0] = config.eos_id
    return source_ids


def _oracle_tokens(weights, config, source_ids, max_length):
    rows = reference.greedy(weights, config, source_ids, max_length)
    tokens = []
    for row in rows:
        ends = np.flatnonzero(row == config.eos_id)
        tokens.append(row[: ends[0]] if len(ends) else row)
    return tokens


def _assert_same_tokens(found, expected):
    assert [row.tolist() for row in found] == [row.tolist() for row in expected]


@norm_placements
def test_generate_matches_the_uncached_oracle(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config, GREEDY_SEEDS[norm_placement])
    source_ids = _sources(config)
    expected = _oracle_tokens(weights, config, source_ids, MAX_LENGTH)
    lengths = {len(row) for row in expected}
    assert len(lengths) == 4  # or the search's bookkeeping would not be seen
    assert MAX_LENGTH in lengths
    _assert_same_tokens(model.generate(source_ids), expected)


@norm_placements
def test_generate_stops_at_max_length(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config, GREEDY_SEEDS[norm_placement])
    source_ids = _sources(config)
    found = model.generate(source_ids, max_length=4)
    _assert_same_tokens(found, _oracle_tokens(weights, config, source_ids, 4))
    assert max(len(row) for row in found) == 4


def test_batch_mates_never_change_a_translation():
    config = tiny_config()
    model, _ = random_model(config, GREEDY_SEEDS["post"])
    source_ids = _sources(config)
    together = model.generate(source_ids)
    order = [3, 1, 4, 0, 2]
    _assert_same_tokens(model.generate(source_ids[order]), [together[row] for row in order])
    for row in range(5):
        _assert_same_tokens(model.generate(source_ids[row : row + 1]), [together[row]])
    length = int((source_ids[1] != config.pad_id).sum())
    assert length < source_ids.shape[1]
    _assert_same_tokens(model.generate(source_ids[1:2, :length]), [together[1]])


@pytest.mark.parametrize("name", ["dropout_rate", "attention_dropout_rate"])
def test_dropout_acts_in_training_only(name):
    keras.utils.set_random_seed(8)
    plain, weights = random_model(tiny_config())
    model = model_of(tiny_config(**{name: 0.4}), weights)
    source_ids, target_input_ids, _ = batch(model.config)
    expected = _logits(plain, source_ids, target_input_ids)
    still = _logits(model, source_ids, target_input_ids)
    first, second = (_logits(model, source_ids, target_input_ids, training=True) for _ in range(2))
    assert np.abs(still - expected).max() == 0.0
    assert np.abs(first - second).max() > 0.01
    _assert_same_tokens(model.generate(source_ids), plain.generate(source_ids))


def test_dropout_acts_on_the_sum_of_embeddings_and_positions():
    # Section 5.4. The layers' own dropout is taken out; what is left is the model's.
    keras.utils.set_random_seed(9)
    model, _ = random_model(tiny_config(dropout_rate=0.4))
    for layer in (*model.encoder_layers, *model.decoder_layers):
        layer.dropout.rate = 0.0
    source_ids = ops.convert_to_tensor(batch(model.config)[0])
    first, second = (to_numpy(model.encode(source_ids, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0.01


def _parameters_by_hand(vocabulary_size, width, inner, num_layers):
    attention = 4 * width * width  # W^Q, W^K, W^V, W^O of all heads, no biases
    norm = 2 * width
    feed_forward = width * inner + inner + inner * width + width  # eq. 2 with b1 and b2
    encoder_layer = attention + feed_forward + 2 * norm
    decoder_layer = 2 * attention + feed_forward + 3 * norm
    return vocabulary_size * width + num_layers * (encoder_layer + decoder_layer)


def test_the_papers_base_model_counts_63_million():
    """Table 3's base with the 37,000 tokens of section 5.1; the paper gives 65 million.

    One table serves both embeddings and the projection (18,944,000). An encoder layer has 3,150,336
    parameters, a decoder layer 4,199,936. Biases in the attention projections (18 attentions of 4 x 512) and
    in the output projection would add 73,864; the paper's equations have none. Positions are computed, not
    learned.
    """
    config = ModelConfig(
        vocabulary_size=37_000,
        model_dim=512,
        feed_forward_dim=2048,
        num_heads=8,
        num_encoder_layers=6,
        num_decoder_layers=6,
    )
    assert (
        _parameters_by_hand(37_000, 512, 2048, 6) == 18_944_000 + 6 * 3_150_336 + 6 * 4_199_936 == 63_045_632
    )
    model = build_transformer(config)
    assert model.count_params() == 63_045_632
    assert sum(int(np.prod(shape)) for shape in reference.weight_shapes(config).values()) == 63_045_632
    assert 63e6 <= model.count_params() <= 65e6


def test_the_defaults_are_the_papers_base():
    config = ModelConfig()
    assert (config.model_dim, config.feed_forward_dim, config.num_heads, config.head_dim) == (
        512,
        2048,
        8,
        64,
    )
    assert (config.num_encoder_layers, config.num_decoder_layers, config.dropout_rate) == (6, 6, 0.1)
    assert (config.norm_placement, config.activation) == ("post", "relu")


@norm_placements
def test_weights_have_the_published_names_and_shapes(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model = build_transformer(config)
    shapes = {name: tuple(variable.shape) for name, variable in model.named_weights().items()}
    assert shapes == reference.weight_shapes(config)
    assert len(model.trainable_variables) == len(shapes)
    assert model.count_params() == sum(int(np.prod(shape)) for shape in shapes.values())


@norm_placements
def test_weights_on_disk_are_the_models_own(tmp_path, norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config)
    path = tmp_path / "weights.safetensors"
    model.save_safetensors(path)
    stored = load_file(path)
    assert stored.keys() == weights.keys()
    for name, array in stored.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, weights[name])
    other, _ = random_model(config, seed=1)
    source_ids, target_input_ids, _ = batch(config)
    expected = _logits(model, source_ids, target_input_ids)
    assert np.abs(_logits(other, source_ids, target_input_ids) - expected).max() > 0.1
    other.load_safetensors(path)
    assert np.abs(_logits(other, source_ids, target_input_ids) - expected).max() == 0.0


def test_config_round_trip():
    config = tiny_config(norm_placement="pre", activation="gelu", dropout_rate=0.25, pad_id=5)
    model = build_transformer(config)
    copy = Transformer.from_config(model.get_config())
    assert copy.config == config
    assert copy.name == model.name
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model)).config == config


def test_a_clone_has_the_shape_and_not_the_weights():
    model, weights = random_model(tiny_config())
    clone = keras.models.clone_model(model)
    assert clone.named_weights().keys() == weights.keys()
    table = to_numpy(clone.named_weights()["embedding/table"])
    assert np.abs(table - weights["embedding/table"]).max() > 0.1
    clone.set_weights(model.get_weights())
    source_ids, target_input_ids, _ = batch(model.config)
    expected = _logits(model, source_ids, target_input_ids)
    assert np.abs(_logits(clone, source_ids, target_input_ids) - expected).max() == 0.0


def test_a_keras_file_brings_the_model_back(tmp_path):
    model, _ = random_model(tiny_config(norm_placement="pre"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    source_ids, target_input_ids, _ = batch(model.config)
    expected = _logits(model, source_ids, target_input_ids)
    assert np.abs(_logits(loaded, source_ids, target_input_ids) - expected).max() == 0.0


def test_one_name_of_the_package_is_enough_to_load_a_compiled_model(tmp_path):
    model, _ = random_model(tiny_config())
    rate = kt.WarmupInverseSquareRoot(64, 100)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss=kt.LabelSmoothedCrossEntropy(0.1))
    model.save(tmp_path / "model.keras")
    script = (
        "import sys, keras; from keras_transformer import Transformer; "
        "print(type(keras.models.load_model(sys.argv[1])) is Transformer)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout == "True\n", done.stderr


@pytest.fixture
def bfloat16_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@norm_placements
@pytest.mark.usefixtures("bfloat16_policy")
def test_mixed_bfloat16_stays_near_float32(norm_placement):
    config = tiny_config(norm_placement=norm_placement)
    model, weights = random_model(config)
    assert all(keras.backend.standardize_dtype(v.dtype) == "float32" for v in model.trainable_variables)
    source_ids, target_input_ids, _ = batch(config)
    inputs = {
        "source_ids": ops.convert_to_tensor(source_ids),
        "target_input_ids": ops.convert_to_tensor(target_input_ids),
    }
    assert keras.backend.standardize_dtype(model(inputs).dtype) == "bfloat16"
    logits = _logits(model, source_ids, target_input_ids)
    expected = reference.logits(weights, config, source_ids, target_input_ids)
    assert np.isfinite(logits).all()
    # bfloat16 keeps 8 bits (0.4 %); five layers of sub-layers add up to a few percent of logits of order 1.
    assert np.sqrt(np.mean((logits - expected) ** 2)) < 0.05 * expected.std()
    # It is bfloat16 indeed.
    assert np.abs(logits - expected).max() > 100 * FLOAT32_TOLERANCE
    tokens = model.generate(source_ids, max_length=5)
    assert len(tokens) == BATCH


@pytest.mark.parametrize("max_length", [0, MAX_LENGTH + 1])
def test_generate_refuses_a_length_outside_the_table(max_length):
    model, _ = random_model(tiny_config())
    message = (
        f"`max_length` must be in 1..{MAX_LENGTH} (config.max_length), got {max_length}. "
        "Choose a value there."
    )
    with raises_message(ValueError, message):
        model.generate(np.full((1, 2), 5), max_length=max_length)


def test_a_source_beyond_the_table_is_refused():
    model, _ = random_model(tiny_config())
    message = (
        f"`embedded` must have at most max_length = {MAX_LENGTH} positions, got {MAX_LENGTH + 1}. "
        "Split the text or build the model with a larger max_length."
    )
    with raises_message(ValueError, message):
        model.generate(np.full((1, MAX_LENGTH + 1), 5))


def test_a_missing_weights_file_is_named(tmp_path):
    path = tmp_path / "none.safetensors"
    message = f"`path` must be a safetensors file, found none at {path}. Train one with fit."
    with raises_message(UserError, message):
        build_transformer(tiny_config()).load_safetensors(path)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    path = tmp_path / "weights.safetensors"
    build_transformer(tiny_config(norm_placement="pre")).save_safetensors(path)
    names = ["decoder_norm/beta", "decoder_norm/gamma", "encoder_norm/beta", "encoder_norm/gamma"]
    message = f"{path} must hold this model's weights; these names differ: {names}."
    with raises_message(UserError, message):
        build_transformer(tiny_config()).load_safetensors(path)


def test_weights_of_another_width_are_refused_by_shape(tmp_path):
    path = tmp_path / "weights.safetensors"
    config = tiny_config()
    weights = reference.random_weights(config, 0)
    weights["decoder_layers/1/feed_forward/inner/bias"] = np.zeros(16, dtype=np.float32)
    save_file(weights, path)
    model, before = random_model(config, seed=1)
    message = f"{path}: decoder_layers/1/feed_forward/inner/bias must have shape (17,), got (16,). "
    message += "Build the model with the sizes of its own model.json."
    with raises_message(UserError, message):
        model.load_safetensors(path)
    # A refused file must not leave a model of two halves.
    for name, variable in model.named_weights().items():
        np.testing.assert_array_equal(to_numpy(variable), before[name], err_msg=name)


def test_sizes_differ():
    """The tests above prove little where two letters have one size."""
    config = tiny_config()
    sizes = [BATCH, TARGET, SOURCE, config.num_heads, config.head_dim, config.feed_forward_dim, MAX_LENGTH]
    assert len({*sizes, VOCABULARY, config.model_dim}) == 9

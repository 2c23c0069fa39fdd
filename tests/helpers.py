"""What the model's tests share: small sizes that all differ, known weights, NumPy in and out."""

import re

import keras
import numpy as np
import pytest

from keras_transformer.config import ModelConfig
from keras_transformer.model import build_transformer
from tests.reference import transformer as reference

if keras.backend.backend() == "jax":
    import jax

    # These models run for microseconds and compile for seconds; the mathematics is the same.
    jax.config.update("jax_disable_most_optimizations", True)

# All different, so that a swapped axis cannot pass: B, T, S, H, K, D = H * K, then F, V, L.
BATCH, TARGET, SOURCE, HEADS, HEAD_DIM = 2, 3, 5, 7, 4
MODEL_DIM, FEED_FORWARD_DIM, VOCABULARY, MAX_LENGTH = HEADS * HEAD_DIM, 17, 23, 13

# float32 keeps 24 bits (6e-8 relative). Values here are of order 1 to 10 and pass about a hundred roundings,
# which leaves errors of about 1e-6; a wrong formula, epsilon (1e-3 for 1e-5) or form of GELU is off by 1e-4
# or more.
FLOAT32_TOLERANCE = 1e-5

variants = pytest.mark.parametrize(
    ("norm_placement", "activation"), [("post", "relu"), ("post", "gelu"), ("pre", "relu"), ("pre", "gelu")]
)
norm_placements = pytest.mark.parametrize("norm_placement", ["post", "pre"])


def tiny_config(**changes):
    """A ModelConfig of the sizes above, without dropout and with special ids that are not the defaults."""
    fields = {
        "vocabulary_size": VOCABULARY,
        "model_dim": MODEL_DIM,
        "feed_forward_dim": FEED_FORWARD_DIM,
        "num_heads": HEADS,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "max_length": MAX_LENGTH,
        "dropout_rate": 0.0,
        "attention_dropout_rate": 0.0,
        "norm_placement": "post",
        "activation": "relu",
        "pad_id": 0,
        "bos_id": 1,
        "eos_id": 2,
        "unk_id": 3,
    }
    return ModelConfig(**{**fields, **changes})


def model_of(config, weights):
    """A built model that carries `weights` (published names)."""
    model = build_transformer(config)
    named = model.named_weights()
    assert named.keys() == weights.keys()
    for name, variable in named.items():
        variable.assign(weights[name])
    return model


def random_model(config, seed=0):
    """A built model and the random weights that it carries."""
    weights = reference.random_weights(config, seed)
    return model_of(config, weights), weights


def set_layer_weights(layer, weights):
    """Give a built layer `weights`, keyed by path below the layer, such as `feed_forward/inner/kernel`."""
    prefix = f"{layer.name}/"
    by_path = {variable.path.removeprefix(prefix): variable for variable in layer.trainable_variables}
    assert by_path.keys() == weights.keys()
    for path, variable in by_path.items():
        variable.assign(weights[path])


def layer_weights(config, kind, seed=0):
    """Random weights of `encoder_layers/0` or `decoder_layers/0`, under the rest of their names."""
    prefix = f"{kind}/0/"
    weights = reference.random_weights(config, seed)
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def to_numpy(tensor):
    """float32 NumPy of a backend's tensor, gradients and bfloat16 or not."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def normal(*shape, seed=0):
    """Standard normal float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def batch(config, seed=0, batch_size=BATCH, source_length=SOURCE, target_length=TARGET):
    """Ragged, right-padded source_ids (B, S), target_input_ids and target_output_ids (B, T)."""
    generator = np.random.default_rng(seed)
    special = {config.pad_id, config.bos_id, config.eos_id, config.unk_id}
    words = [i for i in range(config.vocabulary_size) if i not in special]
    source_ids = np.full((batch_size, source_length), config.pad_id, dtype=np.int32)
    target_input_ids = np.full((batch_size, target_length), config.pad_id, dtype=np.int32)
    target_output_ids = np.full((batch_size, target_length), config.pad_id, dtype=np.int32)
    for row in range(batch_size):
        num_source = source_length - 1 - row % (source_length - 1)  # words; the first row is full
        num_target = target_length - 1 - row % (target_length - 1)
        source_ids[row, : num_source + 1] = [*generator.choice(words, num_source), config.eos_id]
        target = generator.choice(words, num_target)
        target_input_ids[row, : num_target + 1] = [config.bos_id, *target]
        target_output_ids[row, : num_target + 1] = [*target, config.eos_id]
    return source_ids, target_input_ids, target_output_ids


def ragged_mask():
    """bool (B, S): the first row is full, the second has two real positions."""
    mask = np.ones((BATCH, SOURCE), dtype=bool)
    mask[1, 2:] = False
    return mask


def raises_message(error, message):
    """`pytest.raises` that demands the whole message; Keras may print it bold, among facts of the call."""
    return pytest.raises(error, match=rf"(\A|\n)(\x1b\[1m)?{re.escape(message)}(\x1b\[0m)?(\Z|\n)")

"""Weights of a Transformer that copies its source: random in bulk, with one attention built by hand.

Timing needs outputs of real lengths. Plain random weights never end, or end by chance, and forcing every row
of a batch to one length would hide what batches are about: rows that end at different times. Here target
position p attends to source position p in the last decoder layer's cross-attention and writes down what it
finds there, so that a row ends where its source ends, in every precision, greedy or beam. Every engine then
decodes the very same number of tokens, and can be checked against the source itself. All products have the
sizes of the real thing and no processor is faster for the values in them.

Letters: D model_dim, H heads, K head_dim, V vocabulary.
"""

import math

import numpy as np
from numpy.typing import NDArray

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.checkpoint import weight_shapes

NOISE = 0.1  # outputs of every other sub-layer, beside a residual of about 1
COPY_GAIN = 3.0  # the copied embedding, beside the fed one
# Score of the right source position above its neighbour's: weight above 0.98. A wider gap makes weights of far
# positions denormal numbers, which no trained model's are and which cost an attention up to twice its time.
ATTENTION_GAP = 5.0
ZERO_COLUMN = -2  # the sine of the lowest rate, at most 0.03
BEST_LOGIT = 1.5  # above log V: the copied token gets a probability near 0.7, so that beams have rivals


def copier_weights(config: ModelConfig, seed: int = 1) -> dict[str, NDArray[np.float32]]:
    """Weights by their published names.

    The first K columns of the residual stream carry positions alone: no embedding and no other sub-layer
    writes there. So does `ZERO_COLUMN`, where the position table is 0 all along: what layer normalisation
    subtracts from a row can be read there.
    """
    generator = np.random.default_rng(seed)
    head_dim = config.head_dim
    weights = {}
    for name, shape in weight_shapes(config).items():
        if name.endswith("gamma"):
            array = np.ones(shape)
        elif name.endswith(("beta", "bias")):
            array = generator.normal(0.0, 0.02, shape)
        else:
            array = generator.normal(0.0, shape[1 if name == "embedding/table" else 0] ** -0.5, shape)
        if name.endswith(("attention/output/kernel", "outer/kernel")):
            array *= NOISE
        if name.endswith(("attention/output/kernel", "outer/kernel", "outer/bias", "beta", "table")):
            array[..., :head_dim] = array[..., ZERO_COLUMN] = 0.0
        weights[name] = array.astype(np.float32)
    table = weights[
        "embedding/table"
    ]  # rows of one length: layer normalisation then scales all positions alike
    table *= math.sqrt(1.0 - head_dim / config.model_dim) / np.linalg.norm(table, axis=1, keepdims=True)
    _build_copy(config, weights)
    last = "decoder_norm" if config.norm_placement == "pre" else _last(config, "feed_forward_norm")
    top = 0.85 * math.sqrt(config.model_dim - head_dim)  # the copied token's logit at gamma 1
    weights[f"{last}/gamma"] *= np.float32((math.log(config.vocabulary_size) + BEST_LOGIT) / top)
    return weights


def _last(config: ModelConfig, part: str) -> str:
    return f"decoder_layers/{config.num_decoder_layers - 1}/{part}"


def _build_copy(config: ModelConfig, weights: dict[str, NDArray[np.float32]]) -> None:
    """Every head of the last cross-attention finds the source position of its own number."""
    width, head_dim = config.model_dim, config.head_dim
    rates = 10000.0 ** (-np.arange(0, head_dim, 2) / width)
    gap = float((1.0 - np.cos(rates)).sum()) * 0.7  # at gain 1; 0.7: what layer normalisation leaves
    gain = math.sqrt(ATTENTION_GAP * math.sqrt(head_dim) / gap)
    find = np.zeros((width, width), np.float32)
    for head in range(config.num_heads):
        columns = slice(head * head_dim, (head + 1) * head_dim)
        find[:head_dim, columns] = gain * np.eye(head_dim)
        find[ZERO_COLUMN, columns] = -gain
    carry = np.eye(width, dtype=np.float32)
    carry[:head_dim] = carry[ZERO_COLUMN] = 0.0
    weights[_last(config, "cross_attention/query/kernel")][:] = find
    weights[_last(config, "cross_attention/key_value/kernel")][:] = np.concatenate([find, carry], axis=1)
    weights[_last(config, "cross_attention/output/kernel")][:] = COPY_GAIN * carry

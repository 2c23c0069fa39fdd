"""The Transformer in float64 NumPy, written from the paper and from nothing else.

Vaswani et al. 2017, "Attention Is All You Need". This file knows neither Keras nor the package: it takes a
dictionary of arrays with the published weight names and any object with the fields of a `ModelConfig`.

Shapes: B batch, S source, T target, D model_dim, F feed_forward_dim, H heads, K head_dim, V vocabulary.
Masks are boolean, True = may attend.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]

LAYER_NORM_EPSILON = 1e-5


class Attended(NamedTuple):
    """What attention returns."""

    context: Array  # (B, H, T, K)
    weights: Array  # (B, H, T, S)


def positional_encoding(max_length: int, model_dim: int) -> Array:
    """Section 3.5: PE(p, 2i) = sin(p / 10000^(2i/D)), PE(p, 2i+1) = cos(the same); float64 (L, D)."""
    table = np.zeros((max_length, model_dim))
    for position in range(max_length):
        for column in range(model_dim):
            pair = column // 2
            angle = position / 10000.0 ** (2 * pair / model_dim)
            table[position, column] = math.sin(angle) if column % 2 == 0 else math.cos(angle)
    return table


def softmax(scores: Array) -> Array:
    """Softmax over the last axis."""
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def log_softmax(logits: Array) -> Array:
    """Logarithm of the softmax over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def layer_norm(hidden: Array, gamma: Array, beta: Array, epsilon: float = LAYER_NORM_EPSILON) -> Array:
    """Ba et al. 2016: zero mean and unit (biased) variance over the last axis, then gamma and beta."""
    mean = hidden.mean(axis=-1, keepdims=True)
    variance = ((hidden - mean) ** 2).mean(axis=-1, keepdims=True)
    return (hidden - mean) / np.sqrt(variance + epsilon) * gamma + beta


def attention(query: Array, key: Array, value: Array, attention_mask: Array | None = None) -> Attended:
    """Eq. 1, softmax(Q K^T / sqrt(K)) V, for query (B, H, T, K), key and value (B, H, S, K).

    `attention_mask` broadcasts to (B, H, T, S); each query must be allowed at least one key.
    """
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])  # (B, H, T, S)
    if attention_mask is not None:
        scores = np.where(attention_mask, scores, -np.inf)
    weights = softmax(scores)
    return Attended(weights @ value, weights)


def split_heads(hidden: Array, num_heads: int) -> Array:
    """(B, T, D) -> (B, H, T, K): head h takes the columns h*K to h*K + K."""
    batch, length, width = hidden.shape
    return hidden.reshape(batch, length, num_heads, width // num_heads).swapaxes(1, 2)


def merge_heads(context: Array) -> Array:
    """(B, H, T, K) -> (B, T, D), the inverse of `split_heads`."""
    batch, heads, length, head_dim = context.shape
    return context.swapaxes(1, 2).reshape(batch, length, heads * head_dim)


def multi_head_attention(
    queries: Array,
    memory: Array,
    query_kernel: Array,
    key_kernel: Array,
    value_kernel: Array,
    output_kernel: Array,
    num_heads: int,
    attention_mask: Array | None = None,
) -> Array:
    """Section 3.2.2, Concat(head_1 .. head_H) W^O with head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V).

    `queries` (B, T, D), `memory` (B, S, D); kernels (D, D), no biases; the mask broadcasts to (B, T, S).
    """
    if attention_mask is not None:
        attention_mask = attention_mask[:, None, :, :]  # (B, 1, T, S)
    attended = attention(
        split_heads(queries @ query_kernel, num_heads),
        split_heads(memory @ key_kernel, num_heads),
        split_heads(memory @ value_kernel, num_heads),
        attention_mask,
    )
    return merge_heads(attended.context) @ output_kernel


def activate(hidden: Array, activation: str) -> Array:
    """ReLU, or GELU in its exact form x Phi(x)."""
    if activation == "relu":
        return np.maximum(hidden, 0.0)
    if activation == "gelu":
        erf = np.vectorize(math.erf, otypes=[np.float64])
        return 0.5 * hidden * (1.0 + erf(hidden / math.sqrt(2.0)))
    raise ValueError(f"unknown activation {activation!r}")


def feed_forward(
    hidden: Array,
    inner_kernel: Array,
    inner_bias: Array,
    outer_kernel: Array,
    outer_bias: Array,
    activation: str,
) -> Array:
    """Eq. 2, act(x W1 + b1) W2 + b2."""
    return activate(hidden @ inner_kernel + inner_bias, activation) @ outer_kernel + outer_bias


def padding_mask(source_ids: Array, pad_id: int) -> Array:
    """(B, S): True where a real token stands."""
    return np.asarray(source_ids) != pad_id


def causal_mask(length: int) -> Array:
    """(T, T): position t may attend to 0 .. t."""
    return np.arange(length)[:, None] >= np.arange(length)[None, :]


def _residual(hidden: Array, sub_layer: Any, gamma: Array, beta: Array, norm_placement: str) -> Array:
    """Post: LN(x + sub(x)), section 3.1. Pre: x + sub(LN(x)), Xiong et al. 2020."""
    if norm_placement == "post":
        return layer_norm(hidden + sub_layer(hidden), gamma, beta)
    if norm_placement == "pre":
        return hidden + sub_layer(layer_norm(hidden, gamma, beta))
    raise ValueError(f"unknown norm placement {norm_placement!r}")


def _float64(weights: Weights) -> dict[str, Array]:
    return {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}


def _under(weights: Weights, prefix: str) -> dict[str, Array]:
    """The weights whose names start with `prefix` and a slash, under the rest of their names."""
    prefix += "/"
    return {
        name.removeprefix(prefix): np.asarray(value, dtype=np.float64)
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def _self_attention(layer: Weights, hidden: Array, num_heads: int, attention_mask: Array) -> Array:
    query, key, value = np.split(layer["self_attention/query_key_value/kernel"], 3, axis=1)
    output = layer["self_attention/output/kernel"]
    return multi_head_attention(hidden, hidden, query, key, value, output, num_heads, attention_mask)


def _cross_attention(
    layer: Weights, hidden: Array, encoder_outputs: Array, num_heads: int, attention_mask: Array
) -> Array:
    key, value = np.split(layer["cross_attention/key_value/kernel"], 2, axis=1)
    return multi_head_attention(
        hidden,
        encoder_outputs,
        layer["cross_attention/query/kernel"],
        key,
        value,
        layer["cross_attention/output/kernel"],
        num_heads,
        attention_mask,
    )


def _feed_forward(layer: Weights, hidden: Array, activation: str) -> Array:
    return feed_forward(
        hidden,
        layer["feed_forward/inner/kernel"],
        layer["feed_forward/inner/bias"],
        layer["feed_forward/outer/kernel"],
        layer["feed_forward/outer/bias"],
        activation,
    )


def encoder_layer(layer: Weights, config: Any, hidden: Array, source_padding_mask: Array) -> Array:
    """One encoder layer, section 3.1: self-attention and feed-forward, each with its residual and norm.

    `layer` holds the names after ``encoder_layers/{i}/``; hidden (B, S, D), mask (B, S); returns (B, S, D).
    """
    layer = _float64(layer)
    attention_mask = source_padding_mask[:, None, :]  # (B, 1, S)
    hidden = _residual(
        hidden,
        lambda x: _self_attention(layer, x, config.num_heads, attention_mask),
        layer["self_attention_norm/gamma"],
        layer["self_attention_norm/beta"],
        config.norm_placement,
    )
    return _residual(
        hidden,
        lambda x: _feed_forward(layer, x, config.activation),
        layer["feed_forward_norm/gamma"],
        layer["feed_forward_norm/beta"],
        config.norm_placement,
    )


def decoder_layer(
    layer: Weights, config: Any, hidden: Array, encoder_outputs: Array, source_padding_mask: Array
) -> Array:
    """One decoder layer, section 3.1: causal self-attention, attention over the encoder, feed-forward.

    `layer` holds the names after ``decoder_layers/{i}/``; hidden (B, T, D), encoder_outputs (B, S, D),
    mask (B, S); returns (B, T, D).
    """
    layer = _float64(layer)
    hidden = _residual(
        hidden,
        lambda x: _self_attention(layer, x, config.num_heads, causal_mask(x.shape[1])[None]),
        layer["self_attention_norm/gamma"],
        layer["self_attention_norm/beta"],
        config.norm_placement,
    )
    hidden = _residual(
        hidden,
        lambda x: _cross_attention(
            layer, x, encoder_outputs, config.num_heads, source_padding_mask[:, None, :]
        ),
        layer["cross_attention_norm/gamma"],
        layer["cross_attention_norm/beta"],
        config.norm_placement,
    )
    return _residual(
        hidden,
        lambda x: _feed_forward(layer, x, config.activation),
        layer["feed_forward_norm/gamma"],
        layer["feed_forward_norm/beta"],
        config.norm_placement,
    )


def embed(weights: Weights, config: Any, ids: Array) -> Array:
    """Sections 3.4 and 3.5: E[ids] sqrt(D) + PE; (B, T) -> (B, T, D)."""
    table = np.asarray(weights["embedding/table"], dtype=np.float64)
    ids = np.asarray(ids)
    positions = positional_encoding(ids.shape[1], config.model_dim)
    return table[ids] * math.sqrt(config.model_dim) + positions


def _final_norm(weights: Weights, config: Any, side: str, hidden: Array) -> Array:
    """A pre-norm stack ends with a norm of its own; a post-norm one has it already."""
    if config.norm_placement == "post":
        return hidden
    norm = _under(weights, f"{side}_norm")
    return layer_norm(hidden, norm["gamma"], norm["beta"])


def encode(weights: Weights, config: Any, source_ids: Array) -> Array:
    """The encoder: source_ids (B, S), padded with `config.pad_id` -> encoder_outputs float64 (B, S, D)."""
    mask = padding_mask(source_ids, config.pad_id)
    hidden = embed(weights, config, source_ids)
    for index in range(config.num_encoder_layers):
        hidden = encoder_layer(_under(weights, f"encoder_layers/{index}"), config, hidden, mask)
    return _final_norm(weights, config, "encoder", hidden)


def decode(
    weights: Weights, config: Any, target_input_ids: Array, encoder_outputs: Array, source_padding_mask: Array
) -> Array:
    """The decoder and the tied projection: (B, T) ids -> logits float64 (B, T, V)."""
    hidden = embed(weights, config, target_input_ids)
    for index in range(config.num_decoder_layers):
        layer = _under(weights, f"decoder_layers/{index}")
        hidden = decoder_layer(layer, config, hidden, encoder_outputs, source_padding_mask)
    hidden = _final_norm(weights, config, "decoder", hidden)
    return hidden @ np.asarray(weights["embedding/table"], dtype=np.float64).T


def logits(weights: Weights, config: Any, source_ids: Array, target_input_ids: Array) -> Array:
    """The whole model: source_ids (B, S) and target_input_ids (B, T) -> logits float64 (B, T, V)."""
    encoder_outputs = encode(weights, config, source_ids)
    return decode(weights, config, target_input_ids, encoder_outputs, padding_mask(source_ids, config.pad_id))


def greedy(weights: Weights, config: Any, source_ids: Array, max_length: int) -> Array:
    """Greedy search that runs the whole prefix again at each step.

    Returns int32 (B, n), n at most `max_length`: the tokens of each row, its end token included where the
    row reached one (the start token is not), and `config.pad_id` behind it.
    """
    encoder_outputs = encode(weights, config, source_ids)
    mask = padding_mask(source_ids, config.pad_id)
    prefix = np.full((len(source_ids), 1), config.bos_id, dtype=np.int32)
    finished = np.zeros(len(source_ids), dtype=bool)
    while prefix.shape[1] <= max_length and not finished.all():
        token_ids = decode(weights, config, prefix, encoder_outputs, mask)[:, -1].argmax(axis=-1)
        token_ids = np.where(finished, config.pad_id, token_ids)
        finished |= token_ids == config.eos_id
        prefix = np.concatenate([prefix, token_ids[:, None].astype(np.int32)], axis=1)
    return prefix[:, 1:]


def label_smoothed_cross_entropy(
    logits: Array, target_output_ids: Array, label_smoothing: float, sample_weight: Array | None = None
) -> float:
    """Section 5.4 and Szegedy et al. 2015: cross-entropy against (1 - e) one-hot + e / V, over real tokens.

    logits (B, T, V), target_output_ids (B, T), sample_weight (B, T) or None = all ones. Returns the mean in
    nats a token, weighted by `sample_weight`.
    """
    logits = np.asarray(logits, dtype=np.float64)
    vocabulary_size = logits.shape[-1]
    one_hot = np.eye(vocabulary_size)[np.asarray(target_output_ids)]
    targets = (1.0 - label_smoothing) * one_hot + label_smoothing / vocabulary_size
    losses = -(targets * log_softmax(logits)).sum(axis=-1)  # (B, T)
    if sample_weight is None:
        return float(losses.mean())
    sample_weight = np.asarray(sample_weight, dtype=np.float64)
    return float((losses * sample_weight).sum() / sample_weight.sum())


def learning_rate(step: int, model_dim: int, warmup_steps: int, scale: float = 1.0) -> float:
    """Eq. 3: scale D^-0.5 min(step^-0.5, step warmup^-1.5), the first update being step 1."""
    return scale * model_dim**-0.5 * min(step**-0.5, step * warmup_steps**-1.5)


def weight_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """The published name and shape of every weight, in no particular order."""
    width, inner = config.model_dim, config.feed_forward_dim
    self_attention = {
        "self_attention/query_key_value/kernel": (width, 3 * width),
        "self_attention/output/kernel": (width, width),
        "self_attention_norm/gamma": (width,),
        "self_attention_norm/beta": (width,),
    }
    cross_attention = {
        "cross_attention/query/kernel": (width, width),
        "cross_attention/key_value/kernel": (width, 2 * width),
        "cross_attention/output/kernel": (width, width),
        "cross_attention_norm/gamma": (width,),
        "cross_attention_norm/beta": (width,),
    }
    position_wise = {
        "feed_forward/inner/kernel": (width, inner),
        "feed_forward/inner/bias": (inner,),
        "feed_forward/outer/kernel": (inner, width),
        "feed_forward/outer/bias": (width,),
        "feed_forward_norm/gamma": (width,),
        "feed_forward_norm/beta": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {"embedding/table": (config.vocabulary_size, width)}
    for index in range(config.num_encoder_layers):
        for name, shape in {**self_attention, **position_wise}.items():
            shapes[f"encoder_layers/{index}/{name}"] = shape
    for index in range(config.num_decoder_layers):
        for name, shape in {**self_attention, **cross_attention, **position_wise}.items():
            shapes[f"decoder_layers/{index}/{name}"] = shape
    if config.norm_placement == "pre":
        for side in ("encoder", "decoder"):
            shapes[f"{side}_norm/gamma"] = (width,)
            shapes[f"{side}_norm/beta"] = (width,)
    return shapes


def random_weights(config: Any, seed: int) -> dict[str, Array]:
    """Float32 weights under the published names, none of them at a value that would hide it.

    Kernels are normal with deviation 1/sqrt(inputs), the table 1/sqrt(D); gammas lie near 1, biases and betas
    near 0, all different.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(config).items():
        values = generator.standard_normal(shape)
        if name == "embedding/table":
            values *= shape[1] ** -0.5
        elif name.endswith("/kernel"):
            values *= shape[0] ** -0.5
        elif name.endswith("/gamma"):
            values = 1.0 + 0.2 * values
        else:
            values *= 0.2
        weights[name] = values.astype(np.float32)
    return weights

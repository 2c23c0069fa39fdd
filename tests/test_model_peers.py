"""The same weights in torch.nn.Transformer and in keras-hub's layers give the same numbers.

Neither scales embeddings, adds positions or projects to logits, so the oracle feeds them and the shared
table projects; their attention biases, which the paper does not have, are zero.
"""

import importlib.util

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers import FLOAT32_TOLERANCE, batch, random_model, tiny_config, to_numpy, variants
from tests.reference import transformer as reference

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed; it is the peer here"
)
needs_keras_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed: pip install '.[hub]'"
)


def _model_logits(model, source_ids, target_input_ids):
    inputs = {
        "source_ids": ops.convert_to_tensor(source_ids),
        "target_input_ids": ops.convert_to_tensor(target_input_ids),
    }
    return to_numpy(model(inputs))


# torch


def _torch_layer_state(weights, prefix, is_decoder):
    """Our weights of one layer in the names of torch's layers; torch keeps (out, in)."""
    width = weights["embedding/table"].shape[1]
    attentions = {"self_attn": weights[f"{prefix}/self_attention/query_key_value/kernel"]}
    norms = ["self_attention_norm", "feed_forward_norm"]
    outputs = {"self_attn": weights[f"{prefix}/self_attention/output/kernel"]}
    if is_decoder:
        query = weights[f"{prefix}/cross_attention/query/kernel"]
        key_value = weights[f"{prefix}/cross_attention/key_value/kernel"]
        attentions["multihead_attn"] = np.concatenate([query, key_value], axis=1)
        outputs["multihead_attn"] = weights[f"{prefix}/cross_attention/output/kernel"]
        norms.insert(1, "cross_attention_norm")
    state = {}
    for name, kernel in attentions.items():
        state[f"{name}.in_proj_weight"] = kernel.T
        state[f"{name}.in_proj_bias"] = np.zeros(3 * width)
        state[f"{name}.out_proj.weight"] = outputs[name].T
        state[f"{name}.out_proj.bias"] = np.zeros(width)
    for number, norm in enumerate(norms, start=1):
        state[f"norm{number}.weight"] = weights[f"{prefix}/{norm}/gamma"]
        state[f"norm{number}.bias"] = weights[f"{prefix}/{norm}/beta"]
    for number, linear in enumerate(("inner", "outer"), start=1):
        state[f"linear{number}.weight"] = weights[f"{prefix}/feed_forward/{linear}/kernel"].T
        state[f"linear{number}.bias"] = weights[f"{prefix}/feed_forward/{linear}/bias"]
    return state


def _torch_transformer(config, weights):
    """torch.nn.Transformer in float64 with our weights; a final norm on each stack for pre-norm only."""
    import torch

    arguments = {
        "d_model": config.model_dim,
        "nhead": config.num_heads,
        "dim_feedforward": config.feed_forward_dim,
        "dropout": 0.0,
        "activation": config.activation,
        "layer_norm_eps": 1e-5,
        "batch_first": True,
        "norm_first": config.norm_placement == "pre",
    }
    state = {}
    stacks = {}
    for side, num_layers, layer, stack in (
        ("encoder", config.num_encoder_layers, torch.nn.TransformerEncoderLayer, torch.nn.TransformerEncoder),
        ("decoder", config.num_decoder_layers, torch.nn.TransformerDecoderLayer, torch.nn.TransformerDecoder),
    ):
        final_norm = (
            torch.nn.LayerNorm(config.model_dim, eps=1e-5) if config.norm_placement == "pre" else None
        )
        options = {"enable_nested_tensor": False} if side == "encoder" else {}
        stacks[f"custom_{side}"] = stack(layer(**arguments), num_layers, norm=final_norm, **options)
        for index in range(num_layers):
            layer_state = _torch_layer_state(weights, f"{side}_layers/{index}", side == "decoder")
            state.update({f"{side}.layers.{index}.{name}": value for name, value in layer_state.items()})
        if final_norm is not None:
            state[f"{side}.norm.weight"] = weights[f"{side}_norm/gamma"]
            state[f"{side}.norm.bias"] = weights[f"{side}_norm/beta"]
    peer = torch.nn.Transformer(d_model=config.model_dim, nhead=config.num_heads, batch_first=True, **stacks)
    peer = peer.to("cpu", torch.float64).eval()
    peer.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in state.items()})
    return peer


@needs_torch
@variants
def test_torch_nn_transformer_agrees(norm_placement, activation):
    import torch

    config = tiny_config(norm_placement=norm_placement, activation=activation)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config, target_length=4)
    peer = _torch_transformer(config, weights)
    length = target_input_ids.shape[1]
    padding = torch.tensor(source_ids == config.pad_id)  # torch: True = blocked
    hidden = peer(
        torch.tensor(reference.embed(weights, config, source_ids)),
        torch.tensor(reference.embed(weights, config, target_input_ids)),
        tgt_mask=torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    expected = hidden.detach().numpy() @ weights["embedding/table"].astype(np.float64).T
    # Two float64 programs of the same formula: only rounding is between them.
    oracle = reference.logits(weights, config, source_ids, target_input_ids)
    np.testing.assert_allclose(oracle, expected, rtol=0, atol=1e-12)
    logits = _model_logits(model, source_ids, target_input_ids)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=FLOAT32_TOLERANCE)


# keras-hub


def _set_attention(peer, query, key, value, output, num_heads):
    """Kernels (D, D) into keras's (D, H, K) and (H, K, D); its biases to zero."""
    width = query.shape[0]
    dense = {"query": query, "key": key, "value": value, "attention_output": output}
    seen = set()
    for variable in peer.trainable_variables:
        name, kind = variable.path.split("/")[-2:]
        if kind == "bias":
            variable.assign(np.zeros(variable.shape))
            continue
        heads_first = (num_heads, width // num_heads, width)
        shape = heads_first if name == "attention_output" else (width, num_heads, width // num_heads)
        assert tuple(variable.shape) == shape
        variable.assign(dense[name].reshape(shape))
        seen.add(name)
    assert seen == dense.keys()


def _hub_layer(config, weights, prefix, is_decoder):
    """keras-hub's layer with our weights."""
    import keras_hub

    gelu = keras.activations.gelu  # exact unless asked otherwise
    kind = keras_hub.layers.TransformerDecoder if is_decoder else keras_hub.layers.TransformerEncoder
    peer = kind(
        intermediate_dim=config.feed_forward_dim,
        num_heads=config.num_heads,
        activation=gelu if config.activation == "gelu" else "relu",
        layer_norm_epsilon=1e-5,
        normalize_first=config.norm_placement == "pre",
    )
    shape = (None, None, config.model_dim)
    peer.build(*([shape, shape] if is_decoder else [shape]))

    mine = {
        name.removeprefix(f"{prefix}/"): array
        for name, array in weights.items()
        if name.startswith(f"{prefix}/")
    }
    query_key_value = np.split(mine["self_attention/query_key_value/kernel"], 3, axis=1)
    _set_attention(
        peer._self_attention_layer, *query_key_value, mine["self_attention/output/kernel"], config.num_heads
    )
    norms = {
        peer._self_attention_layer_norm: "self_attention_norm",
        peer._feedforward_layer_norm: "feed_forward_norm",
    }
    if is_decoder:
        key_value = np.split(mine["cross_attention/key_value/kernel"], 2, axis=1)
        _set_attention(
            peer._cross_attention_layer,
            mine["cross_attention/query/kernel"],
            *key_value,
            mine["cross_attention/output/kernel"],
            config.num_heads,
        )
        norms[peer._cross_attention_layer_norm] = "cross_attention_norm"
    for norm, name in norms.items():
        norm.gamma.assign(mine[f"{name}/gamma"])
        norm.beta.assign(mine[f"{name}/beta"])
    for dense, name in (
        (peer._feedforward_intermediate_dense, "inner"),
        (peer._feedforward_output_dense, "outer"),
    ):
        dense.kernel.assign(mine[f"feed_forward/{name}/kernel"])
        dense.bias.assign(mine[f"feed_forward/{name}/bias"])
    return peer


def _hub_logits(config, weights, source_ids, target_input_ids):
    mask = ops.convert_to_tensor(source_ids != config.pad_id)
    encoded, hidden = (
        ops.convert_to_tensor(reference.embed(weights, config, ids), dtype="float32")
        for ids in (source_ids, target_input_ids)
    )
    for index in range(config.num_encoder_layers):
        encoded = _hub_layer(config, weights, f"encoder_layers/{index}", False)(encoded, padding_mask=mask)
    encoded = _hub_final_norm(config, weights, "encoder", encoded)
    for index in range(config.num_decoder_layers):
        layer = _hub_layer(config, weights, f"decoder_layers/{index}", True)
        hidden = layer(hidden, encoded, encoder_padding_mask=mask)
    hidden = _hub_final_norm(config, weights, "decoder", hidden)
    return to_numpy(hidden).astype(np.float64) @ weights["embedding/table"].astype(np.float64).T


def _hub_final_norm(config, weights, side, hidden):
    """keras-hub's stacks of pre-norm layers end with a LayerNormalization outside of them."""
    if config.norm_placement == "post":
        return hidden
    norm = keras.layers.LayerNormalization(epsilon=1e-5)
    norm.build((None, None, config.model_dim))
    norm.gamma.assign(weights[f"{side}_norm/gamma"])
    norm.beta.assign(weights[f"{side}_norm/beta"])
    return norm(hidden)


@needs_keras_hub
@variants
def test_keras_hub_agrees(norm_placement, activation):
    config = tiny_config(norm_placement=norm_placement, activation=activation)
    model, weights = random_model(config)
    source_ids, target_input_ids, _ = batch(config, target_length=4)
    expected = _hub_logits(config, weights, source_ids, target_input_ids)
    logits = _model_logits(model, source_ids, target_input_ids)
    # Both are float32 here: twice the rounding of one.
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2 * FLOAT32_TOLERANCE)

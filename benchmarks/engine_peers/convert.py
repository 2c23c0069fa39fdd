"""The same weights for CTranslate2."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ctranslate2.specs
import numpy as np
from ctranslate2.specs.common_spec import Activation
from numpy.typing import NDArray

from benchmarks.engine_peers.engines import SPECIAL_IDS
from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.graph import LAYER_NORM_EPSILON
from keras_transformer.positions import sinusoidal_positions

Weights = Mapping[str, NDArray[np.float32]]


def tokens_of(config: ModelConfig) -> list[str]:
    """CTranslate2 takes and gives tokens as strings: here the id in digits, but for the special ones."""
    return [SPECIAL_IDS.get(index) or str(index) for index in range(config.vocabulary_size)]


def save_ctranslate2(config: ModelConfig, weights: Weights, folder: Path, precision: str) -> None:
    """Write a CTranslate2 model folder: `precision` "fp32", "fp16" or "int8", its own conversion."""
    spec = ctranslate2.specs.TransformerSpec.from_config(
        (config.num_encoder_layers, config.num_decoder_layers),
        config.num_heads,
        pre_norm=config.norm_placement == "pre",
        activation={"relu": Activation.RELU, "gelu": Activation.GELU}[config.activation],
    )
    table = weights["embedding/table"]
    positions = sinusoidal_positions(config.max_length, config.model_dim)
    for side in (spec.encoder, spec.decoder):
        side.scale_embeddings = True
        embeddings = side.embeddings[0] if side is spec.encoder else side.embeddings
        embeddings.weight = table
        side.position_encodings.encodings = positions  # its own would start at 1
    spec.decoder.projection.weight = table
    for name, side in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        if config.norm_placement == "pre":
            _norm(side.layer_norm, weights, f"{name}_norm")
        for index, layer in enumerate(side.layer):
            _layer(layer, weights, f"{name}_layers/{index}", decoder=name == "decoder")
    tokens = tokens_of(config)
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "<s>", "</s>", "<unk>"
    spec.config.decoder_start_token = "<s>"
    spec.config.add_source_bos = spec.config.add_source_eos = False  # the ids hold EOS already
    spec.config.layer_norm_epsilon = LAYER_NORM_EPSILON
    spec.validate()
    spec.optimize(quantization={"fp32": None, "fp16": "float16", "int8": "int8"}[precision])
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))


def _layer(layer: Any, weights: Weights, name: str, *, decoder: bool) -> None:
    attention = f"{name}/self_attention"
    _linears(
        layer.self_attention,
        weights,
        [f"{attention}/query_key_value", f"{attention}/output"],
        f"{attention}_norm",
    )
    if decoder:
        attention = f"{name}/cross_attention"
        _linears(
            layer.attention,
            weights,
            [f"{attention}/query", f"{attention}/key_value", f"{attention}/output"],
            f"{attention}_norm",
        )
    _norm(layer.ffn.layer_norm, weights, f"{name}/feed_forward_norm")
    for linear, part in ((layer.ffn.linear_0, "inner"), (layer.ffn.linear_1, "outer")):
        linear.weight = _turned(weights[f"{name}/feed_forward/{part}/kernel"])
        linear.bias = weights[f"{name}/feed_forward/{part}/bias"]


def _linears(attention: Any, weights: Weights, parts: Sequence[str], norm: str) -> None:
    for linear, part in zip(attention.linear, parts, strict=True):
        linear.weight = _turned(weights[f"{part}/kernel"])
    _norm(attention.layer_norm, weights, norm)


def _norm(norm: Any, weights: Weights, name: str) -> None:
    norm.gamma, norm.beta = weights[f"{name}/gamma"], weights[f"{name}/beta"]


def _turned(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(kernel.T)  # [out, in]

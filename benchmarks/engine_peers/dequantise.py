"""The float weights that an int8 bundle stands for, so that a peer can run what is shipped."""

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.checkpoint import weight_shapes
from keras_transformer.runtime.bundle import Bundle

CROSS_KEY_VALUE = "cross_attention/key_value/kernel"  # of every decoder layer, side by side


def bundle_weights(bundle: Bundle) -> tuple[ModelConfig, dict[str, NDArray[np.float32]]]:
    """Shape and weights of an int8 bundle, by their published names: integers times their scales.

    Raises:
        ValueError: the graphs hold not every weight of such a model.
    """
    arrays: dict[str, NDArray] = {}
    operators: set[str] = set()
    for graph in bundle.read_graphs("int8"):
        model = onnx.load_from_string(graph).graph
        arrays |= {tensor.name: numpy_helper.to_array(tensor) for tensor in model.initializer}
        operators |= {node.op_type for node in model.node}
    manifest = bundle.manifest
    config = ModelConfig(
        **{
            name: getattr(manifest, name)
            for name in (
                "vocabulary_size", "model_dim", "feed_forward_dim", "num_heads", "num_encoder_layers",
                "num_decoder_layers", "max_length", "pad_id", "bos_id", "eos_id", "unk_id",
            )
        },
        norm_placement="pre" if "decoder_norm/gamma" in arrays else "post",
        activation="gelu" if "Gelu" in operators else "relu",
    )  # fmt: skip
    if manifest.cache_head_dim != config.head_dim:
        raise ValueError(
            f"{bundle.folder}: heads of {config.head_dim} are stored padded, which is not read here."
        )
    try:
        weights = {name: _weight(arrays, config, name) for name in weight_shapes(config)}
    except KeyError as error:
        raise ValueError(f"{bundle.folder}: its int8 graphs hold no {error}.") from None
    return config, weights


def _weight(arrays: dict[str, NDArray], config: ModelConfig, name: str) -> NDArray[np.float32]:
    if name == "embedding/table":  # scales of rows, √D folded in
        table = arrays[name].astype(np.float32) * arrays["embedding/row_scales"]
        return table / np.float32(math.sqrt(config.model_dim))
    if not name.endswith("/kernel"):
        return arrays[name]
    if name.endswith(CROSS_KEY_VALUE):
        layer = int(name.split("/")[1])
        return np.split(_kernel(arrays, CROSS_KEY_VALUE), config.num_decoder_layers, axis=1)[layer]
    if name.endswith("cross_attention/query/kernel"):  # 1/√K folded in; a graph of before has no such factor
        return _kernel(arrays, name) * arrays.get("alignment_factor", np.float32(1.0))
    return _kernel(arrays, name)


def _kernel(arrays: dict[str, NDArray], name: str) -> NDArray[np.float32]:
    kernel = arrays[name].astype(np.float32)
    return (
        kernel * arrays[f"{name.removesuffix('/kernel')}/scales"] if arrays[name].dtype == np.int8 else kernel
    )

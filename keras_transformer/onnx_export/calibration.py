"""Activation scales for integer products, measured on real sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.float_maps import FloatMaps
from keras_transformer.onnx_export.graph import TransformerGraphs, Weights
from keras_transformer.onnx_export.quantization import Calibration, activation_scale
from keras_transformer.runtime import names
from keras_transformer.runtime.manifest import padded_head_dim


def calibrate(
    config: ModelConfig,
    weights: Weights,
    source_ids: NDArray[np.integer[Any]],
    target_input_ids: NDArray[np.integer[Any]],
) -> Calibration:
    """What integers must know of activations, from sentences run through the float32 graphs.

    Args:
        config, weights: The model.
        source_ids, target_input_ids: (N, S) and (N, T), right padded with `config.pad_id`; run one pair
            at a time, so that no padding is measured.
    """
    maps = FloatMaps()
    graphs = TransformerGraphs(config, weights, maps)
    encoder, encoder_taps = _tapped(graphs.encoder(), maps)
    decoder, decoder_taps = _tapped(graphs.decoder(), maps)
    seen: dict[str, list[NDArray[np.float32]]] = {}
    cross, present = (of(config.num_decoder_layers) for of in (names.cross_names, names.present_names))
    width = config.num_heads * padded_head_dim(config.head_dim)
    largest = np.zeros((len(present), width), np.float32)
    for source, target in _pairs(config, source_ids, target_input_ids):
        lengths = np.array([source.shape[1]], np.int32)
        (keys_values,) = _run(
            encoder,
            {names.SOURCE_IDS: source, names.SOURCE_LENGTHS: lengths},
            encoder_taps,
            [names.CROSS_KEYS_VALUES],
            seen,
        )
        caches = _run(
            decoder,
            _decoder_feeds(config, source, target, dict(zip(cross, keys_values, strict=True))),
            decoder_taps,
            present,
            seen,
        )  # (1, H, T, K) each
        here = np.stack([np.abs(cache).max(axis=(0, 2)).ravel() for cache in caches])
        largest = np.maximum(largest, here)
    inputs = {
        name: activation_scale(np.concatenate([a.ravel() for a in arrays])) for name, arrays in seen.items()
    }
    return Calibration(inputs, largest)


def _tapped(model: onnx.ModelProto, maps: FloatMaps) -> tuple[ort.InferenceSession, dict[str, str]]:
    """A session over `model` that also gives out the input of each linear map, by the map's name."""
    taps = dict(maps.linear_inputs)
    maps.linear_inputs.clear()
    known = {output.name for output in model.graph.output}
    for tensor in sorted(set(taps.values()) - known):
        model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # keep the tensors
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]), taps


def _run(
    session: ort.InferenceSession,
    feeds: dict[str, NDArray[Any]],
    taps: Mapping[str, str],
    wanted: Sequence[str],
    seen: dict[str, list[NDArray[np.float32]]],
) -> list[NDArray[np.float32]]:
    """Run once, note down every tapped tensor in `seen`, return the outputs in `wanted`."""
    outputs = session.run([*wanted, *taps.values()], feeds)
    for name, array in zip(taps, outputs[len(wanted) :], strict=True):
        seen.setdefault(name, []).append(array)
    return list(outputs[: len(wanted)])


def _pairs(
    config: ModelConfig, source_ids: NDArray[np.integer[Any]], target_input_ids: NDArray[np.integer[Any]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for source, target in zip(source_ids, target_input_ids, strict=True):
        yield _real(source, config.pad_id), _real(target, config.pad_id)


def _real(ids: NDArray[np.integer[Any]], pad_id: int) -> NDArray[np.int64]:
    return np.asarray(ids[ids != pad_id][None], np.int64)  # (1, length)


def _decoder_feeds(
    config: ModelConfig,
    source: NDArray[np.int64],
    target: NDArray[np.int64],
    cross: dict[str, NDArray[np.float32]],
) -> dict[str, NDArray[Any]]:
    """One whole target in one call, over caches of its own length."""
    length = target.shape[1]
    empty = np.zeros((1, config.num_heads, length, padded_head_dim(config.head_dim)), np.float32)
    width = config.num_heads * padded_head_dim(config.head_dim)
    return {
        names.TOKEN_IDS: target,
        names.POSITION_IDS: np.arange(length, dtype=np.int64)[None],
        names.LAST_POSITIONS: np.array([length - 1], np.int32),
        names.TOTAL_LENGTH: np.array([length], np.int32),
        names.WHOLE_LOGITS: np.array(True),
        names.PROJECTED_ROWS: np.array([1]),
        names.SOURCE_PADDING_MASK: np.ones(source.shape, np.int32),
        names.CROSS_SHAPE: np.array([1, length, width], np.int64),
        names.ROW_SHAPE: np.array([1, length, width], np.int64),
        **cross,
        **dict.fromkeys(names.past_names(config.num_decoder_layers), empty),
    }

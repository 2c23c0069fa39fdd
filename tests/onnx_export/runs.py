"""Runs without training: random weights, and the oracle in the place of the Keras model."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from keras_transformer.config import ModelConfig
from keras_transformer.onnx_export.calibration import calibrate
from keras_transformer.onnx_export.float_maps import FloatMaps
from keras_transformer.onnx_export.graph import TransformerGraphs, alignment_layer, padded_head_dim
from keras_transformer.onnx_export.quantization import Int8Maps
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import FileRecord, Manifest, PrecisionRecord, write_manifest
from keras_transformer.text.tokenizer import train_tokenizer
from tests.reference import transformer as oracle

SENTENCES = [
    "il gatto dorme sul tavolo",
    "the cat sleeps on the table",
    "una casa rossa e piccola",
    "a small red house",
]
MAX_LENGTH = 19


def config(**changes):
    """Sizes that all differ; K = 6 is no multiple of 8 and the special ids' order is the tokenizer's."""
    fields = {
        "vocabulary_size": tokenizer().vocabulary_size,
        "model_dim": 30,
        "feed_forward_dim": 44,
        "num_heads": 5,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "max_length": MAX_LENGTH,
        "norm_placement": "pre",
        "activation": "relu",
    }
    return ModelConfig(**{**fields, **changes})


_TOKENIZER = []


def tokenizer():
    """A small real tokenizer, trained once a process."""
    if not _TOKENIZER:
        _TOKENIZER.append(train_tokenizer(SENTENCES * 3, 500))
    return _TOKENIZER[0]


def weights_of(model_config, seed=1):
    """Random weights whose greedy output depends on source and position, is clear, and sometimes ends.

    With plain random weights the tied table makes every token predict itself.
    """
    weights = oracle.random_weights(model_config, seed)
    for name in weights:
        if name.endswith("cross_attention/output/kernel"):
            weights[name] *= np.float32(3.0)
        elif name.endswith(("cross_attention/query/kernel", "query_key_value/kernel")):
            weights[name] *= np.float32(4.0)
        elif name.endswith(("beta", "bias")):
            weights[name] *= np.float32(0.3)
    weights["embedding/table"] *= np.float32(0.3)
    weights["embedding/table"][model_config.eos_id] *= np.float32(1.6)
    last_norm = "decoder_norm/gamma"
    if model_config.norm_placement == "post":
        last_norm = f"decoder_layers/{model_config.num_decoder_layers - 1}/feed_forward_norm/gamma"
    weights[last_norm] *= np.float32(10.0)
    return weights


def rows_of(model_config, lengths, seed=0, first=None, last=None):
    """int32 (B, max), right padded, of ordinary tokens."""
    generator = np.random.default_rng(seed)
    rows = np.full((len(lengths), max(lengths)), model_config.pad_id, np.int32)
    for row, length in zip(rows, lengths, strict=True):
        row[:length] = generator.integers(4, model_config.vocabulary_size, length)
        if first is not None:
            row[0] = first
        if last is not None:
            row[length - 1] = last
    return rows


def reference_arrays(model_config, weights):
    """What training writes: logits and greedy output of a ragged batch, of one row and of a long source."""
    arrays = {}
    longest = model_config.max_length
    batches = (((7, 1, 5, 3), (6, 4, 1, 5)), ((4,), (7,)), ((longest, 2), (5, longest)))
    for i, (source_lengths, target_lengths) in enumerate(batches):
        source = rows_of(model_config, source_lengths, 10 + i, last=model_config.eos_id)
        target = rows_of(model_config, target_lengths, 20 + i, first=model_config.bos_id)
        arrays[f"reference_{i}/source_ids"] = source
        arrays[f"reference_{i}/target_input_ids"] = target
        arrays[f"reference_{i}/logits"] = oracle.logits(weights, model_config, source, target).astype(
            np.float32
        )
        arrays[f"greedy_{i}/source_ids"] = source
        arrays[f"greedy_{i}/output_ids"] = oracle.greedy(weights, model_config, source, 8).astype(np.int32)
        arrays[f"greedy_{i}/max_length"] = np.array(8, np.int32)
    arrays["calibration/source_ids"] = rows_of(model_config, [9, 3, 6, 8, 1, 7], 30, last=model_config.eos_id)
    arrays["calibration/target_input_ids"] = rows_of(
        model_config, [5, 7, 6, 8, 4, 9], 31, first=model_config.bos_id
    )
    return arrays


def write_run(folder, model_config=None, weights=None, arrays=None, **description):
    """A run folder with one checkpoint, `checkpoints/best`; returns the run's folder."""
    folder = Path(folder)
    model_config = model_config or config()
    weights = weights or weights_of(model_config)
    checkpoint = folder / "checkpoints" / "best"
    checkpoint.mkdir(parents=True)
    tokenizer().save(folder / "tokenizer.json")
    save_file(weights, str(checkpoint / "weights.safetensors"))
    save_file(arrays or reference_arrays(model_config, weights), str(checkpoint / "reference.safetensors"))
    values = {
        "format": 1,
        "model": model_config.to_dict(),
        "source_language": "en",
        "target_language": "it",
        "training": {"steps": 12, "data": "four sentences"},
        "scores": {"valid": {"bleu": 1.5}},
        **description,
    }
    (checkpoint / "model.json").write_text(json.dumps(values), "utf-8")
    return folder


def write_bundle(folder, config, weights, precisions=("fp32",)):
    """A bundle of `precisions`, opened."""
    folder.mkdir(exist_ok=True)
    tokenizer().save(folder / names.TOKENIZER_FILE)
    records = {}
    for precision in precisions:
        if precision == "int8":
            arrays = reference_arrays(config, weights)
            maps = Int8Maps(
                calibrate(
                    config, weights, arrays["calibration/source_ids"], arrays["calibration/target_input_ids"]
                )
            )
        else:
            maps = FloatMaps(np.float16 if precision == "fp16" else np.float32)
        graphs = TransformerGraphs(config, weights, maps)
        encoder, decoder = folder / names.encoder_file(precision), folder / names.decoder_file(precision)
        encoder.write_bytes(graphs.encoder().SerializeToString())
        decoder.write_bytes(graphs.decoder().SerializeToString())
        records[precision] = PrecisionRecord(FileRecord.of(encoder), FileRecord.of(decoder))
    manifest = Manifest(
        name="test",
        source_language="en",
        target_language="it",
        cache_head_dim=padded_head_dim(config.head_dim),
        alignment_layer=alignment_layer(config),
        num_parameters=sum(array.size for array in weights.values()),
        tokenizer=FileRecord.of(folder / names.TOKENIZER_FILE),
        precisions=records,
        **{
            name: getattr(config, name)
            for name in (
                "pad_id", "bos_id", "eos_id", "unk_id", "vocabulary_size", "model_dim", "feed_forward_dim",
                "num_heads", "num_encoder_layers", "num_decoder_layers", "max_length",
            )
        },
    )  # fmt: skip
    write_manifest(folder, manifest)
    return Bundle.open(folder)

"""A checkpoint to go on training from, made of a bundle: int8 weights times their scales.

    python recipes/en_it/weights_of_bundle.py BUNDLE CHECKPOINT

Then: python -m keras_transformer.fit --preset small --init-from CHECKPOINT … What int8 rounded stays rounded until
training moves it: of 400 validation sentences 326 come out as the bundle has them.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from keras_transformer.config import ModelConfig
from keras_transformer.model import build_transformer
from keras_transformer.onnx_export.graph import CROSS_KEY_VALUE
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.training.checkpoint import FORMAT, MODEL_FILE, WEIGHTS_FILE


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("checkpoint", type=Path)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    arrays = {}
    for graph in bundle.read_graphs("int8"):
        for tensor in onnx.load_from_string(graph).graph.initializer:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
    config = model_config(bundle)
    weights = {name: weight(name, arrays, config) for name in build_transformer(config).named_weights()}
    arguments.checkpoint.mkdir(parents=True)
    save_file(weights, arguments.checkpoint / WEIGHTS_FILE)
    text = json.dumps({"format": FORMAT, "model": config.to_dict()}, indent=2)
    (arguments.checkpoint / MODEL_FILE).write_text(text + "\n", "utf-8")
    shutil.copyfile(bundle.tokenizer_path, arguments.checkpoint / "tokenizer.json")
    return 0


def model_config(bundle: Bundle) -> ModelConfig:
    """Sizes and special ids of a bundle, as a model's configuration."""
    manifest = bundle.manifest
    fields = ModelConfig.__dataclass_fields__
    known = {name: getattr(manifest, name) for name in fields if hasattr(manifest, name)}
    return ModelConfig.from_dict({**known, "norm_placement": "pre"})


def weight(name: str, arrays: dict[str, np.ndarray], config: ModelConfig) -> np.ndarray:
    """One float32 weight of the model, under its published name."""
    if name == "embedding/table":
        return arrays[name].astype(np.float32) * arrays["projection/scales"][:, None]
    columns = slice(None)
    if name.endswith("/cross_attention/key_value/kernel"):  # the graph has those of all layers side by side
        layer = int(name.split("/")[1])
        columns = slice(2 * layer * config.model_dim, 2 * (layer + 1) * config.model_dim)
        name = f"{CROSS_KEY_VALUE}/kernel"
    array = arrays[name]
    if array.dtype == np.int8:
        array = array * arrays[f"{name.removesuffix('/kernel')}/scales"]
    return np.ascontiguousarray(array[..., columns], np.float32)


if __name__ == "__main__":
    sys.exit(main())

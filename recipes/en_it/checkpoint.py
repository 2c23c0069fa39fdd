"""A checkpoint that the exporter reads, of a model that gpu.py trained.

    python recipes/en_it/checkpoint.py WORK NAME RUN --trained-on "one H200, JAX" [--data TEXT]

WORK holds what token_files.py and gpu.py wrote. RUN gets checkpoints/last, with the outputs that the exporter holds
its graphs against, and tokenizer.json. Then: python export/to_onnx.py RUN
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import LICENCES
from gpu import model_config
from token_files import load

from keras_transformer.model import build_transformer
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.checkpoint import reference_outputs, save_checkpoint

REFERENCE_PAIRS = 256


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("name")
    parser.add_argument("run", type=Path)
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--data", default="")
    arguments = parser.parse_args()
    facts = json.loads((arguments.work / f"{arguments.name}.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(arguments.work / "tokenizer.json")
    model = build_transformer(model_config(facts["sizes"], facts["dropout_rate"], tokenizer), dtype="float32")
    weights = load_file(arguments.work / f"{arguments.name}.safetensors")
    for name, variable in model.named_weights().items():
        variable.assign(weights[name].astype(np.float32))  # they may have travelled as float16
    source, target = facts["languages"].split("-")
    tables = load(arguments.work / "tokens.npz")
    rows = np.random.default_rng(0).permutation(len(tables["everyday"]))[:REFERENCE_PAIRS]
    sources, targets = (tables[f"all_{side}"].lists() for side in (source, target))
    description = {
        "source_language": source,
        "target_language": target,
        "licences": LICENCES.read_text("utf-8").splitlines(),
        "training": {
            "steps": facts["updates"],
            "seconds": facts["seconds"],
            "target_tokens": facts["target_tokens"],
            "precision": "mixed_bfloat16",
            "backend": arguments.trained_on,
            "keras": keras.__version__,
            "data": arguments.data,
            "pairs": facts["pairs"],
        },
    }
    save_checkpoint(
        arguments.run / "checkpoints" / "last",
        model,
        description,
        reference_outputs(model, [sources[i] for i in rows], [targets[i] for i in rows]),
    )
    shutil.copyfile(arguments.work / "tokenizer.json", arguments.run / "tokenizer.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

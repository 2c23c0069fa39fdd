"""The mean of a shipped bundle's weights and those of runs that went on from them.

    KERAS_BACKEND=torch python recipes/en_it/mean.py BUNDLE TEXT OUTPUT --runs RUN [RUN …] --share 0.6
    … --share 1 --updates N --target-tokens N --told TEXT       the runs' weights, with all facts of training

What a run learns of new text it pays with what it knew; the mean keeps most of both (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"), and that of runs with another seed is better than each ("Model soups", the same
year). BUNDLE is a folder or a .zip; --share is the part of the runs, which count alike. OUTPUT gets tokenizer.json
and checkpoints/last, with the bundle's facts of training and those of the updates since; TEXT.src and TEXT.tgt give
the pairs that the exporter checks its graphs with.
"""

import argparse
import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from corpus import LICENCES
from from_bundle import REFERENCE_PAIRS, opened

from benchmarks.engine_peers.dequantise import bundle_weights
from keras_transformer.evaluate import read_file
from keras_transformer.model import build_transformer
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.checkpoint import (
    WEIGHTS_FILE,
    find_checkpoint,
    reference_outputs,
    save_checkpoint,
)

REFERENCE_TOKENS = 100  # of the longer side of a pair


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--updates", type=int, default=0, help="since the bundle")
    parser.add_argument("--target-tokens", type=int, default=0, help="read in these updates")
    parser.add_argument("--told", default="", help="what the model card says of them")
    arguments = parser.parse_args()
    with opened(arguments.bundle) as bundle:
        config, before = bundle_weights(bundle)
        arguments.output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.tokenizer_path, arguments.output / "tokenizer.json")
    runs = [load_file(find_checkpoint(run) / WEIGHTS_FILE) for run in arguments.runs]
    model = build_transformer(config, dtype="float32")
    for name, variable in model.named_weights().items():
        after = np.mean([weights[name] for weights in runs], axis=0, dtype=np.float64)
        both = (1 - arguments.share) * before[name] + arguments.share * after
        variable.assign(both.astype(np.float32))
    manifest = bundle.manifest
    training = dict(manifest.training)
    training["steps"] += arguments.updates
    training["target_tokens"] += arguments.target_tokens
    training["backend"] += arguments.told
    description = {
        "source_language": manifest.source_language,
        "target_language": manifest.target_language,
        "licences": LICENCES.read_text("utf-8").splitlines(),
        "training": training,
    }
    save_checkpoint(
        arguments.output / "checkpoints" / "last",
        model,
        description,
        reference_outputs(model, *_reference_pairs(arguments)),
    )
    return 0


def _reference_pairs(arguments):
    """Sources and targets as token lists."""
    tokenizer = Tokenizer.from_file(arguments.output / "tokenizer.json")
    sides = (read_file(arguments.text.with_suffix(ending)) for ending in (".src", ".tgt"))
    pairs = ([tokenizer.encode(text) for text in pair] for pair in zip(*sides, strict=True))
    short = (pair for pair in pairs if max(map(len, pair)) <= REFERENCE_TOKENS)
    return zip(*itertools.islice(short, REFERENCE_PAIRS), strict=True)


if __name__ == "__main__":
    sys.exit(main())

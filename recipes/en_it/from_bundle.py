"""A shipped bundle as a run to go on from, and text that keeps what it knows.

    KERAS_TRANSFORMER_DATA=FOLDER KERAS_BACKEND=torch python recipes/en_it/from_bundle.py BUNDLE CORPUS RUN

BUNDLE is a folder or a .zip, CORPUS what corpus.py wrote. RUN gets checkpoints/last (integers times their scales),
tokenizer.json, and mix.src and mix.tgt: real pairs, the model's own translations with a beam of 4, so that it stays
near what it was, and some of these joined to long texts.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from corpus import data_folder, held_out_keys, write_sides
from long_sentences import join

from benchmarks.engine_peers.dequantise import bundle_weights
from keras_transformer import Translator
from keras_transformer.evaluate import read_file
from keras_transformer.model import build_transformer
from keras_transformer.runtime.archive import unpack
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.text.cleaning import sentence_key
from keras_transformer.text.tokenizer import Tokenizer
from keras_transformer.training.checkpoint import reference_outputs, save_checkpoint

COUNTS = {"real": 20_000, "one-language": 14_000, "sources": 10_000, "joined": 3_000}
REFERENCE_PAIRS = 256


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """A bundle that is a folder or a .zip; what is unpacked goes at the end."""
    with tempfile.TemporaryDirectory() as scratch:
        yield unpack(path, Path(scratch)) if path.suffix == ".zip" else Bundle.open(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    data, chance = data_folder(), random.Random(7)
    with opened(arguments.bundle) as bundle:
        translator = Translator.from_pretrained(bundle.folder)
        tokenizer = Tokenizer.from_file(bundle.tokenizer_path)
        source, target = bundle.manifest.source_language, bundle.manifest.target_language
        sides = [read_file(arguments.corpus / f"all.{language}") for language in (source, target)]
        real = list(zip(*sides, strict=True))
        held_out = held_out_keys(data)
        mono = [
            text
            for text in read_file(data / f"tatoeba_mono.{source}.gz")
            if sentence_key(text) not in held_out
        ]
        texts = chance.sample(mono, COUNTS["one-language"])
        texts += [text for text, _ in chance.sample(real, COUNTS["sources"])]
        own = [(t.source, t.text) for t in translator.translate(texts, beam_size=4) if not t.flags]
        config, weights = bundle_weights(bundle)
        arguments.run.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.tokenizer_path, arguments.run / "tokenizer.json")
    tokens = [tuple(np.array(tokenizer.encode(side)) for side in pair) for pair in own]
    joined = [
        tuple(tokenizer.decode(side.tolist()) for side in pair)
        for pair in join(tokens, COUNTS["joined"], np.random.default_rng(7))
    ]
    write_sides(arguments.run / "mix", (".src", ".tgt"), chance.sample(real, COUNTS["real"]) + own + joined)
    model = build_transformer(config, dtype="float32")
    for name, variable in model.named_weights().items():
        variable.assign(weights[name])
    shown = tokens[:REFERENCE_PAIRS]
    save_checkpoint(
        arguments.run / "checkpoints" / "last",
        model,
        {"source_language": source, "target_language": target, "licences": list(bundle.manifest.licences)},
        reference_outputs(model, *zip(*[[side.tolist() for side in pair] for pair in shown], strict=True)),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""BLEU and chrF of a bundle: the embedded test sentences, and test sets of a folder where one is named.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/quality.py [--model BUNDLE] [--beam-size N] [--shortlist]
        [--longest-source N]

FOLDER holds en-it/valid.{en,it,src}, en-it/flores200_devtest.{en,it} and en-it/newssyscomb2009.{en,it}; the .src
file names the source of each pair, and each source (the first word of its name) is scored alone. "long" are
the sentences of all three with more than 56 tokens. One JSON line a test set.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from keras_transformer.evaluate import evaluate, read_file
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import write_manifest
from keras_transformer.runtime.translator import SHIPPED_BUNDLE, Translator
from keras_transformer.text.corpus import read_embedded
from keras_transformer.text.tokenizer import Tokenizer

VARIABLE = "KERAS_TRANSFORMER_DATA"
TESTS = ("valid", "flores200_devtest", "newssyscomb2009")
LONG = 56  # tokens


def test_sets(folder: Path, languages: tuple[str, str]) -> dict[str, tuple[list[str], list[str]]]:
    """Name → sources and references."""
    found = {}
    for name in TESTS:
        sources, references = (read_file(folder / f"{name}.{language}") for language in languages)
        found[name] = sources, references
    by_source = defaultdict(lambda: ([], []))
    for source, text, reference in zip(read_file(folder / "valid.src"), *found["valid"], strict=True):
        group = f"valid: {source.partition('_')[0]}"  # tatoeba_pivot and tatoeba_v2021_extras are one
        by_source[group][0].append(text)
        by_source[group][1].append(reference)
    return found | dict(sorted(by_source.items()))


def long_ones(
    sets: dict[str, tuple[list[str], list[str]]], tokenizer: Tokenizer
) -> tuple[list[str], list[str]]:
    """The pairs of `TESTS` whose sources have more than LONG tokens."""
    pairs = [pair for name in TESTS for pair in zip(*sets[name], strict=True)]
    lengths = map(len, tokenizer.encode_batch([source for source, _ in pairs]))
    found = [pair for pair, length in zip(pairs, lengths, strict=True) if length > LONG]
    return [source for source, _ in found], [reference for _, reference in found]


def copied(bundle: Path, folder: Path, longest_source: int) -> Path:
    """A copy of a bundle that reads longer sentences in parts."""
    shutil.copytree(bundle, folder)
    write_manifest(folder, replace(Bundle.open(folder).manifest, longest_source=longest_source))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a bundle (default: the shipped one)")
    parser.add_argument("--beam-size", type=int, default=1, help="as for keras_transformer.translate")
    parser.add_argument("--shortlist", action="store_true", help="as for keras_transformer.translate")
    parser.add_argument(
        "--longest-source", type=int, help="as for export/to_onnx.py, in place of the bundle's own"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model
        if options.longest_source:
            model = copied(model or SHIPPED_BUNDLE, Path(scratch) / "bundle", options.longest_source)
        translator = Translator.from_pretrained(model, shortlist=options.shortlist)
    languages = translator.source_language, translator.target_language
    test = read_embedded("test", *languages)
    sets = {"embedded test": (list(test["source"]), list(test["target"]))}
    if VARIABLE in os.environ:
        sets |= test_sets(Path(os.environ[VARIABLE]) / "en-it", languages)
        tokenizer = Tokenizer.from_file(Bundle.open(options.model or SHIPPED_BUNDLE).tokenizer_path)
        sets[f"long (over {LONG} tokens)"] = long_ones(sets, tokenizer)
    else:
        print(f"{VARIABLE} is not set: the embedded test sentences only", file=sys.stderr)
    for name, (sources, references) in sets.items():
        scores = evaluate(translator, sources, references, options.beam_size)
        row = {
            "test": name,
            "pairs": len(sources),
            "bleu": round(scores.bleu, 2),
            "chrf": round(scores.chrf, 2),
            "sentences_per_second": scores.sentences_per_second,
        }
        print(json.dumps({**row, "precision": scores.precision, "flags": scores.flags}))


if __name__ == "__main__":
    main()

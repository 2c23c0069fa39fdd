"""BLEU and chrF of a bundle: the embedded test sentences, and test sets of a folder where one is named.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/quality.py [--model BUNDLE] [--shortlist]

FOLDER holds en-it/valid.{en,it,src}, en-it/flores200_devtest.{en,it} and en-it/newssyscomb2009.{en,it}; the .src
file names the source of each pair, and each source is scored alone. One JSON line a test set.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path

from keras_transformer import Translator
from keras_transformer.evaluate import evaluate
from keras_transformer.text.corpus import read_embedded

VARIABLE = "KERAS_TRANSFORMER_DATA"


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def test_sets(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Name → sources and references."""
    found = {}
    for name in ("valid", "flores200_devtest", "newssyscomb2009"):
        found[name] = (lines(folder / f"{name}.en"), lines(folder / f"{name}.it"))
    by_source = defaultdict(lambda: ([], []))
    for source, english, italian in zip(lines(folder / "valid.src"), *found["valid"], strict=True):
        by_source[f"valid: {source}"][0].append(english)
        by_source[f"valid: {source}"][1].append(italian)
    return found | dict(sorted(by_source.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a bundle (default: the shipped one)")
    parser.add_argument("--shortlist", action="store_true", help="as for keras_transformer.translate")
    options = parser.parse_args()
    translator = Translator.from_pretrained(options.model, shortlist=options.shortlist)
    test = read_embedded("test")
    sets = {"embedded test": (list(test["source"]), list(test["target"]))}
    if VARIABLE in os.environ:
        sets |= test_sets(Path(os.environ[VARIABLE]) / "en-it")
    else:
        print(f"{VARIABLE} is not set: the embedded test sentences only", file=sys.stderr)
    for name, (sources, references) in sets.items():
        scores = evaluate(translator, sources, references)
        row = {
            "test": name,
            "pairs": len(sources),
            "bleu": round(scores.bleu, 2),
            "chrf": round(scores.chrf, 2),
        }
        print(json.dumps({**row, "precision": scores.precision, "flags": scores.flags}))


if __name__ == "__main__":
    main()

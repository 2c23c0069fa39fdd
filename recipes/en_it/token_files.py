"""Token ids of a corpus in one file, end to end, so that a process on a GPU starts in seconds.

    KERAS_TRANSFORMER_DATA=FOLDER python recipes/en_it/token_files.py CORPUS OUTPUT [--vocabulary-size 8000]

CORPUS is what corpus.py wrote. OUTPUT gets tokenizer.json, learnt on CORPUS/all, and tokens.npz with these tables:
all_en, all_it (line N of one belongs to line N of the other), mono_en, mono_it, tests_en, tests_it (valid, FLORES
devtest, newssyscomb2009 and the embedded test split, one after another); augmented_en, augmented_it (pairs of `all`
in capitals, in title case, without the full stop); and `everyday`, which of the pairs of
`all` stand in CORPUS/everyday too.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import held_out_keys

from keras_transformer.evaluate import read_file
from keras_transformer.text.augmentation import augment
from keras_transformer.text.cleaning import sentence_key
from keras_transformer.text.corpus import read_embedded
from keras_transformer.text.tokenizer import Tokenizer, train_tokenizer

TESTS = ("valid", "flores200_devtest", "newssyscomb2009")
SIDES = {"en": "source", "it": "target"}


class Tokens(NamedTuple):
    """Token lists end to end: list i is ids[starts[i] : starts[i + 1]]."""

    ids: np.ndarray  # uint16
    starts: np.ndarray  # int64, one more than there are lists

    @classmethod
    def of(cls, lists):
        """From arrays of ids."""
        lengths = np.array([len(ids) for ids in lists], np.int64)
        ids = np.concatenate(lists) if len(lists) else np.zeros(0)
        return cls(ids.astype(np.uint16), np.concatenate([[0], np.cumsum(lengths)]))

    def lists(self):
        """All of them, int32."""
        return np.split(self.ids.astype(np.int32), self.starts[1:-1])


def save(path, **tables):
    """Write `Tokens` and arrays into one file, whole or not at all."""
    arrays = {}
    for name, table in tables.items():
        parts = table._asdict() if isinstance(table, Tokens) else {"": table}
        arrays |= {f"{name}.{part}" if part else name: array for part, array in parts.items()}
    partial = path.with_name(f".{path.name}")
    np.savez_compressed(partial, **arrays)
    os.replace(partial, path)


def load(path):
    """What `save` wrote, by name."""
    with np.load(path) as file:
        arrays = dict(file)
    names = {name.partition(".")[0] for name in arrays}
    return {
        name: arrays[name] if name in arrays else Tokens(arrays[f"{name}.ids"], arrays[f"{name}.starts"])
        for name in names
    }


def test_lines(data, language):
    """All test sentences of one language, in the order of the tests_* tables."""
    lines = [line for name in TESTS for line in read_file(data / f"{name}.{language}")]
    return lines + [" ".join(text.split()) for text in read_embedded("test")[SIDES[language]]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--vocabulary-size", type=int, default=8000)
    arguments = parser.parse_args()
    folder = os.environ.get("KERAS_TRANSFORMER_DATA")
    if not folder:
        print("error: KERAS_TRANSFORMER_DATA must name the data folder.", file=sys.stderr)
        return 2
    data = Path(folder) / "en-it"
    texts = {f"all_{side}": read_file(arguments.corpus / f"all.{side}") for side in SIDES}
    tokenizer = train_tokenizer([*texts["all_en"], *texts["all_it"]], arguments.vocabulary_size)
    arguments.output.mkdir(parents=True, exist_ok=True)
    tokenizer.save(arguments.output / "tokenizer.json")
    held_out = held_out_keys(data)
    for side in SIDES:
        mono = read_file(data / f"tatoeba_mono.{side}.gz")
        texts[f"mono_{side}"] = [line for line in mono if sentence_key(line) not in held_out]
        texts[f"tests_{side}"] = test_lines(data, side)
    everyday = set(zip(*(read_file(arguments.corpus / f"everyday.{side}") for side in SIDES), strict=True))
    texts |= _augmented(texts)
    marks = [pair in everyday for pair in zip(texts["all_en"], texts["all_it"], strict=True)]
    tables = {name: _encoded(tokenizer, lines) for name, lines in texts.items()}
    save(arguments.output / "tokens.npz", everyday=np.array(marks), **tables)
    return 0


def _augmented(texts):
    """What augmentation adds at these rates, without the pairs that it is made of."""
    pairs = Dataset.from_dict({side: texts[f"all_{language}"] for language, side in SIDES.items()})
    rates = {"capitals": 0.05, "title_case": 0.05, "no_full_stop": 0.1}
    more = augment(pairs, rates, seed=1)[0][len(pairs) :]
    return {f"augmented_{language}": more[side] for language, side in SIDES.items()}


def _encoded(tokenizer: Tokenizer, lines):
    return Tokens.of([np.array(ids, np.uint16) for ids in tokenizer.encode_batch(lines)])


if __name__ == "__main__":
    sys.exit(main())

"""The English–Italian corpora of the shipped models, made from the shared training text.

    KERAS_TRANSFORMER_DATA=FOLDER python recipes/en_it/corpus.py OUTPUT [--back-translation EN IT]

Writes OUTPUT/all.{en,it}: every source that may train shipped weights, and OUTPUT/everyday.{en,it}: the everyday
sentences with a sample of the rest, for the last phase. phrasebook.tsv and sentences.tsv, written for this project,
are in both. The embedded validation and test sentences, the validation text of the data folder, phrases_held_out.tsv
and sentences_held_out.tsv are left out on either side.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_transformer.evaluate import read_file
from keras_transformer.text.cleaning import sentence_key
from keras_transformer.text.corpus import read_embedded

MEASURING_ONLY = "_gpl"  # sources whose licence keeps them out of shipped weights
ARCHAIC = "bible_web_diodati"
ARCHAIC_PAIRS = 3_000  # "egli", "Iddio", "perciocché": a taste, not a sixth of the corpus
EVERYDAY_SOURCES = ("tatoeba", "xsid", "cocoa")
SAMPLE_PAIRS = 16_000  # of the other sources in the last phase, so that they are not forgotten
HERE = Path(__file__).parent
LICENCES = HERE / "licences.txt"  # of everything that is taken here
BACK_TRANSLATION_TAG = "¤ "  # Caswell et al. 2019: the model must know machine-made sources from real ones


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--back-translation",
        nargs=2,
        type=Path,
        metavar=("EN", "IT"),
        help="machine English of real Italian sentences, line by line: added with a tag on the source",
    )
    arguments = parser.parse_args()
    data = data_folder()
    held_out = held_out_keys(data)
    train = read_train(data)
    chance = random.Random(0)
    archaic = archaic_pairs(train)
    others = [
        (en, it)
        for en, it, source in train
        if source != ARCHAIC
        and not source.endswith(MEASURING_ONLY)
        and not source.startswith(EVERYDAY_SOURCES)
    ]
    spoken = spoken_pairs(data, train)
    made: list[tuple[str, str]] = []
    if arguments.back_translation:
        sources, targets = (read_file(path) for path in arguments.back_translation)
        made = [(BACK_TRANSLATION_TAG + en, it) for en, it in zip(sources, targets, strict=True) if en and it]
    arguments.output.mkdir(parents=True, exist_ok=True)
    written = written_pairs("phrasebook") + written_pairs("sentences")
    every = spoken + others + written + chance.sample(archaic, min(ARCHAIC_PAIRS, len(archaic))) + made
    write_pairs(arguments.output / "all", every, held_out)
    last = spoken + written + chance.sample(others, min(SAMPLE_PAIRS, len(others))) + made
    write_pairs(arguments.output / "everyday", last, held_out)
    return 0


def data_folder() -> Path:
    """Where the English–Italian text lies; ends the command where nobody said so."""
    folder = os.environ.get("KERAS_TRANSFORMER_DATA")
    if not folder:
        print("error: KERAS_TRANSFORMER_DATA must name the data folder.", file=sys.stderr)
        raise SystemExit(2)
    return Path(folder) / "en-it"


def read_train(data: Path) -> list[tuple[str, str, str]]:
    """(English, Italian, name of the source) of all training text but the everyday file."""
    return list(zip(*(read_file(data / f"train.{column}.gz") for column in ("en", "it", "src")), strict=True))


def spoken_pairs(data: Path, train: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """The pairs of the everyday sources, and those of the everyday file."""
    everyday = zip(*(read_file(data / f"everyday.{side}.gz") for side in ("en", "it")), strict=True)
    return [(en, it) for en, it, source in train if source.startswith(EVERYDAY_SOURCES)] + list(everyday)


def written_pairs(name: str) -> list[tuple[str, str]]:
    """(English, Italian) of a table beside this file, written for this project."""
    return [tuple(line.split("\t")) for line in read_file(HERE / f"{name}.tsv")]  # type: ignore[misc]


def archaic_pairs(train: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """The pairs of the Bible of 1649."""
    return [(en, it) for en, it, source in train if source == ARCHAIC]


def held_out_keys(data: Path) -> set[str]:
    """What no training text may hold, on either side, as `sentence_key` writes it."""
    rows = [row for split in ("valid", "test") for row in read_embedded(split)]
    texts = [text for row in rows for text in (row["source"], row["target"])]
    texts += [*read_file(data / "valid.en"), *read_file(data / "valid.it")]
    for name in ("phrases_held_out", "sentences_held_out"):
        texts += [side for pair in written_pairs(name) for side in pair]
    return {sentence_key(text) for text in texts} - {""}


def allowed(pairs: Iterable[tuple[str, str]], held_out: set[str]) -> list[tuple[str, str]]:
    """Those without a held-out sentence on either side."""
    return [pair for pair in pairs if held_out.isdisjoint(map(sentence_key, pair))]


def write_pairs(stem: Path, pairs: list[tuple[str, str]], held_out: set[str]) -> None:
    kept = allowed(dict.fromkeys(pairs), held_out)
    write_sides(stem, (".en", ".it"), kept)
    print(f"{stem}: {len(kept):,} pairs")


def write_sides(stem: Path, endings: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    """One file for each side of the pairs, a line each."""
    for side, ending in enumerate(endings):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        stem.with_suffix(ending).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())

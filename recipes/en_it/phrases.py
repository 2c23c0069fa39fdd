"""Text for the last updates: fixed phrases, short everyday pairs as people wrote them, and some of what came before.

    KERAS_TRANSFORMER_DATA=FOLDER python recipes/en_it/phrases.py MIX OUTPUT [--languages en-it]

What a student reads in a teacher's translation has few idioms: "What time is it?" became "A che ora è?", and a
thousand updates on the real pairs, where "Che ore sono?" stands once, changed nothing. So phrasebook.tsv, written for
this project, stands here many times, each time beside another phrase or everyday sentence: `fit` drops what it has
seen.
MIX.src and MIX.tgt are long_sentences.py's or from_bundle.py's; FOLDER/en-it holds tatoeba and everyday. What
validation, embedded text and phrases_held_out.tsv hold is left out.
"""

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import allowed, data_folder, held_out_keys, write_sides

from keras_transformer.evaluate import read_file
from keras_transformer.text.cleaning import sentence_key

PHRASEBOOK = Path(__file__).with_name("phrasebook.tsv")
HELD_OUT = Path(__file__).with_name("phrases_held_out.tsv")
PHRASE_TIMES = 8
BESIDE_A_PHRASE = 0.5  # of a phrase's places; else beside an everyday sentence
FIRST = 0.8  # of a phrase's places: before the other sentence
SHORT_WORDS = 4  # of a pair's English side
COUNTS = {"short": 3_000, "longer": 4_000, "seen": 10_000}


def chosen_pairs(data, seen, chance):
    """English–Italian pairs, in any order; `seen` are those of before."""
    held_out = held_out_keys(data)
    held_out |= {sentence_key(side) for line in read_file(HELD_OUT) for side in line.split("\t")}
    everyday = []
    for name, ending in (("tatoeba", ""), ("everyday", ".gz")):
        sides = (read_file(data / f"{name}.{language}{ending}") for language in ("en", "it"))
        everyday += allowed(zip(*sides, strict=True), held_out)
    phrases = allowed((tuple(line.split("\t")) for line in read_file(PHRASEBOOK)), held_out)
    short = [pair for pair in everyday if len(pair[0].split()) <= SHORT_WORDS]
    longer = [pair for pair in everyday if len(pair[0].split()) > SHORT_WORDS]
    print(f"{len(phrases)} phrases, {len(short):,} short pairs, {len(longer):,} longer ones")
    chosen = list(phrases)
    for phrase in PHRASE_TIMES * phrases:
        other = chance.choice(phrases if chance.random() < BESIDE_A_PHRASE else everyday)
        both = (phrase, other) if chance.random() < FIRST else (other, phrase)
        chosen.append(tuple(f"{one} {two}" for one, two in zip(*both, strict=True)))
    for name, pairs in (("short", short), ("longer", longer), ("seen", seen)):
        chosen += chance.sample(pairs, COUNTS[name])
    chance.shuffle(chosen)
    return chosen


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mix", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--languages", default="en-it")
    arguments = parser.parse_args()
    sides = (".src", ".tgt") if arguments.languages == "en-it" else (".tgt", ".src")  # English first
    seen = list(zip(*(read_file(arguments.mix.with_suffix(side)) for side in sides), strict=True))
    chosen = chosen_pairs(data_folder(), seen, random.Random(1))
    write_sides(arguments.output, sides, chosen)
    print(f"{len(chosen):,} pairs")


if __name__ == "__main__":
    main()

"""Text for the last updates: what was written for this project, everyday pairs, and some of what came before.

    KERAS_TRANSFORMER_DATA=FOLDER python recipes/en_it/phrases.py MIX OUTPUT [--phase phrases] [--languages en-it]

What a student reads in a teacher's translation has few idioms, and the corpus lacks common words: of the 11,000 most
frequent English ones 4,800, no names, stand in fewer than 40 of its sentences. So phrasebook.tsv has idioms and fixed
phrases, sentences.tsv sentences with such words and prose of many fields, both written for this project. The phase
"words" is for all of them; "phrases", which comes last, for those phrases that everybody types. A phrase stands here
several times, alone and beside another sentence: `fit` drops what it has seen.
MIX.src and MIX.tgt are long_sentences.py's or from_bundle.py's; FOLDER/en-it holds tatoeba and everyday. What
corpus.py holds out is left out.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

from corpus import allowed, data_folder, held_out_keys, read_train, write_sides, written_pairs

from keras_transformer.evaluate import read_file


@dataclass(frozen=True)
class Phase:
    """How much of what: the first lines of phrasebook.tsv, how often each beside another sentence, and pairs.

    Of `sentences` and `prose` None takes all.
    """

    phrases: int
    times: int
    sentences: int | None
    prose: int | None
    short: int
    longer: int
    seen: int


PHASES = {
    "words": Phase(
        phrases=3_429, times=2, sentences=None, prose=None, short=2_000, longer=3_000, seen=45_000
    ),
    "phrases": Phase(phrases=169, times=25, sentences=5_000, prose=0, short=2_000, longer=3_000, seen=7_000),
}
PROSE_SOURCES = ("oldi_seed", "ud_pud", "mt_geneval_dev")  # Wikipedia and news, translated with care
BESIDE_WRITTEN = 0.7  # of the phrases beside others: beside a written one; else beside an everyday sentence
FIRST = 0.6  # of these: before the other sentence
SHORT_WORDS = 4  # of a pair's English side


def chosen_pairs(data, seen, phase, chance):
    """English–Italian pairs, in any order; `seen` are those of before."""
    held_out = held_out_keys(data)
    everyday = []
    for name, ending in (("tatoeba", ""), ("everyday", ".gz")):
        sides = (read_file(data / f"{name}.{language}{ending}") for language in ("en", "it"))
        everyday += allowed(zip(*sides, strict=True), held_out)
    phrases = allowed(written_pairs("phrasebook")[: phase.phrases], held_out)
    sentences = allowed(written_pairs("sentences"), held_out)
    prose = [(en, it) for en, it, source in read_train(data) if source in PROSE_SOURCES]
    prose = allowed(prose, held_out)
    short = [pair for pair in everyday if len(pair[0].split()) <= SHORT_WORDS]
    longer = [pair for pair in everyday if len(pair[0].split()) > SHORT_WORDS]
    written = phrases + sentences
    chosen = list(phrases)
    for pair in phase.times * phrases:
        other = chance.choice(written if chance.random() < BESIDE_WRITTEN else everyday)
        both = (pair, other) if chance.random() < FIRST else (other, pair)
        chosen.append(tuple(f"{one} {two}" for one, two in zip(*both, strict=True)))
    for name, pairs in (
        ("sentences", sentences), ("prose", prose), ("short", short), ("longer", longer), ("seen", seen)
    ):  # fmt: skip
        wanted = getattr(phase, name)
        count = len(pairs) if wanted is None else min(wanted, len(pairs))
        print(f"{name}: {count:,} of {len(pairs):,}")
        chosen += chance.sample(pairs, count)
    chance.shuffle(chosen)
    return chosen


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mix", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--phase", choices=PHASES, default="words")
    parser.add_argument("--languages", default="en-it")
    arguments = parser.parse_args()
    sides = (".src", ".tgt") if arguments.languages == "en-it" else (".tgt", ".src")  # English first
    seen = list(zip(*(read_file(arguments.mix.with_suffix(side)) for side in sides), strict=True))
    chosen = chosen_pairs(data_folder(), seen, PHASES[arguments.phase], random.Random(1))
    write_sides(arguments.output, sides, chosen)
    print(f"{len(chosen):,} pairs")


if __name__ == "__main__":
    main()

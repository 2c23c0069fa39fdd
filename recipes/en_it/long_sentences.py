"""Text for some hundred updates more with `fit --init-from`: what a student has seen, and long pairs among it.

    python recipes/en_it/long_sentences.py WORK OUTPUT [--languages en-it]

A student of gpu.py knows no position beyond its longest batch (72 tokens) and loses the thread there. OUTPUT.src
and OUTPUT.tgt hold a sample of the real pairs, of the teacher's translations of one-language sentences and, where
WORK has it, of the teacher's translation of the real sources (`translate NAME all_en`); and sentences joined to 60 to
220 tokens.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import write_sides
from gpu import fits, made_pairs
from token_files import load

from keras_transformer.text.tokenizer import Tokenizer

LONGEST = 200
JOINED_FROM = 16  # tokens of a sentence that is worth joining
JOINED_TOKENS = (60, 220)
JOINED_LONGEST = 240
COUNTS = {"distilled": 45_000, "real": 45_000, "forward": 30_000, "joined": 8_000}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--languages", default="en-it")
    arguments = parser.parse_args()
    source, target = arguments.languages.split("-")
    tokenizer = Tokenizer.from_file(arguments.work / "tokenizer.json")
    tables, chance = load(arguments.work / "tokens.npz"), np.random.default_rng(5)
    real = zip(tables[f"all_{source}"].lists(), tables[f"all_{target}"].lists(), strict=True)
    real = [pair for pair in real if fits(*pair, longest=LONGEST)]
    forward = made_pairs(arguments.work, tables, f"mono_{source}", longest=LONGEST)
    distilled = []
    if sorted(arguments.work.glob(f"all_{source}.*.npz")):
        distilled = made_pairs(arguments.work, tables, f"all_{source}", longest=LONGEST)

    def sample(pairs, count):
        return [pairs[i] for i in chance.permutation(len(pairs))[:count]]

    count = COUNTS["real"] + COUNTS["distilled"] - min(COUNTS["distilled"], len(distilled))
    chosen = sample(distilled, COUNTS["distilled"]) + sample(real, count)
    chosen += sample(forward, COUNTS["forward"])
    chosen += join(sample(distilled + real, len(distilled + real)), COUNTS["joined"], chance)
    texts = [tuple(" ".join(tokenizer.decode(side.tolist()).split()) for side in pair) for pair in chosen]
    write_sides(arguments.output, (".src", ".tgt"), texts)
    print(f"{len(chosen):,} pairs, {sum(len(pair[1]) for pair in chosen):,} target tokens")
    return 0


def join(pairs, count, chance):
    """Sentences end to end, in pairs of a random length."""
    pairs = (pair for pair in pairs if len(pair[0]) >= JOINED_FROM)
    found, parts, goal = [], [], chance.integers(*JOINED_TOKENS)
    for pair in pairs:
        if parts and sum(len(source) for source, _ in [*parts, pair]) > goal:
            joined = tuple(np.concatenate(side) for side in zip(*parts, strict=True))
            found += [joined] if max(map(len, joined)) <= JOINED_LONGEST else []
            parts, goal = [], chance.integers(*JOINED_TOKENS)
        if len(found) == count:
            break
        parts.append(pair)
    return found


if __name__ == "__main__":
    sys.exit(main())

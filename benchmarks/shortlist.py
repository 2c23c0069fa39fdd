"""What `--shortlist` saves: the same engine with and without it, in turn.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/shortlist.py [--models shipped,deep-shallow]

"shipped" is the shipped bundle with its own shortlist (BLEU and chrF: benchmarks/quality.py --shortlist). "small"
and "deep-shallow" (a vocabulary of 32,000) are the engine benchmark's models, which copy their source; their
shortlists are drawn: the token itself and others by Zipf's law, as many as a learnt list has. Processor time of one
thread, medians; "equal" counts sentences with the same output. One JSON line a cell.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine import WORK
from benchmarks.engine_peers.engines import BEAM_SIZE, EOS_ID
from benchmarks.engine_peers.models import SHIPPED, prepare, tokenizer_path
from benchmarks.engine_peers.sentences import read_sentences, spread
from keras_transformer.decoding.steps import Ended
from keras_transformer.onnx_export.lexicon import CANDIDATES, FREQUENT
from keras_transformer.runtime import names
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.manifest import FileRecord, Manifest, write_manifest
from keras_transformer.runtime.scheduler import Scheduler, SearchOptions
from keras_transformer.runtime.sessions import Engine
from keras_transformer.runtime.shortlist import Shortlist
from keras_transformer.text.tokenizer import Tokenizer

BATCHES = {1: 12, 8: 32, 32: 64}  # sentences of a pass


def draw_shortlist(folder: Path) -> Bundle:
    """Give a copying model's bundle lists of the usual sizes that hold the token itself."""
    manifest = Manifest.from_dict(json.loads((folder / names.MANIFEST_FILE).read_text("utf-8")))
    generator = np.random.default_rng(1)
    size = manifest.vocabulary_size
    chances = np.cumsum(1.0 / (np.arange(4, size) + 50.0))
    lists = []
    for token in range(size):
        drawn = np.searchsorted(chances, generator.random(CANDIDATES) * chances[-1]) + 4
        lists.append(np.union1d(drawn, [token]))
    starts = np.cumsum([0, *map(len, lists)])
    always = np.arange(FREQUENT)  # the special ones are among them
    (folder / names.SHORTLIST_FILE).write_bytes(Shortlist(starts, np.concatenate(lists), always).to_bytes())
    values = {**manifest.to_dict(), "shortlist": vars(FileRecord.of(folder / names.SHORTLIST_FILE))}
    write_manifest(folder, Manifest.from_dict(values))
    return Bundle.open(folder)


def measure(
    bundle: Bundle, precision: str, rows: list[np.ndarray], beam_size: int, rounds: int
) -> list[dict]:
    """A row for each batch size."""
    schedulers = {
        short: Scheduler(Engine.load(bundle, "cpu", 1, precision=precision, shortlist=short), bundle.manifest)
        for short in (False, True)
    }
    options, found = SearchOptions(beam_size), []
    for batch, count in BATCHES.items():
        some, seconds, outputs = spread(rows, count), {False: [], True: []}, {False: {}, True: {}}
        for number in range(rounds + 1):
            for short, scheduler in list(schedulers.items())[:: 1 if number % 2 else -1]:

                def take(ended: Ended, start: int, outputs: dict = outputs[short]) -> None:
                    outputs[start + ended.row] = ended.hypotheses[0].tokens.tolist()

                begun = time.process_time()
                for start in range(0, count, batch):
                    scheduler.run(
                        some[start : start + batch], options, lambda ended, start=start: take(ended, start)
                    )
                seconds[short].append(time.process_time() - begun)
        ratios = [whole / less for whole, less in zip(seconds[False][1:], seconds[True][1:], strict=True)]
        equal = sum(outputs[False][row] == outputs[True][row] for row in range(count))
        found.append(
            {
                "batch": batch,
                "whole_ms": round(1e3 * statistics.median(seconds[False][1:]) / count, 2),
                "shortlist_ms": round(1e3 * statistics.median(seconds[True][1:]) / count, 2),
                "ratio": round(statistics.median(ratios), 2),
                "sentences": count,
                "equal": equal,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="shipped,deep-shallow", help="with commas between")
    parser.add_argument("--precisions", default="int8,fp32", help="with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(tokenizer_path())
    rows = [np.array([*tokenizer.encode(text), EOS_ID]) for text in read_sentences(tokenizer)[0]]
    for name in options.models.split(","):
        model = prepare(name, WORK, None, lambda line: print(line, file=sys.stderr))
        bundle = Bundle.open(model.bundle) if name == SHIPPED else draw_shortlist(model.bundle)
        for precision in bundle.manifest.precisions.keys() & set(options.precisions.split(",")):
            for beam_size in (1, BEAM_SIZE):
                for row in measure(bundle, precision, rows, beam_size, options.rounds):
                    cell = {"model": name, "precision": precision, "beam_size": beam_size}
                    print(json.dumps({**cell, **row}), flush=True)


if __name__ == "__main__":
    main()

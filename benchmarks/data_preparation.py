"""Data preparation: pairs a second and peak memory while a generated corpus is read, cleaned and tokenised.

    python benchmarks/data_preparation.py [--pairs 1000000,10000000] [--work FOLDER]

Each size runs in a process of its own, twice: the second run finds what the first made and must not tokenise again.
Memory is the process's own (RssAnon, sampled): what is mapped from files costs none that others need. The words
are drawn by Zipf's law from 50,000 made-up ones a language, so that every line differs. One JSON line a run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

WORDS = 50_000
LINES_AT_ONCE = 50_000
VOCABULARY_PAIRS = 200_000  # shown to the tokenizer's training, as the README advises for large corpora
LETTERS = "eainortslducmpgbvhfzqkwxyj"


def words(seed: int) -> np.ndarray:
    """Different made-up words, the frequent ones short."""
    generator = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, len(LETTERS) + 1)
    letters, found = np.array(list(LETTERS)), {}
    while len(found) < WORDS:
        length = 2 + int(np.log2(1 + len(found)) / 2) + int(generator.integers(0, 4))
        found["".join(generator.choice(letters, length, p=weights / weights.sum()))] = None
    return np.array(list(found))


def generate(folder: Path, pairs: int) -> tuple[Path, Path]:
    """Two files of so many lines."""
    paths = folder / f"{pairs}.source", folder / f"{pairs}.target"
    if all(path.is_file() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    vocabularies, generator = [words(1), words(2)], np.random.default_rng(3)
    cumulative = np.cumsum(1.0 / np.arange(1, WORDS + 1))
    with paths[0].open("w") as source, paths[1].open("w") as target:
        for start in range(0, pairs, LINES_AT_ONCE):
            lengths = generator.lognormal(2.4, 0.5, min(LINES_AT_ONCE, pairs - start)).clip(2, 60).astype(int)
            ranks = np.searchsorted(cumulative, generator.random(lengths.sum()) * cumulative[-1])
            for file, vocabulary in zip((source, target), vocabularies, strict=True):
                lines = np.split(vocabulary[ranks], np.cumsum(lengths)[:-1])
                file.write("".join(f"{' '.join(line)} .\n" for line in lines))
    return paths


class Memory(threading.Thread):
    """Samples RssAnon until the process ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.05)

    @staticmethod
    def now() -> int:
        """Bytes."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def prepare_once(source: Path, target: Path, run: Path) -> None:
    """Prepare in this process; prints seconds and memory."""
    from rich.console import Console

    from keras_transformer.config import config_from_dict
    from keras_transformer.training import data
    from keras_transformer.training.batches import Batches

    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    sections = {
        "model": {"vocabulary_size": 8000},
        "data": {"train": (str(source), str(target)), "vocabulary_pairs": VOCABULARY_PAIRS},
    }
    memory = Memory()
    before = memory.now()
    memory.start()
    started, processor = time.perf_counter(), time.process_time()
    prepared = data.prepare(config_from_dict(sections), run, Console(stderr=True, quiet=True))
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    ids = {name: getattr(prepared.tokenizer, name) for name in ("pad_id", "bos_id", "eos_id")}
    started = time.perf_counter()
    batches = Batches(*prepared.train, batch_tokens=4096, seed=1, **ids)
    next(batches.stream())
    row = {
        "pairs": len(prepared.train.sources),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "batches_seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mb": round((memory.peak - before) / 2**20),
        "peak_resident_anonymous_mb": round(memory.peak / 2**20),
    }
    print(json.dumps(row))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=lambda text: [int(n) for n in text.split(",")], default=[1_000_000, 10_000_000]
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "data-preparation")
    parser.add_argument("--once", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="keep the text and the caches")
    options = parser.parse_args()
    if options.once:
        prepare_once(*options.once)
        return 0
    for pairs in options.pairs:
        folder = options.work / str(pairs)
        source, target = generate(folder, pairs)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        for name in ("first", "again"):
            command = [sys.executable, __file__, "--once", str(source), str(target), str(folder / name)]
            environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache")}
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            row = json.loads(found.stdout.splitlines()[-1])
            rate = round(pairs / row["processor_seconds"])
            row = {"run": name, "generated": pairs, "pairs_per_processor_second": rate, **row}
            print(json.dumps(row), flush=True)
        if not options.keep:
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

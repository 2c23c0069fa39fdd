"""Speed of the shipped bundle on the embedded test sentences: one JSON line a cell, medians of alternating rounds.

    python benchmarks/translate.py [--model BUNDLE] [--rounds 5]

Each cell runs in its own process. The comparison with other engines is another benchmark.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

CELLS = [(1, threads) for threads in (1, 2)] + [
    (0, threads) for threads in (1, 2)
]  # rows a call (0: all), threads


def measure(model: str, rows: int, threads: int) -> dict[str, float]:
    """One round of one cell, in this process; seconds and sentences a second."""
    started = time.perf_counter()
    from keras_transformer import Translator
    from keras_transformer.text.corpus import read_embedded

    translator = Translator.from_pretrained(model or None, "cpu", threads, cache_size=0)
    loaded = time.perf_counter() - started
    translator.translate("I love you very much.")
    sentences = list(read_embedded("test")["source"])
    begun = time.perf_counter()
    if rows:
        for sentence in sentences:
            translator.translate(sentence)
    else:
        translator.translate(sentences)
    return {"load_seconds": loaded, "sentences_per_second": len(sentences) / (time.perf_counter() - begun)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="", help="a bundle (default: the shipped one)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cell", nargs=2, type=int, metavar=("ROWS", "THREADS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(options.model, *options.cell)))
        return
    found: dict[tuple[int, int], list[dict[str, float]]] = {cell: [] for cell in CELLS}
    for _ in range(options.rounds):
        for cell in CELLS:
            command = [sys.executable, __file__, "--model", options.model, "--cell", *map(str, cell)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[cell].append(json.loads(output.splitlines()[-1]))
    for (rows, threads), rounds in found.items():
        medians = {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}
        print(
            json.dumps({"rows_a_call": rows or "all", "threads": threads, "rounds": len(rounds), **medians})
        )


if __name__ == "__main__":
    main()

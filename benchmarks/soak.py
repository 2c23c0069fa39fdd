"""Soak: many translations of random real lengths from several threads at once; memory must stay flat.

    python benchmarks/soak.py [--model BUNDLE] [--count 20000] [--threads 4] [--beam-size 1]

Every call translates one to six sentences, as one text or as a list, and is compared with what each sentence
gave alone, one after the other, before. The text is FLORES devtest where KERAS_TRANSFORMER_DATA names its
folder, else the embedded test split. Prints one JSON line a thousand translations and one at the end; exits 1
if a result differs or memory grows by 1 MB or more per 10,000 translations once warm.
"""

import argparse
import contextlib
import ctypes
import functools
import gc
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from keras_transformer.runtime.translator import Translator

MOST_GROWTH = 1.0  # MB per 10,000 translations
ROUND = 1000  # translations between two looks at the memory
MOST_SENTENCES = 6  # of one call


def resident_mb() -> float:
    """Memory of this process, what its allocator keeps for later given back first (Linux)."""
    gc.collect()
    with contextlib.suppress(OSError):  # another allocator: it counts as it is
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def read_sentences() -> list[str]:
    """Different real sentences, each on a line of its own."""
    folder = os.environ.get("KERAS_TRANSFORMER_DATA")
    if folder:
        lines = (Path(folder) / "en-it" / "flores200_devtest.en").read_text("utf-8").splitlines()
    else:
        from keras_transformer.text.corpus import read_embedded

        lines = list(read_embedded("test")["source"])
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


class Soak:
    """Translations from several threads, compared with those made one by one.

    Args:
        translator: Without a memory of sentences.
        sentences: To draw from.
        beam_size: As for `Translator.translate`.
    """

    def __init__(self, translator: Translator, sentences: Sequence[str], beam_size: int = 1) -> None:
        self._translator = translator
        self._sentences = sentences
        self._beam_size = beam_size
        self._alone = [translator.translate(sentence, beam_size=beam_size).text for sentence in sentences]
        self.memory: list[tuple[int, float]] = []  # (translations done, MB)
        self.differing: list[tuple[str, str, str]] = []  # (source, alone, in company)
        self.errors: list[BaseException] = []

    def warm_up(self, num_threads: int) -> None:
        """Let every thread translate the longest sentences at the same time, in calls of every size.

        An engine keeps the most memory it ever needed; without this, that most is met by chance, and late.
        """
        longest = sorted(range(len(self._sentences)), key=lambda row: -len(self._sentences[row]))
        calls = [longest[:count] for count in range(MOST_SENTENCES, 0, -1)] * 4
        self._together([lambda: [self._check(rows, True) for rows in calls] for _ in range(num_threads)])

    def run(self, count: int, num_threads: int) -> None:
        """Translate about `count` more sentences; then, all threads gone, note the memory."""
        done = self.memory[-1][0] if self.memory else 0
        self._together(
            [
                functools.partial(self._draw, count // num_threads, done * num_threads + index)
                for index in range(num_threads)
            ]
        )
        self.memory.append((done + count, resident_mb()))

    def growth(self) -> float:
        """MB per 10,000 translations: the slope of a line through all but the first quarter."""
        done, memory = np.array(self.memory[len(self.memory) // 4 :]).T
        return float(np.polyfit(done, memory, 1)[0] * 10_000) if len(done) > 1 else 0.0

    def _together(self, works: Sequence[Callable[[], object]]) -> None:
        def guarded(work: Callable[[], object]) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                self.errors.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _draw(self, count: int, seed: int) -> None:
        generator = random.Random(seed)
        while count > 0:
            rows = generator.sample(range(len(self._sentences)), generator.randint(1, MOST_SENTENCES))
            count -= len(rows)
            self._check(rows, generator.random() < 0.5)

    def _check(self, rows: Sequence[int], as_one_text: bool) -> None:
        """Translate these sentences in one call, and compare."""
        chosen = [self._sentences[row] for row in rows]
        if as_one_text:
            text = self._translator.translate("\n".join(chosen), beam_size=self._beam_size).text
            found = text.split("\n")
        else:
            found = [one.text for one in self._translator.translate(chosen, beam_size=self._beam_size)]
        for row, text in zip(rows, found, strict=True):
            if text != self._alone[row]:
                self.differing.append((self._sentences[row], self._alone[row], text))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a bundle (default: the shipped one)")
    parser.add_argument("--precision", choices=("fp32", "int8"), help="default: the bundle's fastest")
    parser.add_argument("--count", type=int, default=20_000, help="translations (default: 20000)")
    parser.add_argument("--threads", type=int, default=4, help="threads that translate (default: 4)")
    parser.add_argument("--beam-size", type=int, default=1)
    options = parser.parse_args()
    translator = Translator.from_pretrained(
        options.model, "cpu", 1, precision=options.precision, cache_size=0
    )
    started = time.perf_counter()
    soak = Soak(translator, read_sentences(), options.beam_size)
    print(
        json.dumps({"alone": len(soak._alone), "seconds": round(time.perf_counter() - started, 1)}),
        flush=True,
    )
    soak.warm_up(options.threads)
    while not soak.memory or soak.memory[-1][0] < options.count:
        soak.run(ROUND, options.threads)
        done, memory = soak.memory[-1]
        seconds = round(time.perf_counter() - started, 1)
        print(json.dumps({"done": done, "mb": round(memory, 2), "seconds": seconds}), flush=True)
    for source, alone, text in soak.differing[:5]:
        print(json.dumps({"source": source, "alone": alone, "in_company": text}, ensure_ascii=False))
    growth = soak.growth()
    print(
        json.dumps(
            {
                "translations": done,
                "threads": options.threads,
                "beam_size": options.beam_size,
                "precision": translator.precision,
                "differing": len(soak.differing),
                "mb_per_10000": round(growth, 3),
            }
        )
    )
    return int(bool(soak.differing) or growth >= MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())

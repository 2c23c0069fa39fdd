"""How soon a cancelled translation ends, and what a translator that has nothing to do takes of the processor.

    python benchmarks/responsiveness.py [--model BUNDLE] [--threads 2] [--count 40]

A long text is cancelled from another thread after times that all differ; what counts is the time from `cancel`
to the end of the call. Then nothing is asked for two seconds, and processor time is read before and after. One
JSON line; exit code 1 where a cancellation took 50 ms or more, or idling a hundredth of a core.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.soak import read_sentences
from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.runtime.translator import Translator

MOST_SECONDS = 0.05
MOST_IDLE = 0.01  # of one core


def cancel_seconds(translator: Translator, texts: Sequence[str], after: float, beam_size: int = 1) -> float:
    """From `cancel`, `after` seconds into a call, to the call's end.

    Raises:
        ValueError: the call ended before that.
    """
    cancellation, cancelled = Cancellation(), []

    def cancel() -> None:
        cancelled.append(time.perf_counter())
        cancellation.cancel()

    timer = threading.Timer(after, cancel)
    timer.start()
    try:
        translator.translate(list(texts), beam_size=beam_size, cancellation=cancellation)
    except Cancelled:
        return time.perf_counter() - cancelled[0]
    timer.cancel()
    raise ValueError(f"`after` must be shorter than the call, got {after}. Give it more texts.")


def idle_share(seconds: float) -> float:
    """Processor time of this process, as a share of one core, while nothing is asked."""
    started, processor = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - processor) / (time.perf_counter() - started)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a bundle (default: the shipped one)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", type=int, default=40, help="cancellations (default: 40)")
    options = parser.parse_args()
    translator = Translator.from_pretrained(options.model, "cpu", options.threads, cache_size=0)
    texts = read_sentences()
    before = translator.translate(texts[0]).text
    seconds = [
        cancel_seconds(translator, texts, 0.02 + 0.007 * index, 1 + 3 * (index % 2))
        for index in range(options.count)
    ]
    usable = translator.translate(texts[0]).text == before
    idle = idle_share(2.0)
    row = {
        "cancellations": len(seconds),
        "threads": options.threads,
        "median_ms": round(1e3 * statistics.median(seconds), 1),
        "largest_ms": round(1e3 * max(seconds), 1),
        "usable_afterwards": usable,
        "idle_share_of_a_core": round(idle, 4),
    }
    print(json.dumps(row))
    return int(not usable or max(seconds) >= MOST_SECONDS or idle >= MOST_IDLE)


if __name__ == "__main__":
    sys.exit(main())

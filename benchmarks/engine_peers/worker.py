"""One engine in a process of its own: reads one request a line, writes one answer a line, both JSON.

    python worker.py ours BUNDLE PRECISION THREADS
    python worker.py ctranslate2 FOLDER TOKENIZER PRECISION THREADS WORKERS
    python worker.py optimum FOLDER PRECISION THREADS

It opens the engine, translates one short sentence and says so; only then do requests count.
"""

import sys
import time

STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402 - the clock comes first

sys.path.insert(0, str(Path(__file__).absolute().parents[2]))

import json  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks.engine_peers.engines import CTranslate2, Ours, PeerEngine  # noqa: E402

FIRST_SENTENCE = "Where is the station?"
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def open_engine(kind: str, folder: str, *options: str) -> PeerEngine:
    """The engine of that name."""
    if kind == "ours":
        precision, threads = options
        return Ours(Path(folder), precision, int(threads))
    if kind == "ctranslate2":
        tokenizer, precision, threads, workers = options
        return CTranslate2(Path(folder), Path(tokenizer), precision, int(threads), int(workers))
    from benchmarks.engine_peers.optimum_marian import OptimumMarian

    precision, threads = options
    return OptimumMarian(Path(folder), precision, int(threads))


def answer(engine: PeerEngine, request: dict[str, Any]) -> dict[str, Any]:
    """Do one request; seconds are those of the translating alone."""
    rows = request["rows"]
    if "outputs" in request:
        return {"choices": engine.choices(rows, request["outputs"])}
    batch = request["batch"] or len(rows)
    CLEAR.write_text("5")  # Linux: VmHWM starts again from what is held now
    outputs: list[list[int]] = []
    started, processor = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), batch):
        outputs += engine.translate(
            rows[start : start + batch], request["beam_size"], request["max_batch_tokens"]
        )
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_bytes": peak_bytes(),
        "outputs": outputs,
    }


def peak_bytes() -> int:
    """VmHWM: the most memory that this process has held."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    engine = open_engine(*sys.argv[1:])
    loaded = time.perf_counter()
    engine.first(FIRST_SENTENCE)
    first = {"load_seconds": loaded - STARTED, "peak_bytes": peak_bytes()}
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(engine, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

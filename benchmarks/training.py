"""Training speed in real target tokens a second: ours under each backend, JoeyNMT, plain torch.nn.Transformer.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/training.py [--cells tiny] [--systems torch,joeynmt]

FOLDER holds multi30k/ and en-it/ as training_peers/cells.py names them. JoeyNMT has an environment of its own:

    python -m venv build/joeynmt
    build/joeynmt/bin/pip install -r benchmarks/requirements-joeynmt.txt
    build/joeynmt/bin/pip install --no-deps joeynmt==2.3.0

The same model, sentences, vocabulary, optimizer and precision (float32) for all; padding is not counted. Each
system trains in a process of its own, pinned to the same core (--cores), stopped while the others run; rounds
alternate, the rows are medians. A round is eight updates, on batches of the same eight shapes for everyone, drawn
evenly from the epoch's; a round before the first is not counted, in it JAX compiles (`warm_up_seconds`). "joeynmt"
is its loop over our batches, "joeynmt-own-batches" its loop as its users run it. One JSON line a row and a table.
The limit of a round comes from a matrix product on the same core for 0.7 s before it and after it (`limit.py`).
On a busy machine read the columns by processor time: on one core they come near what a quiet one would show.
"""

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_peers.process import Worker
from benchmarks.training_peers.cells import CELLS, OURS, ROUND, SYSTEMS, Cell
from benchmarks.training_peers.corpus import load, prepare
from benchmarks.training_peers.limit import operations_per_target_token, product_rate
from benchmarks.training_peers.report import Row, print_table, ratios, row_of

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = "KERAS_TRANSFORMER_DATA"
WORKER = ROOT / "benchmarks" / "training_peers" / "worker.py"
JOEYNMT_PYTHON = ROOT / "build" / "joeynmt" / "bin" / "python"


def open_worker(system: str, folder: Path, cores: list[int], joeynmt_python: Path) -> Worker:
    """A system's process, ready to train."""
    environment = {
        "KERAS_BACKEND": system if system in OURS else "torch",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(len(cores)),
        "TF_NUM_INTEROP_THREADS": "1",
        "MKL_NUM_THREADS": str(len(cores)),
    }
    arguments = [system, str(folder), ",".join(map(str, cores))]
    python = joeynmt_python if system.startswith("joeynmt") else None
    return Worker(arguments, len(cores), environment, python, WORKER)


def measure(
    cell: Cell, folder: Path, systems: list[str], options: argparse.Namespace
) -> tuple[Row, list[Row]]:
    """What the numbers depend on, and a row for each system."""
    corpus, cores = load(folder), options.cores
    batches = corpus.batches()
    operations = operations_per_target_token(corpus.model, batches.source_tokens, batches.target_tokens)
    with ExitStack() as opened:
        workers = {}
        for system in systems:
            worker = opened.enter_context(open_worker(system, folder, cores, options.joeynmt_python))
            workers[system] = worker
            warm = worker.ask({"updates": ROUND})
            worker.first["warm_up_seconds"] = round(warm["seconds"], 1)
            print(f"{cell.name}: {system} ready: {worker.first}", file=sys.stderr, flush=True)
        answers = {system: [] for system in systems}
        for number in range(options.rounds):
            before = product_rate(cores[0])
            for system in systems:
                answer = workers[system].ask({"updates": ROUND})
                after = product_rate(cores[0])
                answers[system].append(answer | {"limit": (before + after) / 2 / operations})
                before = after
                rate = answer["tokens"] / answer["processor_seconds"]
                print(
                    f"{cell.name}: round {number + 1}: {system}: {rate:.0f} tokens a processor second",
                    file=sys.stderr,
                )
        limit = statistics.median(answer["limit"] for rounds in answers.values() for answer in rounds)
        facts = {
            "cell": cell.name,
            "pairs": len(corpus.sources),
            "vocabulary": corpus.model.vocabulary_size,
            "operations_per_target_token": round(operations),
            "gemm_gflops_one_core": round(limit * operations / 1e9, 1),
            "limit_one_core": round(limit),
        }
        print(json.dumps(facts), flush=True)
        return facts, [
            row_of(cell.name, system, workers[system].first, answers[system], len(cores))
            for system in systems
        ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [cell.name for cell in CELLS]
    parser.add_argument("--cells", type=lambda text: text.split(","), default=names)
    parser.add_argument("--systems", type=lambda text: text.split(","), default=list(SYSTEMS))
    parser.add_argument("--cores", type=lambda text: [int(core) for core in text.split(",")], default=[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "training-benchmark")
    parser.add_argument("--joeynmt-python", type=Path, default=JOEYNMT_PYTHON)
    parser.add_argument("--output", type=Path, help="append the rows to this file too")
    options = parser.parse_args()
    for name, chosen, known in (("--cells", options.cells, names), ("--systems", options.systems, SYSTEMS)):
        if unknown := set(chosen) - set(known):
            parser.error(f"{name}: must be of {', '.join(known)}, got {', '.join(sorted(unknown))}")
    if VARIABLE not in os.environ:
        parser.error(f"{VARIABLE} must name the folder of the corpora, it is not set")
    systems = options.systems
    if not options.joeynmt_python.is_file() and any(s.startswith("joeynmt") for s in systems):
        print(f"JoeyNMT is left out, there is no {options.joeynmt_python}: see --help", file=sys.stderr)
        systems = [system for system in systems if not system.startswith("joeynmt")]
    facts: list[Row] = []
    rows: list[Row] = []
    for cell in CELLS:
        if cell.name in options.cells:
            folder = prepare(cell, Path(os.environ[VARIABLE]), options.work)
            found, measured = measure(cell, folder, systems, options)
            facts.append(found)
            rows += measured
    clock = "tokens_per_processor_second" if len(options.cores) == 1 else "tokens_per_second"
    lines = [json.dumps(row) for row in [*rows, *ratios(rows, clock)]]
    print("\n".join(lines))
    if options.output:
        with options.output.open("a") as file:
            file.write("".join(f"{line}\n" for line in [*map(json.dumps, facts), *lines]))
    print_table(rows, clock)
    return 0


if __name__ == "__main__":
    sys.exit(main())

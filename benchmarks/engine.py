"""Our engine against CTranslate2 on the same weights and the same real sentences.

    KERAS_TRANSFORMER_DATA=FOLDER python benchmarks/engine.py [--only small,int8,b8] [--quick]

FOLDER holds en-it/flores200_devtest.en; without it the embedded test split is translated. CTranslate2 is in
benchmarks/requirements.txt. Each engine runs in a process of its own, token ids in and out, in alternating
rounds. The synthetic models copy their source (engine_peers/copier.py says why); "shipped" is the trained
model: as shipped (int8), or from the float weights that --checkpoint names. In fp32 both engines must first
write the same tokens. One JSON line a row, tables at the end; exit code 1 where the tokens differ.
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engine_peers import measure
from benchmarks.engine_peers.cells import FILE, LARGE, LARGE_LONGEST, Cell, all_cells, chosen
from benchmarks.engine_peers.engines import EOS_ID, Rows
from benchmarks.engine_peers.floor import floor_seconds, measure_rates
from benchmarks.engine_peers.models import MODELS, PRECISIONS, SHIPPED, Prepared, prepare, tokenizer_path
from benchmarks.engine_peers.process import Worker
from benchmarks.engine_peers.report import geometric_means, print_tables
from benchmarks.engine_peers.sentences import read_sentences, spread
from keras_transformer.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "engine-benchmark"
OPTIMUM_PYTHON = ROOT / "build" / "optimum" / "bin" / "python"
OPTIMUM_SETUP = (
    "python -m venv build/optimum && build/optimum/bin/pip install -r benchmarks/requirements-optimum.txt"
)


class Benchmark:
    """Measures cells and collects rows.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._rounds = options.rounds or (2 if options.quick else 5)
        tokenizer = Tokenizer.from_file(tokenizer_path())
        sentences, self.source = read_sentences(tokenizer)
        self._rows = [[*tokenizer.encode(text), EOS_ID] for text in sentences]
        self._rates = measure_rates()
        self.rows: list[dict[str, Any]] = []
        self.starts: list[dict[str, Any]] = []
        self.proofs: list[dict[str, Any]] = []

    def facts(self) -> dict[str, Any]:
        """What the numbers depend on."""
        import ctranslate2
        import onnxruntime

        return {
            "sentences": self.source,
            "threads_of_the_machine": len(os.sched_getaffinity(0)),
            "onnxruntime": onnxruntime.__version__,
            "ctranslate2": ctranslate2.__version__,
            "ctranslate2_environment": measure.peer_environment(),
            "copy_gb_per_second": {f"{mb} MB": round(self._rates.copy(mb << 20) / 1e9, 1) for mb in (8, 256)},
            "gemm_gops": {name: round(rate / 1e9) for name, rate in self._rates.operations.items()},
        }

    def run(self, model: Prepared, cells: list[Cell]) -> None:
        """All `cells` of one model against CTranslate2."""
        for precision, some in groupby(cells, key=lambda cell: cell.precision):
            cells_here = list(some)
            seen = (model.name, precision) in {(start["start"], start["precision"]) for start in self.starts}
            if not seen and (not self._options.only or self._options.start):
                rounds = 1 if self._options.quick else 3
                self.starts.append(_shown(measure.measure_start(model, cells_here[0], rounds)))
            for _, group in groupby(cells_here, key=lambda cell: cell.threads):
                self._run_group(model, list(group), first=precision == "fp32")

    def _run_group(self, model: Prepared, cells: list[Cell], *, first: bool) -> None:
        """Cells that share their processes."""
        threads = cells[0].threads
        with ExitStack() as open_here:
            ours = open_here.enter_context(measure.open_ours(model, cells[0]))
            peers = [open_here.enter_context(measure.open_peer(model, cells[0]))]
            if threads > 1 and any(cell.batch == FILE for cell in cells):  # one translation a thread
                peers.append(open_here.enter_context(measure.open_peer(model, cells[0], threads)))
            if first and all(proof["proof"] != model.name for proof in self.proofs):
                some = self._spread(measure.PROOF_SENTENCES)
                self.proofs.append(_shown(measure.prove(model, ours, peers[0], some)))
            for cell in cells:
                rows = self._rows_of(cell)
                peer = peers[0] if cell.batch != FILE else measure.faster_peer(cell, peers, rows)
                self._measure(cell, model, {"ours": ours, "ctranslate2": peer}, rows)

    def run_optimum(self, model: Prepared, cells: list[Cell], python: Path, folder: Path) -> None:
        """The cells of the shipped sizes against Hugging Face Optimum."""
        if not folder.is_dir():
            _progress(f"optimum: writing its models into {folder}")
            build = [
                str(python),
                str(ROOT / "benchmarks" / "engine_peers" / "optimum_marian.py"),
                str(folder),
            ]
            subprocess.run(build, check=True, capture_output=True)
        for _, group in groupby(cells, key=lambda cell: (cell.precision, cell.threads)):
            some = list(group)
            with (
                measure.open_ours(model, some[0]) as ours,
                measure.open_optimum(python, folder, some[0]) as peer,
            ):
                for cell in some:
                    self._measure(cell, model, {"ours": ours, "optimum": peer}, self._rows_of(cell))

    def _measure(self, cell: Cell, model: Prepared, workers: dict[str, Worker], rows: Rows) -> None:
        clock = "processor_seconds" if self._options.processor_time else "seconds"
        row = measure.measure_cell(cell, workers, rows, self._rounds, clock)
        row["floor_ms"] = round(1e3 * floor_seconds(cell, model.config, list(map(len, rows)), self._rates), 2)
        self.rows.append(_shown(row))

    def _rows_of(self, cell: Cell) -> Rows:
        options = self._options
        count = cell.num_sentences(len(self._rows), quick=options.quick, whole_file=options.whole_file)
        return self._spread(count, LARGE_LONGEST if cell.model in LARGE and not options.all else None)

    def _spread(self, count: int, longest: int | None = None) -> Rows:
        return spread([row for row in self._rows if longest is None or len(row) <= longest], count)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", help="tags with commas between, such as small,int8,b8,t1,greedy"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer sentences, 2 rounds: for work, not to quote"
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds a cell (default 5)")
    parser.add_argument(
        "--sweeps", type=int, default=1, help="over all cells: a busy machine has good and bad minutes"
    )
    parser.add_argument("--processor-time", action="store_true", help="not wall-clock: on a busy machine")
    parser.add_argument("--start", action="store_true", help="measure load times with --only too")
    parser.add_argument("--all", action="store_true", help="beam on two threads, long sentences: 25 minutes")
    parser.add_argument(
        "--whole-file", action="store_true", help="1,000 sentences in file cells: hours for all"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="run folder of the shipped model, for its float weights"
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"models are kept here (default {WORK.name})")
    parser.add_argument(
        "--optimum-python", type=Path, default=OPTIMUM_PYTHON, help=f"made with: {OPTIMUM_SETUP}"
    )
    options = parser.parse_args()
    cells = all_cells(MODELS, PRECISIONS, len(os.sched_getaffinity(0)), everything=options.all)
    try:
        cells = chosen(cells, options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.checkpoint is None and any(cell.model == SHIPPED for cell in cells):
        _progress("shipped: its float weights are not named (--checkpoint), so int8 alone, as it is shipped")
        cells = [cell for cell in cells if cell.model != SHIPPED or cell.precision == "int8"]
    benchmark = Benchmark(options)
    _shown(benchmark.facts())
    for _ in range(options.sweeps):
        for name, group in groupby(cells, key=lambda cell: cell.model):
            benchmark.run(prepare(name, options.work, options.checkpoint, _progress), list(group))
    small = [cell for cell in cells if cell.model == "small" and cell.threads == 1 and cell.batch != FILE]
    if small and options.optimum_python.is_file():
        model = prepare("small", options.work, None, _progress)
        benchmark.run_optimum(model, small, options.optimum_python, options.work / "optimum")
    elif small:
        _progress(f"optimum: left out, there is no {options.optimum_python}: {OPTIMUM_SETUP}")
    rows = measure.pooled(benchmark.rows)
    if options.sweeps > 1:
        for row in rows:
            _shown({"sweeps": options.sweeps, **row})
    means = [_shown(mean) for mean in geometric_means(rows)]
    print_tables(rows, benchmark.starts, means, f"Ours against CTranslate2: {benchmark.source}")
    return int(any(proof["equal_sentences"] < proof["sentences"] for proof in benchmark.proofs))


if __name__ == "__main__":
    sys.exit(main())

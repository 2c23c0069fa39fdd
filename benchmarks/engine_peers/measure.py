"""Runs a cell: two processes, the same sentences, alternating rounds, medians."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine_peers.cells import FILE, Cell
from benchmarks.engine_peers.engines import BEAM_SIZE, Rows
from benchmarks.engine_peers.models import Prepared, tokenizer_path
from benchmarks.engine_peers.process import Worker

OPTIMUM = "optimum"
PROOF_SENTENCES = 64
PROOF_BATCH = 8
WARM_ROWS = 32  # of a file
# CTranslate2's batches of a file, in tokens: the fastest of 512, 1024, 2048 and 4096 where this was written.
PEER_BATCH_TOKENS = {
    ("fp32", 1): 4096,
    ("int8", 1): 2048,
    ("fp32", BEAM_SIZE): 2048,
    ("int8", BEAM_SIZE): 2048,
}


def open_ours(model: Prepared, cell: Cell) -> Worker:
    """Our engine's process."""
    return Worker(["ours", str(model.bundle), cell.precision, str(cell.threads)], cell.threads)


def open_peer(model: Prepared, cell: Cell, workers: int = 1) -> Worker:
    """CTranslate2's process, at its best: its own choice of backend, AVX-512 where the processor has it."""
    arguments = [str(model.peers[cell.precision]), str(tokenizer_path()), cell.precision]
    return Worker(
        ["ctranslate2", *arguments, str(cell.threads), str(workers)],
        cell.threads // workers,
        peer_environment(),
    )


def open_optimum(python: Path, folder: Path, cell: Cell) -> Worker:
    """Optimum's process, under its own interpreter."""
    return Worker([OPTIMUM, str(folder), cell.precision, str(cell.threads)], cell.threads, python=python)


def peer_environment() -> dict[str, str]:
    """CTranslate2 takes its AVX-512 code by itself only on Intel's processors; it is faster on AMD's too."""
    if "CT2_FORCE_CPU_ISA" in os.environ or "avx512f" not in Path("/proc/cpuinfo").read_text().split():
        return {}
    return {"CT2_FORCE_CPU_ISA": "AVX512"}


def measure_start(model: Prepared, cell: Cell, rounds: int) -> dict[str, Any]:
    """Load time, time from process start to the first translation, and peak memory by then."""
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "ctranslate2": []}
    for _ in range(rounds):
        for name, opened in (("ours", open_ours), ("ctranslate2", open_peer)):
            with opened(model, cell) as worker:
                seen[name].append(worker.first)
    row: dict[str, Any] = {"start": model.name, "precision": cell.precision, "rounds": rounds}
    for name, starts in seen.items():
        for key in ("load_seconds", "first_seconds"):
            row[f"{name}_{key}"] = round(statistics.median(start[key] for start in starts), 3)
        row[f"{name}_peak_mb"] = megabytes(statistics.median(start["peak_bytes"] for start in starts))
    return row


def prove(model: Prepared, ours: Worker, peer: Worker, rows: Rows) -> dict[str, Any]:
    """In fp32 both engines write the same tokens: our choice after each prefix of the peer's greedy output."""
    equal = tokens = 0
    for start in range(0, len(rows), PROOF_BATCH):
        request = {"rows": rows[start : start + PROOF_BATCH], "outputs": []}
        theirs = peer.ask(request)["choices"]
        chosen = ours.ask({**request, "outputs": theirs})["choices"]
        equal += sum(a == b for a, b in zip(chosen, theirs, strict=True))
        tokens += sum(map(len, theirs))
    return {"proof": model.name, "sentences": len(rows), "tokens": tokens, "equal_sentences": equal}


def request_of(cell: Cell, rows: Rows) -> dict[str, Any]:
    """One pass of a cell, for a worker."""
    return {
        "rows": rows,
        "batch": cell.batch,
        "beam_size": cell.beam_size,
        "max_batch_tokens": PEER_BATCH_TOKENS[cell.precision, cell.beam_size] if cell.batch == FILE else 0,
    }


def faster_peer(cell: Cell, peers: Sequence[Worker], rows: Rows) -> Worker:
    """Of several settings of CTranslate2, the one that takes `cell` in less time."""
    request = request_of(cell, rows)
    return min(peers, key=lambda peer: peer.ask(request)["seconds"]) if len(peers) > 1 else peers[0]


def measure_cell(
    cell: Cell, workers: dict[str, Worker], rows: Rows, rounds: int, clock: str = "seconds"
) -> dict[str, Any]:
    """Alternating rounds of one cell; the ratio is the median over rounds, above 1 where ours is faster.

    Where the outputs are not of one length (int8), seconds are compared for one output token. `workers`
    holds ours, then the peer. `clock`: "seconds", or "processor_seconds" on a busy machine.
    """
    request = request_of(cell, rows)
    for worker in workers.values():
        worker.ask({**request, "rows": rows[: cell.batch or WARM_ROWS]})
    replies: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for index in range(rounds):
        for name in list(workers)[:: 1 if index % 2 else -1]:
            replies[name].append(workers[name].ask(request))
    own, other = workers
    outputs = {name: answers[0]["outputs"] for name, answers in replies.items()}
    tokens = {name: sum(map(len, found)) + len(rows) for name, found in outputs.items()}
    row: dict[str, Any] = {"peer": other, **cell.tags, "search": cell.search, "sentences": len(rows)}
    if other == OPTIMUM:
        tokens[other] = tokens[own]  # it is made to take their steps; what it writes has no meaning
    else:
        row["same_outputs"] = sum(a == b for a, b in zip(*outputs.values(), strict=True))
    row |= {"rounds": rounds, "tokens": tokens[own]}
    per_token = {
        name: [answer[clock] / tokens[name] for answer in answers] for name, answers in replies.items()
    }
    for name, answers in replies.items():
        row[f"{name}_ms"] = round(1e3 * statistics.median(answer[clock] for answer in answers), 2)
        row[f"{name}_tokens_per_second"] = round(1 / statistics.median(per_token[name]))
        row[f"{name}_peak_mb"] = megabytes(max(answer["peak_bytes"] for answer in answers))
    ratios = [b / a for a, b in zip(per_token[own], per_token[other], strict=True)]
    return row | _of_ratios(ratios)


def pooled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each cell: rows of one cell, measured in several sweeps, as if their rounds were of one."""
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = tuple(row[tag] for tag in ("peer", "model", "precision", "batch", "threads", "search"))
        cells.setdefault(key, []).append(row)
    found = []
    for some in cells.values():
        row = dict(some[0])
        for name in row:
            if name.endswith(("_ms", "_tokens_per_second")):
                row[name] = round(statistics.median(one[name] for one in some), 2)
            elif name.endswith("_peak_mb"):
                row[name] = max(one[name] for one in some)
        row["rounds"] = sum(one["rounds"] for one in some)
        found.append(row | _of_ratios([ratio for one in some for ratio in one["ratios"]]))
    return found


def _of_ratios(ratios: Sequence[float]) -> dict[str, Any]:
    ratios = [round(ratio, 3) for ratio in ratios]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [min(ratios), max(ratios)],
        "ratios": ratios,
    }


def megabytes(count: float) -> int:
    """In MB of 2**20 bytes."""
    return round(count / 2**20)

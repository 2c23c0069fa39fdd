"""Rows out of answers, and the table at the end."""

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.training_peers.cells import OURS

Row = dict[str, Any]
JOEYNMT = "joeynmt-own-batches"  # as its users run it


def row_of(cell: str, system: str, facts: Row, answers: Sequence[Row], cores: int) -> Row:
    """Medians of one system's rounds.

    Args:
        cell, system: Names.
        facts: What the process said of itself.
        answers: Of the rounds; `limit` is the target tokens a second that the products alone would have allowed.
        cores: That it may use.
    """
    wall = statistics.median(answer["tokens"] / answer["seconds"] for answer in answers)
    processor = statistics.median(answer["tokens"] / answer["processor_seconds"] for answer in answers)
    row = {"cell": cell, "system": system, "cores": cores, "rounds": len(answers), **facts}
    row |= {
        "tokens_per_second": round(wall),
        "tokens_per_processor_second": round(processor),
        "tokens_per_update": round(sum(a["tokens"] for a in answers) / sum(a["updates"] for a in answers)),
        "updates": sum(answer["updates"] for answer in answers),
        "peak_mb": round(max(answer["peak_bytes"] for answer in answers) / 2**20),
    }
    of_limit = statistics.median(a["tokens"] / a["processor_seconds"] / a["limit"] for a in answers)
    return row | {"of_limit": round(of_limit, 3)}


def ratios(rows: Sequence[Row], clock: str) -> list[Row]:
    """Ours over JoeyNMT and over plain torch, by cell and number of cores."""
    found = []
    for row in rows:
        if row["system"] not in OURS:
            continue
        others = {
            other["system"]: other
            for other in rows
            if other["cell"] == row["cell"] and other["cores"] == row["cores"]
        }
        ratio = {"ratio_of": row["system"], "cell": row["cell"], "cores": row["cores"], "clock": clock}
        for name in (JOEYNMT, "joeynmt", "plain-torch"):
            if name in others:
                ratio[f"to {name}"] = round(row[clock] / others[name][clock], 2)
        found.append(ratio)
    return found


def print_table(rows: Sequence[Row], clock: str) -> None:
    """One line a row."""
    table = Table(title="Real target tokens a second while training, float32")
    for heading in ("cell", "system", "cores"):
        table.add_column(heading)
    headings = (
        "tokens/s",
        "tokens/processor s",
        "of the limit",
        "× JoeyNMT",
        "× JoeyNMT, our batches",
        "× plain torch",
    )
    for heading in (*headings, "padding", "peak MB"):
        table.add_column(heading, justify="right")
    by_system = {(r["cell"], r["cores"], r["ratio_of"]): r for r in ratios(rows, clock)}
    for row in rows:
        ratio = by_system.get((row["cell"], row["cores"], row["system"]), {})
        values = [row["tokens_per_second"], row["tokens_per_processor_second"]]
        values.append(f"{row['of_limit']:.0%}")
        values += [ratio.get(f"to {name}", "") for name in (JOEYNMT, "joeynmt", "plain-torch")]
        values += [f"{row['padding']:.1%}" if "padding" in row else "", row["peak_mb"]]
        table.add_row(row["cell"], row["system"], str(row["cores"]), *map(str, values))
    Console(width=150).print(table)

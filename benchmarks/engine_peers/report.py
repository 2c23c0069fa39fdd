"""The tables at the end."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def geometric_means(rows: Sequence[Row]) -> list[Row]:
    """Of the ratios, by peer, precision and search, with the least one and how many cells there are."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["peer"], row["precision"], row["search"]].append(row)
    means = []
    for (peer, precision, search), group in sorted(groups.items()):
        ratios = [row["ratio"] for row in group]
        means.append(
            {
                "mean_of": precision,
                "search": search,
                "peer": peer,
                "cells": len(ratios),
                "ratio": round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 3),
                "least": min(ratios),
                "below_1": sum(ratio < 1 for ratio in ratios),
            }
        )
    return means


def print_tables(rows: Sequence[Row], starts: Sequence[Row], means: Sequence[Row], title: str) -> None:
    """Cells, starts and means as three tables."""
    console = Console(width=150)
    _print_cells(console, [row for row in rows if row["peer"] == "ctranslate2"], title, "CT2")
    if optimum := [row for row in rows if row["peer"] == "optimum"]:
        _print_cells(
            console, optimum, "Ours against Hugging Face Optimum, a Marian of the same sizes", "Optimum"
        )
    if starts:
        table = Table(
            title="Start: load, process start to first translation (seconds), peak memory by then (MB)"
        )
        for heading in ("model", "precision", "load", "CT2", "first", "CT2", "MB", "CT2"):
            table.add_column(heading, justify="left" if heading in ("model", "precision") else "right")
        for row in starts:
            pairs = [
                str(row[f"{engine}_{key}"])
                for key in ("load_seconds", "first_seconds", "peak_mb")
                for engine in ("ours", "ctranslate2")
            ]
            table.add_row(row["start"], row["precision"], *pairs)
        console.print(table)
    table = Table(title="Geometric means of the ratios")
    for heading in ("peer", "precision", "search", "ratio", "least", "cells", "below 1"):
        table.add_column(heading)
    for mean in means:
        keys = ("peer", "mean_of", "search", "ratio", "least", "cells", "below_1")
        table.add_row(*(str(mean[key]) for key in keys))
    console.print(table)


def _print_cells(console: Console, rows: Sequence[Row], title: str, peer: str) -> None:
    table = Table(title=title)
    for heading in ("model", "precision", "batch", "threads", "search", "sentences"):
        table.add_column(heading)
    figures = (
        "ours ms",
        f"{peer} ms",
        "ratio",
        "tokens/s",
        f"{peer} tokens/s",
        "× floor",
        "MB",
        f"{peer} MB",
        "same",
    )
    for heading in figures:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: Row) -> list[str]:
    named = [row["model"], row["precision"], row["batch"], row["threads"], row["search"]]
    peer = row["peer"]
    floor = f"{row['ours_ms'] / row['floor_ms']:.1f}" if row.get("floor_ms") else "–"
    values = [row["ours_ms"], row[f"{peer}_ms"], f"{row['ratio']:.2f}", row["ours_tokens_per_second"]]
    values += [row[f"{peer}_tokens_per_second"], floor, row["ours_peak_mb"], row[f"{peer}_peak_mb"]]
    same = f"{row['same_outputs']}/{row['sentences']}" if "same_outputs" in row else "–"
    return [*named, str(row["sentences"]), *map(str, values), same]

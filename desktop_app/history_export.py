"""The history as a file for other programs: CSV or JSON. Knows no Tk."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from desktop_app.history import Entry
from keras_transformer.errors import UserError

_NAMES = ("time", "source_language", "target_language", "source", "target")


def export_history(entries: Iterable[Entry], path: Path) -> int:
    """Write entries to `path` by its ending, and return how many; the file is there whole or not at all.

    Args:
        entries: For example `History.entries()`; what it raises passes through.
        path: Ends in .csv or .json; a file that is there is replaced.

    Raises:
        UserError: another ending, or a place that cannot be written.
    """
    writers = {".csv": _write_csv, ".json": _write_json}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UserError(f"The export must be a .csv or .json file, got {path.name}. Choose one of the two.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        count = write(temporary, entries)
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"The export must be writable at {path}, it is not: {error.strerror}. Choose another place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return count


def _plain(entry: Entry) -> dict[str, str]:
    values = asdict(entry) | {"time": datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="seconds")}
    return {name: values[name] for name in _NAMES}


def _write_csv(path: Path, entries: Iterable[Entry]) -> int:
    count = 0
    # utf-8-sig: the mark by which a spreadsheet knows UTF-8.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, _NAMES)
        writer.writeheader()
        for entry in entries:
            writer.writerow(_plain(entry))
            count += 1
    return count


def _write_json(path: Path, entries: Iterable[Entry]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("[")
        for entry in entries:
            file.write(",\n " if count else "\n ")
            file.write(json.dumps(_plain(entry), ensure_ascii=False))
            count += 1
        file.write("\n]\n")
    return count

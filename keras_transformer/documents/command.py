"""What ``python -m keras_transformer.translate --file`` does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from keras_transformer.documents.files import (
    FileProgress,
    FileReport,
    SearchChoice,
    TextTranslator,
    translate_file,
)

_SHOWN = 3  # of the segments that stayed as they were
_SHOWN_CHARACTERS = 70


def run(translator: TextTranslator, source: Path, target: Path, search: SearchChoice) -> None:
    """Translate a file, with its progress and what stayed untranslated on stderr.

    Raises:
        UserError: a file cannot be read or written, or is not what its suffix says.
    """
    on_a_screen = sys.stderr.isatty()
    last = 0.0

    def show(progress: FileProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.done == progress.total or now - last > (0.1 if on_a_screen else 5.0):
            last = now
            line = f"{progress.done:,} of {progress.total:,} segments"
            sys.stderr.write(f"\r{line}" if on_a_screen else f"{line}\n")
            sys.stderr.flush()

    try:
        report = translate_file(translator, source, target, search=search, on_progress=show)
    finally:
        if on_a_screen:
            sys.stderr.write("\n")
    sys.stderr.write(summary(report, target) + "\n")


def _count(segments: int) -> str:
    return f"{segments:,} segment{'s' if segments != 1 else ''}"


def summary(report: FileReport, target: Path) -> str:
    """What a reader of the translated file should know, in a few lines."""
    lines = [f"{target}: {_count(report.segments)} translated"]
    if report.resumed:
        lines[0] += f", {report.resumed:,} of them by a call before"
    if report.kept:
        lines.append(f"{len(report.kept):,} stayed as they were, in whole or in part:")
        for text in report.kept[:_SHOWN]:
            short = " ".join(text.split())
            lines.append(
                "  " + (short if len(short) <= _SHOWN_CHARACTERS else short[: _SHOWN_CHARACTERS - 1] + "…")
            )
        if len(report.kept) > _SHOWN:
            lines.append("  …")
    for flag, meaning in (
        ("cut_loop", "had an endless repetition cut"),
        ("cut_length", "reached the length limit"),
    ):
        if report.flags.get(flag):
            lines.append(f"{report.flags[flag]:,} {meaning}")
    return "\n".join(lines)

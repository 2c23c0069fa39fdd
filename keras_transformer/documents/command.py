"""What ``python -m keras_transformer.translate --file`` does."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.documents.files import (
    FileProgress,
    FileReport,
    SearchChoice,
    TextTranslator,
    translate_file,
)

_SHOWN = 3  # of the segments that stayed as they were
_SHOWN_CHARACTERS = 70
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(translator: TextTranslator, source: Path, target: Path, search: SearchChoice) -> int:
    """Translate a file, with its progress and what stayed untranslated on stderr.

    SIGINT and SIGTERM end it after what is done is noted; the same call goes on from there.

    Returns:
        The exit status: 0, or 128 and the number of the signal.

    Raises:
        UserError: a file cannot be read or written, or is not what its suffix says.
    """
    on_a_screen = sys.stderr.isatty()
    last = 0.0
    cancellation = Cancellation()

    def show(progress: FileProgress) -> None:
        nonlocal last
        now = time.monotonic()
        if progress.done == progress.total or now - last > (0.1 if on_a_screen else 5.0):
            last = now
            line = f"{progress.done:,} of {progress.total:,} segments"
            sys.stderr.write(f"\r{line}" if on_a_screen else f"{line}\n")
            sys.stderr.flush()

    with _ended_by_signals(cancellation) as received:
        try:
            report = translate_file(
                translator, source, target, search=search, cancellation=cancellation, on_progress=show
            )
        except Cancelled:
            end = "\n" if on_a_screen else ""
            sys.stderr.write(f"{end}stopped; what is done is kept, and the same command goes on from there\n")
            return 128 + received[0]
    if on_a_screen:
        sys.stderr.write("\n")
    sys.stderr.write(summary(report, target) + "\n")
    return 0


@contextlib.contextmanager
def _ended_by_signals(cancellation: Cancellation) -> Iterator[list[int]]:
    """Have signals cancel; the list holds the number of the one that came."""
    received: list[int] = []

    def end(number: int, _frame: object) -> None:
        received.append(number)
        cancellation.cancel()

    earlier = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _count(segments: int) -> str:
    return f"{segments:,} segment{'s' if segments != 1 else ''}"


def summary(report: FileReport, target: Path) -> str:
    """What a reader of the translated file should know, in a few lines."""
    whole = report.segments - len(report.kept)
    lines = [f"{target}: {whole:,} of {_count(report.segments)} translated"]
    if report.resumed:
        lines[0] += f", {report.resumed:,} of them by a call before"
    lines += _listed(
        report.kept, "stayed as they were, in whole or in part, since no translation passed the checks:"
    )
    lines += _listed(report.left, "left as they were (code, formulas, or marked as not to be translated):")
    for flag, meaning in (
        ("cut_loop", "had an endless repetition cut"),
        ("cut_length", "reached the length limit"),
    ):
        if report.flags.get(flag):
            lines.append(f"{report.flags[flag]:,} {meaning}")
    return "\n".join(lines)


def _listed(texts: Sequence[str], what: str) -> list[str]:
    """How many there are, and the first of them."""
    if not texts:
        return []
    lines = [f"{len(texts):,} {what}"]
    for text in texts[:_SHOWN]:
        short = " ".join(text.split())
        lines.append(
            "  " + (short if len(short) <= _SHOWN_CHARACTERS else short[: _SHOWN_CHARACTERS - 1] + "…")
        )
    return lines + ["  …"] * (len(texts) > _SHOWN)

"""Documents translated from file to file, one after the other, beside what is typed. Knows no Tk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from desktop_app.background import Background
from desktop_app.messages import Messages
from desktop_app.service import Cancellation, FileAnswer, FileTranslation


class Teller(Protocol):
    """What says how it stands: the window's status line."""

    def show_state(self, sentence: str, details: str = "") -> None:
        """Say what goes on."""

    def show_message(self, sentence: str) -> None:
        """Say something for a moment."""

    def show_notice(self, sentence: str, details: Exception | str = "", *, error: bool = False) -> None:
        """Say what must not be overlooked."""

    def show_progress(self, share: float | None) -> None:
        """Show how much is done, in [0, 1]; None where nothing runs."""


@dataclass
class _Document:
    """One to translate; `share` is written by its thread and read by the window's timer."""

    translate: FileTranslation
    source: Path
    target: Path
    cancellation: Cancellation
    share: float = 0.0


class Documents:
    """Translates documents in the order they come, and says in the end what became of them.

    Args:
        background: A thread of its own: a document may take minutes.
        say: The window's sentences.
        status: Told what goes on.
        rest: Has the window say how it stands otherwise, when no document is left.
    """

    def __init__(
        self, background: Background, say: Messages, status: Teller, rest: Callable[[], None]
    ) -> None:
        self._background, self._say, self._status, self._rest = background, say, status, rest
        self._waiting: list[_Document] = []
        self._running: _Document | None = None
        self._ended: list[tuple[_Document, FileAnswer | Exception]] = []  # since the last rest

    @property
    def busy(self) -> bool:
        """Whether a document is being translated."""
        return self._running is not None

    @property
    def targets(self) -> set[Path]:
        """The files that will be written: not there yet, and not free."""
        ones = self._waiting if self._running is None else [self._running, *self._waiting]
        return {one.target for one in ones if not one.cancellation.cancelled}

    def add(self, translate: FileTranslation, source: Path, target: Path, cancellation: Cancellation) -> None:
        """Translate a document now, or after those that wait."""
        self._waiting.append(_Document(translate, source, target, cancellation))
        if self._running is None:
            self._next()

    def cancel(self) -> None:
        """Stop what runs and drop what waits; what is done of it is kept for the next time."""
        self._waiting.clear()
        if self._running is not None:
            self._running.cancellation.cancel()

    def poll(self) -> None:
        """Show how far they are; called by the window's timer."""
        self._background.poll()
        if self._running is not None:
            total = len(self._ended) + 1 + len(self._waiting)
            self._status.show_progress((len(self._ended) + self._running.share) / total)

    def _next(self) -> None:
        one = self._running = self._waiting.pop(0)
        self._status.show_state(self._say("files.translating", name=one.source.name))

        def on_progress(share: float) -> None:
            one.share = share

        self._background.run(
            "",
            lambda: one.translate(one.source, one.target, one.cancellation, on_progress),
            self._finished,
            self._finished,
        )

    def _finished(self, result: FileAnswer | Exception) -> None:
        one, self._running = self._running, None
        if one is None:
            return
        if not (one.cancellation.cancelled and isinstance(result, Exception)):
            self._ended.append((one, result))
        if self._waiting:  # after a cancel too: these were asked for since
            self._next()
            return
        ended, self._ended = self._ended, []
        self._status.show_progress(None)
        self._rest()
        if ended:
            self._tell(ended)
        else:
            self._status.show_message(self._say("cancelled"))

    def _tell(self, ended: list[tuple[_Document, FileAnswer | Exception]]) -> None:
        failed = [(one, result) for one, result in ended if isinstance(result, Exception)]
        if len(ended) == 1 and failed:
            one, error = failed[0]
            sentence = self._say("error.file", name=one.source.name, reason=reason_of(error))
            self._status.show_notice(sentence, error, error=True)
            return
        answers = [result for _, result in ended if isinstance(result, FileAnswer)]
        if len(ended) == 1:
            sentence = self._say("files.done", name=ended[0][0].target.name)
        else:
            sentence = self._say("files.done.many", done=len(answers), total=len(ended))
        kept = sum(len(answer.kept) for answer in answers)
        left = sum(len(answer.left) for answer in answers)
        notes = [self._say.note(answer.flags) for answer in answers if not answer.kept]
        notes += [self._say("files.kept", count=self._say.number(kept))] if kept else []
        notes += [self._say("files.left", count=self._say.number(left))] if left else []
        sentence = " ".join(dict.fromkeys(filter(None, [sentence, *notes])))
        details = "\n\n".join(filter(None, (self._account(one, result) for one, result in ended)))
        self._status.show_notice(sentence, details, error=bool(failed))

    def _account(self, one: _Document, result: FileAnswer | Exception) -> str:
        """What a reader of one translated document should know; "" where all of it is translated."""
        if isinstance(result, Exception):
            return self._say("error.file", name=one.source.name, reason=reason_of(result))
        lines = []
        for key, texts in (("files.kept", result.kept), ("files.left", result.left)):
            if texts:
                lines.append(self._say(key, count=self._say.number(len(texts))))
                lines += [f"    {' '.join(text.split())}" for text in texts]
        return "\n".join([one.target.name, *lines]) if lines else ""


def reason_of(error: Exception) -> str:
    """Return one line that says why."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def free_name(wanted: Path, taken: Callable[[Path], bool]) -> Path:
    """Return a name that no file has: "a.it.txt", "a.it (2).txt", …"""
    path, number = wanted, 1
    while taken(path):
        number += 1
        path = wanted.with_name(f"{wanted.stem} ({number}){wanted.suffix}")
    return path

"""What went wrong, for a report: kinds of error and places in the code, versions, and no word of the user's.

An error's own message is left out, for it may quote the text that was translated. Knows no Tk.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import sys
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

_LOGGER = logging.getLogger(__name__)

FILE_NAME, FAULT_FILE_NAME = "crash.log", "fault.log"
_FILE_BYTES, _OLDER_FILES = 256 * 1024, 3
_LONGEST_CHAIN = 20
_PACKAGES = (
    "keras_transformer",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "sentencex",
    "platformdirs",
    "tkinterdnd2",
)


def log_path() -> Path | None:
    """Return the folder of this user's logs, or None where platformdirs is not installed."""
    try:
        import platformdirs
    except ImportError:
        return None
    return platformdirs.user_log_path("keras_transformer", appauthor=False)


class CrashLog:
    """The crash log in a folder: four files of at most 256 KiB, and one for crashes of native code.

    Args:
        folder: Made when there is something to write, or None to write nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._fault_file: TextIO | None = None

    def install(self) -> None:
        """Write down every uncaught exception of any thread from now on, and crashes of native code."""
        earlier, earlier_in_thread = sys.excepthook, threading.excepthook

        def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self.record(error)
            earlier(kind, error, trace)

        def note_in_thread(arguments: threading.ExceptHookArgs) -> None:
            if arguments.exc_value is not None:
                self.record(arguments.exc_value)
            earlier_in_thread(arguments)

        sys.excepthook, threading.excepthook = note, note_in_thread
        self._watch_native_code()

    def record(self, error: BaseException) -> Path | None:
        """Write down an exception, once for each place it comes from; returns the file, or None where it cannot.

        Keyboard interrupts and exits are no crashes.
        """
        if self._folder is None or isinstance(error, KeyboardInterrupt | SystemExit):
            return None
        path = self._folder / FILE_NAME
        trace = describe(error)
        with self._lock:
            if trace in self._known:  # a failing timer would fill the disk
                return path
            self._known.add(trace)
            moment = datetime.now(UTC).isoformat(timespec="seconds")
            thread = threading.current_thread().name
            try:
                from logging.handlers import RotatingFileHandler  # slow to load, and seldom needed

                self._folder.mkdir(parents=True, exist_ok=True)
                handler = RotatingFileHandler(
                    path, maxBytes=_FILE_BYTES, backupCount=_OLDER_FILES, encoding="utf-8", delay=True
                )
                handler.handleError = _raise  # type: ignore[method-assign]  # it would print the record
                text = f"==== {moment}, thread {thread}\n{versions()}\n{trace.rstrip()}"
                try:
                    handler.emit(logging.LogRecord("crash", logging.ERROR, "", 0, text, None, None))
                finally:
                    handler.close()
            except OSError as failure:
                _LOGGER.warning("the crash log was not written: %s", failure)
                return None
        return path

    def _watch_native_code(self) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / FAULT_FILE_NAME
            if path.exists() and path.stat().st_size > _FILE_BYTES:
                path.replace(path.with_name(f"{path.name}.1"))
            # Open as long as the process lives: in a crash nothing can be opened any more.
            self._fault_file = path.open("a", encoding="utf-8")
            faulthandler.enable(self._fault_file)
        except OSError as failure:
            _LOGGER.warning("crashes of native code will not be logged: %s", failure)


def versions() -> str:
    """Return one line: the app, Python, Tk, the packages that matter, and the system."""
    from importlib import metadata  # slow to load, and seldom needed

    parts = [f"Python {platform.python_version()}"]
    tkinter = sys.modules.get("tkinter")  # this module must work where there is none
    if tkinter is not None:
        parts.append(f"Tk {tkinter.Tcl().eval('info patchlevel')}")
    for name in _PACKAGES:
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            parts.append(f"{name} not installed")
    frozen = ", frozen" if getattr(sys, "frozen", False) else ""
    return ", ".join([*parts, f"{platform.system()} {platform.release()} {platform.machine()}{frozen}"])


def describe(error: BaseException) -> str:
    """Return kinds and places of an exception, of its causes and of its parts, without their messages."""
    return "\n".join(_lines(error, set())) + "\n"


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    if id(error) in seen or len(seen) >= _LONGEST_CHAIN:
        return
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _lines(cause, seen)
        yield "which led to" if error.__cause__ is not None else "during which came"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f'  File "{_short(frame.filename)}", line {frame.lineno}, in {frame.name}'
        if frame.line:
            yield f"    {frame.line}"
    yield f"{type(error).__module__}.{type(error).__qualname__}{_code(error)}"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield "with"
            yield from _lines(part, seen)


def _code(error: BaseException) -> str:
    """A number that says more than the kind and quotes nothing."""
    if isinstance(error, OSError) and error.errno is not None:
        return f" (errno {error.errno})"
    name = getattr(error, "sqlite_errorname", None)
    return f" ({name})" if isinstance(name, str) else ""


def _short(file_name: str) -> str:
    """A path without the folders before the package: they may hold the user's name."""
    path = Path(file_name)
    for folder in sorted(filter(None, sys.path), key=len, reverse=True):
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name if os.path.isabs(file_name) else file_name


def _raise(record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if error is not None:
        raise error

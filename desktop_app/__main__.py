"""`python -m desktop_app`: the only place where bundle, service and window meet."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from desktop_app import settings, system
from desktop_app.crash_log import CrashLog, log_path
from desktop_app.service import Load, LoadedModel, TranslationService
from keras_transformer.errors import UserError

if TYPE_CHECKING:
    import tkinter

_LOGGER = logging.getLogger(__name__)

_CLOSE_SECONDS = 1.0  # a cancelled translation ends in a fraction of it; a load need not be waited for
_KEEP_SECONDS = 0.3  # at least, for what is still being written to the history
_EXIT_USER_ERROR = 2
_DRAWN_MS = 1000
_ICON = "keras-transformer.png"

NO_TKINTER = (
    "the window needs tkinter, which this Python lacks. "
    "Install it (Debian and Ubuntu: python3-tk, Fedora: python3-tkinter, Homebrew: python-tk)."
)
NO_DISPLAY = (
    "the window needs a display, got {reason}. "
    "Start it from a desktop session, or translate in the terminal with "
    "`python -m keras_transformer.translate`."
)


def build_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m desktop_app",
        description="Open the translator: type on the left, read the translation on the right. "
        "Works offline; nothing you type leaves the computer.",
        epilog="F1 in the window lists its keys. "
        "Exit codes: 0 closed, 1 failed, 2 no display, no model or wrong usage, 130 interrupted.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="BUNDLE",
        help="folder written by export/to_onnx.py (default: the model picked last, else the shipped one)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the model runs; auto takes CUDA where it works, else the CPU (default: auto)",
    )
    return parser


def check_folder(folder: Path | None) -> None:
    """Refuse a folder that holds no bundle before a window opens; damage is found while loading.

    Raises:
        UserError: there is no manifest in `folder`.
    """
    from desktop_app.models import has_manifest
    from keras_transformer.runtime.bundle import Bundle

    if folder is not None and not has_manifest(folder):
        Bundle.open(folder)  # raises, and says what a bundle is


def load_bundle(folder: Path | None, device: str) -> LoadedModel:
    """Load a bundle, None for the shipped one, and return what the service needs of it.

    Raises:
        UserError: the bundle is missing or damaged, or the device is not there.
    """
    from desktop_app import adapter  # the engine: on the worker's thread

    return adapter.load_bundle(folder, device)


def load_remembered(folder: Path, device: str) -> LoadedModel:
    """Load the bundle picked last, or where it cannot be loaded the shipped one, which says so.

    Raises:
        Exception: what loading the first one raised, where there is no shipped one either.
    """
    try:
        return load_bundle(folder, device)
    except Exception as error:
        _LOGGER.warning("the model picked last could not be loaded: %s", error, exc_info=_trace(error))
        try:
            return dataclasses.replace(load_bundle(None, device), instead_of=error)
        except UserError:
            raise error from None


def open_root() -> tkinter.Tk:
    """Return a hidden Tk root. Raises UserError without tkinter or without a display."""
    try:
        import tkinter
    except ImportError as error:
        raise UserError(NO_TKINTER) from error
    system.announce_dpi_awareness()
    try:
        root = tkinter.Tk(className="keras_transformer")
    except tkinter.TclError as error:
        raise UserError(NO_DISPLAY.format(reason=f'"{error}"')) from error
    root.withdraw()
    return root


def remembered_folder(chosen: settings.WindowSettings) -> Path | None:
    """Return the model picked last, None where it cannot be reached or none was picked."""
    from desktop_app.models import has_manifest

    folder = Path(chosen.model)
    return folder if chosen.model and has_manifest(folder) else None


def run(model: Path | None, device: str, crash_log: CrashLog) -> int:
    """Open the window over a model, and return the exit code once it is closed.

    Args:
        model: A bundle folder, or None for the one picked last.
        device: "auto", "cpu" or "cuda".
        crash_log: Told what callbacks raise.

    Raises:
        UserError: no tkinter, no display, or what the load raised as such.
    """

    def load(folder: Path | None) -> Load:
        return lambda: load_bundle(folder, device)

    root = open_root()
    path = settings.settings_path()
    chosen, set_aside = settings.load_settings(path)
    remembered = None if model is not None else remembered_folder(chosen)
    service = TranslationService(
        load(model) if remembered is None else lambda: load_remembered(remembered, device)
    )

    from desktop_app.history import History, history_path
    from desktop_app.messages import Messages, chosen_language
    from desktop_app.models import Models, models_path
    from desktop_app.rooms import Rooms
    from desktop_app.theme import Theme
    from desktop_app.window import Window

    dark = system.prefers_dark() if chosen.look == "system" else chosen.look == "dark"
    theme = Theme(root, dark=dark, dpi=system.xft_dpi(), font_size=chosen.font_size)
    say = Messages(chosen_language(chosen.language))
    history = History(history_path())
    rooms = Rooms(load, history, Models(models_path()), crash_log.record)
    notice = say("error.settings", name=set_aside) if set_aside else ""
    window = Window(root, service, theme, say, chosen, rooms, notice)
    _when_drawn(root, window.source.text, service.start)
    root.after(500, lambda: _show_icon(root))  # after the window: it costs milliseconds

    def stop(number: int, _frame: FrameType | None) -> None:
        window.quit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    window.run()
    settings.save_settings(path, window.settings())
    root.withdraw()
    root.update_idletasks()  # gone from the screen before the threads are waited for
    deadline = time.monotonic() + _CLOSE_SECONDS
    ended = service.close(_CLOSE_SECONDS)
    ended = window.close(max(_KEEP_SECONDS, deadline - time.monotonic())) and ended
    if ended:
        history.close()
    error = window.live.load_error
    if error is not None and not window.exit_code:
        window.exit_code = _EXIT_USER_ERROR if isinstance(error, UserError) else 1
        _LOGGER.error("the model could not be loaded: %s", error, exc_info=_trace(error))
    if not ended:
        # Still inside a call into native code: ending the interpreter under it would crash.
        _LOGGER.warning("a thread did not end in time; leaving without it")
        logging.shutdown()
        os._exit(window.exit_code)
    root.destroy()
    return window.exit_code


def _when_drawn(root: tkinter.Tk, text: tkinter.Text, start: Callable[[], None]) -> None:
    """Call `start` once, when the window shows its text.

    Loading a model beside the building of the window would take both of them longer than one after the other.
    """
    started = False

    def go(_event: object = None) -> None:
        nonlocal started
        if not started:
            started = True
            text.unbind("<Expose>")
            start()

    text.bind("<Expose>", lambda _: root.after_idle(go))
    root.after(_DRAWN_MS, go)  # a window that begins as an icon is never drawn


def _show_icon(root: tkinter.Tk) -> None:
    import tkinter

    root.iconphoto(True, tkinter.PhotoImage(master=root, file=Path(__file__).parent / "icons" / _ICON))


def _trace(error: Exception) -> Exception | None:
    """Return what a log needs beside the sentence: nothing of a user's mistake, the trace of a bug."""
    return None if isinstance(error, UserError) else error


def _tell(error: UserError) -> None:
    """Say why no window opens: in the terminal, or where there is none (pythonw, the frozen program) in a box."""
    if sys.stderr is not None:
        sys.stderr.write(f"error: {error}\n")
        return
    with contextlib.suppress(Exception):  # no tkinter or no display: there is nowhere to say it
        from tkinter import messagebox

        messagebox.showerror("Keras Transformer", str(error))


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    crash_log = CrashLog(log_path())
    crash_log.install()
    try:
        check_folder(options.model)
        return run(options.model, options.device, crash_log)
    except UserError as error:
        _tell(error)
        return _EXIT_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())

"""`python -m desktop_app`: the only place where bundle, service and window meet."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from desktop_app import messages, settings, system
from desktop_app.service import Answer, LoadedModel, ShouldStop, TranslationService
from keras_transformer.errors import UserError

if TYPE_CHECKING:
    import tkinter

_CLOSE_SECONDS = 5.0  # longer than one decoding step and than the load of the largest bundle we ship
_EXIT_USER_ERROR = 2


def build_parser() -> argparse.ArgumentParser:
    """Return the command's argument parser."""
    parser = argparse.ArgumentParser(
        prog="python -m desktop_app",
        description="Open the translator: type on the left, read the translation on the right. "
        "Works offline; nothing you type leaves the computer.",
        epilog="Keys: Ctrl+Enter translate now, Ctrl+Shift+C copy the translation, Ctrl+L clear, "
        "Ctrl+Q quit, Tab next pane or button. "
        "Exit codes: 0 closed, 1 failed, 2 no display, no model or wrong usage, 130 interrupted.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="BUNDLE",
        help="folder written by export/to_onnx.py (default: the model shipped with the package)",
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
    from keras_transformer.runtime.bundle import MANIFEST_FILE, Bundle

    if folder is not None and not (folder / MANIFEST_FILE).is_file():
        Bundle.open(folder)  # raises, and says what a bundle is


def load_bundle(folder: Path | None, device: str) -> LoadedModel:
    """Load a bundle and return what the service needs of it.

    Args:
        folder: The bundle, or None for the one shipped with the package.
        device: "auto", "cpu" or "cuda".

    Raises:
        UserError: the bundle is missing or damaged, or the device is not there.
    """
    from keras_transformer.runtime.translator import Translator  # heavy: on the worker's thread

    translator = Translator.from_pretrained(folder, device=device)

    def translate(text: str, should_stop: ShouldStop) -> Answer:
        translation = translator.translate(text, should_stop=should_stop)
        return Answer(translation.text, messages.note(translation.flags))

    return LoadedModel(
        translate=translate,
        source_language=translator.source_language,
        target_language=translator.target_language,
        device=translator.device,
        device_note=translator.device_note,
        precision=translator.precision,
    )


def open_root() -> tkinter.Tk:
    """Return a hidden Tk root. Raises UserError without tkinter or without a display."""
    try:
        import tkinter
    except ImportError as error:
        raise UserError(messages.NO_TKINTER) from error
    system.announce_dpi_awareness()
    try:
        root = tkinter.Tk(className="keras_transformer")
    except tkinter.TclError as error:
        raise UserError(messages.NO_DISPLAY.format(reason=f'"{error}"')) from error
    root.withdraw()
    return root


def run(load: Callable[[], LoadedModel]) -> int:
    """Open the window over a model, and return the exit code once it is closed.

    Args:
        load: Loads the model; called on the worker thread while the window already shows.

    Raises:
        UserError: no tkinter, no display, or what `load` raised as such.
    """
    root = open_root()
    service = TranslationService(load)
    service.start()  # the model loads while the window is built

    from desktop_app.theme import Theme
    from desktop_app.window import Window

    path = settings.settings_path()
    theme = Theme(root, dark=system.prefers_dark(), dpi=system.xft_dpi())
    window = Window(root, service, theme, settings.load_settings(path))

    def stop(number: int, _frame: FrameType | None) -> None:
        window.quit(128 + number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    window.run()
    settings.save_settings(path, window.settings())
    root.destroy()
    if not service.close(_CLOSE_SECONDS):
        # Still inside a call into native code: ending the interpreter under it would crash.
        logging.getLogger(__name__).warning("the worker did not end in time; leaving without it")
        logging.shutdown()
        os._exit(window.exit_code)
    if isinstance(window.load_error, UserError):
        raise window.load_error
    if window.load_error is not None:
        logging.getLogger(__name__).error("the model could not be loaded", exc_info=window.load_error)
    return window.exit_code


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        check_folder(options.model)
        return run(lambda: load_bundle(options.model, options.device))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return _EXIT_USER_ERROR


if __name__ == "__main__":
    sys.exit(main())

"""Files: a text opened into the window, the translation saved, a document translated from file to file."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tkinter import filedialog

from desktop_app.background import Background
from desktop_app.live import LiveTranslation
from desktop_app.messages import Messages
from desktop_app.panes import TextPane
from desktop_app.service import Cancellation, LoadedModel
from desktop_app.status_line import StatusLine

_MAX_TEXT_BYTES = 20_000_000  # more is a mistake in the dialog, not something to read


@dataclass
class _Running:
    """The document that is being translated; written by its thread, read by the window's timer."""

    name: str
    cancellation: Cancellation
    share: float = 0.0


class Files:
    """What the entries of the file menu do. Nothing is read or written on the Tk thread.

    Args:
        root: Parent of the dialogs.
        live: Whose model translates documents.
        source: Gets the text of an opened file.
        target: Its text is saved.
        background: Reads and writes texts.
        documents: Translates documents, on a thread of its own: they may take minutes.
        say: The window's sentences.
        status: Says what was done.
    """

    def __init__(
        self,
        root: tkinter.Tk,
        live: LiveTranslation,
        source: TextPane,
        target: TextPane,
        background: Background,
        documents: Background,
        say: Messages,
        status: StatusLine,
    ) -> None:
        self._root, self._live, self._source, self._target = root, live, source, target
        self._background, self._documents = background, documents
        self._say, self._status = say, status
        self._running: _Running | None = None

    @property
    def busy(self) -> bool:
        """Whether a document is being translated."""
        return self._running is not None

    def open(self) -> None:
        """Ask for a text file and put it into the source."""
        name = filedialog.askopenfilename(parent=self._root, filetypes=self._types(".txt", ".md"))
        if name:
            self.open_path(Path(name))

    def open_path(self, path: Path) -> None:
        """Put a text file into the source."""

        def show(text: str) -> None:
            self._source.set_text(text)
            self._source.text.focus_set()
            self._status.show_message(self._say("opened", name=path.name))

        self._background.run("open", lambda: read_text(path), show, self._failure("error.open", path))

    def save(self) -> None:
        """Ask for a name and write the translation."""
        text = self._target.get_text()
        if not text:
            self._status.show_message(self._say("nothing_to_copy"))
            return
        name = filedialog.asksaveasfilename(
            parent=self._root, defaultextension=".txt", filetypes=self._types(".txt")
        )
        if name:
            path = Path(name)
            self._background.run(
                "",
                lambda: path.write_text(text, encoding="utf-8", newline=""),
                lambda _: self._status.show_message(self._say("saved", name=path.name)),
                self._failure("error.save", path),
            )

    def can_translate(self) -> bool:
        """Return whether the model takes documents, and none is on its way."""
        return self._live.model is not None and self._live.model.translate_file is not None and not self.busy

    def translate(self) -> None:
        """Ask for a document and for the name of its translation."""
        model = self._live.model
        if model is None:
            return
        name = filedialog.askopenfilename(
            parent=self._root, filetypes=self._types(*model.file_types, kind="files.type.documents")
        )
        if not name:
            return
        source = Path(name)
        proposal = f"{source.stem}.{model.target_language}{source.suffix}"
        name = filedialog.asksaveasfilename(
            parent=self._root, initialdir=source.parent, initialfile=proposal,
            defaultextension=source.suffix,
        )  # fmt: skip
        if name:
            self.translate_path(model, source, Path(name))

    def translate_path(self, model: LoadedModel, source: Path, target: Path) -> None:
        """Translate a document; the progress bar shows how far it is."""
        translate = model.translate_file
        if translate is None or self._running is not None:
            return
        running = self._running = _Running(source.name, model.new_cancellation())

        def on_progress(share: float) -> None:
            running.share = share

        def done(flags: tuple[str, ...]) -> None:
            self._end()
            self._status.show_state(self._say.note(flags) or self._say("files.done", name=target.name))

        def failed(error: Exception) -> None:
            cancelled = running.cancellation.cancelled
            self._end()
            if cancelled:
                self._status.show_state(self._say("cancelled"))
            else:
                self._failure("error.file", source)(error)

        self._status.show_state(self._say("files.translating", name=source.name))
        self._documents.run(
            "", lambda: translate(source, target, running.cancellation, on_progress), done, failed
        )

    def cancel(self) -> None:
        """Stop the document that is being translated."""
        if self._running is not None:
            self._running.cancellation.cancel()

    def poll(self) -> None:
        """Show how far the document is; called by the window's timer."""
        self._documents.poll()
        if self._running is not None:
            self._status.show_progress(self._running.share)

    def _end(self) -> None:
        self._running = None
        self._status.show_progress(None)

    def _failure(self, key: str, path: Path) -> Callable[[Exception], None]:
        return lambda error: self._status.show_error(
            self._say(key, name=path.name, reason=_reason(error)), error
        )

    def _types(self, *endings: str, kind: str = "files.type.text") -> list[tuple[str, tuple[str, ...]]]:
        named = [(self._say(kind), endings)] if endings else []
        return [*named, (self._say("files.type.all"), ("*",))]


def read_text(path: Path) -> str:
    """Read a text file as it is: UTF-8 (with or without a mark), else UTF-16 with a mark, else Latin-1.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or far too large for a window.
    """
    size = path.stat().st_size
    if size > _MAX_TEXT_BYTES:
        raise ValueError(f"it has {size:,} bytes. Translate it as a file instead")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if b"\x00" in data:
        raise ValueError("it is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__

"""Files: a text opened into the window, the translation saved, a document translated from file to file."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog

from desktop_app.background import Background
from desktop_app.documents import Documents, free_name, reason_of
from desktop_app.live import LiveTranslation
from desktop_app.messages import Messages
from desktop_app.panes import TextPane
from desktop_app.status_line import StatusLine

_MAX_TEXT_BYTES = 20_000_000  # more is a mistake in the dialog, not something to read


class Files:
    """What the entries of the file menu do. Nothing is read or written on the Tk thread.

    Args:
        root: Parent of the dialogs.
        live: Whose translation is saved, and whose model translates documents.
        source: Gets the text of an opened file.
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
        background: Background,
        documents: Background,
        say: Messages,
        status: StatusLine,
    ) -> None:
        self._root, self._live, self._source = root, live, source
        self._background = background
        self._say, self._status = say, status
        self.documents = Documents(documents, say, status, live.show_rest)

    @property
    def busy(self) -> bool:
        """Whether a document is being translated."""
        return self.documents.busy

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
        text = self._live.finished()
        if text is None:
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
        """Return whether the model takes documents."""
        return self._live.model is not None and self._live.model.translate_file is not None

    def translate(self) -> None:
        """Ask for a document and for the name of its translation."""
        model = self._live.model
        if model is None:
            return
        name = filedialog.askopenfilename(
            parent=self._root, filetypes=self._types(*model.file_types, kind="files.type.documents")
        )
        if name:
            self.translate_paths([Path(name)])

    def translate_paths(self, sources: list[Path]) -> None:
        """Ask where the translations of documents go, and translate those that can be."""
        model = self._live.model
        translate = model.translate_file if model is not None else None
        if model is None or translate is None:
            self._status.show_message(self._say("files.not_yet"))
            return
        refused = [one for one in sources if one.suffix.lower() not in model.file_types or not one.is_file()]
        if refused:
            types = ", ".join(model.file_types)
            sentence = self._say("files.refused", name=refused[0].name, types=types)
            self._status.show_notice(sentence, error=True)
        good = [one for one in sources if one not in refused]
        for source, target in self._targets(good, model.target_language):
            self.documents.add(translate, source, target, model.new_cancellation())

    def _targets(self, sources: list[Path], language: str) -> list[tuple[Path, Path]]:
        """Ask for a name for one document, for a folder for several.

        No file there is overwritten unasked, and none that another document will write.
        """
        if not sources:
            return []
        named = [f"{source.stem}.{language}{source.suffix}" for source in sources]
        due = self.documents.targets
        first = sources[0]
        if len(sources) == 1:
            name = filedialog.asksaveasfilename(
                parent=self._root, initialdir=first.parent, defaultextension=first.suffix,
                initialfile=named[0],
            )  # fmt: skip
            return [(first, free_name(Path(name), due.__contains__))] if name else []
        name = filedialog.askdirectory(
            parent=self._root, initialdir=first.parent, title=self._say("files.folder"), mustexist=True
        )
        found: list[tuple[Path, Path]] = []
        for source, wanted in zip(sources, named, strict=True) if name else ():
            target = free_name(Path(name, wanted), lambda path: path in due or path.exists())
            due.add(target)
            found.append((source, target))
        return found

    def cancel(self) -> None:
        """Stop the documents that are being translated."""
        self.documents.cancel()

    def poll(self) -> None:
        """Show how far the documents are; called by the window's timer."""
        self.documents.poll()

    def _failure(self, key: str, path: Path) -> Callable[[Exception], None]:
        return lambda error: self._status.show_error(
            self._say(key, name=path.name, reason=reason_of(error)), error
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

"""Files dropped on the window, where tkinterdnd2 is installed and knows the system; elsewhere the menu does it."""

from __future__ import annotations

import logging
import tkinter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_LOGGER = logging.getLogger(__name__)


class Dropping:
    """Takes files that are dropped on a widget or anything in it.

    Args:
        widget: Everything the window holds.
        take: Called with the files, after the drop: it may open a dialog.
        hover: Called with True when files come over the window, with False when they leave or are dropped.
    """

    def __init__(
        self, widget: tkinter.Misc, take: Callable[[list[Path]], None], hover: Callable[[bool], None]
    ) -> None:
        self._widget: Any = widget  # tkinterdnd2 adds its methods to tkinter's widgets
        self._take, self._hover = take, hover
        self.works = False

    def enable(self) -> None:
        """Let files be dropped from now on; without the library nothing changes."""
        try:
            from tkinterdnd2 import DND_FILES, TkinterDnD

            TkinterDnD._require(self._widget.winfo_toplevel())  # there is no other way for a root that exists
        except (ImportError, RuntimeError, tkinter.TclError) as error:
            _LOGGER.info("files cannot be dropped on the window: %s", error)
            return
        self._widget.drop_target_register(DND_FILES)
        self._widget.dnd_bind("<<DropEnter>>", self._entered)
        self._widget.dnd_bind("<<DropPosition>>", self._answer)
        self._widget.dnd_bind("<<DropLeave>>", lambda _: self._hover(False))
        self._widget.dnd_bind("<<Drop>>", self._dropped)
        self.works = True

    def _entered(self, event: Any) -> str:
        answer = self._answer(event)
        self._hover(answer == "copy")
        return answer

    def _answer(self, _event: Any) -> str:
        """A dialog that waits for an answer keeps everything else away."""
        # Asked in Tcl: Tk's own dialogs for files are no widgets of tkinter.
        return "refuse_drop" if self._widget.tk.call("grab", "current") else "copy"

    def _dropped(self, event: Any) -> str:
        self._hover(False)
        answer = self._answer(event)
        paths = [path for item in self._widget.tk.splitlist(event.data) if (path := local_path(item))]
        if answer == "copy" and paths:
            # Later: whoever dropped them waits for the answer.
            self._widget.after(1, lambda: self._take(paths))
        return answer


def local_path(item: str) -> Path | None:
    """Return the file that a dropped path or `file:` address names, None where it is elsewhere."""
    if item.startswith("file:"):
        parts = urlsplit(item)
        return Path(unquote(parts.path)) if parts.netloc in ("", "localhost") else None
    if item.startswith("localhost/"):  # what tkdnd leaves of file://localhost/…
        item = item.removeprefix("localhost")
    return None if "://" in item else Path(item)

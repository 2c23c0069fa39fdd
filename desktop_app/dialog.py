"""What the dialogs over files share: a sentence that says how it stands, and work off the Tk thread."""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Container, Mapping
from tkinter import ttk
from typing import TypeVar

from desktop_app.background import Background
from desktop_app.messages import Messages
from desktop_app.theme import Theme
from desktop_app.wrapping_label import WrappingLabel

_Value = TypeVar("_Value")


class Dialog(tkinter.Toplevel):
    """A dialog that asks a background thread and shows what came of it, as long as it is open.

    Args:
        parent: The window it belongs to.
        theme: Fonts and colours; a change of them is followed.
        say: The window's sentences.
        background: Its `poll` is called by the parent's timer.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme, say: Messages, background: Background) -> None:
        super().__init__(parent)
        theme.dress(self)
        self._theme, self._say, self._background = theme, say, background
        self._timers: dict[str, str] = {}
        self._status = WrappingLabel(self)
        theme.on_change(self.restyle)
        self.bind("<Destroy>", lambda event: self._closed() if event.widget is self else None)

    def status_text(self) -> str:
        """Return the sentence that says how it stands."""
        return str(self._status.cget("text"))

    def restyle(self) -> None:
        """Take the theme's colours again."""
        if self.winfo_exists() and not self._theme.is_native:
            self.configure(background=self._theme.palette.window)

    def _place_status(self, parent: ttk.Frame) -> ttk.Label:
        """Return the label of the sentence, new in `parent`; a long one takes a second line."""
        self._status.destroy()
        self._status = WrappingLabel(parent, style="Muted.TLabel")
        return self._status

    def _tell(self, sentence: str, *, error: bool = False) -> None:
        self._status.configure(text=sentence, style="Error.TLabel" if error else "Muted.TLabel")

    def _show_error(self, error: Exception) -> None:
        self._tell(" ".join(str(error).split()) or type(error).__name__, error=True)

    def _ask(
        self,
        key: str,
        work: Callable[[], _Value],
        done: Callable[[_Value], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run `work` off the Tk thread; `done` or `failed` shows its outcome if the dialog is still open."""

        def finished(value: _Value) -> None:
            if self.winfo_exists():
                done(value)

        def ended(error: Exception) -> None:
            if self.winfo_exists():
                (failed or self._show_error)(error)

        self._background.run(key, work, finished, ended)

    def _later(self, name: str, milliseconds: int, action: Callable[[], None]) -> None:
        """Call `action` after a time; asked again under the same name, the earlier call is dropped."""
        self._not_later(name)

        def call() -> None:
            self._timers.pop(name, None)
            action()

        self._timers[name] = self.after(milliseconds, call)

    def _not_later(self, name: str) -> None:
        if name in self._timers:
            self.after_cancel(self._timers.pop(name))

    def _closed(self) -> None:
        """The dialog goes; Tk would call the timers of a window that is no more."""
        for name in list(self._timers):
            self._not_later(name)


def fit_columns(table: ttk.Treeview, widths: Mapping[str, int], fixed: Container[str]) -> None:
    """Share the width of a table among its columns as `widths` asks, again whenever it changes.

    Tk gives every column what it asks for and cuts the last ones where a small screen has less.

    Args:
        table: A table without a tree.
        widths: In pixels, by column.
        fixed: Columns that keep their width.
    """
    shared = {name: width for name, width in widths.items() if name not in fixed}

    def share(width: int) -> None:
        room = width - sum(widths.values()) + sum(shared.values()) - 2  # the border
        for name, wanted in shared.items():
            table.column(name, width=room * wanted // sum(shared.values()))

    for name, width in widths.items():
        table.column(name, width=width, anchor="w", stretch=name not in fixed)
    table.bind("<Configure>", lambda event: share(event.width), add=True)

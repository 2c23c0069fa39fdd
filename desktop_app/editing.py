"""The keys of a text pane: select, copy, cut, paste, and Tab to the next widget."""

from __future__ import annotations

import tkinter

from desktop_app.actions import KEYS, spellings
from desktop_app.panes import TextPane
from desktop_app.plain_text import clean_text


class Editing:
    """Gives a pane its keys; what changes the text is left out where the pane is not editable.

    Args:
        pane: The pane.
    """

    def __init__(self, pane: TextPane) -> None:
        self._pane = pane
        text = self._text = pane.text
        text.bind("<<NextWindow>>", lambda _: _move_focus(text.tk_focusNext()))
        text.bind("<<PrevWindow>>", lambda _: _move_focus(text.tk_focusPrev()))
        for key in spellings("Control-a"):
            text.bind(f"<{key}>", lambda _: self.select_all())
        text.bind("<<SelectAll>>", lambda _: self.select_all())
        text.bind("<<Copy>>", lambda _: self.copy())
        text.bind("<Button-1>", lambda _: text.focus_set(), add=True)  # Tk skips a disabled text
        for key in KEYS["redo"]:  # menu and help say so; Tk on Windows knows Ctrl+Y only
            text.event_add("<<Redo>>", *(f"<{spelling}>" for spelling in spellings(key)))
        if pane.editable:
            text.bind("<<Cut>>", lambda _: self.cut())
            text.bind("<<Paste>>", lambda _: self.paste())
            text.bind("<<PasteSelection>>", self._paste_at_pointer)

    def select_all(self) -> str:
        """Select the whole text."""
        self._text.tag_add("sel", "1.0", "end-1c")
        return "break"

    def copy(self) -> str:
        """Put the selected text on the clipboard."""
        if self._text.tag_ranges("sel"):
            copy_to_clipboard(self._pane, self._pane.between("sel.first", "sel.last"))
        return "break"

    def cut(self) -> str:
        """Move the selected text to the clipboard."""
        if self._text.tag_ranges("sel"):
            self.copy()
            self._text.delete("sel.first", "sel.last")
        return "break"

    def paste(self, selection: str = "CLIPBOARD", *, replace: bool = True) -> str:
        """Insert a selection of the desktop; Tk on X11 would leave the selected text in place."""
        text = selected_text(self._pane, selection)
        if text is None:
            return "break"
        with self._text.one_step():
            if replace and self._text.tag_ranges("sel"):
                self._text.delete("sel.first", "sel.last")
            self._pane.insert_text("insert", text)
        self._text.see("insert")
        return "break"

    def _paste_at_pointer(self, event: tkinter.Event[tkinter.Misc]) -> str:
        # The middle button scrolls too: Tk notes whether the pointer moved while it was held.
        if self._text.tk.eval("expr {[info exists tk::Priv(mouseMoved)] && $tk::Priv(mouseMoved)}") == "1":
            return "break"
        self._text.mark_set("insert", f"@{event.x},{event.y}")
        self._text.focus_set()
        return self.paste("PRIMARY", replace=False)


def copy_to_clipboard(widget: tkinter.Misc, text: str) -> None:
    """Make `text` the desktop's clipboard."""
    widget.clipboard_clear()
    widget.clipboard_append(clean_text(text))


def selected_text(widget: tkinter.Misc, selection: str) -> str | None:
    """Return a selection of the desktop, or None where there is none or it is no text."""
    for kind in ("UTF8_STRING", "STRING"):
        try:
            return str(widget.selection_get(selection=selection, type=kind))  # type: ignore[no-untyped-call]
        except tkinter.TclError:
            continue
    return None


def _move_focus(widget: tkinter.Misc | None) -> str:
    if widget is not None:
        widget.focus_set()
    return "break"

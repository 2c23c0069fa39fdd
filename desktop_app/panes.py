"""The two text panes: plain text in, plain text out, whatever Tk needs in between."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from desktop_app.plain_text import MAX_LINE_CHARACTERS, clean_text, split_long_line
from desktop_app.theme import Theme

# A newline with this tag is ours: it keeps a very long line bearable and is no part of the text.
_SOFT_BREAK = "soft_break"


class TextPane(ttk.Frame):
    """A heading with buttons over a scrolled text.

    Args:
        parent: The widget that holds the pane.
        theme: Fonts and colours.
        heading: The language's name.
        editable: False for a pane that can be read, selected and copied only.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme, heading: str, *, editable: bool) -> None:
        super().__init__(parent)
        self._theme = theme
        self._editable = editable
        self._header = ttk.Frame(self)
        self._heading = ttk.Label(self._header, text=heading, style="Heading.TLabel")
        self._heading.pack(side="left")
        self._header.grid(row=0, column=0, sticky="ew", pady=(0, theme.pixels(6)))
        # takefocus: Tk leaves a disabled text out of the Tab order otherwise.
        self.text = tkinter.Text(self, width=20, height=5, takefocus=1, undo=editable, maxundo=1000)
        theme.style_text(self.text)
        self.text.grid(row=1, column=0, sticky="nsew")
        # Inside the text's own margin, and only where there is something to scroll to.
        self._scrollbar = ttk.Scrollbar(self.text, command=self.text.yview, cursor="arrow")
        self.text.configure(yscrollcommand=self._scrolled)
        self.rowconfigure(1, weight=1)
        self.columnconfigure(0, weight=1)
        self._bind_keys()
        if not editable:
            self.text.configure(state="disabled")

    def add_button(self, label: str, command: Callable[[], None]) -> ttk.Button:
        """Put a button at the right end of the heading line, left of those already there."""
        button = ttk.Button(self._header, text=label, command=command)
        button.pack(side="right", padx=(self._theme.pixels(6), 0))
        button.lower()  # the Tab order is the stacking order: leftmost first
        return button

    def set_heading(self, heading: str) -> None:
        """Show another language's name."""
        self._heading.configure(text=heading)

    def header_width(self) -> int:
        """Return the width in pixels that heading and buttons need."""
        self.update_idletasks()
        return self._header.winfo_reqwidth() + self._theme.pixels(12)

    def get_text(self) -> str:
        """Return the text without our own line breaks."""
        return self._between("1.0", "end-1c")

    def set_text(self, text: str) -> None:
        """Replace the whole text."""
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self._insert("1.0", text)
        if not self._editable:
            self.text.configure(state="disabled")
        self.text.yview_moveto(0.0)

    def set_muted(self, muted: bool) -> None:
        """Grey the text, or not: a grey translation belongs to an earlier text."""
        if not self._theme.is_native:
            colours = self._theme.palette
            self.text.configure(foreground=colours.muted if muted else colours.text)

    def break_long_lines(self) -> None:
        """Cut lines that were typed or joined beyond what Tk lays out quickly."""
        lines = self.text.get("1.0", "end-1c").split("\n")
        for number in range(len(lines), 0, -1):  # from the end: a cut renumbers the lines after it
            if len(lines[number - 1]) <= 2 * MAX_LINE_CHARACTERS:
                continue
            offset, cuts = 0, []
            for piece in split_long_line(lines[number - 1])[:-1]:
                offset += _tk_length(piece)
                cuts.append(offset)
            for cut in reversed(cuts):
                self.text.insert(f"{number}.{cut}", "\n", (_SOFT_BREAK,))

    def _scrolled(self, first: float | str, last: float | str) -> None:
        self._scrollbar.set(first, last)
        if float(first) <= 0.0 and float(last) >= 1.0:
            self._scrollbar.place_forget()
        else:
            inset = self._theme.pixels(2)
            self._scrollbar.place(
                relx=1.0,
                x=-inset,
                y=inset,
                relheight=1.0,
                height=-2 * inset,
                anchor="ne",
                bordermode="outside",
            )

    def _bind_keys(self) -> None:
        text = self.text
        text.bind("<<NextWindow>>", lambda _: _move_focus(text.tk_focusNext()))
        text.bind("<<PrevWindow>>", lambda _: _move_focus(text.tk_focusPrev()))
        text.bind("<Control-a>", lambda _: self._select_all())
        text.bind("<<SelectAll>>", lambda _: self._select_all())
        text.bind("<<Copy>>", lambda _: self._copy_selection())
        text.bind("<Button-1>", lambda _: text.focus_set(), add=True)  # Tk skips a disabled text
        if self._editable:
            text.bind("<<Cut>>", lambda _: self._cut_selection())
            text.bind("<<Paste>>", lambda _: self._paste("CLIPBOARD", "insert"))
            text.bind("<<PasteSelection>>", lambda event: self._paste_at_pointer(event))

    def _insert(self, index: str, text: str) -> None:
        """Insert cleaned text with soft breaks, in one call to Tk."""
        lines = clean_text(text).split("\n")
        # NUL marks a soft break: clean text holds none.
        runs = "\n".join("\x00".join(split_long_line(line)) for line in lines).split("\x00")
        chunks: list[str | tuple[str, ...]] = [runs[0], ()]
        for run in runs[1:]:
            chunks += ["\n", (_SOFT_BREAK,), run, ()]
        self.text.insert(index, *chunks)  # type: ignore[arg-type]  # text, tags, text, tags, …

    def _between(self, begin: str, end: str) -> str:
        """Return the text from index `begin` to `end` without soft breaks, cleaned."""
        lines = self.text.get(begin, end).split("\n")
        first = int(self.text.index(begin).partition(".")[0])
        soft: set[int] = set()  # lines whose newline is ours
        ranges = [str(index) for index in self.text.tag_ranges(_SOFT_BREAK)]
        for range_begin, range_end in zip(ranges[::2], ranges[1::2], strict=True):
            soft.update(range(int(range_begin.partition(".")[0]), int(range_end.partition(".")[0])))
        kept: list[str] = []
        for number, line in enumerate(lines, start=first):
            kept.append(line)
            if number not in soft and number < first + len(lines) - 1:
                kept.append("\n")
        return clean_text("".join(kept))

    def _select_all(self) -> str:
        self.text.tag_add("sel", "1.0", "end-1c")
        return "break"

    def _copy_selection(self) -> str:
        if self.text.tag_ranges("sel"):
            copy_to_clipboard(self, self._between("sel.first", "sel.last"))
        return "break"

    def _cut_selection(self) -> str:
        if self.text.tag_ranges("sel"):
            self._copy_selection()
            self.text.delete("sel.first", "sel.last")
        return "break"

    def _paste_at_pointer(self, event: tkinter.Event[tkinter.Misc]) -> str:
        self.text.mark_set("insert", f"@{event.x},{event.y}")
        self.text.focus_set()
        return self._paste("PRIMARY", "insert", replace=False)

    def _paste(self, selection: str, index: str, *, replace: bool = True) -> str:
        """Insert a selection of the desktop; Tk on X11 would leave the selected text in place."""
        text = self._selection(selection)
        if text is None:
            return "break"
        self.text.edit_separator()
        self.text.configure(autoseparators=False)  # one undo takes back the whole paste
        if replace and self.text.tag_ranges("sel"):
            self.text.delete("sel.first", "sel.last")
        self._insert(index, text)
        self.text.configure(autoseparators=True)
        self.text.edit_separator()
        self.text.see("insert")
        return "break"

    def _selection(self, name: str) -> str | None:
        """Return a selection of the desktop, or None where there is none or it is no text."""
        for kind in ("UTF8_STRING", "STRING"):
            try:
                return str(self.selection_get(selection=name, type=kind))  # type: ignore[no-untyped-call]
            except tkinter.TclError:
                continue
        return None


def copy_to_clipboard(widget: tkinter.Misc, text: str) -> None:
    """Make `text` the desktop's clipboard."""
    widget.clipboard_clear()
    widget.clipboard_append(clean_text(text))


def _move_focus(widget: tkinter.Misc | None) -> str:
    if widget is not None:
        widget.focus_set()
    return "break"


def _tk_length(text: str) -> int:
    """Return how many index characters Tk counts for `text`: UTF-16 units before Tk 9."""
    return len(text) if tkinter.TkVersion >= 9 else len(text.encode("utf-16-le", "replace")) // 2

"""The two text panes: plain text in, plain text out, whatever Tk needs in between."""

from __future__ import annotations

import bisect
import tkinter
from collections.abc import Callable
from tkinter import ttk

from desktop_app.plain_text import MAX_LINE_CHARACTERS, clean_text, common_ends, split_long_line
from desktop_app.theme import Theme

# A newline with this tag is ours: it keeps a very long line bearable and is no part of the text.
_SOFT_BREAK = "soft_break"

# A line on the screen, and what ends it: "\n" of the text, `_SOFT` of ours, "" for the last line.
_Line = tuple[str, str]
_SOFT = "\x00"  # clean text holds none


class TextPane(ttk.Frame):
    """A heading with buttons over a scrolled text.

    Args:
        parent: The widget that holds the pane.
        theme: Fonts and colours.
        editable: False for a pane that can be read, selected and copied only.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme, *, editable: bool) -> None:
        super().__init__(parent)
        self.theme = theme
        self.editable = editable
        self.header = ttk.Frame(self)
        self._heading = ttk.Label(self.header, style="Heading.TLabel")
        self._heading.pack(side="left")
        self.header.grid(row=0, column=0, sticky="ew", pady=(0, theme.pixels(6)))
        # takefocus: Tk leaves a disabled text out of the Tab order otherwise.
        self.text = tkinter.Text(self, width=20, height=5, takefocus=1, undo=editable, maxundo=1000)
        self._muted = False
        self.text.grid(row=1, column=0, sticky="nsew")
        # Inside the text's own margin, and only where there is something to scroll to.
        self._scrollbar = ttk.Scrollbar(self.text, command=self.text.yview, cursor="arrow")
        self.text.configure(yscrollcommand=self._scrolled)
        self.rowconfigure(1, weight=1)
        self.columnconfigure(0, weight=1)
        self._begins: list[int] = []  # character offset of each display line; empty: not known
        self.restyle()
        theme.on_change(self.restyle)
        if not editable:
            self.text.configure(state="disabled")

    def add_button(self, command: Callable[[], None]) -> ttk.Button:
        """Put a button at the right end of the heading line, left of those already there."""
        button = ttk.Button(self.header, command=command)
        button.pack(side="right", padx=(self.theme.pixels(6), 0))
        button.lower()  # the Tab order is the stacking order: leftmost first
        return button

    def restyle(self) -> None:
        """Take over the theme's colours and fonts."""
        if self.winfo_exists():
            self.theme.style_text(self.text)
            self.set_muted(self._muted)

    def set_heading(self, heading: str) -> None:
        """Show another language's name."""
        self._heading.configure(text=heading)

    def header_width(self) -> int:
        """Return the width in pixels that heading and buttons need."""
        self.update_idletasks()
        return self.header.winfo_reqwidth() + self.theme.pixels(12)

    def set_muted(self, muted: bool) -> None:
        """Grey the text, or not: a grey translation belongs to an earlier text."""
        self._muted = muted
        if not self.theme.is_native:
            colours = self.theme.palette
            self.text.configure(foreground=colours.muted if muted else colours.text)

    def set_inviting(self, inviting: bool) -> None:
        """Draw the border in the accent's colour, or as usual."""
        if not self.theme.is_native:
            colours = self.theme.palette
            self.text.configure(highlightbackground=colours.accent if inviting else colours.border)

    # ---- the text ------------------------------------------------------------------------------

    def get_text(self) -> str:
        """Return the text without our own line breaks."""
        return self.between("1.0", "end-1c")

    def set_text(self, text: str) -> None:
        """Replace the text. Lines that stay are left alone, so that the place on the screen stays too."""
        old = self._lines("1.0", "end-1c")
        new = _display_lines(clean_text(text))
        first, last = common_ends(old, new)
        if first == len(old) == len(new):
            return
        self.text.configure(state="normal")
        begin = f"{first + 1}.0"
        # The last line has no line end of its own.
        self.text.delete(begin, f"{len(old) - last + 1}.0" if last else "end-1c")
        self.text.insert(begin, *_chunks(new[first : len(new) - last]))  # type: ignore[arg-type]
        if not self.editable:
            self.text.configure(state="disabled")
        if not first:
            self.text.yview_moveto(0.0)
        self.changed()

    def changed(self) -> None:
        """Forget what is known of the text: to be called when the user has changed it."""
        self._begins = []

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
            self.changed()

    def insert_text(self, index: str, text: str) -> None:
        """Insert cleaned text with soft breaks, in one call to Tk."""
        self.text.insert(index, *_chunks(_display_lines(clean_text(text))))  # type: ignore[arg-type]
        self.changed()

    def between(self, begin: str, end: str) -> str:
        """Return the text from index `begin` to `end` without soft breaks, cleaned."""
        return "".join(line + line_end.strip(_SOFT) for line, line_end in self._lines(begin, end))

    # ---- places --------------------------------------------------------------------------------

    def offset(self, index: str) -> int:
        """Return how many characters of the text stand before a Tk index."""
        line = self.text.index(index).partition(".")[0]
        begins = self._line_begins()
        before = len(clean_text(self.text.get(f"{line}.0", index)))
        return begins[min(int(line), len(begins)) - 1] + before

    def index(self, offset: int) -> str:
        """Return the Tk index of the character with `offset` characters before it."""
        begins = self._line_begins()
        line = bisect.bisect_right(begins, offset)
        text = clean_text(self.text.get(f"{line}.0", f"{line}.end"))
        return f"{line}.{_tk_length(text[: offset - begins[line - 1]])}"

    def offset_at(self, x: int, y: int) -> int | None:
        """Return the offset of the character under a point of the text, None beside the text."""
        index = self.text.index(f"@{x},{y}")
        box = self.text.bbox(index)
        if box is None or not (box[0] <= x < box[0] + box[2] and box[1] <= y < box[1] + box[3]):
            return None
        return self.offset(index)

    def visible_offsets(self) -> tuple[int, int]:
        """Return the offsets of the first character on the screen and of the one after the last."""
        last = f"@{self.text.winfo_width()},{self.text.winfo_height()}"
        return self.offset("@0,0"), self.offset(f"{last} lineend")

    def tag(self, name: str, begin: int, end: int) -> None:
        """Give the characters from `begin` to `end` a tag."""
        self.text.tag_add(name, self.index(begin), self.index(end))

    def _line_begins(self) -> list[int]:
        if not self._begins:
            offset = 0
            for line, line_end in self._lines("1.0", "end-1c"):
                self._begins.append(offset)
                offset += len(line) + len(line_end.strip(_SOFT))
        return self._begins

    # ---- inside --------------------------------------------------------------------------------

    def _lines(self, begin: str, end: str) -> list[_Line]:
        """Return each display line from `begin` to `end`."""
        lines = clean_text(self.text.get(begin, end)).split("\n")
        first = int(self.text.index(begin).partition(".")[0])
        soft: set[int] = set()  # lines whose newline is ours
        ranges = [str(index) for index in self.text.tag_ranges(_SOFT_BREAK)]
        for range_begin, range_end in zip(ranges[::2], ranges[1::2], strict=True):
            soft.update(range(int(range_begin.partition(".")[0]), int(range_end.partition(".")[0])))
        found = [
            (line, _SOFT if number in soft else "\n") for number, line in enumerate(lines[:-1], start=first)
        ]
        return [*found, (lines[-1], "")]

    def _scrolled(self, first: float | str, last: float | str) -> None:
        self._scrollbar.set(first, last)
        self.text.event_generate("<<Scrolled>>", when="tail")
        if float(first) <= 0.0 and float(last) >= 1.0:
            self._scrollbar.place_forget()
            return
        inset = self.theme.pixels(2)
        self._scrollbar.place(
            relx=1.0, x=-inset, y=inset, relheight=1.0, height=-2 * inset, anchor="ne", bordermode="outside"
        )


def _display_lines(text: str) -> list[_Line]:
    """Cut a text as a pane shows it."""
    found: list[_Line] = []
    for line in text.split("\n"):
        pieces = split_long_line(line)
        found += [(piece, _SOFT) for piece in pieces[:-1]]
        found.append((pieces[-1], "\n"))
    found[-1] = (found[-1][0], "")
    return found


def _chunks(lines: list[_Line]) -> list[str | tuple[str, ...]]:
    """Return what `Text.insert` takes for display lines: text, tags, text, tags, …"""
    runs = "".join(line + line_end for line, line_end in lines).split(_SOFT)
    chunks: list[str | tuple[str, ...]] = [runs[0], ()]
    for run in runs[1:]:
        chunks += ["\n", (_SOFT_BREAK,), run, ()]
    return chunks


def _tk_length(text: str) -> int:
    """Return how many index characters Tk counts for `text`: UTF-16 units before Tk 9."""
    return len(text) if tkinter.TkVersion >= 9 else len(text.encode("utf-16-le", "replace")) // 2

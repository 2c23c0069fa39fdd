"""The two text panes: plain text in, plain text out, whatever Tk needs in between."""

from __future__ import annotations

import bisect
import tkinter
from collections.abc import Callable
from tkinter import ttk

from desktop_app.display_text import SOFT, DisplayText, display_lines, tk_length
from desktop_app.plain_text import clean_text, common_ends
from desktop_app.theme import Theme


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
        self.text = DisplayText(
            self, width=20, height=5, takefocus=1, undo=editable, changed=self._forget_text
        )
        self._muted = False
        self.text.grid(row=1, column=0, sticky="nsew")
        # Inside the text's own margin, and only where there is something to scroll to.
        self._scrollbar = ttk.Scrollbar(self.text, command=self.text.yview, cursor="arrow")
        self.text.configure(yscrollcommand=self._scrolled)
        self.rowconfigure(1, weight=1)
        self.columnconfigure(0, weight=1)
        self._text: str | None = None  # what stands there; None: not known
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
            self._colour_text()

    def set_heading(self, heading: str) -> None:
        """Show another language's name."""
        self._heading.configure(text=heading)

    def header_width(self) -> int:
        """Return the width in pixels that heading and buttons need."""
        self.update_idletasks()
        return self.header.winfo_reqwidth() + self.theme.pixels(12)

    def set_muted(self, muted: bool) -> None:
        """Grey the text, or not: a grey translation belongs to an earlier text."""
        if muted != self._muted:  # Tk would lay out the whole text again
            self._muted = muted
            self._colour_text()

    def _colour_text(self) -> None:
        muted = self._muted
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
        if self._text is None:
            self._text = self.between("1.0", "end-1c")
        return self._text

    def set_text(self, text: str) -> None:
        """Replace the text. Lines that stay are left alone, so that the place on the screen stays too.

        Takes time for what has changed, not for the whole of a long text. One undo brings the old text back.
        """
        old, new = self.get_text(), clean_text(text)
        if old == new:
            return
        begins = self._line_begins()
        first, last = common_ends(old, new)
        line = bisect.bisect_right(begins, first)
        first = begins[line - 1]
        old_end = old.find("\n", len(old) - last)  # of the line in which the change ends
        old_end = len(old) if old_end < 0 else old_end
        last_line = bisect.bisect_right(begins, old_end)
        shown = display_lines(new[first : len(new) - (len(old) - old_end)])
        self.text.configure(state="normal")
        with self.text.one_step():
            self.text.put(f"{line}.0", f"{last_line}.end", shown)
        if not self.editable:
            self.text.configure(state="disabled")
        if line == 1:
            self.text.yview_moveto(0.0)
        longer = len(new) - len(old)
        after = begins[last_line:] if not longer else [begin + longer for begin in begins[last_line:]]
        begins[line - 1 :] = [*_line_offsets(shown, first), *after]
        self._text, self._begins = new, begins

    def insert_text(self, index: str, text: str) -> None:
        """Insert a text, cleaned."""
        self.text.put(index, index, display_lines(clean_text(text)))

    def between(self, begin: str, end: str) -> str:
        """Return the text from index `begin` to `end` without soft breaks, cleaned."""
        return self.text.displayed(begin, end).replace(SOFT, "")

    def _forget_text(self) -> None:
        self._text, self._begins = None, []

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
        before = self.get_text()[begins[line - 1] : offset]  # Tk is not asked: it is slow
        return f"{line}.{tk_length(before)}"

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

    def tag(self, name: str, *offsets: int) -> None:
        """Give a tag to the characters from the first offset to the second, from the third to the fourth, …"""
        if offsets:
            self.text.tag_add(name, *map(self.index, offsets))

    def _line_begins(self) -> list[int]:
        if not self._begins:
            self._begins = _line_offsets(self.text.displayed("1.0", "end-1c"), 0)
        return self._begins

    # ---- inside --------------------------------------------------------------------------------

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


def _line_offsets(display: str, begin: int) -> list[int]:
    """Return the offset of each display line of a text that begins at offset `begin`."""
    offsets = []
    for line in display.split("\n"):
        for piece in line.split(SOFT):
            offsets.append(begin)
            begin += len(piece)
        begin += 1
    return offsets

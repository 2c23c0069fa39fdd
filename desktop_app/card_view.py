"""A model card, readable: headings, lists and tables in a text that is scrolled by keys."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from desktop_app.model_card import card_runs
from desktop_app.theme import Theme


class CardView(ttk.Frame):
    """A read-only text with a scrollbar.

    Args:
        parent: The widget that holds it.
        theme: Fonts and colours; a change of them is followed.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme) -> None:
        super().__init__(parent)
        self._theme = theme
        bar = ttk.Scrollbar(self)
        bar.pack(side="right", fill="y")
        # takefocus: Tk leaves a disabled text out of the Tab order otherwise.
        self.text = tkinter.Text(
            self, height=14, width=20, state="disabled", takefocus=1, yscrollcommand=bar.set
        )
        bar.configure(command=self.text.yview)
        self.text.pack(side="left", fill="both", expand=True)
        self.text.bind("<Tab>", lambda _: self._move_focus(self.text.tk_focusNext()))
        self.text.bind("<<PrevWindow>>", lambda _: self._move_focus(self.text.tk_focusPrev()))
        self.text.bind("<Button-1>", lambda _: self.text.focus_set(), add=True)
        for key, number in (("Up", -1), ("Down", 1), ("Prior", -10), ("Next", 10)):
            self.text.bind(f"<{key}>", lambda _, number=number: self._scroll(number))  # type: ignore[misc]
        self.restyle()
        theme.on_change(self.restyle)

    def restyle(self) -> None:
        """Take the theme's colours and fonts again."""
        if not self.winfo_exists():
            return
        theme, text = self._theme, self.text
        theme.style_text(text)
        indent = theme.pixels(16)
        text.configure(font="TkDefaultFont", insertwidth=0)
        text.tag_configure("title", font=theme.heading_font)
        text.tag_configure("heading", font=theme.heading_font, spacing1=theme.pixels(10))
        text.tag_configure("text", spacing3=theme.pixels(6))
        text.tag_configure("strong", font=theme.heading_font)
        text.tag_configure("item", lmargin1=indent, lmargin2=2 * indent)
        text.tag_configure("code", font="TkFixedFont")

    def show(self, markdown: str, otherwise: str) -> None:
        """Show a card from its beginning, or a sentence where it is empty."""
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        for run, style in card_runs(markdown) or [(otherwise, "text")]:
            self.text.insert("end", run, (style,))
        self.text.configure(state="disabled")
        self.text.yview_moveto(0.0)

    def _scroll(self, number: int) -> str:
        self.text.yview_scroll(number, "units")
        return "break"

    def _move_focus(self, widget: tkinter.Misc | None) -> str:
        if widget is not None:
            widget.focus_set()
        return "break"

"""What stands behind an error, to read and to copy."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from desktop_app.editing import copy_to_clipboard
from desktop_app.messages import Messages
from desktop_app.theme import Theme


class DetailsWindow(tkinter.Toplevel):
    """A text that can be scrolled, selected and copied.

    Args:
        parent: The window it belongs to.
        theme: Fonts and colours.
        say: The window's sentences.
        details: The text.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme, say: Messages, details: str) -> None:
        super().__init__(parent)
        theme.dress(self)
        self.title(say("details.title"))
        gap = theme.pixels(12)
        frame = ttk.Frame(self, padding=gap)
        frame.pack(fill="both", expand=True)
        buttons = ttk.Frame(frame)
        buttons.pack(side="bottom", fill="x", pady=(gap, 0))
        close = ttk.Button(buttons, text=say("close"), command=self.destroy)
        close.pack(side="right")
        ttk.Button(buttons, text=say("button.copy"), command=lambda: copy_to_clipboard(self, details)).pack(
            side="right", padx=(0, theme.pixels(6))
        )
        scrollbar = ttk.Scrollbar(frame)
        scrollbar.pack(side="right", fill="y")
        self.text = tkinter.Text(frame, width=70, height=16, yscrollcommand=scrollbar.set)
        theme.style_text(self.text)
        self.text.configure(font=theme.small_font)
        scrollbar.configure(command=self.text.yview)
        self.text.pack(fill="both", expand=True)
        self.text.insert("1.0", details)
        self.text.configure(state="disabled")
        close.focus_set()

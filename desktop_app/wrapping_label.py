"""A label for sentences of any length."""

import tkinter
from tkinter import ttk
from typing import Any

_BORDER = 4  # pixels at both sides together that the style may keep from the text


class WrappingLabel(ttk.Label):
    """A label whose text takes further lines where the label ends. Pack it with `fill="x"`: it asks for no width.

    If it did, the width would follow from the lines and the lines from the width, and where a window takes its size
    from what is in it the two can chase each other for ever.

    Args:
        parent: Where it stands.
        options: Of `ttk.Label`, but `width` and `wraplength`.
    """

    def __init__(self, parent: tkinter.Misc, **options: Any) -> None:
        super().__init__(parent, width=1, **options)
        self.bind("<Configure>", lambda event: self.configure(wraplength=max(1, event.width - _BORDER)))

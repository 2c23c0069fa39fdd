"""Colours, fonts and spacing of the window."""

from __future__ import annotations

import tkinter
from dataclasses import dataclass
from tkinter import font as tkfont
from tkinter import ttk

_POINTS_PER_INCH = 72.0
_NOMINAL_DPI = 96.0


@dataclass(frozen=True)
class Palette:
    """Colours as "#rrggbb"; text on its ground has a contrast of at least 4.5 to 1 (WCAG 2.1 AA)."""

    window: str
    pane: str
    text: str
    muted: str
    border: str
    control: str
    control_active: str
    accent: str
    selection: str
    error: str


LIGHT = Palette(
    window="#f3f4f6", pane="#ffffff", text="#1c1f24", muted="#59616b", border="#c9ced6",
    control="#ffffff", control_active="#e6e9ee", accent="#2563c9", selection="#c7dbff", error="#b3261e",
)  # fmt: skip
DARK = Palette(
    window="#1e2126", pane="#262a30", text="#e7e9ec", muted="#a3abb5", border="#424851",
    control="#2f343b", control_active="#3b414a", accent="#7fb0ff", selection="#34507e", error="#ff9a91",
)  # fmt: skip


class Theme:
    """The look of one window, already applied to its root.

    Args:
        root: The root whose scaling and ttk styles are set.
        dark: Whether the desktop prefers a dark look.
        dpi: Dots per inch the desktop asks for, or None for what Tk found.
    """

    def __init__(self, root: tkinter.Tk, *, dark: bool, dpi: float | None = None) -> None:
        if dpi is not None:
            root.tk.call("tk", "scaling", dpi / _POINTS_PER_INCH)
        self._scale = max(1.0, root.winfo_fpixels("1i") / _NOMINAL_DPI)
        self.palette = DARK if dark else LIGHT
        self.text_font = tkfont.nametofont("TkTextFont", root=root).copy()
        self.text_font.configure(size=12)  # points
        self.heading_font = tkfont.nametofont("TkDefaultFont", root=root).copy()
        self.heading_font.configure(size=11, weight="bold")
        # The desktop's own widgets where there are any; they follow a light theme only (aqua: both).
        native = {"aqua": "aqua", "win32": "vista"}.get(root.tk.call("tk", "windowingsystem"), "clam")
        self.is_native = native == "aqua" or (native == "vista" and not dark)
        self._style = ttk.Style(root)
        self._style.theme_use(native if self.is_native else "clam")
        self._style.configure("Heading.TLabel", font=self.heading_font)
        if not self.is_native:
            self._colour(root)

    def pixels(self, nominal: int) -> int:
        """Return a length given for 96 dots an inch in pixels of this screen."""
        return round(nominal * self._scale)

    def style_text(self, text: tkinter.Text) -> None:
        """Give a text pane this theme's font, spacing and colours."""
        text.configure(
            font=self.text_font, wrap="word", relief="flat", borderwidth=0,
            padx=self.pixels(12), pady=self.pixels(10), spacing1=self.pixels(1), spacing3=self.pixels(3),
            highlightthickness=self.pixels(1), insertwidth=self.pixels(2),
        )  # fmt: skip
        if self.is_native:
            return
        colours = self.palette
        text.configure(
            background=colours.pane, foreground=colours.text, insertbackground=colours.text,
            selectbackground=colours.selection, selectforeground=colours.text,
            inactiveselectbackground=colours.selection,
            highlightbackground=colours.border, highlightcolor=colours.accent,
        )  # fmt: skip

    def _colour(self, root: tkinter.Tk) -> None:
        colours, style = self.palette, self._style
        root.configure(background=colours.window)
        style.configure(
            ".", background=colours.window, foreground=colours.text, bordercolor=colours.border,
            lightcolor=colours.window, darkcolor=colours.window, troughcolor=colours.window,
            focuscolor=colours.accent, font="TkDefaultFont",
        )  # fmt: skip
        style.configure("Muted.TLabel", foreground=colours.muted)
        style.configure("Error.TLabel", foreground=colours.error)
        style.configure(
            "Placeholder.TLabel", background=colours.pane, foreground=colours.muted, font=self.text_font
        )
        style.configure(
            "TButton", background=colours.control, relief="raised", lightcolor=colours.control,
            darkcolor=colours.control, padding=(self.pixels(10), self.pixels(4)), width=0,
        )  # fmt: skip
        style.map(
            "TButton",
            background=[("disabled", colours.window), ("active", colours.control_active)],
            lightcolor=[("active", colours.control_active)],
            darkcolor=[("active", colours.control_active)],
            bordercolor=[("focus", colours.accent)],
            foreground=[("disabled", colours.muted)],
        )
        style.configure("Sash", sashthickness=self.pixels(10), gripcount=0)
        style.layout(  # a thumb without arrows
            "Vertical.TScrollbar",
            [("Vertical.Scrollbar.trough", {"sticky": "ns", "children": [("Vertical.Scrollbar.thumb", {})]})],
        )
        style.configure(
            "Vertical.TScrollbar", background=colours.border, troughcolor=colours.pane,
            bordercolor=colours.pane, lightcolor=colours.border, darkcolor=colours.border,
            arrowsize=self.pixels(9), gripcount=0, relief="flat",
        )  # fmt: skip
        thumb = [("pressed", colours.accent), ("active", colours.muted)]
        style.map("Vertical.TScrollbar", background=thumb, lightcolor=thumb, darkcolor=thumb)

"""The help sheet: every action with its keys, made from the table that makes the menus."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from desktop_app.actions import MENUS, Actions
from desktop_app.messages import Messages
from desktop_app.theme import Theme


class HelpWindow(tkinter.Toplevel):
    """Two columns of actions under their menus.

    Args:
        parent: The window it belongs to.
        theme: Fonts and lengths.
        say: The window's sentences.
        actions: What there is to do.
        about: What runs, in one line.
    """

    def __init__(
        self, parent: tkinter.Misc, theme: Theme, say: Messages, actions: Actions, about: str
    ) -> None:
        super().__init__(parent)
        theme.dress(self)
        self.title(say("help.title"))
        self.resizable(False, False)
        gap = theme.pixels(12)
        body = ttk.Frame(self, padding=2 * gap)
        body.pack(fill="both", expand=True)
        ttk.Label(body, text=say("help.intro")).pack(anchor="w")
        ttk.Label(body, text=say("help.mouse"), wraplength=theme.pixels(620), justify="left").pack(
            anchor="w", pady=(theme.pixels(4), gap)
        )
        columns = ttk.Frame(body)
        columns.pack(fill="x")
        present = set(actions.names())
        left, right = (ttk.Frame(columns) for _ in range(2))
        left.pack(side="left", anchor="n", padx=(0, 3 * gap))
        right.pack(side="left", anchor="n")
        more = [(say("help.word"), say("key.arrows")), (say("help.tab"), say("key.Tab"))]
        for name, entries in MENUS.items():
            rows = [(say(f"action.{e}"), actions.shortcut(e)) for e in entries if e in present]
            column = left if name in ("file", "edit") else right
            _section(column, theme, say(f"menu.{name}"), rows + (more if name == "help" else []))
        foot = ttk.Frame(body)
        foot.pack(fill="x", pady=(gap, 0))
        close = ttk.Button(foot, text=say("close"), command=self.destroy)
        close.pack(side="right", padx=(gap, 0))
        ttk.Label(foot, text=about, style="Muted.TLabel").pack(side="left")
        close.focus_set()


def _section(column: ttk.Frame, theme: Theme, title: str, rows: list[tuple[str, str]]) -> None:
    frame = ttk.Frame(column)
    frame.pack(fill="x", pady=(0, theme.pixels(12)))
    frame.columnconfigure(0, weight=1)
    ttk.Label(frame, text=title, style="Heading.TLabel").grid(row=0, column=0, sticky="w")
    for row, (label, keys) in enumerate(rows, start=1):
        ttk.Label(frame, text=label.rstrip("…")).grid(row=row, column=0, sticky="w")
        ttk.Label(frame, text=keys, style="Muted.TLabel").grid(
            row=row, column=1, sticky="e", padx=(theme.pixels(24), 0)
        )

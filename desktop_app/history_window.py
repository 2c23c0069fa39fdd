"""The history to search, use again, export and delete from; every look into the database is off the Tk thread."""

from __future__ import annotations

import time
import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog, messagebox, ttk

from desktop_app.background import Background
from desktop_app.dialog import Dialog, fit_columns
from desktop_app.history import Entry, History
from desktop_app.history_export import export_history
from desktop_app.messages import Messages
from desktop_app.theme import Theme

_SEARCH_MS = 120  # after the last key
_PAGE = 200
_WIDTHS = {"time": 140, "source": 320, "target": 320}  # at 96 dots an inch
_COLUMNS = tuple(_WIDTHS)


class HistoryWindow(Dialog):
    """A search field over a list; Enter uses an entry again, Delete removes it, Ctrl+F goes to the field.

    Args:
        parent: The window it belongs to.
        theme: Fonts and colours.
        say: The window's sentences.
        history: Used on the background thread only.
        background: Its `poll` is called by the parent's timer.
        reuse: Translates an entry again.
        keep: Whether translations are kept now.
        set_keep: Called when the user switches that.
    """

    def __init__(
        self,
        parent: tkinter.Misc,
        theme: Theme,
        say: Messages,
        history: History,
        background: Background,
        *,
        reuse: Callable[[Entry], None],
        keep: Callable[[], bool],
        set_keep: Callable[[bool], None],
    ) -> None:
        super().__init__(parent, theme, say, background)
        self._history, self._reuse, self._kept, self._set_keep = history, reuse, keep, set_keep
        self._found: dict[str, Entry] = {}  # by row of the list
        self._complete = False  # the list holds the last entry too
        self.title(say("history.title"))
        self._build()
        self.follow()
        self._bind_keys()
        self.search()
        self.query.focus_set()

    def rows(self) -> list[Entry]:
        """Return what the list shows, from the top."""
        return [self._found[row] for row in self.list.get_children()]

    def restyle(self) -> None:
        """Take the theme's colours again."""
        super().restyle()
        if self.winfo_exists():
            self._theme.style_text(self.preview)
            self.preview.configure(padx=self._theme.pixels(8), pady=self._theme.pixels(6))

    def follow(self) -> None:
        """Show whether translations are kept now; it may have been changed elsewhere."""
        self._keep.state(["!alternate", "selected" if self._kept() else "!selected"])

    # ---- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        theme, say = self._theme, self._say
        gap, small = theme.pixels(12), theme.pixels(6)
        body = ttk.Frame(self, padding=gap)
        body.pack(fill="both", expand=True)
        top = ttk.Frame(body)
        top.pack(fill="x", pady=(0, small))
        ttk.Label(top, text=say("history.search")).pack(side="left", padx=(0, small))
        self.query = ttk.Entry(top)
        self.query.pack(side="left", fill="x", expand=True)
        # Its state and no variable: Python may collect a variable on another thread, where Tk must not be called.
        self._keep = ttk.Checkbutton(
            top,
            text=say("settings.history"),
            command=lambda: self._set_keep(self._keep.instate(["selected"])),
        )
        self._keep.pack(side="left", padx=(gap, 0))

        buttons = ttk.Frame(body)
        buttons.pack(side="bottom", fill="x", pady=(gap, 0))
        ttk.Button(buttons, text=say("close"), command=self.destroy).pack(side="right")
        self._clear = ttk.Button(buttons, text=say("history.clear"), command=self.clear)
        self._clear.pack(side="right", padx=(0, small))
        self._export = ttk.Button(buttons, text=say("history.export"), command=self.export)
        self._export.pack(side="right", padx=(0, small))
        self._use = ttk.Button(buttons, text=say("history.reuse"), command=self.reuse)
        self._use.pack(side="left")
        self._delete = ttk.Button(buttons, text=say("history.delete"), command=self.delete)
        self._delete.pack(side="left", padx=(small, 0))

        self._place_status(body).pack(side="bottom", fill="x", pady=(small, 0))
        self.preview = tkinter.Text(body, height=5, width=20, takefocus=0, state="disabled")
        self.restyle()
        self.preview.pack(side="bottom", fill="x", pady=(small, 0))
        self._build_list(body)

    def _build_list(self, body: ttk.Frame) -> None:
        theme = self._theme
        frame = ttk.Frame(body)
        frame.pack(fill="both", expand=True)
        self.list = ttk.Treeview(frame, columns=_COLUMNS, show="headings", selectmode="extended", height=10)
        for name in _COLUMNS:
            self.list.heading(name, text=self._say(f"history.{name}"), anchor="w")
        widths = {name: theme.pixels(width) for name, width in _WIDTHS.items()}
        fit_columns(self.list, widths, fixed={"time"})
        scrollbar = ttk.Scrollbar(frame, command=self.list.yview)
        self.list.configure(yscrollcommand=lambda first, last: self._scrolled(scrollbar, first, last))
        scrollbar.pack(side="right", fill="y")
        self.list.pack(side="left", fill="both", expand=True)

    def _bind_keys(self) -> None:
        self.query.bind("<KeyRelease>", lambda _: self._search_soon())
        self.query.bind("<<Paste>>", lambda _: self._search_soon(), add=True)
        self.query.bind("<Down>", lambda _: self._enter_list())
        self.query.bind("<Return>", lambda _: self._enter_list())
        self.list.bind("<<TreeviewSelect>>", lambda _: self._selected())
        self.list.bind("<Double-1>", lambda event: self.reuse() if self.list.identify_row(event.y) else None)
        self.list.bind("<Return>", lambda _: self.reuse())
        self.list.bind("<Delete>", lambda _: self.delete())
        self.list.bind("<Control-a>", lambda _: self.list.selection_set(self.list.get_children()))
        self.bind("<Control-f>", lambda _: self.query.focus_set())

    # ---- the user's actions --------------------------------------------------------------------

    def search(self) -> None:
        """Show the newest entries that the search field asks for."""
        query = self.query.get()
        self._ask("history.search", lambda: self._history.search(query, _PAGE), self._show_found)

    def reuse(self) -> None:
        """Have the window translate the selected entry again."""
        chosen = self._chosen()
        if len(chosen) == 1:
            self._ask("history.get", lambda: self._history.get(chosen[0].id), self._give_back)

    def delete(self) -> None:
        """Delete the selected entries."""
        rows = self.list.selection()
        if not rows:
            return
        ids = [self._found.pop(row).id for row in rows]
        following = self.list.next(rows[-1]) or self.list.prev(rows[0])
        self.list.delete(*rows)
        if following and self.list.exists(following):
            self.list.selection_set(following)
            self.list.focus(following)
        self._selected()
        self._ask("", lambda: self._history.delete(ids), lambda _: self._deleted())

    def clear(self) -> None:
        """Delete everything, after a question."""
        if messagebox.askyesno(
            self._say("history.title"), self._say("history.clear.question"), parent=self, default="no"
        ):
            self._ask("", self._history.clear, lambda _: self.search())

    def export(self) -> None:
        """Ask for a file and write the whole history into it."""
        kinds = [("CSV", "*.csv"), ("JSON", "*.json")]
        name = filedialog.asksaveasfilename(
            parent=self, title=self._say("history.export"), filetypes=kinds,
            defaultextension=".csv", initialfile=f"{self._say('history.file')}.csv",
        )  # fmt: skip
        if not name:
            return
        path = Path(name)

        def written(count: int) -> None:
            self._tell(self._say("history.exported", count=self._say.number(count), name=path.name))

        self._tell(self._say("history.exporting"))
        self._ask("", lambda: export_history(self._history.entries(), path), written)

    # ---- what came of them ---------------------------------------------------------------------

    def _show_found(self, entries: list[Entry]) -> None:
        self.list.delete(*self.list.get_children())
        self._found.clear()
        self._append(entries)
        self._selected()
        self._count()

    def _append(self, entries: list[Entry]) -> None:
        self._complete = len(entries) < _PAGE
        for entry in entries:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.time))
            values = (when, " ".join(entry.source.split()), " ".join(entry.target.split()))
            self._found[self.list.insert("", "end", values=values)] = entry

    def _count(self) -> None:
        aside = self._history.take_notice()
        if aside is not None:
            self._tell(self._say("history.set_aside", name=aside.name), error=True)
            return
        shown = len(self._found)
        if not shown:
            empty = "history.nothing_found" if self.query.get().strip() else "history.empty"
            self._tell(self._say(empty))
        elif self._complete:
            self._tell(self._say("history.count", count=self._say.number(shown)))
        else:
            self._tell(self._say("history.count.more", count=self._say.number(shown)))

    def _give_back(self, entry: Entry | None) -> None:
        if entry is None:  # another window deleted it
            self.search()
            return
        self.destroy()
        self._reuse(entry)

    def _deleted(self) -> None:
        if self._found or self._complete:
            self._count()
        else:
            self.search()  # older entries are left

    def _search_soon(self) -> None:
        self._later("search", _SEARCH_MS, self.search)

    def _enter_list(self) -> str:
        rows = self.list.get_children()
        if rows:
            self.list.focus_set()
            if not self.list.selection():
                self.list.selection_set(rows[0])
                self.list.focus(rows[0])
        return "break"

    def _scrolled(self, scrollbar: ttk.Scrollbar, first: float | str, last: float | str) -> None:
        scrollbar.set(first, last)
        if float(last) > 0.97 and self._found and not self._complete:
            self._complete = True  # until the next page says otherwise: one request at a time
            query, oldest = self.query.get(), self.rows()[-1].id
            self._ask(
                "history.search",
                lambda: self._history.search(query, _PAGE, before_id=oldest),
                self._show_more,
            )

    def _show_more(self, entries: list[Entry]) -> None:
        self._append(entries)
        self._count()

    def _chosen(self) -> list[Entry]:
        return [self._found[row] for row in self.list.selection()]

    def _selected(self) -> None:
        chosen = self._chosen()
        self._use.state(["!disabled" if len(chosen) == 1 else "disabled"])
        self._delete.state(["!disabled" if chosen else "disabled"])
        text = f"{chosen[0].source}\n→ {chosen[0].target}" if len(chosen) == 1 else ""
        self.preview.configure(state="normal")
        self.preview.delete("1.0", "end")
        self.preview.insert("1.0", text)
        self.preview.configure(state="disabled")

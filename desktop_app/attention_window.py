"""The attention of the sentence that is looked at, head by head, to see and to save."""

from __future__ import annotations

import importlib.util
import tkinter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk
from tkinter import font as tkfont

from desktop_app.background import Background
from desktop_app.heat_map import HeatMap, heat_map, save_png, strength
from desktop_app.inspection import Attention
from desktop_app.live import LiveTranslation
from desktop_app.messages import Messages
from desktop_app.theme import Theme, blend
from desktop_app.words import LitWord, Words
from desktop_app.wrapping_label import WrappingLabel

_SHADES = 255  # an eye sees no more, and a long sentence has tens of thousands of cells
_RESIZED_MS = 60  # without another step the window has its new size


class AttentionWindow(tkinter.Toplevel):
    """A heat map that follows the word that is looked at.

    Args:
        parent: The window it belongs to.
        theme: Colours and lengths.
        say: The window's sentences.
        live: What is shown.
        words: Which word is looked at.
        background: Where the model is asked and the file is written.
        failed: Says that the model failed.
    """

    def __init__(
        self,
        parent: tkinter.Misc,
        theme: Theme,
        say: Messages,
        live: LiveTranslation,
        words: Words,
        background: Background,
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(parent)
        theme.dress(self)
        self._theme, self._say, self._live, self._words = theme, say, live, words
        self._background, self._failed = background, failed
        self._asked = self._sentences = ("", "")  # what was asked about, and what `_attention` is of
        self._attention: Attention | None = None
        self.picture: HeatMap | None = None  # what is drawn
        self.grid_place = 0, 0, 1  # left and upper edge of the table and side of a cell, in pixels
        self._timer = ""
        # By name: a `PhotoImage` may be collected on another thread, and would call Tk from there.
        self.cells, self._visible = (str(self.tk.call("image", "create", "photo")) for _ in range(2))
        self._font = tkfont.nametofont("TkDefaultFont", root=self)
        self.title(say("attention.title"))
        self._build()
        theme.on_change(self.restyle)
        words.on_lit.append(self._follow)
        live.on_shown.append(self._follow)
        self.bind("<Destroy>", self._stop_following, add=True)
        self._follow()

    def restyle(self) -> None:
        """Take the theme's colours again."""
        if not self.winfo_exists():
            return
        if not self._theme.is_native:
            self.configure(background=self._theme.palette.window)
        self.canvas.configure(background=self._theme.palette.pane)
        if self._attention is None:
            self._write_empty()
        else:
            self._draw()

    def _build(self) -> None:
        theme, say = self._theme, self._say
        gap = theme.pixels(12)
        frame = ttk.Frame(self, padding=gap)
        frame.pack(fill="both", expand=True)
        top = ttk.Frame(frame)
        top.pack(fill="x", pady=(0, gap))
        ttk.Label(top, text=say("attention.show")).pack(side="left")
        self.heads = ttk.Combobox(top, state="readonly", width=14, values=[say("attention.average")])
        self.heads.current(0)
        self.heads.bind("<<ComboboxSelected>>", lambda _: self._draw())
        self.heads.pack(side="left", padx=theme.pixels(6))
        self.save_button = ttk.Button(top, text=say("attention.save"), command=self.save, state="disabled")
        # An installation without the extra `desktop` cannot write pictures.
        if importlib.util.find_spec("PIL") is not None:
            self.save_button.pack(side="right")
        foot = ttk.Frame(frame)
        foot.pack(side="bottom", fill="x", pady=(gap, 0))
        self._cell = ttk.Label(foot, text=" ")
        self._cell.pack(anchor="w")
        explain = WrappingLabel(foot, text=say("attention.explain"), style="Muted.TLabel", justify="left")
        explain.pack(fill="x")
        body = ttk.Frame(frame)
        body.pack(fill="both", expand=True)
        body.rowconfigure(0, weight=1)
        body.columnconfigure(0, weight=1)
        self.canvas = tkinter.Canvas(
            body, width=theme.pixels(560), height=theme.pixels(420), highlightthickness=0, takefocus=1,
            background=theme.palette.pane,
        )  # fmt: skip
        self.canvas.grid(row=0, column=0, sticky="nsew")
        down = ttk.Scrollbar(body, command=self.canvas.yview)
        across = ttk.Scrollbar(body, orient="horizontal", command=self.canvas.xview)
        down.grid(row=0, column=1, sticky="ns")
        across.grid(row=1, column=0, sticky="ew")
        self.canvas.configure(
            yscrollcommand=partial(self._scrolled, down), xscrollcommand=partial(self._scrolled, across)
        )
        self.canvas.bind("<Configure>", lambda _: self._draw_soon())
        self.canvas.bind("<Motion>", self._tell_cell)
        for key, move in (("Up", (0, -1)), ("Down", (0, 1)), ("Left", (-1, 0)), ("Right", (1, 0))):
            self.canvas.bind(f"<{key}>", partial(self._scroll, *move))
        self.heads.focus_set()

    def _scroll(self, x: int, y: int, _event: tkinter.Event[tkinter.Misc]) -> None:
        self.canvas.xview_scroll(x, "units")
        self.canvas.yview_scroll(y, "units")

    def _scrolled(self, scrollbar: ttk.Scrollbar, first: float | str, last: float | str) -> None:
        _set_or_hide(scrollbar, first, last)
        self._show_cells()

    def _draw_soon(self) -> None:
        """Draw when the window has its new size, not at every step to it."""
        self._stop_timer()
        self._timer = self.after(_RESIZED_MS, self._draw)

    def _stop_timer(self) -> None:
        if self._timer:
            self.after_cancel(self._timer)
            self._timer = ""

    # ---- which sentence ------------------------------------------------------------------------

    def _follow(self) -> None:
        """Ask for the attention of the sentence that is looked at; without one the last stays."""
        lit, shown, inspector = self._words.lit, self._live.shown, self._live.inspector
        place = lit.place if isinstance(lit, LitWord) else None
        if place is None and not any(self._asked) and shown is not None and shown.places:
            place = shown.places[0]
        if place is None or shown is None or inspector is None:
            if not any(self._asked):
                self._write_empty()
            return
        source, target = shown.sentences(place)
        if (source, target) == self._asked:
            return
        self._asked = source, target
        self._background.run(
            "attention window",
            lambda: inspector.attention(source, target),
            lambda attention: self._show((source, target), attention),
            self._no_answer,
        )

    def _no_answer(self, error: Exception) -> None:
        self._asked = self._sentences  # what is drawn stays, and may be asked about again
        self._failed(error)

    def _stop_following(self, event: tkinter.Event[tkinter.Misc]) -> None:
        if event.widget is self:
            self._words.on_lit.remove(self._follow)
            self._live.on_shown.remove(self._follow)
            self._background.drop("attention window")
            self._stop_timer()
            self.tk.call("image", "delete", self.cells, self._visible)

    def _show(self, sentences: tuple[str, str], attention: Attention) -> None:
        self._sentences, self._attention = sentences, attention
        say, head = self._say, self.heads.current()
        names = [say("attention.head", number=number + 1) for number in range(len(attention.weights))]
        self.heads.configure(values=[say("attention.average"), *names])
        self.heads.current(min(head, len(names)))
        self.save_button.configure(state="normal")
        self._draw()

    # ---- the picture ---------------------------------------------------------------------------

    def _draw(self) -> None:
        self._stop_timer()
        if self._attention is None:
            return
        choice = self.heads.current()
        source, target = self._sentences
        picture = self.picture = heat_map(
            self._attention, source, target, None if choice == 0 else choice - 1,
            title=self.heads.get(), end=self._say("attention.end"),
        )  # fmt: skip
        canvas, pixels, colours = self.canvas, self._theme.pixels, self._theme.palette
        canvas.delete("all")
        gap = pixels(8)
        left = max(self._font.measure(label) for label in picture.rows) + 2 * gap
        top = max(self._font.measure(label) for label in picture.columns) + 2 * gap
        side = self._cell_side(left + gap, top + gap, len(picture.columns), len(picture.rows))
        self.grid_place = left, top, side
        self._fill_cells(picture)
        canvas.create_image(0, 0, anchor="nw", image=self._visible, tags="cells")
        width, height = left + len(picture.columns) * side, top + len(picture.rows) * side
        for column in range(len(picture.columns) + 1):
            x = left + column * side
            canvas.create_line(x, top, x, height, fill=colours.border)
        for row in range(len(picture.rows) + 1):
            y = top + row * side
            canvas.create_line(left, y, width, y, fill=colours.border)
        for column, label in enumerate(picture.columns):
            canvas.create_text(
                left + (column + 0.5) * side, top - gap, text=label, angle=90, anchor="w", fill=colours.text,
                font=self._font,
            )  # fmt: skip
        for row, label in enumerate(picture.rows):
            canvas.create_text(
                left - gap, top + (row + 0.5) * side, text=label, anchor="e", fill=colours.text,
                font=self._font,
            )  # fmt: skip
        canvas.configure(scrollregion=(0, 0, width + gap, height + gap))
        self._show_cells()

    def _fill_cells(self, picture: HeatMap) -> None:
        """Colour the image that has one pixel for each cell."""
        colours = self._theme.palette
        shades = [blend(colours.pane, colours.accent, level / _SHADES) for level in range(_SHADES + 1)]
        rows = (
            " ".join(shades[round(strength(weight) * _SHADES)] for weight in row) for row in picture.weights
        )
        self.tk.call(self.cells, "blank")
        self.tk.call(self.cells, "configure", "-width", len(picture.columns), "-height", len(picture.rows))
        self.tk.call(self.cells, "put", " ".join(f"{{{row}}}" for row in rows))

    def _show_cells(self) -> None:
        """Enlarge the cells that are on the screen: all of a long sentence's would take 100 MB."""
        if self.picture is None or not self.winfo_exists():
            return
        canvas, (left, top, side) = self.canvas, self.grid_place
        ranges = [
            (
                max(0, int(begin - edge) // side),
                min(count, int(begin - edge + room) // side + 1),
            )
            for begin, edge, room, count in (
                (canvas.canvasx(0), left, canvas.winfo_width(), len(self.picture.columns)),
                (canvas.canvasy(0), top, canvas.winfo_height(), len(self.picture.rows)),
            )
        ]
        (first_column, last_column), (first_row, last_row) = ranges
        if first_column >= last_column or first_row >= last_row:
            return
        part = first_column, first_row, last_column, last_row
        self.tk.call(self._visible, "copy", self.cells, "-from", *part, "-zoom", side, "-shrink")
        canvas.coords("cells", left + first_column * side, top + first_row * side)

    def _cell_at(self, x: int, y: int) -> tuple[int, int] | None:
        """Return row and column of the cell under a point of the canvas, None beside the table."""
        if self.picture is None:
            return None
        left, top, side = self.grid_place
        column = int(self.canvas.canvasx(x) - left) // side
        row = int(self.canvas.canvasy(y) - top) // side
        inside = 0 <= row < len(self.picture.rows) and 0 <= column < len(self.picture.columns)
        return (row, column) if inside else None

    def _cell_side(self, left: int, top: int, columns: int, rows: int) -> int:
        """Return the side of a cell: the table fills the canvas, and scrolls where cells would be tiny."""
        width = max(self.canvas.winfo_width(), self.canvas.winfo_reqwidth())
        height = max(self.canvas.winfo_height(), self.canvas.winfo_reqheight())
        fitting = min((width - left) // columns, (height - top) // rows)
        return min(max(fitting, self._theme.pixels(22)), self._theme.pixels(52))

    def _tell_cell(self, event: tkinter.Event[tkinter.Misc]) -> None:
        """Say in words what the cell under the pointer shows."""
        cell = self._cell_at(event.x, event.y)
        if self.picture is not None and cell is not None:
            row, column = cell
            self._cell.configure(
                text=self._say(
                    "attention.cell",
                    target=self.picture.rows[row],
                    source=self.picture.columns[column],
                    share=self._say.percent(self.picture.weights[row][column]),
                )
            )

    def _write_empty(self) -> None:
        self.canvas.delete("all")
        self.canvas.create_text(
            self._theme.pixels(20), self._theme.pixels(20), anchor="nw", width=self._theme.pixels(500),
            text=self._say("attention.empty"), fill=self._theme.palette.muted, font=self._font,
        )  # fmt: skip

    def save(self) -> None:
        """Ask for a name and write the picture."""
        picture = self.picture
        if picture is None:
            return
        name = filedialog.asksaveasfilename(
            parent=self, defaultextension=".png", initialfile="attention.png",
            filetypes=[(self._say("files.type.png"), "*.png")],
        )  # fmt: skip
        if name:
            path = Path(name)
            self._background.run(
                "", lambda: save_png(path, picture), lambda _: self._saved(path.name), self._save_failed
            )

    def _saved(self, name: str) -> None:
        if self.winfo_exists():
            self._cell.configure(text=self._say("attention.saved", name=name))

    def _save_failed(self, error: Exception) -> None:
        if self.winfo_exists():
            self._cell.configure(text=self._say("error.save", name="PNG", reason=error))


def _set_or_hide(scrollbar: ttk.Scrollbar, first: float | str, last: float | str) -> None:
    """Move a scrollbar, and show it only where there is something to scroll to."""
    scrollbar.set(first, last)
    if float(first) <= 0.0 and float(last) >= 1.0:
        scrollbar.grid_remove()
    else:
        scrollbar.grid()

"""The models of this computer: listed, read about, installed, removed, taken; no file is touched on the Tk thread."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog, messagebox, ttk
from typing import TYPE_CHECKING

from desktop_app.background import Background
from desktop_app.card_view import CardView
from desktop_app.dialog import Dialog, fit_columns
from desktop_app.messages import Messages
from desktop_app.models import AlreadyInstalledError, InstalledModel, Models, read_card
from desktop_app.theme import Theme

if TYPE_CHECKING:
    from keras_transformer.decoding.cancellation import Cancellation

_WIDTHS = {"name": 150, "languages": 160, "size": 110, "scores": 230, "licence": 140}  # at 96 dots an inch
_COLUMNS = tuple(_WIDTHS)
_PROGRESS_MS = 100


class ModelsWindow(Dialog):
    """A list with the model card of the chosen one under it; Enter uses it, Delete removes it, Insert installs.

    Args:
        parent: The window it belongs to.
        theme: Fonts and colours.
        say: The window's sentences.
        models: Used on the background thread only.
        background: Its `poll` is called by the parent's timer.
        current: Returns the bundle that translates now, or None.
        pick: Has the window load another bundle.
        changed: Called when a model was installed or removed.
    """

    def __init__(
        self,
        parent: tkinter.Misc,
        theme: Theme,
        say: Messages,
        models: Models,
        background: Background,
        *,
        current: Callable[[], Path | None],
        pick: Callable[[Path], None],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(parent, theme, say, background)
        self._models, self._current, self._pick, self._changed = models, current, pick, changed
        self._listed: dict[str, InstalledModel] = {}  # by row of the list
        self._installing: Cancellation | None = None
        self._progress = (0, 1)  # written by the background thread as one value
        self.title(say("models.title"))
        self._build()
        self._bind_keys()
        self.refresh()
        self.list.focus_set()

    def facts_text(self) -> str:
        """Return what is said of the chosen model beside its card's heading."""
        return str(self._facts.cget("text"))

    def refresh(self, choose: Path | None = None, sentence: str = "") -> None:
        """Read the list again, choose the model in a folder, else the one in use, and say a sentence."""

        def show(models: list[InstalledModel]) -> None:
            self._show(models, choose or self._current())
            empty = self._say("models.none")
            self._tell(sentence or (self._say("models.count", count=len(models)) if models else empty))

        self._ask("models.list", self._models.list, show)

    def follow_model(self) -> None:
        """Show which model translates now; it may have been changed in the window."""

        def show(models: list[InstalledModel]) -> None:
            chosen = self._chosen()
            self._show(models, chosen.folder if chosen is not None else self._current())

        self._ask("models.follow", self._models.list, show)

    # ---- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        theme, say = self._theme, self._say
        gap, small = theme.pixels(12), theme.pixels(6)
        body = ttk.Frame(self, padding=gap)
        body.pack(fill="both", expand=True)
        buttons = ttk.Frame(body)
        buttons.pack(side="bottom", fill="x", pady=(gap, 0))
        self._use = ttk.Button(buttons, text=say("models.use"), command=self.use)
        self._use.pack(side="left")
        self._remove = ttk.Button(buttons, text=say("models.remove"), command=self.remove)
        self._remove.pack(side="left", padx=(small, 0))
        ttk.Button(buttons, text=say("close"), command=self.destroy).pack(side="right")
        self._install = ttk.Button(buttons, text=say("models.install"), command=self.install)
        self._install.pack(side="right", padx=(0, small))

        frame = ttk.Frame(body)
        frame.pack(fill="x")
        self.list = ttk.Treeview(frame, columns=_COLUMNS, show="headings", selectmode="browse", height=5)
        for name in _COLUMNS:
            self.list.heading(name, text=say(f"models.{name}"), anchor="w")
        widths = {name: theme.pixels(width) for name, width in _WIDTHS.items()}
        fit_columns(self.list, widths, fixed={"size"})
        scrollbar = ttk.Scrollbar(frame, command=self.list.yview)
        self.list.configure(yscrollcommand=scrollbar.set)
        scrollbar.pack(side="right", fill="y")
        self.list.pack(side="left", fill="both", expand=True)
        self._place_status(body).pack(fill="x", pady=(small, 0))
        heading = ttk.Frame(body)
        heading.pack(fill="x", pady=(gap, small))
        ttk.Label(heading, text=say("models.card"), style="Heading.TLabel").pack(side="left")
        self._facts = ttk.Label(heading, style="Muted.TLabel")
        self._facts.pack(side="right")
        self.card = CardView(body, theme)
        self.card.pack(fill="both", expand=True)

    def _bind_keys(self) -> None:
        self.list.bind("<<TreeviewSelect>>", lambda _: self._selected())
        self.list.bind("<Double-1>", lambda event: self.use() if self.list.identify_row(event.y) else None)
        self.list.bind("<Return>", lambda _: self.use())
        self.list.bind("<Delete>", lambda _: self.remove())
        self.list.bind("<Insert>", lambda _: self.install())

    # ---- the user's actions --------------------------------------------------------------------

    def use(self) -> None:
        """Have the window translate with the chosen model."""
        model = self._chosen()
        if model is None or model.problem or model.folder == self._current():
            return
        self.destroy()
        self._pick(model.folder)

    def remove(self) -> None:
        """Remove the chosen model after a question; the one in use and those of the program stay."""
        model = self._chosen()
        if model is None or not self._removable(model):
            return
        question = self._say("models.remove.question", name=model.name)
        if not messagebox.askyesno(self._say("models.title"), question, parent=self, default="no"):
            return

        def removed(_: None) -> None:
            self._changed()
            self.refresh(sentence=self._say("models.removed", name=model.name))

        self._ask("", lambda: self._models.remove(model.folder), removed)

    def install(self) -> None:
        """Ask for a zip file and install it; pressed again while that runs, stop it."""
        if self._installing is not None:
            self._stop()
            return
        name = filedialog.askopenfilename(
            parent=self, title=self._say("models.install"),
            filetypes=[(self._say("models.zip"), "*.zip"), (self._say("files.type.all"), "*")],
        )  # fmt: skip
        if name:
            self._install_from(Path(name), replace=False)

    def _install_from(self, path: Path, *, replace: bool) -> None:
        from keras_transformer.decoding.cancellation import Cancellation, Cancelled  # loads NumPy

        cancellation = self._installing = Cancellation()
        self._progress = (0, 1)
        self._install.configure(text=self._say("button.cancel"))

        def note_progress(done: int, total: int) -> None:
            self._progress = (done, max(total, 1))

        def work() -> InstalledModel:
            return self._models.install(
                path, replace=replace, on_progress=note_progress, cancellation=cancellation
            )

        def installed(model: InstalledModel) -> None:
            self._end_installing()
            self._changed()
            self.refresh(model.folder, self._say("models.installed", name=model.name))
            if model.folder == self._current():
                self._pick(model.folder)  # what is loaded is the one before

        def failed(error: Exception) -> None:
            self._end_installing()
            if isinstance(error, Cancelled):
                self._tell(self._say("models.cancelled"))
            elif isinstance(error, AlreadyInstalledError):
                question = self._say("models.replace.question", name=error.model.name)
                self._tell(self._say("models.cancelled"))
                if messagebox.askyesno(self._say("models.title"), question, parent=self):
                    self._install_from(path, replace=True)
            else:
                self._show_error(error)

        self._ask("", work, installed, failed)
        self._show_progress(path.name)

    # ---- what came of them ---------------------------------------------------------------------

    def _show(self, models: list[InstalledModel], choose: Path | None) -> None:
        self.list.delete(*self.list.get_children())
        self._listed.clear()
        for model in models:
            row = self.list.insert("", "end", values=[self._cell(model, name) for name in _COLUMNS])
            self._listed[row] = model
            if model.folder == choose:
                self._choose(row)
        if self._listed and not self.list.selection():
            self._choose(next(iter(self._listed)))
        self._selected()

    def _choose(self, row: str) -> None:
        self.list.selection_set(row)
        self.list.focus(row)
        self.list.see(row)

    def _cell(self, model: InstalledModel, column: str) -> str:
        say = self._say
        match column:
            case "name":
                return f"✓ {model.name}" if model.folder == self._current() else model.name
            case "languages" if model.source_language:
                return (
                    f"{say.language_name(model.source_language)} → {say.language_name(model.target_language)}"
                )
            case "size":
                return say("models.megabytes", count=say.number(model.num_bytes / 1e6, 1))
            case "scores":
                return self._scores(model)
            case "licence":
                return model.licence
        return ""

    def _scores(self, model: InstalledModel) -> str:
        for test_set, figures in model.scores.items():
            if isinstance(figures, dict):
                named = [
                    f"{label} {self._say.number(figures[key], 1)}"
                    for key, label in (("bleu", "BLEU"), ("chrf", "chrF"))
                    if isinstance(figures.get(key), int | float)
                ]
                if named:
                    return self._say("models.score", test_set=test_set, figures=" · ".join(named))
        return ""

    def _selected(self) -> None:
        model = self._chosen()
        usable = model is not None and not model.problem and model.folder != self._current()
        self._use.state(["!disabled" if usable else "disabled"])
        self._remove.state(["!disabled" if model is not None and self._removable(model) else "disabled"])
        self._facts.configure(text=self._facts_of(model) if model is not None else "")
        if model is None or model.problem:
            self._background.drop("models.card")
            self.card.show("", " ".join(model.problem.split()) if model is not None else "")
            return
        self._ask("models.card", lambda: read_card(model.folder), self._show_card)

    def _facts_of(self, model: InstalledModel) -> str:
        current = [self._say("models.current")] if model.folder == self._current() else []
        shipped = [self._say("models.shipped")] if model.is_shipped else []
        return " · ".join([*current, *model.precisions, *shipped])

    def _show_card(self, text: str) -> None:
        self.card.show(text, self._say("models.no_card"))

    def _show_progress(self, name: str) -> None:
        done, total = self._progress
        self._tell(self._say("models.checking", name=name, share=self._say.percent(done / total)))
        self._later("progress", _PROGRESS_MS, lambda: self._show_progress(name))

    def _chosen(self) -> InstalledModel | None:
        rows = self.list.selection()
        return self._listed[rows[0]] if rows else None

    def _removable(self, model: InstalledModel) -> bool:
        return not model.is_shipped and model.folder != self._current()

    def _stop(self) -> None:
        if self._installing is not None:
            self._installing.cancel()

    def _closed(self) -> None:
        self._stop()
        super()._closed()

    def _end_installing(self) -> None:
        self._installing = None
        self._not_later("progress")
        self._install.configure(text=self._say("models.install"))

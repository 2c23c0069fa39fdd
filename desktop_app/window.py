"""The translator's window: shows what the service answers and never computes anything itself."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
import tkinter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from desktop_app import system
from desktop_app.actions import Action, Actions
from desktop_app.alternatives import Alternatives
from desktop_app.background import Background
from desktop_app.dialogs import Answers, Dialogs
from desktop_app.dropping import Dropping
from desktop_app.editing import Editing, copy_to_clipboard
from desktop_app.files import Files
from desktop_app.history import Entry
from desktop_app.keeping import Keeping
from desktop_app.live import LiveTranslation, Shown
from desktop_app.main_frame import MainFrame
from desktop_app.marks import Marks
from desktop_app.messages import Messages, chosen_language
from desktop_app.models import InstalledModel
from desktop_app.rooms import Rooms
from desktop_app.service import LoadedModel, TranslationService
from desktop_app.settings import DEFAULT_FONT_SIZE, FONT_SIZES, WindowSettings, fit_geometry
from desktop_app.shading import Shading
from desktop_app.theme import Theme
from desktop_app.words import Words

_LOGGER = logging.getLogger(__name__)

_POLL_BUSY_MS = 25
_POLL_IDLE_MS = 100  # also how soon Python sees Ctrl+C in the terminal
# Each call into Tcl gives the interpreter up and must win it back from a worker, which may keep it this long: with
# Python's 5 ms a dozen calls in a row made a beat 200 ms late.
_SWITCH_SECONDS = 0.0005
_DROPPING_MS = 500  # after the window is there: it costs milliseconds
_TEXT_EVENTS = {
    "undo": "<<Undo>>", "redo": "<<Redo>>", "cut": "<<Cut>>", "copy": "<<Copy>>", "paste": "<<Paste>>",
    "select_all": "<<SelectAll>>",
}  # fmt: skip


@dataclass
class _Pick:
    """A model that was asked for.

    Attributes:
        folder: Of its bundle.
        swapped: The translation that is to become the source, where it was picked for that.
        outcome: What the load returned or raised; written by the worker.
    """

    folder: Path
    swapped: Shown | None = None
    outcome: LoadedModel | Exception | None = None


class Window:
    """Two panes, a menu bar, a status line; what they do is in the modules it joins.

    Args:
        root: A root without widgets; the window is its only content.
        service: Started by the caller before or after; closed by the caller.
        theme: The look, applied to `root`.
        say: The window's sentences.
        settings: What holds at the beginning.
        rooms: History, models, and how to load one.
        notice: Shown once at the beginning, or "".
    """

    def __init__(
        self,
        root: tkinter.Tk,
        service: TranslationService,
        theme: Theme,
        say: Messages,
        settings: WindowSettings,
        rooms: Rooms,
        notice: str = "",
    ) -> None:
        self.root = root
        self.exit_code = 0
        self._service, self._theme, self._say, self._rooms = service, theme, say, rooms
        self._settings = settings
        self._way_back: Path | None = None  # the model that translates back
        self._picks: list[_Pick] = []  # models that were asked for and are not there yet, the latest last
        self._ending = False
        self._poll_timer = ""
        self._background, self._documents = Background("background"), Background("documents")
        root.report_callback_exception = self._report_exception
        root.protocol("WM_DELETE_WINDOW", self.quit)
        commands = {
            "swap": self.swap, "clear": self.clear, "copy": self.copy_translation, "cancel": self._cancel,
        }  # fmt: skip
        self.frame = MainFrame(root, theme, say, settings.sash, commands)
        self.frame.pack(fill="both", expand=True)
        self.source, self.target, self.status = self.frame.source, self.frame.target, self.frame.status
        self._join()
        self._place()
        if notice:
            self.status.show_notice(notice, error=True)
        self._poll()

    def run(self) -> None:
        """Show the window until it is closed; returns with `exit_code` set."""
        self.source.text.focus_set()
        self.root.deiconify()
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            self.root.mainloop()
        finally:
            sys.setswitchinterval(before)
        self.dialogs.close()  # an installation ends: what is to be kept waits behind it
        if self._poll_timer:
            self.root.after_cancel(self._poll_timer)

    def quit(self, exit_code: int = 0) -> None:
        """Leave `run`; what is being translated is dropped."""
        self.exit_code = exit_code
        self.keeping.keep_now()
        self.files.cancel()
        self.live.close()
        self._ending = True  # seen by `_poll` too: a signal may come before the main loop runs
        self._end()

    def close(self, timeout_seconds: float) -> bool:
        """End the window's threads, after what is to be kept is kept; returns whether they ended in time."""
        deadline = time.monotonic() + timeout_seconds
        ended = self._background.close(timeout_seconds)
        return self._documents.close(max(0.0, deadline - time.monotonic())) and ended

    def settings(self) -> WindowSettings:
        """Return what holds now, with the place of the window."""
        self.root.update_idletasks()
        return dataclasses.replace(self._settings, geometry=self.root.geometry(), sash=self.frame.sash())

    # ---- building ------------------------------------------------------------------------------

    def _join(self) -> None:
        """Put the parts together."""
        status, say, theme, background = self.status, self._say, self._theme, self._background
        source, target, rooms, failed = self.source, self.target, self._rooms, self._look_failed
        for pane in (source, target):
            Editing(pane)
        live = self.live = LiveTranslation(self._service, source, target, status, say)
        words = self.words = Words(live, source, target, background, theme, failed)
        self.alternatives = Alternatives(live, words, target, background, theme, say, status, failed)
        self.marks = Marks(live, target, theme)
        self.shading = Shading(live, target, background, theme, failed)
        self.files = Files(self.root, live, source, background, self._documents, say, status)
        self.keeping = Keeping(
            live, rooms.history, background, lambda: self._settings.history, self._tell_of_history,
            self._history_failed,
        )  # fmt: skip
        answers = Answers(
            settings=lambda: self._settings, change=self.change, reuse=self.reuse,
            pick=self.pick_model, models_changed=self._look_for_way_back, failed=failed,
            actions=lambda: self.actions,
        )  # fmt: skip
        self.dialogs = Dialogs(
            self.root, theme, say, background, live, words, rooms.history, rooms.models, answers
        )
        self.actions = Actions(self.root, theme, say, self._table())
        self.actions.bind_keys(self.root, source.text, target.text)
        self.dropping = Dropping(self.frame, self.files.translate_paths, self.frame.invite)
        self.root.after(_DROPPING_MS, self.dropping.enable)
        live.on_loaded.append(self._model_loaded)
        live.on_load_failed.append(self._load_failed)
        self._show_confidence()
        self._set_way_back(None)
        self.root.bind("<FocusIn>", self._focused, add=True)
        self.root.bind("<KeyPress>", self._early_key, add=True)

    def _table(self) -> dict[str, Action]:
        files, dialogs, rooms = self.files, self.dialogs, self._rooms
        return {
            "open": Action(files.open),
            "save": Action(files.save),
            "translate_file": Action(files.translate, files.can_translate),
            "quit": Action(self.quit),
            **{name: Action(self._to_text(event)) for name, event in _TEXT_EVENTS.items()},
            "copy_translation": Action(self.copy_translation),
            "clear": Action(self.clear),
            "swap": Action(self.swap, lambda: self._way_back is not None),
            "translate": Action(self.live.translate_now),
            "cancel": Action(self._cancel),
            "zoom_in": Action(lambda: self._zoom(1)),
            "zoom_out": Action(lambda: self._zoom(-1)),
            "zoom_reset": Action(lambda: self._zoom(0)),
            "confidence": Action(self._toggle_confidence, checked=lambda: self._settings.confidence),
            "other_pane": Action(self._other_pane),
            "attention": Action(dialogs.show_attention, lambda: self.live.inspector is not None),
            "alternatives": Action(self.alternatives.ask, self.alternatives.possible),
            "history": Action(dialogs.show_history, lambda: rooms.history is not None),
            "models": Action(dialogs.show_models, lambda: rooms.models is not None),
            "settings": Action(dialogs.show_settings),
            "help": Action(dialogs.show_help),
        }

    def _place(self) -> None:
        screen = self.root.winfo_screenwidth(), self.root.winfo_screenheight()
        wanted = f"{self._theme.pixels(960)}x{self._theme.pixels(520)}+0+0"
        default = fit_geometry(wanted, *screen).partition("+")[0]
        self.root.geometry(fit_geometry(self._settings.geometry, *screen) or default)

    # ---- the user's actions --------------------------------------------------------------------

    def copy_translation(self) -> None:
        """Put the translation on the clipboard."""
        text = self.live.finished()
        if text is None:
            return
        copy_to_clipboard(self.root, text)
        self.status.show_message(self._say("copied"))
        self.keeping.keep_now()

    def clear(self) -> None:
        """Empty both panes and drop what is being translated."""
        self.keeping.keep_now()
        self.live.clear()
        self.source.text.focus_set()

    def swap(self) -> None:
        """Translate the translation back, with the model for the way back."""
        folder = self._way_back
        if folder is not None:
            self.keeping.keep_now()
            self._pick(_Pick(folder, self.live.shown))

    def pick_model(self, folder: Path) -> None:
        """Load another model; it holds from now on, unless it cannot be loaded."""
        self._pick(_Pick(folder))

    def _pick(self, pick: _Pick) -> None:
        self._picks.append(pick)
        self._set_way_back(None)  # until the model is there
        load = self._rooms.load(pick.folder)

        def noted() -> LoadedModel:
            try:
                model = load()
            except Exception as error:
                pick.outcome = error
                raise
            pick.outcome = model
            return model

        self.live.load(noted)

    def put_source(self, text: str) -> None:
        """Take a text from elsewhere for the source."""
        self.source.set_text(text)
        self.source.text.focus_set()

    def reuse(self, entry: Entry) -> None:
        """Translate an entry of the history again, with a model for its languages."""
        self.put_source(entry.source)
        model, models = self.live.model, self._rooms.models
        pair = entry.source_language, entry.target_language
        if model is None or pair == (model.source_language, model.target_language):
            return

        def take(found: InstalledModel | None) -> None:
            if found is not None:
                self.pick_model(found.folder)
                return
            source, target = map(self._say.language_name, pair)
            self.status.show_notice(self._say("no_model", source=source, target=target), error=True)

        self._background.run("reuse", lambda: None if models is None else models.pick(*pair), take)

    def change(self, settings: WindowSettings) -> None:
        """Let other settings hold, at once."""
        old, self._settings = self._settings, settings
        if settings.look != old.look:
            self._follow_look()
        if settings.language != old.language:
            self._say.use(chosen_language(settings.language))
        self._theme.set_font_size(settings.font_size)
        self._show_confidence()
        self.dialogs.follow()

    def _cancel(self) -> None:
        self.status.end_notice()
        self.files.cancel()
        self.live.cancel()

    def _zoom(self, step: int) -> None:
        size = self._settings.font_size + step if step else DEFAULT_FONT_SIZE
        size = min(max(size, FONT_SIZES[0]), FONT_SIZES[-1])
        self.change(dataclasses.replace(self._settings, font_size=size))

    def _toggle_confidence(self) -> None:
        self.change(dataclasses.replace(self._settings, confidence=not self._settings.confidence))

    def _show_confidence(self) -> None:
        on = self._settings.confidence
        self.shading.set_on(on)
        self.frame.show_legend(on)

    def _other_pane(self) -> None:
        there = self.target if self.root.focus_get() is self.source.text else self.source
        there.text.focus_set()

    def _to_text(self, event: str) -> Callable[[], None]:
        """Return what sends an event to the pane that has the keyboard."""

        def act() -> None:
            at_target = self.root.focus_get() is self.target.text
            (self.target if at_target else self.source).text.event_generate(event)

        return act

    # ---- what happens by itself ----------------------------------------------------------------

    def _end(self) -> None:
        """End the main loop, and before it the dialog that waits for an answer within it."""
        for dialog in self.root.tk.splitlist(self.root.tk.call("grab", "current")):
            # As the window manager would close it: Tk's own dialogs are no widgets of tkinter.
            self.root.tk.eval(f"catch {{eval [wm protocol [winfo toplevel {dialog}] WM_DELETE_WINDOW]}}")
        self.root.quit()

    def _poll(self) -> None:
        if self._ending:
            self._end()
        busy = self.live.busy or self._background.busy or self.files.busy
        self._poll_timer = self.root.after(_POLL_BUSY_MS if busy else _POLL_IDLE_MS, self._poll)
        for outcome in self._service.outcomes():
            self.live.show_outcome(outcome)
        self._background.poll()
        self.files.poll()
        self.keeping.poll()

    def _model_loaded(self, model: LoadedModel) -> None:
        pick = self._answered(model)
        if pick is not None:
            self._settings = dataclasses.replace(self._settings, model=str(pick.folder))
            # Swapped: only a translation of what stands on the left takes its place.
            swapped = None if self._picks else pick.swapped
            if swapped is not None and swapped is self.live.shown and swapped.target:
                self.source.set_text(swapped.target)
        elif model.instead_of is not None:
            self._settings = dataclasses.replace(self._settings, model="")
            sentence = self._say("error.load.shipped", reason=model.instead_of)
            self.status.show_notice(sentence, model.instead_of, error=True)
        self.frame.show_languages(model.source_language, model.target_language)
        self._look_for_way_back()

    def _load_failed(self, error: Exception) -> None:
        """Go on with the model that is there."""
        if self._answered(error) is not None and not self._picks:
            self._look_for_way_back()

    def _answered(self, outcome: LoadedModel | Exception) -> _Pick | None:
        """The pick that this came of, which waits no longer; None: none did."""
        for index, pick in enumerate(self._picks):
            if pick.outcome is outcome:
                del self._picks[: index + 1]
                return pick
        return None

    def _look_for_way_back(self) -> None:
        """Allow swapping as long as a model is installed that translates back."""
        models, model = self._rooms.models, self.live.model
        if models is not None and model is not None:
            self._background.run(
                "way back",
                lambda: models.pick(model.target_language, model.source_language),
                lambda found: self._set_way_back(found.folder if found else None),
            )

    def _tell_of_history(self, set_aside: Path | None) -> None:
        if set_aside is not None:
            self.status.show_notice(self._say("history.set_aside", name=set_aside.name), error=True)

    def _history_failed(self, error: Exception) -> None:
        self.status.show_notice(self._say("error.history", reason=error), error, error=True)

    def _set_way_back(self, folder: Path | None) -> None:
        self._way_back = folder
        self.frame.allow_swap(folder is not None)

    def _early_key(self, event: tkinter.Event[tkinter.Misc]) -> None:
        """Keep what is typed into the window before Tk gives the keyboard to the source, once that is drawn."""
        if event.widget is self.root and (event.char == "\r" or (event.char and event.char.isprintable())):
            self.source.text.insert("insert", event.char.replace("\r", "\n"))
            self.source.text.focus_set()

    def _focused(self, event: tkinter.Event[tkinter.Misc]) -> None:
        """Look whether the desktop has changed between light and dark while the user was away."""
        if event.widget is self.root and self._settings.look == "system":
            self._follow_look()

    def _follow_look(self) -> None:
        if self._settings.look == "system":
            self._background.run("look", system.prefers_dark, self._theme.set_dark)
        else:
            self._background.drop("look")
            self._theme.set_dark(self._settings.look == "dark")

    def _look_failed(self, error: Exception) -> None:
        self.status.show_error(self._say("error.details", reason=error), error)

    def _report_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Log what a callback raised; the window goes on."""
        _LOGGER.error("a callback of the window failed", exc_info=(kind, error, trace))
        self._rooms.report(error)
        self.status.show_error(self._say("error.internal"), error if isinstance(error, Exception) else None)

"""The translator's window: shows what the service answers and never computes anything itself."""

from __future__ import annotations

import logging
import tkinter
from collections.abc import Callable
from tkinter import ttk
from types import TracebackType

from desktop_app import messages
from desktop_app.panes import TextPane, copy_to_clipboard
from desktop_app.service import Loaded, LoadFailed, Outcome, Translated, TranslationFailed, TranslationService
from desktop_app.settings import WindowSettings, fit_geometry
from desktop_app.theme import Theme

_LOGGER = logging.getLogger(__name__)

DEBOUNCE_MS = 350  # after the last key; 300 to 500 feels like "as you type" without wasted work
_POLL_BUSY_MS = 25
_POLL_IDLE_MS = 100  # also how soon Python sees Ctrl+C in the terminal
_MESSAGE_MS = 2000


class Window:
    """Two panes, a status line, and the rules of translate-as-you-type.

    Args:
        root: A root without widgets; the window is its only content.
        service: Started by the caller before or after; closed by the caller.
        theme: The look, applied to `root`.
        settings: Place of the window and of the sash.
    """

    def __init__(
        self, root: tkinter.Tk, service: TranslationService, theme: Theme, settings: WindowSettings
    ) -> None:
        self.root = root
        self.exit_code = 0
        self.load_error: Exception | None = None  # set when the window ended because of it
        self._service = service
        self._theme = theme
        self._sash = settings.sash
        self._loaded = False
        self._awaited_id: int | None = None  # the only request whose outcome is shown
        self._ending = False
        self._state = messages.LOADING
        self._engine_facts = ""
        self._debounce_timer = self._poll_timer = self._message_timer = ""

        root.title(messages.TITLE)
        root.iconname(messages.TITLE)
        root.report_callback_exception = self._report_exception
        root.protocol("WM_DELETE_WINDOW", self.quit)
        root.geometry(
            fit_geometry(settings.geometry, root.winfo_screenwidth(), root.winfo_screenheight())
            or f"{theme.pixels(960)}x{theme.pixels(480)}"
        )
        self._build()
        self._bind_shortcuts()
        self._show_state(messages.LOADING)
        self._poll()

    def run(self) -> None:
        """Show the window until it is closed; returns with `exit_code` and `load_error` set."""
        self.root.deiconify()
        self.source.text.focus_set()
        self.root.mainloop()
        for timer in (self._debounce_timer, self._poll_timer, self._message_timer):
            if timer:
                self.root.after_cancel(timer)

    def quit(self, exit_code: int = 0) -> None:
        """Leave `run`; what is being translated is dropped."""
        self.exit_code = exit_code
        self._service.cancel()
        self._cancel_debounce()
        self._ending = True  # seen by `_poll` too: a signal may come before the main loop runs
        self.root.quit()

    def settings(self) -> WindowSettings:
        """Return where the window is now."""
        self.root.update_idletasks()
        width = self._panes.winfo_width()
        share = self._sash_pixels() / width if width > 1 else self._sash
        return WindowSettings(self.root.geometry(), min(max(share, 0.1), 0.9))

    def status_text(self) -> str:
        """Return the sentence at the left of the status line."""
        return str(self._status.cget("text"))

    def facts_text(self) -> str:
        """Return the facts at the right of the status line: device, precision, time, words/s."""
        return str(self._facts.cget("text"))

    # ---- building ------------------------------------------------------------------------------

    def _build(self) -> None:
        gap = self._theme.pixels(12)
        body = ttk.Frame(self.root, padding=(gap, gap, gap, 0))
        body.pack(fill="both", expand=True)
        # The status line takes its room first: a low window shrinks the panes, not this line.
        status = ttk.Frame(body, padding=(0, self._theme.pixels(8)))
        status.pack(side="bottom", fill="x")
        self._facts = ttk.Label(status, style="Muted.TLabel")
        self._facts.pack(side="right")
        self._status = ttk.Label(status, style="Muted.TLabel")
        self._status.pack(side="left", fill="x", expand=True)
        # A long error takes a second line instead of being cut.
        self._status.bind("<Configure>", lambda event: self._status.configure(wraplength=event.width))

        self._panes = ttk.PanedWindow(body, orient="horizontal")
        self._panes.pack(fill="both", expand=True)
        self.source = TextPane(self._panes, self._theme, messages.SOURCE_HEADING, editable=True)
        self.target = TextPane(self._panes, self._theme, messages.TARGET_HEADING, editable=False)
        self._panes.add(self.source, weight=1)
        self._panes.add(self.target, weight=1)
        self.source.add_button(messages.TRANSLATE_BUTTON, self.translate_now)
        self.source.add_button(messages.CLEAR_BUTTON, self.clear)
        self.target.add_button(messages.COPY_BUTTON, self.copy_translation)
        self._limit_size()

        self._placeholder = ttk.Label(
            self.source.text, text=messages.PLACEHOLDER, style="Placeholder.TLabel", cursor="xterm"
        )
        self._placeholder.bind("<Button-1>", lambda _: self.source.text.focus_set())
        self._show_placeholder(True)
        self.source.text.bind("<<Modified>>", lambda _: self._source_changed())
        self._panes.bind("<Map>", lambda _: self.root.after_idle(self._restore_sash), add=True)

    def _bind_shortcuts(self) -> None:
        actions: dict[str, Callable[[], None]] = {
            "Return": self.translate_now, "KP_Enter": self.translate_now,
            "l": self.clear, "L": self.clear, "q": self.quit, "Q": self.quit,
            "Shift-C": self.copy_translation, "Shift-c": self.copy_translation,
        }  # fmt: skip
        modifiers = ["Control"]
        if self.root.tk.call("tk", "windowingsystem") == "aqua":
            modifiers.append("Command")
        for widget in (self.root, self.source.text, self.target.text):
            for key, action in actions.items():
                for modifier in modifiers:
                    widget.bind(f"<{modifier}-{key}>", _handler(action))

    def _restore_sash(self) -> None:
        self._panes.unbind("<Map>")
        self._sash_pixels(round(self._sash * self._panes.winfo_width()))

    def _sash_pixels(self, *position: int) -> int:
        return int(self._panes.sashpos(0, *position))  # type: ignore[no-untyped-call]

    def _show_languages(self, source_language: str, target_language: str) -> None:
        self.source.set_heading(messages.language_name(source_language))
        self.target.set_heading(messages.language_name(target_language))
        self._limit_size()

    def _limit_size(self) -> None:
        # Both panes keep their heading and buttons whole when the sash is in the middle.
        pane_width = max(pane.header_width() for pane in (self.source, self.target))
        self.root.minsize(2 * pane_width + self._theme.pixels(40), self._theme.pixels(280))

    def _show_placeholder(self, visible: bool) -> None:
        if visible:
            # Just right of the cursor; `place` measures inside the text's own margin.
            self._placeholder.place(x=self._theme.pixels(3), y=self._theme.pixels(1))
        else:
            self._placeholder.place_forget()

    # ---- the user's actions --------------------------------------------------------------------

    def translate_now(self) -> None:
        """Translate the source text without waiting for a pause in typing."""
        self._cancel_debounce()
        self.source.break_long_lines()
        text = self.source.get_text()
        if not text.strip():
            self._forget_translation()
            return
        self._awaited_id = self._service.submit(text)
        self.target.set_muted(True)
        self._show_state(messages.TRANSLATING if self._loaded else messages.LOADING)

    def copy_translation(self) -> None:
        """Put the translation on the clipboard."""
        text = self.target.get_text()
        if not text:
            self._show_message(messages.NOTHING_TO_COPY)
            return
        copy_to_clipboard(self.root, text)
        self._show_message(messages.COPIED)

    def clear(self) -> None:
        """Empty both panes and drop what is being translated."""
        self.source.set_text("")
        self.source.text.focus_set()
        self._cancel_debounce()
        self._forget_translation()

    def _source_changed(self) -> None:
        text = self.source.text
        if not text.edit_modified():  # Tk reports the reset below as a change too
            return
        text.edit_modified(False)
        empty = text.compare("end-1c", "==", "1.0")
        self._show_placeholder(empty)
        self._awaited_id = None  # whatever runs belongs to an earlier text
        self._service.cancel()
        self._cancel_debounce()
        if empty:
            self._forget_translation()
            return
        self.target.set_muted(True)
        self._debounce_timer = self.root.after(DEBOUNCE_MS, self.translate_now)

    def _forget_translation(self) -> None:
        self._awaited_id = None
        self._service.cancel()
        self.target.set_text("")
        self.target.set_muted(False)
        self._show_state(messages.READY if self._loaded else messages.LOADING)

    def _cancel_debounce(self) -> None:
        if self._debounce_timer:
            self.root.after_cancel(self._debounce_timer)
            self._debounce_timer = ""

    # ---- the service's outcomes ----------------------------------------------------------------

    def _poll(self) -> None:
        if self._ending:
            self.root.quit()
        busy = not self._loaded or self._awaited_id is not None
        self._poll_timer = self.root.after(_POLL_BUSY_MS if busy else _POLL_IDLE_MS, self._poll)
        for outcome in self._service.outcomes():
            self._show_outcome(outcome)

    def _show_outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Loaded(model):
                self._loaded = True
                self._show_languages(model.source_language, model.target_language)
                self._engine_facts = messages.engine_facts(model.device, model.precision)
                self._facts.configure(text=self._engine_facts)
                waiting = self._awaited_id is not None
                self._show_state(messages.TRANSLATING if waiting else messages.READY)
                if model.device_note:
                    self._show_message(model.device_note)
            case LoadFailed(error):
                self.load_error = error
                self.quit(1)
            case Translated(request_id, answer, num_words, seconds) if request_id == self._awaited_id:
                self._awaited_id = None
                self.target.set_text(answer.text)
                self.target.set_muted(False)
                self._show_state(answer.note or messages.READY)
                self._facts.configure(text=f"{self._engine_facts} · {messages.speed(num_words, seconds)}")
            case TranslationFailed(request_id, error) if request_id == self._awaited_id:
                self._awaited_id = None
                self.target.set_text("")
                self.target.set_muted(False)
                self._show_state(messages.failure(error), error=True)
            case _:
                pass  # an earlier text's outcome

    # ---- the status line -----------------------------------------------------------------------

    def _show_state(self, sentence: str, *, error: bool = False) -> None:
        if self._message_timer:
            self.root.after_cancel(self._message_timer)
            self._message_timer = ""
        self._state = sentence
        self._status.configure(text=sentence, style="Error.TLabel" if error else "Muted.TLabel")

    def _show_message(self, sentence: str) -> None:
        """Show a sentence for a moment, then the state again."""
        if self._message_timer:
            self.root.after_cancel(self._message_timer)
        self._status.configure(text=sentence)
        self._message_timer = self.root.after(_MESSAGE_MS, self._end_message)

    def _end_message(self) -> None:
        self._message_timer = ""
        self._status.configure(text=self._state)

    def _report_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Log what a callback raised; the window goes on."""
        _LOGGER.error("a callback of the window failed", exc_info=(kind, error, trace))
        self._show_state(messages.INTERNAL_ERROR, error=True)


def _handler(action: Callable[[], None]) -> Callable[[tkinter.Event[tkinter.Misc]], str]:
    def handle(_event: tkinter.Event[tkinter.Misc]) -> str:
        action()
        return "break"  # a text pane must not also act on the key: Ctrl+Enter would insert a line

    return handle

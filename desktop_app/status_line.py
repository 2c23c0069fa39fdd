"""The line at the foot of the window: what goes on, how far it is, what runs; and errors with their details."""

from __future__ import annotations

import tkinter
import traceback
from collections.abc import Callable
from tkinter import ttk

from desktop_app.details_window import DetailsWindow
from desktop_app.messages import Messages
from desktop_app.theme import Theme

_MESSAGE_MS = 4000
_NOTICE_MS = 20_000
_State = tuple[str, str, Exception | str]  # sentence, style, details


class StatusLine(ttk.Frame):
    """One sentence on the left, facts on the right, and a progress bar between them while it is needed.

    Args:
        parent: The widget that holds the line.
        theme: Lengths and colours.
        say: The window's sentences.
        cancel: Called by the button beside the progress bar.
    """

    def __init__(self, parent: tkinter.Misc, theme: Theme, say: Messages, cancel: Callable[[], None]) -> None:
        super().__init__(parent, padding=(0, theme.pixels(8)))
        self._theme, self._say = theme, say
        self._state: _State = ("", "Muted.TLabel", "")
        self._notice: _State | None = None
        self._timer = self._notice_timer = ""
        self._details: Exception | str = ""
        gap = theme.pixels(8)
        self._facts = ttk.Label(self, style="Muted.TLabel")
        self._facts.pack(side="right", padx=(gap, 0))
        self._cancel = ttk.Button(self, command=cancel)
        self._bar = ttk.Progressbar(self, length=theme.pixels(140), maximum=1.0)
        self._sentence = ttk.Label(self, style="Muted.TLabel")
        self._sentence.pack(side="left")
        self._button = ttk.Button(self, command=self._show_details)
        # A long error takes a second line instead of being cut.
        self.bind("<Configure>", lambda _: self._wrap())
        self.relabel()
        say.on_change(self.relabel)

    def relabel(self) -> None:
        """Name the buttons in the language that is spoken."""
        if self.winfo_exists():
            self._button.configure(text=self._say("details"))
            self._cancel.configure(text=self._say("button.cancel"))

    @property
    def sentence(self) -> str:
        """What the line says now."""
        return str(self._sentence.cget("text"))

    @property
    def facts(self) -> str:
        """What stands at the right."""
        return str(self._facts.cget("text"))

    def show_state(self, sentence: str, details: str = "") -> None:
        """Say what goes on, until something else does; `details` are behind the button for them."""
        self._enter((sentence, "Muted.TLabel", details))

    def show_error(self, sentence: str, error: Exception | None = None) -> None:
        """Say what went wrong; `error` is behind the button for details."""
        self._enter((" ".join(sentence.split()), "Error.TLabel", "" if error is None else error))

    def show_notice(self, sentence: str, details: Exception | str = "", *, error: bool = False) -> None:
        """Say what must not be overlooked: for a while no state takes its place, only an error does."""
        self._end_notice()
        self._notice = " ".join(sentence.split()), f"{'Error' if error else 'Muted'}.TLabel", details
        self._notice_timer = self.after(_NOTICE_MS, self.end_notice)
        self.end_message()

    def show_message(self, sentence: str) -> None:
        """Say something for a moment, then the state again."""
        self._stop_timer()
        self._show((sentence, "Muted.TLabel", ""))
        self._timer = self.after(_MESSAGE_MS, self.end_message)

    def show_facts(self, facts: str) -> None:
        """Show device, precision, time and words/s."""
        self._facts.configure(text=facts)
        self._wrap()

    def show_progress(self, share: float | None) -> None:
        """Show how much is done, in [0, 1]; None takes the bar away."""
        if share is None:
            self._bar.pack_forget()
            self._cancel.pack_forget()
        else:
            self._bar.configure(value=share)
            if not self._bar.winfo_ismapped():
                gap = self._theme.pixels(8)
                self._cancel.pack(side="right", padx=(gap, 0))
                self._bar.pack(side="right", padx=(gap, 0))
        self._wrap()

    def _enter(self, state: _State) -> None:
        self._state = state
        if state[1] == "Error.TLabel":
            self._end_notice()
        if self._notice is None:
            self._stop_timer()
            self._show(state)

    def _show(self, state: _State) -> None:
        sentence, style, self._details = state
        self._sentence.configure(text=sentence, style=style)
        if self._details == "":
            self._button.pack_forget()
        else:
            self._button.pack(side="left", padx=(self._theme.pixels(8), 0))
        self._wrap()

    def end_message(self) -> None:
        """Say the state again."""
        self._stop_timer()
        self._show(self._notice or self._state)

    def end_notice(self) -> None:
        """Say the state again, if a notice stands in its place."""
        if self._notice is not None:
            self._end_notice()
            if not self._timer:
                self._show(self._state)

    def _end_notice(self) -> None:
        self._notice = None
        if self._notice_timer:
            self.after_cancel(self._notice_timer)
            self._notice_timer = ""

    def _stop_timer(self) -> None:
        if self._timer:
            self.after_cancel(self._timer)
            self._timer = ""

    def _wrap(self) -> None:
        others = [self._facts, self._cancel, self._bar, self._button]
        taken = sum(w.winfo_reqwidth() + self._theme.pixels(8) for w in others if w.winfo_manager())
        self._sentence.configure(wraplength=max(self.winfo_width() - taken, self._theme.pixels(120)))

    def _show_details(self) -> None:
        if (details := self._details) != "":
            text = details if isinstance(details, str) else "".join(traceback.format_exception(details))
            DetailsWindow(self.winfo_toplevel(), self._theme, self._say, f"{self.sentence}\n\n{text}")

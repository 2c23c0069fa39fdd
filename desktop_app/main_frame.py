"""What is seen of the window: two panes with their buttons, the line between them, the status line."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from desktop_app.live import is_empty
from desktop_app.messages import Messages
from desktop_app.panes import TextPane
from desktop_app.status_line import StatusLine
from desktop_app.theme import SASH, Theme
from desktop_app.wrapping_label import WrappingLabel


class MainFrame(ttk.Frame):
    """The window's content; knows where things stand and what they are called, not what they do.

    Args:
        root: The window.
        theme: Lengths and colours.
        say: The window's sentences.
        sash: Share of the width that the source pane takes.
        commands: What the buttons do: "swap", "clear", "copy", "cancel".
    """

    def __init__(
        self,
        root: tkinter.Tk,
        theme: Theme,
        say: Messages,
        sash: float,
        commands: dict[str, Callable[[], None]],
    ) -> None:
        gap = theme.pixels(12)
        super().__init__(root, padding=(gap, gap, gap, 0))
        self._window, self._theme, self._say = root, theme, say
        self._sash = sash
        self._languages: tuple[str, str] | None = None
        # The status line takes its room first: a low window shrinks the panes, not this line.
        self.status = StatusLine(self, theme, say, commands["cancel"])
        self.status.pack(side="bottom", fill="x")
        self._legend = WrappingLabel(self, style="Muted.TLabel")
        self._panes = ttk.PanedWindow(self, orient="horizontal")
        self._panes.pack(fill="both", expand=True)
        self.source = TextPane(self._panes, theme, editable=True)
        self.target = TextPane(self._panes, theme, editable=False)
        self._panes.add(self.source, weight=1)
        self._panes.add(self.target, weight=1)
        self.buttons = {
            "swap": self.source.add_button(commands["swap"]),
            "clear": self.source.add_button(commands["clear"]),
            "copy": self.target.add_button(commands["copy"]),
        }
        self._placeholder = WrappingLabel(
            self.source.text, style="Placeholder.TLabel", cursor="xterm", anchor="nw"
        )
        self._placeholder.bind("<Configure>", lambda _: self._fit_placeholder(), add=True)
        self._placeholder.bind("<Button-1>", lambda _: self.source.text.focus_set())
        self.source.text.bind("<Configure>", lambda _: self._fit_placeholder(), add=True)
        self.source.text.bind("<<Modified>>", lambda _: self._show_placeholder(), add=True)
        self._panes.bind("<Map>", lambda _: root.after_idle(self._restore_sash), add=True)
        self.relabel()
        say.on_change(self.relabel)

    def show_languages(self, source: str, target: str) -> None:
        """Head the panes with the languages of two codes."""
        self._languages = source, target
        self.relabel()

    def allow_swap(self, possible: bool) -> None:
        """Let the languages be swapped, or not."""
        self.buttons["swap"].configure(state="normal" if possible else "disabled")

    def invite(self, on: bool) -> None:
        """Show that files may be dropped here, or no longer."""
        for pane in (self.source, self.target):
            pane.set_inviting(on)
        if on:
            self.status.show_message(self._say("files.drop"))
        else:
            self.status.end_message()

    def show_legend(self, on: bool) -> None:
        """Explain the shades, or not."""
        if on:
            # Before the panes: what is packed last is the first to go without room.
            gap = self._theme.pixels(8)
            self._legend.pack(side="bottom", fill="x", pady=(gap, 0), before=self._panes)
        else:
            self._legend.pack_forget()

    def sash(self) -> float:
        """Return the share of the width that the source pane takes now."""
        width = self._room()
        share = self._sash_pixels() / width if width > 1 else self._sash
        return min(max(share, 0.1), 0.9)

    def relabel(self) -> None:
        """Write every word, in the language that is spoken."""
        say = self._say
        self._window.title(say("title"))
        self._window.iconname(say("title"))
        headings = [say("source"), say("target")]
        if self._languages is not None:
            headings = [say.language_name(code) for code in self._languages]
        for pane, heading in zip((self.source, self.target), headings, strict=True):
            pane.set_heading(heading[:1].upper() + heading[1:])
        for name, button in self.buttons.items():
            button.configure(text=say(f"button.{name}"))
        self._placeholder.configure(text=say("placeholder"))
        self._legend.configure(text=say("confidence.legend"))
        self._show_placeholder()
        # Both panes keep their heading and buttons whole when the sash is in the middle.
        pane_width = max(pane.header_width() for pane in (self.source, self.target))
        self._window.minsize(2 * pane_width + self._theme.pixels(40), self._theme.pixels(280))

    def _show_placeholder(self) -> None:
        if is_empty(self.source.text):
            # Just right of the cursor; `place` measures inside the text's own margin.
            left = self._theme.pixels(3)
            self._placeholder.place(x=left, y=self._theme.pixels(1), relwidth=1.0, width=-left)
        else:
            self._placeholder.place_forget()

    def _fit_placeholder(self) -> None:
        """Keep large letters in a low pane off its border."""
        text, needed = self.source.text, self._placeholder.winfo_reqheight()
        margin = int(str(text.cget("pady"))) + int(str(text.cget("highlightthickness")))
        room = text.winfo_height() - 2 * margin - self._theme.pixels(1)
        if self._placeholder.winfo_manager():
            self._placeholder.place_configure(height=max(1, room) if needed > room else "")

    def _restore_sash(self) -> None:
        self._panes.unbind("<Map>")
        self._sash_pixels(round(self._sash * self._room()))

    def _room(self) -> int:
        """The width of both panes, in pixels, without the line between them."""
        return self._panes.winfo_width() - self._theme.pixels(SASH)

    def _sash_pixels(self, *position: int) -> int:
        return int(self._panes.sashpos(0, *position))  # type: ignore[no-untyped-call]

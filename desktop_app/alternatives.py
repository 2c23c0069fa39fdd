"""A click on a word of the translation: what else could stand there, and the rest translated again."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from functools import partial

from desktop_app.background import Background
from desktop_app.inspection import Alternative
from desktop_app.live import LiveTranslation
from desktop_app.messages import Messages
from desktop_app.panes import TextPane
from desktop_app.status_line import StatusLine
from desktop_app.theme import Theme
from desktop_app.words import LitWord, Words


class Alternatives:
    """Offers other words in a menu under the word.

    Args:
        live: What is shown.
        words: Which word is looked at.
        target: The pane of the translation.
        background: Where the model is asked.
        theme: Colours of the menu.
        say: The window's sentences.
        status: Says that there is nothing to offer.
        failed: Says that the model failed.
    """

    def __init__(
        self,
        live: LiveTranslation,
        words: Words,
        target: TextPane,
        background: Background,
        theme: Theme,
        say: Messages,
        status: StatusLine,
        failed: Callable[[Exception], None],
    ) -> None:
        self._live, self._words, self._target, self._background = live, words, target, background
        self._theme, self._say, self._status, self._failed = theme, say, status, failed
        self.menu: tkinter.Menu | None = None
        live.on_shown.append(self._shown_changed)
        target.text.bind("<ButtonRelease-1>", self._clicked, add=True)
        target.text.bind("<Return>", lambda _: self.ask())

    def possible(self) -> bool:
        """Return whether a word of the translation is lit."""
        return self._words.lit is not None and self._words.lit.in_target

    def ask(self) -> str:
        """Offer other words in the place of the lit word."""
        lit, inspector = self._words.lit, self._live.inspector
        if lit is not None and lit.in_target and inspector is not None:
            source, target = lit.shown.sentences(lit.place)
            self._background.run(
                "alternatives",
                lambda: inspector.alternatives(source, target, lit.span[0]),
                lambda found: self._offer(lit, found),
                self._failed,
            )
        return "break"

    def _clicked(self, event: tkinter.Event[tkinter.Misc]) -> None:
        if self._target.text.tag_ranges("sel"):  # the end of a selection, not a click
            return
        self._words.point(event.x, event.y, True)
        self.ask()

    def _offer(self, lit: LitWord, found: list[Alternative]) -> None:
        if lit.shown is not self._live.shown:
            return
        self._close()
        _, target = lit.shown.sentences(lit.place)
        present = target[lit.span[0] : lit.span[1]]
        if all(other.text.strip() == present for other in found):
            self._status.show_message(self._say("alternatives.none"))
            return
        text = self._target.text
        menu = self.menu = tkinter.Menu(text, tearoff=False)
        self._theme.style_menu(menu)
        if not self._theme.is_native:
            menu.configure(background=self._theme.palette.control)  # it stands out from the pane
        for other in found:
            share = self._say.percent(other.probability)
            menu.add_command(
                label=other.text.strip(),
                accelerator=share,
                command=partial(self._choose, lit, other.text),
                state="disabled" if other.text.strip() == present else "normal",
            )
        self._words.held = True
        # Later: the menu still runs the entry's command after it has gone from the screen.
        menu.bind("<Unmap>", lambda _: text.after(100, lambda: self._close(menu)))
        box = text.bbox(self._target.index(lit.begin)) or (0, 0, 0, 0)
        menu.tk_popup(text.winfo_rootx() + box[0], text.winfo_rooty() + box[1] + box[3])
        if self._theme.windowing_system != "x11":  # a menu of the desktop's: gone by now, and never unmapped
            text.after(100, lambda: self._close(menu))

    def _choose(self, lit: LitWord, word: str) -> None:
        inspector = self._live.inspector
        if inspector is None or lit.shown is not self._live.shown:
            return
        source, target = lit.shown.sentences(lit.place)
        self._status.show_state(self._say("translating"))

        def show(sentence: str) -> None:
            if lit.shown is self._live.shown:
                self._status.show_state(self._say("ready"))
                self._live.replace_sentence(lit.place, sentence)

        self._background.run(
            "choose", lambda: inspector.choose(source, target, lit.span[0], word), show, self._failed
        )

    def _shown_changed(self) -> None:
        self._background.drop("alternatives")
        self._background.drop("choose")
        self._close()

    def _close(self, only: tkinter.Menu | None = None) -> None:
        """Take the menu away; where `only` is given, not one that has come since."""
        if self.menu is not None and only in (None, self.menu):
            menu, self.menu = self.menu, None
            self._words.held = False
            menu.destroy()

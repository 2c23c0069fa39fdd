"""The words of the two panes: the pointer or the keys light one, and the words it is linked with."""

from __future__ import annotations

import math
import tkinter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from desktop_app.background import Background
from desktop_app.inspection import (
    Attention,
    Place,
    Span,
    linked_words,
    word_at,
    words,
)
from desktop_app.live import LiveTranslation, Shown
from desktop_app.panes import TextPane
from desktop_app.theme import Theme, blend

_HOVER_MS = 30  # a pointer that crosses a word in less is on its way elsewhere
_STRENGTHS = 5
_LIT = "lit"


@dataclass(frozen=True)
class LitWord:
    """The word that is looked at: a place in a sentence of one side."""

    shown: Shown
    place: Place
    span: Span  # in its sentence
    in_target: bool

    @property
    def begin(self) -> int:
        """Offset of the word in its pane."""
        return self.place.begin(in_target=self.in_target) + self.span[0]


class Words:
    """Watches pointer and keys over both panes.

    Args:
        live: What is shown.
        source: Left pane.
        target: Right pane.
        background: Where the model is asked.
        theme: Colours of the words.
        failed: Says that a look into a sentence failed.
    """

    def __init__(
        self,
        live: LiveTranslation,
        source: TextPane,
        target: TextPane,
        background: Background,
        theme: Theme,
        failed: Callable[[Exception], None],
    ) -> None:
        self._live, self._background, self._theme = live, background, theme
        self._failed = failed
        self._panes = {False: source, True: target}  # by "is it the target?"
        self.lit: LitWord | None = None
        self.on_lit: list[Callable[[], None]] = []  # called when another word is lit
        self.held = False  # while a menu stands over the word, the pointer lights no other
        self._timer = ""
        live.on_shown.append(self._shown_changed)
        theme.on_change(self.restyle)
        self.restyle()
        self._bind(source, target)

    def restyle(self) -> None:
        """Take over the theme's colours."""
        colours = self._theme.palette
        for pane in self._panes.values():
            for level in range(1, _STRENGTHS + 1):
                pane.text.tag_configure(
                    f"link{level}", background=blend(colours.pane, colours.lit, level / _STRENGTHS)
                )
            pane.text.tag_configure(_LIT, background=colours.lit, underline=True)
            pane.text.tag_raise("sel")

    # ---- which word ----------------------------------------------------------------------------

    def _bind(self, source: TextPane, target: TextPane) -> None:
        for in_target, pane in self._panes.items():
            text = pane.text
            text.bind("<Motion>", partial(self._moved, in_target), add=True)
            text.bind("<Leave>", lambda _: self._look(None), add=True)
        for key in ("Left", "Right", "Up", "Down", "Home", "End"):
            source.text.bind(f"<KeyRelease-{key}>", lambda _: self._look_at_cursor(), add=True)
        target.text.bind("<Left>", lambda _: self._walk(-1))
        target.text.bind("<Right>", lambda _: self._walk(1))

    def _moved(self, in_target: bool, event: tkinter.Event[tkinter.Misc]) -> None:
        self._stop_timer()
        x, y = event.x, event.y
        self._timer = self._panes[True].after(_HOVER_MS, lambda: self.point(x, y, in_target))

    def point(self, x: int, y: int, in_target: bool) -> None:
        """Light the word under a point of a pane."""
        self._stop_timer()
        offset = self._panes[in_target].offset_at(x, y) if self._live.shown is not None else None
        self._look(None if offset is None else self._word(offset, in_target=in_target))

    def _look_at_cursor(self) -> None:
        if self._live.shown is not None:
            self._look(self._word(self._panes[False].offset("insert"), in_target=False))

    def _word(self, offset: int, *, in_target: bool) -> LitWord | None:
        shown = self._live.shown
        place = None if shown is None else shown.place_at(offset, in_target=in_target)
        if shown is None or place is None:
            return None
        sentence = shown.sentences(place)[in_target]
        span = word_at(sentence, offset - place.begin(in_target=in_target))
        return None if span is None else LitWord(shown, place, span, in_target)

    def _walk(self, step: int) -> str:
        """Light the next or the previous word of the translation."""
        shown = self._live.shown
        if shown is None or not shown.places:
            return "break"
        lit = self.lit if self.lit is not None and self.lit.in_target else None
        if lit is None:
            visible = self._panes[True].visible_offsets()[0]
            places = [place for place in shown.places if place.target_end > visible]
            self._light_first(shown, places or shown.places[-1:], 0)
            return "break"
        spans = words(shown.sentences(lit.place)[1])
        position = spans.index(lit.span) + step
        if 0 <= position < len(spans):
            self._look(LitWord(shown, lit.place, spans[position], True))
        else:
            sentence = shown.places.index(lit.place)
            others = shown.places[sentence + 1 :] if step > 0 else shown.places[:sentence][::-1]
            self._light_first(shown, others, 0 if step > 0 else -1)
        return "break"

    def _light_first(self, shown: Shown, places: Iterable[Place], which: int) -> None:
        """Light a word of the first place that has any: a line of signs has none."""
        for place in places:
            if spans := words(shown.sentences(place)[1]):
                self._look(LitWord(shown, place, spans[which], True))
                return

    # ---- light ---------------------------------------------------------------------------------

    def _look(self, word: LitWord | None) -> None:
        """Light another word, or none."""
        self._stop_timer()
        if word == self.lit or self.held:
            return
        self._clear_light()
        self._background.drop("links")
        inspector = self._live.inspector
        self.lit = word if inspector is not None else None
        if self.lit is not None and word is not None and inspector is not None:
            pane = self._panes[word.in_target]
            begin = word.begin
            pane.tag(_LIT, begin, begin + word.span[1] - word.span[0])
            if word.in_target:
                pane.text.see(pane.index(begin))
            source, target = word.shown.sentences(word.place)
            self._background.run(
                "links",
                lambda: inspector.attention(source, target),
                lambda attention: self._light(word, attention),
                self._failed,
            )
        for listener in self.on_lit:
            listener()

    def _light(self, word: LitWord, attention: Attention) -> None:
        if word != self.lit:
            return
        source, target = word.shown.sentences(word.place)
        links = linked_words(attention, source, target, word.span, from_target=word.in_target)
        base = word.place.begin(in_target=not word.in_target)
        pane = self._panes[not word.in_target]
        for (begin, end), weight in links:
            level = max(1, math.ceil(weight / links[0][1] * _STRENGTHS))
            pane.tag(f"link{level}", base + begin, base + end)

    def _clear_light(self) -> None:
        for pane in self._panes.values():
            for name in (_LIT, *(f"link{level}" for level in range(1, _STRENGTHS + 1))):
                pane.text.tag_remove(name, "1.0", "end")

    def _shown_changed(self) -> None:
        self.held = False
        self._look(None)

    # ---- small ---------------------------------------------------------------------------------

    def _stop_timer(self) -> None:
        if self._timer:
            self._panes[True].after_cancel(self._timer)
            self._timer = ""

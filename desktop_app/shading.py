"""How sure the model was: a ground behind the words of the translation it gave a low probability."""

from __future__ import annotations

from collections.abc import Callable

from desktop_app.background import Background
from desktop_app.inspection import Place, Span
from desktop_app.live import LiveTranslation, Shown
from desktop_app.panes import TextPane
from desktop_app.theme import Theme, blend

_LIMITS = (0.25, 0.5, 0.75)  # a word below the first is shaded darkest, one above the last not at all
_LEVELS = range(1, len(_LIMITS) + 1)
_WAIT_MS = 60  # after scrolling


class Shading:
    """Shades the sentences on the screen while it is on.

    Args:
        live: What is shown.
        target: The pane of the translation.
        background: Where the model is asked.
        theme: Colours.
        failed: Says that the model failed.
    """

    def __init__(
        self,
        live: LiveTranslation,
        target: TextPane,
        background: Background,
        theme: Theme,
        failed: Callable[[Exception], None],
    ) -> None:
        self._live, self._target, self._background, self._theme = live, target, background, theme
        self._failed = failed
        self._on = False
        self._timer = ""
        live.on_shown.append(self._refresh)
        theme.on_change(self.restyle)
        self.restyle()
        target.text.bind("<<Scrolled>>", lambda _: self._shade_soon(), add=True)

    def restyle(self) -> None:
        """Take over the theme's colours."""
        colours = self._theme.palette
        for level in _LEVELS:
            ground = blend(colours.pane, colours.unsure, level / len(_LIMITS))
            self._target.text.tag_configure(f"unsure{level}", background=ground)
            self._target.text.tag_lower(f"unsure{level}")  # a lit word and the selection lie above

    def set_on(self, on: bool) -> None:
        """Shade, or no longer."""
        self._on = on
        self._refresh()

    def _refresh(self) -> None:
        for level in _LEVELS:
            self._target.text.tag_remove(f"unsure{level}", "1.0", "end")
        self._background.drop("confidence")
        self._shade_soon()

    def _shade_soon(self) -> None:
        if self._timer:
            self._target.after_cancel(self._timer)
            self._timer = ""
        if self._on:
            self._timer = self._target.after(_WAIT_MS, self._shade)

    def _shade(self) -> None:
        self._timer = ""
        shown, inspector = self._live.shown, self._live.inspector
        if shown is None or inspector is None:
            return
        first, last = self._target.visible_offsets()
        places = [place for place in shown.places if place.target_begin <= last and place.target_end >= first]
        self._background.run(
            "confidence",
            lambda: [(place, inspector.confidence(*shown.sentences(place))) for place in places],
            lambda found: self._tag(shown, found),
            self._failed,
        )

    def _tag(self, shown: Shown, found: list[tuple[Place, list[tuple[Span, float]]]]) -> None:
        if shown is not self._live.shown or not self._on:
            return
        for place, spans in found:
            for (begin, end), probability in spans:
                level = sum(probability < limit for limit in _LIMITS)
                if level:
                    base = place.target_begin
                    self._target.tag(f"unsure{level}", base + begin, base + end)

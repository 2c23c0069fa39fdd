"""Underlines the sentences of the translation that a reader must not take for granted: kept as they were, or cut."""

from __future__ import annotations

from desktop_app.live import LiveTranslation
from desktop_app.panes import TextPane
from desktop_app.theme import Theme

MARKED_FLAGS = frozenset(["kept", "cut_loop", "cut_length"])
_TAG = "marked"


class Marks:
    """Follows what is shown.

    Args:
        live: What is shown.
        target: The pane of the translation.
        theme: The colour of the line.
    """

    def __init__(self, live: LiveTranslation, target: TextPane, theme: Theme) -> None:
        self._live, self._target, self._theme = live, target, theme
        live.on_shown.append(self._mark)
        theme.on_change(self.restyle)
        self.restyle()

    def restyle(self) -> None:
        """Take over the theme's colours."""
        colour = self._theme.palette.error
        self._target.text.tag_configure(_TAG, underline=True, underlinefg=colour)

    def _mark(self) -> None:
        self._target.text.tag_remove(_TAG, "1.0", "end")
        shown = self._live.shown
        offsets: list[int] = []
        for place in shown.places if shown is not None else ():
            if MARKED_FLAGS & set(place.flags):
                # Neighbours are one range: Tk takes its time for each of thousands.
                if shown and offsets and shown.target[offsets[-1] : place.target_begin] in (" ", "\n"):
                    offsets[-1] = place.target_end
                else:
                    offsets += place.target_begin, place.target_end
        self._target.tag(_TAG, *offsets)

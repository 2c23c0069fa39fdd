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
        for place in self._live.shown.places if self._live.shown is not None else ():
            if MARKED_FLAGS & set(place.flags):
                self._target.tag(_TAG, place.target_begin, place.target_end)

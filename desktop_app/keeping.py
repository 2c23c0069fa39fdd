"""When a translation is worth keeping in the history: when it is used, or left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from desktop_app.background import Background
from desktop_app.history import History
from desktop_app.live import LiveTranslation, Shown

REST_SECONDS = 3.0  # a translation that stands so long is no step in the making of another


class Keeping:
    """Hands translations to the history, each once.

    Args:
        live: What is shown.
        history: Used on the background thread only; None keeps nothing.
        background: Where the history is written.
        wanted: Whether the user wants a history.
        tell: Told where a damaged history was set aside, or None.
        failed: Told once why nothing can be kept.
    """

    def __init__(
        self,
        live: LiveTranslation,
        history: History | None,
        background: Background,
        wanted: Callable[[], bool],
        tell: Callable[[Path | None], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._live, self._history, self._background = live, history, background
        self._wanted, self._tell, self._failed = wanted, tell, failed
        self._kept: Shown | None = None
        self._has_failed = False
        self._since = 0.0
        live.on_shown.append(self._shown_changed)

    def poll(self) -> None:
        """Keep what has stood for a while; called by the window's timer."""
        if self._live.shown is not None and time.monotonic() - self._since >= REST_SECONDS:
            self.keep_now()

    def keep_now(self) -> None:
        """Keep what is shown, if it is not kept yet."""
        shown, model, history = self._live.shown, self._live.model, self._history
        if shown is None or shown is self._kept or not shown.source or model is None or history is None:
            return
        self._kept = shown
        if self._wanted():
            languages = model.source_language, model.target_language

            def keep() -> Path | None:
                history.add(shown.source, shown.target, *languages)
                return history.take_notice()

            self._background.run("", keep, self._tell, self._keep_failed)

    def _keep_failed(self, error: Exception) -> None:
        if not self._has_failed:  # a full disk stays full: once is enough
            self._has_failed = True
            self._failed(error)

    def _shown_changed(self) -> None:
        self._since = time.monotonic()

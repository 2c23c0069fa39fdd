"""Ending a call from another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancelled(Exception):  # noqa: N818 - not an error: the caller asked for it
    """A call ended because its `Cancellation` was cancelled."""


class Cancellation:
    """Ends a call from any thread; one object for each call, and it stays cancelled.

    What runs long registers a callback that stops it (`on_cancel`); what runs in small steps asks between
    them (`check`).
    """

    def __init__(self) -> None:
        # Re-entrant: a callback may register or cancel. Held while callbacks run, so that none runs any more
        # once its `on_cancel` block has ended.
        self._lock = threading.RLock()
        self._cancelled = False
        self._callbacks: dict[object, Callable[[], None]] = {}

    def cancel(self) -> None:
        """Cancel, and run the registered callbacks at once, in this thread. A second time does nothing."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            for callback in list(self._callbacks.values()):
                callback()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def check(self) -> None:
        """Raise `Cancelled` if it was cancelled."""
        if self.cancelled:
            raise Cancelled("The call was cancelled.")

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` run on `cancel` while the block lasts; at once if it was cancelled before.

        Args:
            callback: Quick, and it must not wait for another thread.
        """
        key = object()
        with self._lock:
            self._callbacks[key] = callback
            if self._cancelled:
                callback()
        try:
            yield
        finally:
            with self._lock:
                del self._callbacks[key]

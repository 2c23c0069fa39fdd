"""What the window opens doors to. Knows no Tk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from desktop_app.history import History
from desktop_app.models import Models
from desktop_app.service import Load


@dataclass(frozen=True)
class Rooms:
    """What the window opens doors to.

    Attributes:
        load: Makes the function that loads a bundle folder; None is the shipped one.
        history: Where translations are kept, used on a background thread only.
        models: What is installed, used on a background thread only.
        report: Told what a callback of the window raised.
    """

    load: Callable[[Path | None], Load]
    history: History | None = None
    models: Models | None = None
    report: Callable[[BaseException], object] = lambda _error: None

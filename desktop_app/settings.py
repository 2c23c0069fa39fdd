"""Where the window was: remembered between runs, never a reason to fail."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_GEOMETRY = re.compile(r"(\d{2,5})x(\d{2,5})([+-]-?\d{1,5})([+-]-?\d{1,5})")


@dataclass(frozen=True)
class WindowSettings:
    """Place of the window and of the line between the panes.

    Attributes:
        geometry: Tk's "WIDTHxHEIGHT+X+Y" in pixels, or "" for the default place.
        sash: Share of the width that the source pane takes, in (0, 1).
    """

    geometry: str = ""
    sash: float = 0.5

    @classmethod
    def from_json(cls, text: str) -> WindowSettings:
        """Read what `to_json` wrote. Raises ValueError where a value is missing or out of range."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"`settings` must be a JSON object, got {type(values).__name__}.")
        geometry, sash = values.get("geometry"), values.get("sash")
        if not isinstance(geometry, str) or (geometry and not _GEOMETRY.fullmatch(geometry)):
            raise ValueError(f"`geometry` must look like 900x500+10+10, got {geometry!r}.")
        if isinstance(sash, bool) or not isinstance(sash, int | float) or not 0 < sash < 1:
            raise ValueError(f"`sash` must lie between 0 and 1, got {sash!r}.")
        return cls(geometry, float(sash))

    def to_json(self) -> str:
        """Return the settings as a JSON object."""
        return json.dumps(asdict(self), indent=2) + "\n"


def fit_geometry(geometry: str, screen_width: int, screen_height: int) -> str:
    """Shrink and move a remembered geometry until it lies on a screen of this size, in pixels.

    A place outside the screen (a monitor that has gone) moves back in. "" stays "".
    """
    match = _GEOMETRY.fullmatch(geometry)
    if match is None:
        return ""
    width = min(int(match[1]), screen_width)
    height = min(int(match[2]), screen_height)
    left, top = (int(part[1:]) if part[0] == "+" else 0 for part in (match[3], match[4]))
    left = max(0, min(left, screen_width - width))
    top = max(0, min(top, screen_height - height))
    return f"{width}x{height}+{left}+{top}"


def settings_path() -> Path | None:
    """Return the settings file of this user, or None where platformdirs is not installed."""
    try:
        import platformdirs
    except ImportError:
        _LOGGER.info("platformdirs is not installed; the window's place is not remembered")
        return None
    return platformdirs.user_config_path("keras_transformer", appauthor=False) / "window.json"


def load_settings(path: Path | None) -> WindowSettings:
    """Read the settings; a file that cannot be understood is set aside as `window.json.corrupt`."""
    if path is None:
        return WindowSettings()
    try:
        return WindowSettings.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return WindowSettings()
    except OSError as error:
        _LOGGER.warning("settings not read: %s", error)
        return WindowSettings()
    except ValueError as error:  # also UnicodeDecodeError and json.JSONDecodeError
        aside = path.with_name(path.name + ".corrupt")
        _LOGGER.warning("%s was set aside as %s: %s", path, aside.name, error)
        try:
            path.replace(aside)
        except OSError as move_error:
            _LOGGER.warning("it could not be set aside: %s", move_error)
        return WindowSettings()


def save_settings(path: Path | None, settings: WindowSettings) -> None:
    """Write the settings through a temporary file; a full or read-only disk is only logged."""
    if path is None:
        return
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(settings.to_json(), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        _LOGGER.warning("settings not saved: %s", error)

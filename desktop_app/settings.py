"""What the window remembers between runs: never a reason to fail. Knows no Tk."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger(__name__)
_GEOMETRY = re.compile(r"(\d{2,5})x(\d{2,5})([+-]-?\d{1,5})([+-]-?\d{1,5})")

LOOKS = ("system", "light", "dark")
LANGUAGES = ("system", "en", "it")
FONT_SIZES = range(6, 49)  # points
DEFAULT_FONT_SIZE = 12


@dataclass(frozen=True)
class WindowSettings:
    """Everything the user may set, and the place of the window.

    Attributes:
        geometry: Tk's "WIDTHxHEIGHT+X+Y" in pixels, or "" for the default place.
        sash: Share of the width that the source pane takes, in (0, 1).
        font_size: Of the two texts, in points.
        look: "system", "light" or "dark".
        language: Of the window: "system", "en" or "it".
        confidence: Whether words the model was unsure of are shaded.
        history: Whether translations are kept.
        model: Folder of the bundle picked last, or "" for the shipped one.

    Raises:
        ValueError: a value is of the wrong type or out of range.
    """

    geometry: str = ""
    sash: float = 0.5
    font_size: int = DEFAULT_FONT_SIZE
    look: str = "system"
    language: str = "system"
    confidence: bool = False
    history: bool = True
    model: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            # JSON writes 1.0 as 1, and Python counts True among the integers.
            good = isinstance(value, (int, float) if kind is float else kind)
            if not good or (kind is not bool and isinstance(value, bool)):
                raise ValueError(f"`{field.name}` must be a {kind.__name__}, got {value!r}.")
        if self.geometry and not _GEOMETRY.fullmatch(self.geometry):
            raise ValueError(f"`geometry` must look like 900x500+10+10, got {self.geometry!r}.")
        if not 0 < self.sash < 1:
            raise ValueError(f"`sash` must lie between 0 and 1, got {self.sash!r}.")
        if self.font_size not in FONT_SIZES:
            raise ValueError(f"`font_size` must lie between 6 and 48, got {self.font_size!r}.")
        if self.look not in LOOKS:
            raise ValueError(f"`look` must be one of {', '.join(LOOKS)}, got {self.look!r}.")
        if self.language not in LANGUAGES:
            raise ValueError(f"`language` must be one of {', '.join(LANGUAGES)}, got {self.language!r}.")

    @classmethod
    def from_json(cls, text: str) -> WindowSettings:
        """Read what `to_json` wrote: a value that is missing is the default, one we do not know is left.

        Raises:
            ValueError: it is no JSON object, or a value cannot be.
        """
        values: Any = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"`settings` must be a JSON object, got {type(values).__name__}.")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

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


def load_settings(path: Path | None) -> tuple[WindowSettings, str]:
    """Read the settings.

    Returns:
        The settings, and "" or the name under which a file that could not be understood was set aside
        (`window.json.bad`).
    """
    if path is None:
        return WindowSettings(), ""
    try:
        return WindowSettings.from_json(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        return WindowSettings(), ""
    except OSError as error:
        _LOGGER.warning("settings not read: %s", error)
        return WindowSettings(), ""
    except (ValueError, RecursionError) as error:  # also UnicodeDecodeError and json.JSONDecodeError
        aside = path.with_name(path.name + ".bad")
        _LOGGER.warning("%s was set aside as %s: %s", path, aside.name, error)
        try:
            path.replace(aside)
        except OSError as move_error:
            _LOGGER.warning("it could not be set aside: %s", move_error)
        return WindowSettings(), aside.name


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

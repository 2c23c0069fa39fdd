"""What the window says, in the language the reader chose. The sentences stand in `catalogue_*`; knows no Tk."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence

from desktop_app import catalogue_en, catalogue_it, system

CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": catalogue_en.TEXTS, "it": catalogue_it.TEXTS}
DEFAULT_LANGUAGE = "en"
LANGUAGE_NAMES = {"en": "English", "it": "Italiano"}  # each in its own words

# Of the flags of a translation, the one a reader must know most comes first; "split" needs no word.
_NOTES = ("cut_loop", "cut_length", "kept")


class Messages:
    """The window's sentences by name: ``say("history.title")``, ``say("speed.words", count=85)``.

    Args:
        language: "en" or "it"; another language reads English.
    """

    def __init__(self, language: str = DEFAULT_LANGUAGE) -> None:
        self._listeners: list[weakref.WeakMethod[Callable[[], None]]] = []
        self._use(language)

    @property
    def language(self) -> str:
        """Code of the language that is spoken."""
        return self._language

    def use(self, language: str) -> None:
        """Speak another language, and tell every listener."""
        self._use(language)
        for reference in list(self._listeners):
            listener = reference()
            if listener is None:
                self._listeners.remove(reference)
            else:
                listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have a bound method called after `use`, as long as its object lives."""
        self._listeners.append(weakref.WeakMethod(listener))

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence with its values filled in.

        Raises:
            KeyError: no catalogue has `key`, or a value is missing.
        """
        text = self._catalogue[key]
        return text.format(**values) if values else text

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number as the language writes it: 1,234.5 or 1.234,5."""
        text = f"{value:,.{digits}f}"
        if self._language == "it":
            text = text.translate({ord(","): ".", ord("."): ","})
        return text

    def percent(self, share: float) -> str:
        """Return a share as a percentage; below one in a hundred as "<1 %"."""
        return "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"

    def language_name(self, code: str) -> str:
        """Return the name of an ISO 639-1 code, or the code itself."""
        return self._catalogue.get(f"language.{code.lower()}", code)

    def engine_facts(self, device: str, precision: str) -> str:
        """Return "CPU · int8": what runs, for the status line."""
        names = {"cpu": "CPU", "cuda": "CUDA"}
        return " · ".join(part for part in (names.get(device, device), precision) if part)

    def speed(self, num_words: float, seconds: float) -> str:
        """Return "0.12 s · 85 words/s" for a translation of `num_words` source words."""
        time_spent = f"{self.number(seconds, 2 if seconds < 10 else 0)} s"
        if num_words == 0 or seconds <= 0:
            return time_spent
        return f"{time_spent} · {self('speed.words', count=self.number(num_words / seconds))}"

    def note(self, flags: Sequence[str]) -> str:
        """Return the sentence that goes with a translation's flags, or ""."""
        return next((self(f"note.{flag}") for flag in _NOTES if flag in flags), "")

    def failure(self, error: Exception) -> str:
        """Return one line that says why a translation failed."""
        reason = " ".join(str(error).split()) or type(error).__name__
        return self("error.translation", reason=reason)

    def _use(self, language: str) -> None:
        self._language = language if language in CATALOGUES else DEFAULT_LANGUAGE
        self._catalogue = CATALOGUES[self._language]


def chosen_language(setting: str) -> str:
    """Return the language the window speaks for a setting: for "system" the desktop's, else English."""
    return (system.interface_language() or DEFAULT_LANGUAGE) if setting == "system" else setting

"""What the window says."""

from __future__ import annotations

from collections.abc import Sequence

TITLE = "Keras Transformer"
SOURCE_HEADING = "Source"
TARGET_HEADING = "Translation"
PLACEHOLDER = "Type or paste text here"
TRANSLATE_BUTTON = "Translate   Ctrl+Enter"
CLEAR_BUTTON = "Clear   Ctrl+L"
COPY_BUTTON = "Copy   Ctrl+Shift+C"
LOADING = "Loading the model…"
READY = "Ready"
TRANSLATING = "Translating…"
COPIED = "Copied"
NOTHING_TO_COPY = "Nothing to copy yet"
INTERNAL_ERROR = "Something went wrong in the window; the terminal has the details."

NO_TKINTER = (
    "the window needs tkinter, which this Python lacks. "
    "Install it (Debian and Ubuntu: python3-tk, Fedora: python3-tkinter, Homebrew: python-tk)."
)
NO_DISPLAY = (
    "the window needs a display, got {reason}. "
    "Start it from a desktop session, or translate in the terminal with "
    "`python -m keras_transformer.translate`."
)

# Names for headings; a code that is not here is shown as it is.
_LANGUAGE_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sk": "Slovak", "sl": "Slovenian", "sv": "Swedish", "tr": "Turkish",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_name(code: str) -> str:
    """Return the English name of an ISO 639-1 code, or the code itself."""
    return _LANGUAGE_NAMES.get(code.lower(), code)


def engine_facts(device: str, precision: str) -> str:
    """Return "CPU · int8": what runs, for the status line."""
    names = {"cpu": "CPU", "cuda": "CUDA"}
    return " · ".join(part for part in (names.get(device, device), precision) if part)


def speed(num_words: int, seconds: float) -> str:
    """Return "0.12 s · 85 words/s" for a translation of `num_words` source words."""
    time_spent = f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s"
    if num_words == 0 or seconds <= 0:
        return time_spent
    return f"{time_spent} · {num_words / seconds:,.0f} words/s"


def note(flags: Sequence[str]) -> str:
    """Return the sentence that goes with a translation's flags, or ""."""
    if "cut_loop" in flags:
        return "A passage that repeated itself without end was cut."
    if "cut_length" in flags:
        return "A sentence reached the length limit; its end may be missing."
    return ""


def failure(error: Exception) -> str:
    """Return one line that says why a translation failed."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"Not translated: {reason}"

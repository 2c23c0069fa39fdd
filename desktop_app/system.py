"""What the desktop prefers: dark or light, how many dots an inch, which language. Knows no Tk."""

from __future__ import annotations

import os
import re
import subprocess
import sys

_ASK_SECONDS = 0.3  # a desktop that does not answer must not delay the window


def _ask(*command: str) -> str:
    """Return what a small desktop command prints, or "" where there is no answer."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def prefers_dark() -> bool:
    """Return whether the desktop asks applications for a dark look; False where it does not say."""
    if sys.platform == "win32":
        return _windows_prefers_dark()
    if sys.platform == "darwin":
        return "dark" in _ask("defaults", "read", "-g", "AppleInterfaceStyle").lower()
    gtk_theme = os.environ.get("GTK_THEME", "")
    if gtk_theme:
        return "dark" in gtk_theme.lower()
    scheme = _ask("gsettings", "get", "org.gnome.desktop.interface", "color-scheme").lower()
    if "dark" in scheme or "light" in scheme:
        return "dark" in scheme
    return "dark" in _ask("gsettings", "get", "org.gnome.desktop.interface", "gtk-theme").lower()


def _windows_prefers_dark() -> bool:
    if sys.platform != "win32":
        return False
    import winreg

    key = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
    try:
        with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as handle:
            return bool(winreg.QueryValueEx(handle, "AppsUseLightTheme")[0] == 0)
    except OSError:
        return False


def xft_dpi() -> float | None:
    """Return the dots per inch an X11 desktop asks for (`Xft.dpi`), or None where it does not say.

    Tk 8.6 reads the screen's size only, which most desktops leave at 96 whatever the user chose.
    """
    match = re.search(r"^Xft\.dpi:\s*(\d+(?:\.\d+)?)\s*$", _ask("xrdb", "-query"), re.MULTILINE)
    if match is None:
        return None
    dpi = float(match[1])
    return dpi if 48 <= dpi <= 768 else None


def interface_language() -> str:
    """Return the code of the language the desktop speaks, for example "it"; "" where it does not say."""
    if sys.platform == "win32":
        import ctypes
        import locale

        return _code(locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), ""))
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):  # the order of gettext
        if value := os.environ.get(name, ""):
            return _code(value)
    if sys.platform == "darwin":
        found = re.search(r'"?([A-Za-z]{2})[-_"]', _ask("defaults", "read", "-g", "AppleLanguages"))
        return found[1].lower() if found else ""
    return ""


def _code(locale_name: str) -> str:
    """Return "it" for "it_IT.UTF-8", "it:en" and "it"; "" for "C" and "POSIX"."""
    match = re.match(r"([a-z]{2})(?![a-z])", locale_name.lower())
    return match[1] if match else ""


def announce_dpi_awareness() -> None:
    """Tell Windows that the window scales itself; nothing elsewhere. Call before Tk starts."""
    if sys.platform == "win32":
        import ctypes

        try:
            ctypes.windll.shcore.SetProcessDpiAwareness(1)
        except (AttributeError, OSError):  # Windows before 8.1
            return

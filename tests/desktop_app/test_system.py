"""What the desktop prefers, asked of stand-ins for its commands."""

import time

import pytest

from desktop_app import system

linux_only = pytest.mark.skipif(system.sys.platform != "linux", reason="asks the commands of an X11 desktop")


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Only the commands a test writes are on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GTK_THEME", raising=False)

    def write(name, body):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    return write


@linux_only
@pytest.mark.parametrize(
    ("body", "dark"),
    [
        ("echo \"'prefer-dark'\"", True),
        ("echo \"'prefer-light'\"", False),
        ("case $3 in color-scheme) echo \"'default'\";; gtk-theme) echo \"'Yaru-dark'\";; esac", True),
        ("case $3 in color-scheme) echo \"'default'\";; gtk-theme) echo \"'Yaru'\";; esac", False),
        ("echo dark; exit 1", False),
    ],
)
def test_dark_as_gsettings_says(command, body, dark):
    command("gsettings", body)
    assert system.prefers_dark() is dark


@linux_only
def test_gtk_theme_goes_first(command, monkeypatch):
    command("gsettings", "echo \"'prefer-dark'\"")
    monkeypatch.setenv("GTK_THEME", "Adwaita")
    assert system.prefers_dark() is False
    monkeypatch.setenv("GTK_THEME", "Adwaita:dark")
    assert system.prefers_dark() is True


@linux_only
def test_a_desktop_without_the_commands_is_light_and_says_no_dpi(command):
    assert system.prefers_dark() is False
    assert system.xft_dpi() is None


@linux_only
def test_a_command_that_hangs_does_not_delay_the_window(command):
    command("xrdb", "while :; do :; done")
    begin = time.perf_counter()
    assert system.xft_dpi() is None
    assert time.perf_counter() - begin < 2.0


@linux_only
@pytest.mark.parametrize(
    ("answer", "dpi"), [("Xft.dpi:\\t192", 192.0), ("Xft.dpi: 5", None), ("Xft.rgba: none", None)]
)
def test_xft_dpi(command, answer, dpi):
    command("xrdb", f"printf '*x: 1\\n{answer}\\n'")
    assert system.xft_dpi() == dpi


@linux_only
@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({"LANG": "it_IT.UTF-8"}, "it"),
        ({"LANG": "it_IT.UTF-8", "LC_ALL": "en_GB"}, "en"),
        ({"LANG": "de_DE", "LANGUAGE": "it:en"}, "it"),
        ({"LANG": "C.UTF-8"}, ""),
        ({"LANG": "POSIX"}, ""),
        ({}, ""),
    ],
)
def test_the_language_of_the_desktop(monkeypatch, variables, language):
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert system.interface_language() == language

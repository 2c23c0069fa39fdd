"""The window's memory: read, written, and never in the way."""

import logging
import re
import sys

import pytest

from desktop_app.settings import (
    WindowSettings,
    fit_geometry,
    load_settings,
    save_settings,
    settings_path,
)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"geometry": "wide"}, "`geometry` must look like 900x500+10+10, got 'wide'."),
        ({"geometry": 3}, "`geometry` must be a str, got 3."),
        ({"sash": 1.0}, "`sash` must lie between 0 and 1, got 1.0."),
        ({"font_size": 49}, "`font_size` must lie between 6 and 48, got 49."),
        ({"look": "pink"}, "`look` must be one of system, light, dark, got 'pink'."),
        ({"language": "fr"}, "`language` must be one of system, en, it, got 'fr'."),
        ({"history": 0}, "`history` must be a bool, got 0."),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        WindowSettings(**values)


def test_what_was_saved_is_loaded(tmp_path):
    path = tmp_path / "deep" / "window.json"
    saved = WindowSettings(
        "901x502+13+-4", 0.375, font_size=15, look="dark", language="it", confidence=True, history=False,
        model="/models/it-en",
    )  # fmt: skip
    save_settings(path, saved)
    assert load_settings(path) == (saved, "")
    assert [entry.name for entry in path.parent.iterdir()] == ["window.json"]


def test_a_first_start_has_the_defaults(tmp_path):
    assert load_settings(tmp_path / "window.json") == (WindowSettings("", 0.5), "")
    assert load_settings(None) == (WindowSettings(), "")


def test_a_file_of_an_older_or_a_newer_version_is_read(tmp_path):
    path = tmp_path / "window.json"
    path.write_text('{"geometry": "", "sash": 1, "sash": 0.25, "of_the_future": 3}', encoding="utf-8")
    assert load_settings(path) == (WindowSettings(sash=0.25), "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 200_000,
        b"\xff\xfe\x00",
        b'{"geometry": 3, "sash": 0.5}',
        b'{"geometry": "900x500+0+0; exit", "sash": 0.5}',
        b'{"geometry": "", "sash": 1.5}',
        b'{"geometry": "", "sash": true}',
        b'{"geometry": "", "sash": NaN}',
        b'{"font_size": 12.5}',
        b'{"font_size": 5}',
        b'{"look": "pink"}',
        b'{"language": "tlh"}',
        b'{"confidence": 1}',
        b'{"model": null}',
    ],
)
def test_a_corrupt_file_is_set_aside_and_said(tmp_path, caplog, content):
    path = tmp_path / "window.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="desktop_app.settings"):
        assert load_settings(path) == (WindowSettings(), "window.json.bad")
    assert not path.exists()
    assert (tmp_path / "window.json.bad").read_bytes() == content
    assert "was set aside as window.json.bad" in caplog.text


def test_settings_that_cannot_be_read_or_saved_are_only_logged(tmp_path, caplog):
    path = tmp_path / "window.json"
    path.mkdir()  # a folder where the file should be
    with caplog.at_level(logging.WARNING, logger="desktop_app.settings"):
        assert load_settings(path) == (WindowSettings(), "")
        save_settings(path, WindowSettings())
    assert "settings not read" in caplog.text
    assert "settings not saved" in caplog.text


@pytest.mark.parametrize(
    ("geometry", "fitted"),
    [
        ("900x500+10+20", "900x500+10+20"),
        ("900x500+3000+20", "900x500+380+20"),
        ("900x500+-50+-9", "900x500+0+0"),
        ("2000x1500+10+20", "1280x800+0+0"),
        ("900x500-10-20", "900x500+0+0"),
        ("", ""),
    ],
)
def test_a_remembered_place_moves_onto_the_screen(geometry, fitted):
    assert fit_geometry(geometry, 1280, 800) == fitted


def test_the_file_lies_in_the_users_configuration(monkeypatch, tmp_path):
    pytest.importorskip("platformdirs", reason="platformdirs (extra `desktop`) is not installed")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = settings_path()
    assert path.name == "window.json"
    assert path.parent.name == "keras_transformer"
    if sys.platform == "linux":
        assert path.parent.parent == tmp_path


def test_without_platformdirs_nothing_is_remembered(monkeypatch):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert settings_path() is None
    save_settings(settings_path(), WindowSettings())

"""Menus, keys and the help sheet come from one table."""

import re

import pytest

from desktop_app.actions import KEYS, MENUS, shortcut_text
from desktop_app.messages import CATALOGUES, Messages
from tests.desktop_app.conftest import pump
from tests.desktop_app.driving import press


def labels(widget):
    """Every text of a widget and of what it holds."""
    found = [str(widget.cget("text"))] if "text" in widget.keys() else []  # noqa: SIM118 - Tk's
    return found + [text for child in widget.winfo_children() for text in labels(child)]


def test_every_action_has_keys_a_menu_and_a_name():
    in_menus = [name for entries in MENUS.values() for name in entries if name]
    assert sorted(in_menus) == sorted(KEYS)
    for name in KEYS:
        assert f"action.{name}" in CATALOGUES["en"]


def test_no_two_actions_share_a_key():
    keys = [key for keys in KEYS.values() for key in keys]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("language", "key", "text"),
    [
        ("en", "Control-Shift-C", "Ctrl+Shift+C"),
        ("it", "Control-Shift-C", "Ctrl+Maiusc+C"),
        ("en", "Control-comma", "Ctrl+,"),
        ("en", "Control-minus", "Ctrl+−"),
        ("it", "Control-Return", "Ctrl+Invio"),
        ("en", "F1", "F1"),
    ],
)
def test_keys_as_they_stand_on_a_keyboard(language, key, text):
    assert shortcut_text(key, Messages(language)) == text


def test_the_menus_show_every_action_with_its_keys(open_window):
    window = open_window()
    bar = window.root.nametowidget(window.root.cget("menu"))
    shown = {}
    for position in range(bar.index("end") + 1):
        menu = window.root.nametowidget(bar.entrycget(position, "menu"))
        for entry in range(menu.index("end") + 1):
            if menu.type(entry) != "separator":
                shown[menu.entrycget(entry, "label")] = menu.entrycget(entry, "accelerator")
    say = Messages("en")
    assert shown == {say(f"action.{name}"): shortcut_text(keys[0], say) for name, keys in KEYS.items()}


def test_a_menu_greys_what_cannot_be_done_and_ticks_what_is_on(open_window):
    window = open_window()
    bar = window.root.nametowidget(window.root.cget("menu"))
    view = window.root.nametowidget(bar.entrycget(2, "menu"))
    edit = window.root.nametowidget(bar.entrycget(1, "menu"))
    for menu in (view, edit):
        window.root.tk.call(menu.cget("postcommand"))
    shade = MENUS["view"].index("confidence")
    assert window.root.getvar(view.entrycget(shade, "variable")) == "0"
    assert edit.entrycget(MENUS["edit"].index("swap"), "state") == "disabled"
    press(window.source.text, "<Control-k>")
    window.root.tk.call(view.cget("postcommand"))
    assert window.root.getvar(view.entrycget(shade, "variable")) == "1"
    view.invoke(shade)
    assert not window.settings().confidence


def test_the_help_sheet_lists_every_action_with_its_keys(open_window):
    window = open_window()
    press(window.source.text, "<F1>")
    sheet = window.dialogs.open["help"]
    pump(window.root, sheet.winfo_viewable)
    found = labels(sheet)
    say = Messages("en")
    for name, keys in KEYS.items():
        assert say(f"action.{name}").rstrip("…") in found
        assert shortcut_text(keys[0], say) in found
    assert any(re.search(r"Keras Transformer · \d+\.\d+", text) for text in found)
    press(window.source.text, "<F1>")
    assert window.dialogs.open["help"] is sheet  # it comes to the front, and is there once
    press(sheet, "<Escape>")
    assert not sheet.winfo_exists()


def test_keys_work_with_caps_lock(open_window):
    window = open_window()
    window.source.set_text("text")
    press(window.source.text, "<Control-L>")
    assert window.source.get_text() == ""


def test_f6_goes_to_the_other_pane_and_back(open_window):
    window = open_window()
    press(window.source.text, "<F6>")
    assert window.root.focus_get() is window.target.text
    press(window.target.text, "<F6>")
    assert window.root.focus_get() is window.source.text


def test_edit_entries_reach_the_pane_with_the_keyboard(open_window):
    window = open_window()
    window.source.set_text("all of it")
    edit = window.root.nametowidget(window.root.nametowidget(window.root.cget("menu")).entrycget(1, "menu"))
    window.source.text.focus_force()
    window.root.update()
    for name in ("select_all", "cut"):
        edit.invoke(MENUS["edit"].index(name))
    assert window.source.get_text() == ""
    edit.invoke(MENUS["edit"].index("paste"))
    assert window.source.get_text() == "all of it"

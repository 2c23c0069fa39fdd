"""The settings: what is changed holds at once."""

import pytest

from tests.desktop_app.conftest import pump
from tests.desktop_app.driving import press


@pytest.fixture
def opened(open_window):
    window = open_window()
    press(window.source.text, "<Control-comma>")
    dialog = window.dialogs.open["settings"]
    pump(window.root, dialog.winfo_viewable)
    return window, dialog


def widgets(dialog, kind):
    return [child for child in dialog._body.winfo_children() if child.winfo_class() == kind]


def choose(box, position):
    box.current(position)
    box.event_generate("<<ComboboxSelected>>")
    box.update()


def test_look_and_language(opened):
    window, dialog = opened
    look, language = widgets(dialog, "TCombobox")
    assert (look.get(), language.get()) == ("Light", "English")
    choose(look, 2)
    assert window.settings().look == "dark"
    assert window.source.text.cget("background") == "#262a30"
    choose(language, 2)
    assert window.settings().language == "it"
    assert dialog.title() == "Impostazioni"
    assert window.status.sentence == "Pronto"
    look, language = widgets(dialog, "TCombobox")
    assert (look.get(), language.get()) == ("Scuro", "Italiano")


def test_other_dialogs_close_when_the_language_changes(opened):
    window, dialog = opened
    press(window.source.text, "<F1>")
    sheet = window.dialogs.open["help"]
    choose(widgets(dialog, "TCombobox")[1], 2)
    assert not sheet.winfo_exists()
    assert dialog.winfo_exists()


@pytest.mark.parametrize(("text", "size"), [("20", 20), ("5", 12), ("49", 12), ("large", 12), ("", 12)])
def test_the_text_size(opened, text, size):
    window, dialog = opened
    (box,) = widgets(dialog, "TSpinbox")
    assert box.get() == "12"
    box.set(text)
    press(box, "<Return>")
    assert window.settings().font_size == size
    assert window._theme.text_font.cget("size") == size


@pytest.mark.parametrize(("number", "name"), [(0, "confidence"), (1, "history")])
def test_the_switches(opened, number, name):
    window, dialog = opened
    button = widgets(dialog, "TCheckbutton")[number]
    before = getattr(window.settings(), name)
    assert button.instate(["selected"]) is before
    assert button.instate(["!alternate"])
    button.invoke()
    assert getattr(window.settings(), name) is not before
    assert button.instate(["selected"]) is not before


def test_what_is_changed_elsewhere_is_not_undone(opened):
    window, dialog = opened
    press(window.source.text, "<Control-plus>")
    widgets(dialog, "TCheckbutton")[0].invoke()
    assert (window.settings().font_size, window.settings().confidence) == (13, True)


def test_it_follows_what_is_changed_elsewhere(opened):
    window, dialog = opened
    (box,) = widgets(dialog, "TSpinbox")
    confidence = widgets(dialog, "TCheckbutton")[0]
    press(window.source.text, "<Control-plus>")
    press(window.source.text, "<Control-k>")
    assert box.get() == "13"
    assert confidence.instate(["selected"])
    press(box, "<Return>")
    confidence.invoke()
    assert (window.settings().font_size, window.settings().confidence) == (13, False)

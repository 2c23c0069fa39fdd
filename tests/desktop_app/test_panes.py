"""The panes over a scripted model: what goes in comes out, whatever Tk needs in between."""

import time

import pytest

from desktop_app.editing import Editing, selected_text
from desktop_app.service import Answer
from tests.desktop_app.conftest import pump
from tests.desktop_app.driving import press, settled, type_keys
from tests.desktop_app.scripted_model import scripted_model

LONG_LINE = "parole senza fine " * 60_000  # 1 MB without a line break


def test_paste_replaces_the_selection(open_window):
    window = open_window()
    window.source.set_text("one two three")
    window.root.clipboard_clear()
    window.root.clipboard_append("2 😀")
    window.source.text.tag_add("sel", "1.4", "1.7")
    window.source.text.mark_set("insert", "1.7")
    press(window.source.text, "<<Paste>>")
    assert window.source.get_text() == "one 2 😀 three"
    press(window.source.text, "<<Undo>>")
    assert window.source.get_text() == "one two three"


def test_paste_of_nothing_changes_nothing(open_window):
    window = open_window()
    window.source.set_text("kept")
    window.root.clipboard_clear()
    press(window.source.text, "<<Paste>>")
    assert window.source.get_text() == "kept"


def test_cut_and_select_all(open_window):
    window = open_window()
    window.source.set_text("all of it")
    press(window.source.text, "<Control-a>")
    press(window.source.text, "<<Cut>>")
    assert window.source.get_text() == ""
    assert selected_text(window.root, "CLIPBOARD") == "all of it"


def test_the_translation_can_be_selected_and_copied_but_not_changed(open_window):
    window = open_window()
    window.source.set_text("fixed")
    pump(window.root, settled(window))
    press(window.target.text, "<KeyPress-x>")
    press(window.target.text, "<BackSpace>")
    press(window.target.text, "<<Paste>>")
    press(window.target.text, "<<Cut>>")
    assert window.target.get_text() == "FIXED"
    window.target.text.tag_add("sel", "1.1", "1.3")
    press(window.target.text, "<<Copy>>")
    assert selected_text(window.root, "CLIPBOARD") == "IX"


@pytest.mark.parametrize(
    "text", ["a\ud800b", "😀 e\u0301 👩‍👩‍👧", "a\x00b", "tab\there", "\u202eabc", "x\r\ny"]
)
def test_odd_text_passes_through_the_panes(open_window, text):
    from desktop_app.plain_text import clean_text

    window = open_window(lambda: scripted_model(lambda text, *_: Answer(text + "\udfff")))
    window.source.set_text(text)
    assert window.source.get_text() == clean_text(text)
    pump(window.root, settled(window))
    assert window.target.get_text() == clean_text(text) + "\ufffd"


def test_a_megabyte_in_one_line_does_not_freeze_the_window(open_window):
    seen = []

    def translate(text, cancellation, on_progress):
        seen.append(text)
        return Answer(text.upper())

    window = open_window(lambda: scripted_model(translate))
    root = window.root
    root.clipboard_clear()
    root.clipboard_append(LONG_LINE)
    steps = []

    def timed(action):
        begin = time.perf_counter()
        action()
        root.update()
        steps.append(time.perf_counter() - begin)

    timed(lambda: press(window.source.text, "<<Paste>>"))
    timed(lambda: window.source.text.see("end"))
    timed(lambda: type_keys(window, "x"))
    timed(lambda: press(window.source.text, "<Control-a>"))
    pump(root, settled(window))
    timed(lambda: window.target.text.see("end"))
    # A fraction of a second each; laid out as one line each would take minutes.
    assert max(steps) < 2.0
    assert seen == [LONG_LINE + "x"]
    assert window.target.get_text() == (LONG_LINE + "x").upper()


def test_our_line_breaks_are_never_part_of_the_text(open_window):
    window = open_window()
    line = "😀 word " * 1000
    text = f"first\n{line}\nlast"
    window.source.set_text(text)
    pane = window.source.text
    assert int(pane.index("end-1c").partition(".")[0]) > 3  # it was cut for display
    assert window.source.get_text() == text
    press(pane, "<Control-a>")
    press(pane, "<<Copy>>")
    assert selected_text(window.root, "CLIPBOARD") == text
    pane.insert("1.5", " line")
    pane.insert("end-1c", "!")
    assert window.source.get_text() == f"first line\n{line}\nlast!"


def test_a_typed_line_is_cut_for_display_when_it_grows_too_long(open_window):
    window = open_window()
    line = "😀 parola " * 2000
    for _ in range(2000):
        window.source.text.insert("end", "😀 parola ")
    window.source.text.insert("1.0", f"a\n{line}\nb\n")
    lines = window.source.text.get("1.0", "end-1c").split("\n")
    assert len(lines) > 12
    assert max(map(len, lines)) <= 4000
    assert window.source.get_text() == f"a\n{line}\nb\n{line}"


ONE_LINE = " ".join(f"The {n} red cats sleep in house number {n}." for n in range(140))


def test_undo_brings_a_long_line_back_as_one_line(open_window):
    window = open_window()
    text, copied = window.source.text, lambda: selected_text(window.root, "CLIPBOARD")
    window.root.clipboard_clear()
    window.root.clipboard_append(ONE_LINE)
    press(text, "<<Paste>>")
    press(text, "<Control-a>")
    press(text, "<<Cut>>")
    assert window.source.get_text() == ""
    press(text, "<<Undo>>")
    assert window.source.get_text() == ONE_LINE
    press(text, "<Control-a>")
    press(text, "<<Copy>>")
    assert copied() == ONE_LINE
    press(text, "<<Undo>>")
    assert window.source.get_text() == ""
    press(text, "<<Redo>>")  # the paste
    assert window.source.get_text() == ONE_LINE
    press(text, "<<Redo>>")
    assert window.source.get_text() == ""


def test_undo_of_a_paste_over_a_long_line(open_window):
    window = open_window()
    window.source.set_text(f"first\n{ONE_LINE}\nlast")
    window.root.clipboard_clear()
    window.root.clipboard_append("short")
    window.source.text.tag_add("sel", "2.10", "end-2l lineend")
    window.source.text.mark_set("insert", "2.10")
    press(window.source.text, "<<Paste>>")
    assert window.source.get_text() == f"first\n{ONE_LINE[:10]}short\nlast"
    press(window.source.text, "<<Undo>>")
    assert window.source.get_text() == f"first\n{ONE_LINE}\nlast"


def test_redo_has_the_keys_that_the_menu_shows_where_tk_has_others(open_window):
    window = open_window()
    text, known = window.source.text, window.root.event_info("<<Redo>>")
    window.root.event_delete("<<Redo>>", *known)
    window.root.event_add("<<Redo>>", "<Control-y>")  # as on Windows
    try:
        Editing(window.source)
        window.source.set_text("typed")
        press(text, "<<Undo>>")
        assert window.source.get_text() == ""
        press(text, "<Control-Shift-Z>")
        assert window.source.get_text() == "typed"
    finally:
        window.root.event_delete("<<Redo>>")
        window.root.event_add("<<Redo>>", *known)


def test_many_places_are_tagged_without_asking_tk_for_each(open_window, monkeypatch):
    window = open_window()
    pane = window.target
    pane.set_text("one 😀 two\n" * 1000)
    calls = []
    for name in ("get", "index", "tag_add"):
        method = getattr(pane.text, name)
        count = lambda *given, name=name, method=method: calls.append(name) or method(*given)  # noqa: E731
        monkeypatch.setattr(pane.text, name, count)
    pane.tag("marked", *(offset for line in range(1000) for offset in (10 * line + 6, 10 * line + 9)))
    assert calls == ["tag_add"]
    assert [str(index) for index in pane.text.tag_ranges("marked")][-2:] == ["1000.7", "1000.10"]


def test_typing_and_deleting_are_steps_of_their_own(open_window):
    window = open_window()
    type_keys(window, "abc")
    press(window.source.text, "<BackSpace>")
    assert window.source.get_text() == "ab"
    press(window.source.text, "<<Undo>>")
    assert window.source.get_text() == "abc"
    press(window.source.text, "<<Undo>>")
    assert window.source.get_text() == ""
    press(window.source.text, "<<Undo>>")
    press(window.source.text, "<<Redo>>")
    assert window.source.get_text() == "abc"
    type_keys(window, "d")
    press(window.source.text, "<<Redo>>")  # it went with the new edit
    assert window.source.get_text() == "abcd"


def test_one_undo_takes_back_a_text_from_elsewhere(open_window):
    window = open_window()
    type_keys(window, "mine")
    window.put_source("from the history")
    press(window.source.text, "<<Undo>>")
    assert window.source.get_text() == "mine"


def test_a_changed_text_is_the_same_text_whatever_stays(open_window):
    window = open_window()
    lines = ["", "a", ONE_LINE, "b 😀", "", "c"]
    texts = ["\n".join(lines), "\n".join(lines[1:]), "\n".join([*lines[:2], ONE_LINE[:3000], *lines[3:]])]
    texts += [ONE_LINE, f"{ONE_LINE}\n", f"x{ONE_LINE}", ONE_LINE + "x" * 3000, "", "a\nc", "a\nb\nc", "a\nb"]
    for pane in (window.source, window.target):
        for text in texts:
            pane.set_text(text)
            assert pane.get_text() == text
            assert pane.between("1.0", "end-1c") == text
            begins = pane._line_begins()
            pane._forget_text()
            assert pane._line_begins() == begins
            assert all(pane.offset(pane.index(place)) == place for place in range(0, len(text), 500))


def test_select_all_with_caps_lock(open_window):
    window = open_window()
    window.source.set_text("all of it")
    press(window.source.text, "<Control-A>")
    assert [str(index) for index in window.source.text.tag_ranges("sel")] == ["1.0", "1.9"]


def test_the_middle_button_pastes_unless_it_has_scrolled(open_window):
    window = open_window()
    window.root.selection_handle(lambda *_: "chosen", selection="PRIMARY")
    window.root.selection_own(selection="PRIMARY")
    text = window.source.text
    text.insert("1.0", "x")
    for moved, expected in ((1, "x"), (0, "chosenx")):
        text.tk.eval(f"set tk::Priv(mouseMoved) {moved}")
        text.event_generate("<<PasteSelection>>", x=0, y=0)
        text.update()
        assert window.source.get_text() == expected

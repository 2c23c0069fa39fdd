"""The window over a scripted model, on a real display with a window manager."""

import dataclasses
import itertools
import logging
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from desktop_app.editing import selected_text
from desktop_app.history import Entry
from desktop_app.inspection import Place
from desktop_app.service import Answer
from desktop_app.settings import WindowSettings
from keras_transformer.errors import UserError
from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.driving import press, settled
from tests.desktop_app.scripted_model import scripted_model
from tests.desktop_app.test_models import bundle_folder, make, make_zip, models  # noqa: F401 - fixtures


def test_headings_name_the_languages_of_the_model(open_window):
    window = open_window()
    assert window.source._heading.cget("text") == "English"
    assert window.target._heading.cget("text") == "Italian"


def test_ctrl_shift_c_copies_the_translation(open_window):
    window = open_window()
    press(window.source.text, "<Control-Shift-C>")
    assert window.status.sentence == "Nothing to copy yet"
    window.source.set_text("perché 😀")
    pump(window.root, lambda: window.target.get_text() != "")
    press(window.source.text, "<Control-Shift-C>")
    assert window.status.sentence == "Copied"
    assert selected_text(window.root, "CLIPBOARD") == "PERCHÉ 😀"


def test_ctrl_q_ends_the_main_loop(open_window):
    window = open_window()
    window.root.after(100, lambda: press(window.source.text, "<Control-q>"))
    window.run()
    assert window.exit_code == 0


def test_a_signal_before_the_main_loop_still_ends_it(open_window):
    window = open_window()
    window.quit(143)
    window.run()
    assert window.exit_code == 143


def test_a_failing_callback_is_logged_and_the_window_goes_on(open_window, caplog):
    window = open_window()
    with caplog.at_level(logging.ERROR, logger="desktop_app.window"):
        window.root.after(0, lambda: 1 // 0)
        pump(window.root, lambda: window.status.sentence == "Something went wrong in the window.")
    assert "ZeroDivisionError" in caplog.text
    window.source.set_text("still here")
    pump(window.root, settled(window))
    assert window.target.get_text() == "STILL HERE"


def test_the_place_and_the_sash_come_back(open_window):
    window = open_window(settings=WindowSettings("820x430+60+70", 0.3))
    pump_for(window.root, 0.3)
    settings = window.settings()
    assert settings.geometry.startswith("820x430+")
    assert settings.sash == pytest.approx(0.3, abs=0.02)
    assert WindowSettings.from_json(settings.to_json()) == settings


def test_the_window_cannot_shrink_below_its_buttons(open_window):
    window = open_window()
    window.root.geometry("100x100")
    pump_for(window.root, 0.3)
    for pane in (window.source, window.target):
        widgets = sorted(pane.header.winfo_children(), key=lambda widget: widget.winfo_x())
        for widget in widgets:
            assert widget.winfo_width() >= widget.winfo_reqwidth()
        for left, right in itertools.pairwise(widgets):
            assert left.winfo_x() + left.winfo_width() < right.winfo_x()
    assert window.source.text.winfo_height() > 100


def test_a_long_error_is_shown_whole(open_window):
    reason = "the model said a great many words about why it could not go on, " * 6

    def translate(text, cancellation, on_progress):
        raise ValueError(reason)

    window = open_window(lambda: scripted_model(translate))
    height = window.status._sentence.winfo_height()
    window.source.set_text("text")
    pump(window.root, lambda: "great many" in window.status.sentence)
    pump(window.root, lambda: window.status._sentence.winfo_height() >= 2 * height)
    assert window.status.sentence == f"Not translated: {reason.strip()}"
    assert window.status._sentence.winfo_reqwidth() <= window.status._sentence.winfo_width() + 1


def test_tab_walks_through_panes_and_buttons_and_back(open_window):
    window = open_window()
    root = window.root
    order = []
    window.source.text.focus_force()
    root.update()
    for _ in range(4):  # "Swap" is off: there is no model for the way back
        focused = root.focus_get()
        order.append(str(focused.cget("text")) if focused.winfo_class() == "TButton" else focused)
        focused.event_generate("<<NextWindow>>")
        root.update()
    assert root.focus_get() is window.source.text
    assert window.source.get_text() == ""
    assert set(order) == {window.source.text, window.target.text, "Clear", "Copy"}
    press(window.target.text, "<<PrevWindow>>")
    assert root.focus_get() is not window.target.text


def test_the_details_of_an_error_are_behind_a_button(open_window):
    def translate(text, cancellation, on_progress):
        raise ValueError("no such word")

    window = open_window(lambda: scripted_model(translate))
    window.source.set_text("text")
    pump(window.root, window.status._button.winfo_ismapped)
    window.status._button.invoke()
    dialog = window.root.winfo_children()[-1]
    pump(window.root, dialog.winfo_viewable)
    details = dialog.text.get("1.0", "end")
    assert details.startswith("Not translated: no such word\n\nTraceback")
    assert "ValueError: no such word" in details
    press(dialog.text, "<Escape>")
    assert not dialog.winfo_exists()


def test_keys_that_come_before_the_source_has_the_keyboard_are_kept(open_window):
    window = open_window()
    window.root.focus_force()
    window.root.update()
    for key in ("I", "space", "Return", "b", "Control-k"):
        window.root.focus_force()
        window.root.event_generate(f"<{key}>" if "-" in key else f"<KeyPress-{key}>")
    window.root.update()
    assert window.source.get_text() == "I \nb"


def test_a_notice_at_the_beginning_is_not_overlooked(open_window, monkeypatch):
    window = open_window(notice="The settings could not be read.")
    window.source.set_text("text")
    pump(window.root, lambda: window.target.get_text() == "TEXT")
    assert window.status.sentence == "The settings could not be read."
    monkeypatch.setattr("desktop_app.status_line._NOTICE_MS", 50)
    window.status.show_notice("and another")
    pump(window.root, lambda: window.status.sentence == "Ready")


def test_a_notice_comes_back_after_a_message_and_an_error_takes_its_place(open_window, monkeypatch):
    monkeypatch.setattr("desktop_app.status_line._MESSAGE_MS", 50)
    window = open_window()
    window.status.show_notice("a notice", "its details")
    window.status.show_message("Copied")
    assert window.status.sentence == "Copied"
    pump(window.root, lambda: window.status.sentence == "a notice")
    assert window.status._button.winfo_manager()
    press(window.source.text, "<Escape>")
    assert window.status.sentence == "Ready"
    window.status.show_notice("a notice", "its details")
    window.status.show_error("an error")
    assert window.status.sentence == "an error"
    window.status.show_state("Ready")
    assert window.status.sentence == "Ready"


def test_a_sentence_that_was_kept_or_cut_is_underlined(open_window):
    def translate(text, *_):
        if text.startswith("B"):
            return Answer(text, (), (Place(0, 6, 0, 6),))
        return Answer(text, ("kept",), (Place(0, 6, 0, 6, ("kept",)), Place(7, 11, 7, 11)))

    window = open_window(lambda: scripted_model(translate))
    window.source.set_text("A {x}. Two.")
    pump(window.root, lambda: window.status.sentence.startswith("A sentence could not be translated;"))
    text = window.target.text
    assert [str(index) for index in text.tag_ranges("marked")] == ["1.0", "1.6"]
    assert text.tag_cget("marked", "underline") == "1"
    window.live.replace_sentence(window.live.shown.places[0], "Un {x}.")  # the user's own choice
    assert not text.tag_ranges("marked")
    window.source.set_text("B {x}.")
    pump(window.root, settled(window))
    assert not text.tag_ranges("marked")


def test_neighbours_that_were_kept_are_underlined_as_one(open_window):
    kept = ("kept",)
    places = Place(0, 2, 0, 2, kept), Place(3, 5, 3, 5, kept), Place(6, 8, 6, 8), Place(9, 11, 9, 11, kept)
    window = open_window(lambda: scripted_model(lambda text, *_: Answer(text, kept, places)))
    window.source.set_text("A. B. C. D.")
    pump(window.root, lambda: window.target.text.tag_ranges("marked"))
    ranges = [str(index) for index in window.target.text.tag_ranges("marked")]
    assert ranges == ["1.0", "1.5", "1.9", "1.11"]


def test_the_text_grows_and_shrinks_by_keys(open_window):
    window = open_window(settings=WindowSettings(font_size=12))
    text = window.source.text

    def size():
        return window._theme.text_font.cget("size")

    for keys, expected in (
        ("<Control-plus>", 13), ("<Control-equal>", 14), ("<Control-minus>", 13), ("<Control-0>", 12),
    ):  # fmt: skip
        press(text, keys)
        assert size() == expected == window.settings().font_size
    for _ in range(60):
        press(text, "<Control-minus>")
    assert size() == 6


def test_it_speaks_italian_from_the_first_word_or_from_the_settings_on(open_window):
    window = open_window(language="it")
    assert window.status.sentence == "Pronto"
    assert window.source._heading.cget("text") == "Inglese"
    bar = window.root.nametowidget(window.root.cget("menu"))
    assert bar.entrycget(1, "label") == "Modifica"
    window.change(dataclasses.replace(window.settings(), language="en"))
    assert window.status.sentence == "Ready"
    assert window.source._heading.cget("text") == "English"
    assert window.frame.buttons["clear"].cget("text") == "Clear"
    bar = window.root.nametowidget(window.root.cget("menu"))
    assert bar.entrycget(1, "label") == "Edit"


def test_the_look_changes_at_once(open_window):
    window = open_window()
    assert window.source.text.cget("background") == "#ffffff"
    window.change(dataclasses.replace(window.settings(), look="dark"))
    assert window.source.text.cget("background") == "#262a30"
    window.source.set_text("notte")
    pump(window.root, settled(window))
    assert window.target.text.cget("foreground") == "#e7e9ec"


def test_the_look_follows_the_system_when_the_window_is_looked_at_again(open_window, monkeypatch):
    answers = [False]
    monkeypatch.setattr("desktop_app.system.prefers_dark", lambda: answers[0])
    window = open_window(settings=WindowSettings(look="system"))
    answers[0] = True
    window.root.event_generate("<FocusIn>")
    pump(window.root, lambda: window.source.text.cget("background") == "#262a30")


def test_swapping_translates_the_translation_back(open_window, tmp_path):
    class Installed:
        def pick(self, source_language, target_language):
            return SimpleNamespace(folder=tmp_path) if source_language == "it" else None

    back = scripted_model(lambda text, *_: Answer(text.lower()), source_language="it", target_language="en")
    window = open_window(models=Installed(), load_other=lambda folder: lambda: back)
    swap = window.frame.buttons["swap"]
    pump(window.root, lambda: str(swap.cget("state")) == "normal")
    window.source.set_text("Good morning")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-r>")
    pump(window.root, lambda: window.target.get_text() == "good morning")
    assert window.source.get_text() == "GOOD MORNING"
    assert window.source._heading.cget("text") == "Italian"
    pump(window.root, lambda: str(swap.cget("state")) == "disabled")


def test_a_model_for_the_way_back_that_is_installed_or_removed_is_noticed(open_window, tmp_path):
    found = []
    window = open_window(models=SimpleNamespace(pick=lambda *pair: found[0] if found else None))
    swap = window.frame.buttons["swap"]
    for present, state in (([SimpleNamespace(folder=tmp_path)], "normal"), ([], "disabled")):
        found[:] = present
        window.dialogs._answers.models_changed()
        pump(window.root, lambda state=state: str(swap.cget("state")) == state)


def keeping_in(entries, notice=None):
    return SimpleNamespace(add=lambda *entry: entries.append(entry), take_notice=lambda: notice)


def test_a_damaged_history_is_said(open_window):
    window = open_window(history=keeping_in([], Path("history.sqlite.bad")))
    window.source.set_text("good morning")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-l>")
    pump(window.root, lambda: "it is kept as history.sqlite.bad" in window.status.sentence)


def test_a_history_that_cannot_be_written_is_said_once(open_window):
    def fail(*entry):
        raise UserError("The disk is full.")

    window = open_window(history=SimpleNamespace(add=fail, take_notice=lambda: None))
    sentence = "The translation could not be kept in the history: The disk is full."
    for text, expected in (("one", sentence), ("two", "Ready")):
        window.source.set_text(text)
        pump(window.root, lambda text=text: window.target.get_text() == text.upper())
        window.keeping.keep_now()
        pump(window.root, lambda: not window._background.busy)
        assert window.status.sentence == expected
        window.status.end_notice()


@pytest.mark.parametrize(("pair", "picks"), [(("en", "it"), 0), (("it", "en"), 1), (("it", "de"), 0)])
def test_an_entry_of_the_history_is_translated_by_a_model_for_its_languages(
    open_window, tmp_path, pair, picks
):
    asked = []
    back = scripted_model(lambda text, *_: Answer(text.lower()), source_language="it", target_language="en")
    found = lambda *wanted: SimpleNamespace(folder=tmp_path) if wanted == ("it", "en") else None  # noqa: E731
    window = open_window(
        models=SimpleNamespace(pick=found), load_other=lambda folder: asked.append(folder) or (lambda: back)
    )
    window.reuse(Entry(1, 0.0, *pair, "Perché", ""))
    pump(window.root, lambda: window.target.get_text() == ("perché" if picks else "PERCHÉ"))
    assert asked == [tmp_path] * picks
    pump(window.root, lambda: not window._background.busy)
    if pair[1] == "de":
        assert window.status.sentence == "No installed model translates from Italian to German."


def test_a_translation_is_kept_when_it_is_copied_and_not_again(open_window, tmp_path):
    kept = []
    window = open_window(history=keeping_in(kept))
    window.source.set_text("good morning")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-Shift-C>")
    press(window.source.text, "<Control-Shift-C>")
    press(window.source.text, "<Control-l>")
    pump(window.root, lambda: not window._background.busy)
    assert kept == [("good morning", "GOOD MORNING", "en", "it")]
    window.change(dataclasses.replace(window.settings(), history=False))
    window.source.set_text("secret")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-l>")
    pump_for(window.root, 0.2)
    assert len(kept) == 1


def test_a_translation_that_is_left_alone_is_kept(open_window, monkeypatch):
    monkeypatch.setattr("desktop_app.keeping.REST_SECONDS", 0.3)
    kept = []
    window = open_window(history=keeping_in(kept))
    window.source.set_text("good morning")
    pump(window.root, lambda: kept)
    pump_for(window.root, 0.5)
    assert kept == [("good morning", "GOOD MORNING", "en", "it")]


class WayBack:
    """Models of which one translates from Italian to English."""

    def __init__(self, folder):
        self.folder = folder

    def pick(self, source_language, target_language):
        return SimpleNamespace(folder=self.folder)


@pytest.mark.parametrize(("language", "sentence"), [
    ("en", "The translation is not finished yet"), ("it", "La traduzione non è ancora finita"),
])  # fmt: skip
def test_a_translation_of_an_earlier_text_is_neither_copied_nor_saved(open_window, language, sentence):
    window = open_window(language=language)
    window.source.set_text("good morning")
    pump(window.root, lambda: window.live.shown is not None and window.target.get_text() != "")
    window.root.clipboard_clear()
    window.root.clipboard_append("before")
    for keys in ("<Control-Shift-C>", "<Control-s>"):
        window.source.text.insert("end", "!")
        window.root.update()
        press(window.source.text, keys)
        assert window.status.sentence == sentence
    assert selected_text(window.root, "CLIPBOARD") == "before"


def test_swapping_keeps_what_was_typed_since_the_translation(open_window, tmp_path):
    back = scripted_model(source_language="it", target_language="en")
    window = open_window(models=WayBack(tmp_path), load_other=lambda folder: lambda: back)
    pump(window.root, lambda: window._way_back is not None)
    window.source.set_text("good morning")
    pump(window.root, settled(window))
    window.source.set_text("where is the station?")
    press(window.source.text, "<Control-r>")
    pump(window.root, lambda: window.target.get_text() == "WHERE IS THE STATION?")
    assert window.source.get_text() == "where is the station?"
    assert window.source._heading.cget("text") == "Italian"


def test_swapping_to_a_damaged_model_leaves_everything_as_it_was(open_window, tmp_path):
    def damaged():
        raise OSError("the disk is gone")

    window = open_window(models=WayBack(tmp_path), load_other=lambda folder: damaged)
    swap = window.frame.buttons["swap"]
    pump(window.root, lambda: str(swap.cget("state")) == "normal")
    window.source.set_text("good morning")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-r>")
    pump(window.root, lambda: "could not be loaded: the disk is gone" in window.status.sentence)
    assert (window.source.get_text(), window.target.get_text()) == ("good morning", "GOOD MORNING")
    pump(window.root, lambda: str(swap.cget("state")) == "normal")
    assert window.settings().model == ""


def test_after_two_picks_swapping_leads_back_from_the_model_that_is_there(open_window, tmp_path):
    go, fail = threading.Event(), threading.Event()

    def load_other(folder):
        def load():
            if folder.name == "bad":
                assert fail.wait(10)
                raise OSError("the disk is gone")
            assert go.wait(10)
            return scripted_model(source_language="it", target_language="de")

        return load

    found = lambda source, target: SimpleNamespace(folder=tmp_path / f"{source}-{target}")  # noqa: E731
    window = open_window(models=SimpleNamespace(pick=found), load_other=load_other)
    pump(window.root, lambda: window._way_back == tmp_path / "it-en")
    window.pick_model(tmp_path / "good")
    pump_for(window.root, 0.1)  # the worker is at it
    window.pick_model(tmp_path / "bad")
    go.set()
    pump(window.root, lambda: window._way_back == tmp_path / "de-it")
    fail.set()
    pump(window.root, lambda: "the disk is gone" in window.status.sentence)
    pump(window.root, lambda: not window._background.busy)
    assert window._way_back == tmp_path / "de-it"
    assert window.settings().model == str(tmp_path / "good")  # and that one is opened the next time


def test_the_models_dialog_follows_the_model_that_is_loaded(open_window, models, make_zip):  # noqa: F811
    mine = models.install(make_zip(name="Mine"))
    shipped = models.list()[1]
    window = open_window(
        lambda: scripted_model(folder=shipped.folder), models=models,
        load_other=lambda folder: lambda: scripted_model(folder=folder),
    )  # fmt: skip
    press(window.source.text, "<Control-m>")
    dialog = window.dialogs.open["models"]
    names = lambda: [dialog.list.set(row, "name") for row in dialog.list.get_children()]  # noqa: E731
    pump(window.root, lambda: names() == ["Mine", "✓ shipped"])
    dialog._choose(dialog.list.get_children()[0])
    pump(window.root, lambda: dialog._remove.instate(["!disabled"]))
    window.pick_model(mine.folder)
    pump(window.root, lambda: names() == ["✓ Mine", "shipped"])
    assert dialog.facts_text() == "in use · fp32"
    assert dialog._remove.instate(["disabled"])


def test_closing_ends_an_installation_and_keeps_the_last_translation(open_window):
    begun, kept = threading.Event(), []

    def install(path, *, cancellation, **options):
        begun.set()
        while not cancellation.cancelled:
            time.sleep(0.001)
        raise UserError("cancelled")

    busy = SimpleNamespace(pick=lambda *pair: None, list=list, install=install)
    window = open_window(models=busy, history=keeping_in(kept))
    window.source.set_text("good morning")
    pump(window.root, settled(window))
    press(window.source.text, "<Control-m>")
    window.dialogs.open["models"]._install_from(Path("big.zip"), replace=False)
    pump(window.root, begun.is_set)
    window.quit()
    window.run()
    assert window.close(5.0)
    assert kept == [("good morning", "GOOD MORNING", "en", "it")]


def test_the_shipped_model_in_the_place_of_a_damaged_one_is_said(open_window):
    window = open_window(
        lambda: scripted_model(instead_of=OSError("the disk is gone")),
        settings=WindowSettings(look="light", model="/somewhere"),
    )
    assert window.status.sentence.startswith("The model picked last could not be loaded;")
    assert window.status.sentence.endswith("the disk is gone")
    assert window.settings().model == ""


@pytest.mark.parametrize("keys", ["<Control-o>", "<Control-s>"])
def test_closing_ends_a_dialog_that_waits_for_an_answer(open_window, keys):
    window = open_window()
    window.source.set_text("good morning")
    pump(window.root, settled(window))

    def close_when_open():
        if window.root.tk.call("grab", "current"):
            window.quit(143)
        else:
            window.root.after(20, close_when_open)

    window.root.after(20, lambda: press(window.source.text, keys))
    window.root.after(40, close_when_open)
    window.run()
    assert window.exit_code == 143
    assert not window.root.tk.call("grab", "current")


def test_legend_and_placeholder_have_their_room_in_the_smallest_window(open_window):
    window = open_window(language="it", settings=WindowSettings(language="it", confidence=True, font_size=48))
    window.root.geometry("1x1")
    pump_for(window.root, 0.3)
    legend, placeholder = window.frame._legend, window.frame._placeholder
    assert legend.winfo_height() >= legend.winfo_reqheight() > 10
    text = window.source.text
    assert placeholder.winfo_x() + placeholder.winfo_width() <= text.winfo_width() - 10
    assert placeholder.winfo_y() + placeholder.winfo_height() <= text.winfo_height() - 2

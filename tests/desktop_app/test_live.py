"""Translate as you type, over a scripted model."""

import logging
import threading
import time

from desktop_app.service import Answer, Translated, TranslationFailed
from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.driving import press, settled, type_keys
from tests.desktop_app.scripted_model import scripted_model


class Recorder:
    """Every text the target pane showed, seen by polling faster than the window does."""

    def __init__(self, window):
        self.window = window
        self.shown = []

    def __call__(self):
        text = self.window.target.get_text()
        if not self.shown or self.shown[-1] != text:
            self.shown.append(text)
        return False


def test_a_typed_sentence_is_translated(open_window):
    window = open_window()
    type_keys(window, "I love you very much.")
    pump(window.root, settled(window))
    assert window.source.get_text() == "I love you very much."
    assert window.target.get_text() == "I LOVE YOU VERY MUCH."
    assert window.status.facts.startswith("CPU · int8 · 0.00 s · ")
    assert window.status.facts.endswith(" words/s")


def test_the_translation_waits_for_a_pause_in_typing(open_window):
    texts = []

    def translate(text, cancellation, on_progress):
        texts.append(text)
        return Answer(text)

    window = open_window(lambda: scripted_model(translate))
    type_keys(window, "one two")
    begin = time.perf_counter()
    pump(window.root, settled(window))
    assert texts == ["one two"]
    assert time.perf_counter() - begin >= 0.3


def test_text_typed_while_the_model_loads_is_translated_when_it_is_there(open_window):
    go = threading.Event()

    def load():
        go.wait(10)
        return scripted_model()

    window = open_window(load, wait=False)
    assert window.status.sentence == "Loading the model…"
    type_keys(window, "early")
    pump_for(window.root, 0.6)
    assert window.status.sentence == "Loading the model…"
    go.set()
    pump(window.root, settled(window))
    assert window.target.get_text() == "EARLY"


def test_a_stale_translation_is_never_shown(open_window):
    entered = threading.Event()
    go = threading.Event()

    def translate(text, cancellation, on_progress):  # deaf to cancellation: the worst model
        if text == "old":
            entered.set()
            go.wait(10)
        return Answer(text.upper())

    window = open_window(lambda: scripted_model(translate))
    recorder = Recorder(window)
    window.source.set_text("old")
    pump(window.root, lambda: recorder() or entered.is_set())
    assert window.status.sentence == "Translating…"
    type_keys(window, "er")  # the answer to "old" arrives during the debounce
    go.set()
    pump(window.root, lambda: recorder() or settled(window)())
    recorder()
    assert recorder.shown == ["", "OLDER"] or recorder.shown == ["", "EROLD"]


def test_an_outcome_of_an_earlier_request_is_ignored(open_window):
    # The answer was already in the queue when the text changed: the service could not drop it.
    window = open_window()
    window.source.set_text("new")
    window.live.translate_now()
    window.live.show_outcome(Translated(window.live._awaited_id - 1, Answer("stale"), 1, 0.1))
    window.live.show_outcome(TranslationFailed(window.live._awaited_id - 1, ValueError("stale")))
    assert window.target.get_text() == ""
    assert window.status.sentence == "Translating…"
    pump(window.root, settled(window))
    assert window.target.get_text() == "NEW"


def test_an_emptied_source_empties_the_translation_and_a_late_answer_stays_out(open_window):
    entered = threading.Event()
    go = threading.Event()

    def translate(text, cancellation, on_progress):
        entered.set()
        go.wait(10)
        return Answer("too late")

    window = open_window(lambda: scripted_model(translate))
    window.source.set_text("a text")
    pump(window.root, entered.is_set)
    press(window.source.text, "<Control-l>")
    go.set()
    pump_for(window.root, 0.3)
    assert (window.source.get_text(), window.target.get_text()) == ("", "")
    assert window.status.sentence == "Ready"


def test_ctrl_enter_translates_at_once_and_inserts_no_line(open_window):
    window = open_window()
    window.source.set_text("now")
    window.root.update()
    begin = time.perf_counter()
    press(window.source.text, "<Control-Return>")
    pump(window.root, settled(window))
    assert time.perf_counter() - begin < 0.3  # below the debounce
    assert window.source.get_text() == "now"
    assert window.target.get_text() == "NOW"


def test_a_failure_is_said_and_the_next_text_is_translated(open_window, caplog):
    def translate(text, cancellation, on_progress):
        if text == "bad":
            raise ValueError("no such word")
        return Answer(text.upper())

    window = open_window(lambda: scripted_model(translate))
    with caplog.at_level(logging.CRITICAL, logger="desktop_app.service"):
        window.source.set_text("bad")
        pump(window.root, lambda: window.status.sentence == "Not translated: no such word")
    assert window.target.get_text() == ""
    window.source.set_text("good")
    pump(window.root, settled(window))
    assert window.target.get_text() == "GOOD"


def test_a_note_of_the_model_is_shown(open_window):
    window = open_window(lambda: scripted_model(lambda text, *_: Answer(text, ("cut_loop",))))
    window.source.set_text("text")
    pump(window.root, lambda: window.status.sentence.startswith("A passage that repeated"))


def test_a_long_text_is_shown_as_it_comes_with_a_bar_and_words_per_second(open_window):
    go = threading.Event()

    def translate(text, cancellation, on_progress):
        on_progress(0.5, "FIRST LINE\n")
        time.sleep(0.35)
        on_progress(0.5, "FIRST LINE\n")
        assert go.wait(10)
        return Answer("FIRST LINE\nSECOND LINE")

    window = open_window(lambda: scripted_model(translate))
    bar = window.status._bar
    window.source.set_text("first line\nsecond line")
    pump(window.root, lambda: window.target.get_text() == "FIRST LINE\n" and bar.winfo_ismapped())
    assert float(str(bar.cget("value"))) == 0.5
    assert window.status.sentence == "Translating…"
    assert window.status.facts.endswith(" words/s")
    go.set()
    pump(window.root, settled(window))
    assert window.target.get_text() == "FIRST LINE\nSECOND LINE"
    assert not bar.winfo_ismapped()


def test_what_is_done_soon_is_shown_at_once(open_window):
    def translate(text, cancellation, on_progress):
        on_progress(0.5, "HALF")
        time.sleep(0.1)
        return Answer("WHOLE")

    window = open_window(lambda: scripted_model(translate))
    recorder = Recorder(window)
    window.source.set_text("a text")
    pump(window.root, lambda: recorder() or settled(window)())
    assert recorder.shown == ["", "WHOLE"]


def test_escape_cancels_within_200_ms_and_keeps_what_is_there(open_window):
    began, ended = threading.Event(), []

    def translate(text, cancellation, on_progress):
        began.set()
        while not cancellation.cancelled:
            time.sleep(0.001)
        ended.append(time.perf_counter())
        raise RuntimeError("cancelled")

    window = open_window(lambda: scripted_model(translate))
    window.source.set_text("a text")
    pump(window.root, began.is_set)
    begin = time.perf_counter()
    press(window.source.text, "<Escape>")
    assert window.status.sentence == "Cancelled"
    pump(window.root, lambda: ended)
    assert ended[0] - begin < 0.2
    assert window.source.get_text() == "a text"
    pump_for(window.root, 0.5)
    assert window.status.sentence == "Cancelled"  # and nothing starts again by itself


def test_a_changed_line_leaves_the_others_where_they_are(open_window):
    window = open_window()
    lines = [f"line number {number}" for number in range(300)]
    window.source.set_text("\n".join(lines))
    pump(window.root, settled(window))
    window.target.text.yview_moveto(0.5)
    window.root.update()
    top = window.target.text.index("@0,0")
    lines[299] = "another end"
    window.source.set_text("\n".join(lines))
    pump(window.root, lambda: window.target.get_text().endswith("ANOTHER END"))
    assert window.target.text.index("@0,0") == top
    assert window.target.get_text() == "\n".join(lines).upper()


def test_another_model_translates_the_text_again(open_window, tmp_path):
    whisper = scripted_model(
        lambda text, *_: Answer(text.lower()), source_language="it", target_language="en"
    )
    asked = []

    def load_other(folder):
        asked.append(folder)
        return lambda: whisper

    window = open_window(load_other=load_other)
    window.source.set_text("Perché no")
    pump(window.root, settled(window))
    assert window.target.get_text() == "PERCHÉ NO"
    window.pick_model(tmp_path)
    pump(window.root, lambda: window.target.get_text() == "perché no")
    assert asked == [tmp_path]
    assert window.settings().model == str(tmp_path)
    assert window.source._heading.cget("text") == "Italian"


def test_a_model_that_cannot_be_loaded_is_said_and_the_old_one_goes_on(open_window, tmp_path):
    def load_other(folder):
        def load():
            raise OSError("the disk is gone")

        return load

    window = open_window(load_other=load_other)
    window.pick_model(tmp_path)
    pump(window.root, lambda: "could not be loaded: the disk is gone" in window.status.sentence)
    window.source.set_text("still here")
    pump(window.root, lambda: window.target.get_text() == "STILL HERE")
    pump(window.root, lambda: not window.live.busy)
    assert "could not be loaded: the disk is gone" in window.status.sentence  # and is not overlooked
    assert window.settings().model == ""
    assert window.live.load_error is None


def test_a_text_typed_before_any_model_could_be_loaded_is_translated_by_the_next(open_window, tmp_path):
    def load():
        raise ValueError("no weights")

    window = open_window(load, wait=False, load_other=lambda folder: scripted_model)
    window.source.set_text("early")
    pump(window.root, lambda: "could not be loaded: no weights" in window.status.sentence)
    pump_for(window.root, 0.6)  # the pause in typing is over
    window.pick_model(tmp_path)
    pump(window.root, lambda: window.target.get_text() == "EARLY")


def test_without_any_model_the_window_stays_and_says_why(open_window):
    def load():
        raise ValueError("no weights")

    window = open_window(load, wait=False)
    pump(window.root, lambda: "could not be loaded: no weights" in window.status.sentence)
    window.source.set_text("typed all the same")
    pump_for(window.root, 0.6)
    assert "could not be loaded: no weights" in window.status.sentence
    assert window.status._button.winfo_ismapped()

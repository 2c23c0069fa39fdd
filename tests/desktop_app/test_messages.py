"""What the window says, in each language."""

import ast
import string
from pathlib import Path

import pytest

import desktop_app
from desktop_app import messages
from desktop_app.messages import CATALOGUES, Messages

KEYS = set(CATALOGUES["en"])


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", sorted(CATALOGUES))
def test_every_language_has_every_sentence_with_the_same_values(language):
    assert set(CATALOGUES[language]) == KEYS
    for key, text in CATALOGUES["en"].items():
        assert placeholders(CATALOGUES[language][key]) == placeholders(text), key
        assert CATALOGUES[language][key].strip(), key


def spoken_keys():
    """Every literal key that the application's code says, and the beginnings of those it puts together."""
    whole, beginnings = set(), set()
    for path in Path(desktop_app.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in ("say", "_say"):
                continue
            key = node.args[0]
            if isinstance(key, ast.Constant):
                whole.add(key.value)
            elif isinstance(key, ast.JoinedStr):
                beginnings.add(key.values[0].value)
    return whole, beginnings


def test_what_the_code_says_is_in_the_catalogue():
    whole, beginnings = spoken_keys()
    assert len(whole) > 40
    assert whole <= KEYS
    for beginning in beginnings:
        assert any(key.startswith(beginning) for key in KEYS), beginning


def test_language_names():
    say = Messages("en")
    assert say.language_name("it") == "Italian"
    assert say.language_name("EN") == "English"
    assert say.language_name("tlh") == "tlh"
    assert Messages("it").language_name("en") == "inglese"


def test_a_language_without_a_catalogue_reads_english():
    assert Messages("fr").language == "en"


def test_a_listener_hears_of_another_language_as_long_as_it_lives():
    class Label:
        def __init__(self, say):
            self.say, self.text = say, say("ready")
            say.on_change(self.relabel)

        def relabel(self):
            self.text = self.say("ready")

    say = Messages("en")
    label, gone = Label(say), Label(say)
    del gone
    say.use("it")
    assert label.text == "Pronto"


def test_engine_facts():
    say = Messages()
    assert say.engine_facts("cpu", "int8") == "CPU · int8"
    assert say.engine_facts("cuda", "") == "CUDA"


@pytest.mark.parametrize(
    ("language", "num_words", "seconds", "text"),
    [
        ("en", 5, 0.25, "0.25 s · 20 words/s"),
        ("en", 0, 0.25, "0.25 s"),
        ("en", 30000, 12.0, "12 s · 2,500 words/s"),
        ("it", 30000, 1.5, "1,50 s · 20.000 parole/s"),
    ],
)
def test_speed(language, num_words, seconds, text):
    assert Messages(language).speed(num_words, seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.004, "<1 %"), (0.126, "13 %"), (1.0, "100 %")])
def test_percent(share, text):
    assert Messages().percent(share) == text


def test_a_failure_is_one_line():
    say = Messages()
    assert say.failure(ValueError("two\nlines")) == "Not translated: two lines"
    assert say.failure(MemoryError()) == "Not translated: MemoryError"


def test_notes():
    say = Messages()
    assert say.note(("copied", "split")) == ""
    assert say.note(("cut_length",)) == "A sentence reached the length limit; its end may be missing."
    assert say.note(("cut_length", "cut_loop")) == "A passage that repeated itself without end was cut."


@pytest.mark.parametrize(
    ("setting", "desktop", "language"),
    [("system", "it", "it"), ("system", "", "en"), ("it", "en", "it"), ("en", "it", "en")],
)
def test_the_language_is_the_chosen_one_or_the_desktops(monkeypatch, setting, desktop, language):
    monkeypatch.setattr(messages.system, "interface_language", lambda: desktop)
    assert messages.chosen_language(setting) == language

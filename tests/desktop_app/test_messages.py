"""What the window says."""

import pytest

from desktop_app import messages


def test_language_names():
    assert messages.language_name("it") == "Italian"
    assert messages.language_name("EN") == "English"
    assert messages.language_name("tlh") == "tlh"


def test_engine_facts():
    assert messages.engine_facts("cpu", "int8") == "CPU · int8"
    assert messages.engine_facts("cuda", "") == "CUDA"


@pytest.mark.parametrize(
    ("num_words", "seconds", "text"),
    [(5, 0.25, "0.25 s · 20 words/s"), (0, 0.25, "0.25 s"), (30000, 12.0, "12 s · 2,500 words/s")],
)
def test_speed(num_words, seconds, text):
    assert messages.speed(num_words, seconds) == text


def test_a_failure_is_one_line():
    assert messages.failure(ValueError("two\nlines")) == "Not translated: two lines"
    assert messages.failure(MemoryError()) == "Not translated: MemoryError"


def test_notes():
    assert messages.note(("copied", "split")) == ""
    assert messages.note(("cut_length",)) == "A sentence reached the length limit; its end may be missing."
    assert messages.note(("cut_loop",)) == "A passage that repeated itself without end was cut."

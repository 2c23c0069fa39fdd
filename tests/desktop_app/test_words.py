"""Words that are lit, replaced and shaded, over a scripted model whose attention is known."""

import dataclasses

import pytest

from tests.desktop_app.conftest import pump, pump_for
from tests.desktop_app.driving import press, settled

TEXT = "one two three. four five!\n\n  - six 😀 seven"


@pytest.fixture
def window(open_window):
    window = open_window()
    window.source.set_text(TEXT)
    pump(window.root, settled(window))
    window.root.update()
    return window


def tagged(pane, name):
    """The texts that carry a tag."""
    ranges = [str(index) for index in pane.text.tag_ranges(name)]
    return [pane.between(b, e) for b, e in zip(ranges[::2], ranges[1::2], strict=True)]


def linked(pane):
    return {word for level in range(1, 6) for word in tagged(pane, f"link{level}")}


def point(pane, offset):
    """Move the pointer over a character."""
    x, y, width, height = pane.text.bbox(pane.index(offset))
    pane.text.event_generate("<Motion>", x=x + width // 2, y=y + height // 2)


def test_a_word_under_the_pointer_lights_where_it_came_from(window):
    # Two heads: the word itself gets 0.4 on the average, the next one 0.4, the end the rest.
    point(window.target, TEXT.index("two"))
    pump(window.root, lambda: linked(window.source))
    assert tagged(window.target, "lit") == ["TWO"]
    assert linked(window.source) == {"two", "three"}


def test_a_word_of_the_source_lights_what_came_from_it(window):
    point(window.source, TEXT.index("five"))
    pump(window.root, lambda: linked(window.target))
    assert tagged(window.source, "lit") == ["five"]
    assert linked(window.target) == {"FOUR", "FIVE"}


def test_light_finds_its_place_behind_blank_lines_and_emoji(window):
    point(window.target, TEXT.index("seven"))
    pump(window.root, lambda: linked(window.source))
    assert tagged(window.target, "lit") == ["SEVEN"]
    assert linked(window.source) == {"seven"}


def test_the_light_goes_out_beside_words_and_when_the_text_changes(window):
    point(window.target, TEXT.index("two"))
    pump(window.root, lambda: linked(window.source))
    window.target.text.event_generate("<Motion>", x=300, y=200)
    pump(window.root, lambda: not linked(window.source) and not tagged(window.target, "lit"))
    point(window.target, TEXT.index("two"))
    pump(window.root, lambda: linked(window.source))
    window.source.text.insert("1.0", "x")
    pump(window.root, lambda: not linked(window.source) and not tagged(window.target, "lit"))


def test_the_keys_walk_from_word_to_word_over_sentences(window):
    seen = []
    for key in ["<Right>"] * 7 + ["<Left>"]:
        press(window.target.text, key)
        seen += tagged(window.target, "lit")
    assert seen == ["ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "SIX"]


def test_the_keys_walk_over_sentences_without_a_word(open_window):
    window = open_window()
    window.source.set_text("***\none\n***\n***\ntwo")
    pump(window.root, settled(window))
    seen = []
    for key in ("<Right>", "<Right>", "<Left>"):
        press(window.target.text, key)
        seen += tagged(window.target, "lit")
    assert seen == ["ONE", "TWO", "ONE"]


def test_the_cursor_lights_its_word_of_the_source(window):
    window.source.text.mark_set("insert", "1.4")
    press(window.source.text, "<KeyRelease-Right>")
    pump(window.root, lambda: linked(window.target))
    assert tagged(window.source, "lit") == ["two"]


def test_a_click_offers_other_words_and_a_choice_changes_the_rest_of_the_sentence(window):
    x, y, width, height = window.target.text.bbox(window.target.index(TEXT.index("two")))
    at = {"x": x + width // 2, "y": y + height // 2}
    window.target.text.event_generate("<Button-1>", **at)
    window.target.text.event_generate("<ButtonRelease-1>", **at)
    pump(window.root, lambda: window.alternatives.menu is not None)
    menu = window.alternatives.menu
    entries = [(menu.entrycget(n, "label"), menu.entrycget(n, "accelerator")) for n in range(5)]
    assert entries == [
        ("TWO", "60 %"),
        ("ALPHA", "10 %"),
        ("BETA", "10 %"),
        ("GAMMA", "10 %"),
        ("DELTA", "10 %"),
    ]
    assert menu.entrycget(0, "state") == "disabled"
    menu.invoke(2)
    pump(window.root, lambda: "BETA" in window.target.get_text())
    assert window.target.get_text() == "ONE BETA three. FOUR FIVE!\n\n  - SIX 😀 SEVEN"
    pump(window.root, lambda: window.alternatives.menu is None)
    # What comes after it is still found.
    point(window.target, window.target.get_text().index("SEVEN"))
    pump(window.root, lambda: linked(window.source) == {"seven"})


def test_alternatives_by_keys(window):
    for key in ("<Right>", "<Right>", "<Return>"):
        press(window.target.text, key)
    pump(window.root, lambda: window.alternatives.menu is not None)
    menu = window.alternatives.menu
    pump(window.root, menu.winfo_ismapped)
    menu.unpost()
    pump(window.root, lambda: window.alternatives.menu is None)
    assert window.target.get_text() == TEXT.upper()


def test_a_menu_of_the_desktop_that_is_never_unmapped_lets_go_of_the_word(window, monkeypatch):
    monkeypatch.setattr("tkinter.Menu.tk_popup", lambda *place: None)  # modal there, and gone when it returns
    window.alternatives._theme.windowing_system = "win32"
    for key in ("<Right>", "<Return>"):
        press(window.target.text, key)
    pump(window.root, lambda: window.alternatives.menu is not None)
    assert window.words.held
    pump(window.root, lambda: window.alternatives.menu is None)
    assert not window.words.held


def test_a_choice_that_comes_after_the_text_has_changed_is_dropped(window):
    for key in ("<Right>", "<Return>"):
        press(window.target.text, key)
    pump(window.root, lambda: window.alternatives.menu is not None)
    menu = window.alternatives.menu
    menu.invoke(1)
    menu.unpost()
    window.source.set_text("new")
    pump(window.root, lambda: window.target.get_text() == "NEW")
    pump_for(window.root, 0.2)
    assert window.target.get_text() == "NEW"


def test_unsure_words_are_shaded_by_how_unsure_and_only_when_asked(window):
    def shades():
        return [tagged(window.target, f"unsure{level}") for level in (1, 2, 3)]

    pump_for(window.root, 0.2)
    assert shades() == [[], [], []]
    assert not window.frame._legend.winfo_ismapped()
    press(window.target.text, "<Control-k>")
    # 0.9, 0.1, 0.4 word by word: sure, most unsure, between.
    pump(window.root, lambda: shades() == [[], ["THREE"], ["TWO", "FIVE", "SEVEN"]])
    assert window.frame._legend.winfo_ismapped()
    assert window.settings().confidence
    window.change(dataclasses.replace(window.settings(), confidence=False))
    pump(window.root, lambda: shades() == [[], [], []])


def test_only_sentences_on_the_screen_are_shaded_and_scrolling_brings_others(open_window):
    window = open_window()
    window.source.set_text("\n".join(f"word number{n}." for n in range(400)))
    pump(window.root, settled(window))
    press(window.target.text, "<Control-k>")
    pump(window.root, lambda: tagged(window.target, "unsure3"))
    assert "NUMBER0" in tagged(window.target, "unsure3")
    assert "NUMBER399" not in tagged(window.target, "unsure3")
    window.target.text.see("end")
    pump(window.root, lambda: "NUMBER399" in tagged(window.target, "unsure3"))


def test_a_failing_look_is_said(window):
    def broken(source, target):
        raise ValueError("no alignment")

    window.live.inspector.attention = broken
    point(window.target, TEXT.index("two"))
    pump(window.root, lambda: window.status.sentence == "The sentence could not be looked into: no alignment")

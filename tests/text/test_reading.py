"""One sentence on its way through a model: asked for again until it is safe, or kept. With scripted models."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.text.protection import survived
from keras_transformer.text.reading import Readings, Settled, fits_in_disguise, goes_on, like_its_source
from keras_transformer.text.tags import Links, strip_tags, word_spans


def read_all(sentences, speak, fits=lambda text: True, align=None):
    """What became of each sentence, and what the model was asked in each round."""
    readings, rounds = Readings(sentences, "en", "it", fits, align), []
    while texts := readings.asks():
        rounds.append(texts)
        for text in texts:
            answer = speak(text)
            readings.take(text, answer if isinstance(answer, list) else [answer])
    return [readings.settled[sentence] for sentence in sentences], rounds


def read(sentence, speak, **options):
    """What became of one sentence: its best text, flags, and all that the model was asked."""
    (settled,), rounds = read_all([sentence], speak, **options)
    return (
        SimpleNamespace(text=settled.texts[0] if settled.texts else None, flags=settled.flags),
        [text for texts in rounds for text in texts],
    )


def test_a_plain_sentence_is_asked_once_as_it_is():
    assert read_all(["The cat sleeps."], str.swapcase) == (
        [Settled(("tHE CAT SLEEPS.",), frozenset(), ("The cat sleeps.",))],
        [["The cat sleeps."]],
    )


def test_placeholders_go_through_under_masks():
    settled, asked = read("Hello {name}, you have %d.", lambda text: text.replace("Hello", "Ciao"))
    assert settled.text == "Ciao {name}, you have %d."
    assert asked == ["Hello Z1, you have Z2."]


def test_numbers_are_tried_as_they_are_then_under_masks():
    settled, asked = read("In 1987 it was 3.5.", lambda text: text.replace("1987", "198"))
    assert (settled.text, asked) == ("In 1987 it was 3.5.", ["In 1987 it was 3.5.", "In Z1 it was Z2."])


def test_each_mask_is_tried_then_the_parts_then_the_original_stays():
    forms = ["Hello Z1, my dear!", "Hello (1), my dear!", "Hello K1, my dear!", "hello", "my dear!"]
    settled, asked = read("Hello {name}, my dear!", lambda text: "Ciao!" if "1" in text else f"«{text}»")
    assert (settled.text, settled.flags, asked) == ("«Hello» {name}, «my dear!»", {"split"}, forms)
    settled, asked = read("Hello {name}, my dear!", lambda text: "" if text == "hello" else "Ciao!")
    assert (settled.text, settled.flags, asked) == (None, frozenset(), forms)


def test_where_the_model_says_nothing_the_original_stays():
    assert read_all(["The cat sleeps."], lambda text: "") == (
        [Settled((), frozenset(), ())],
        [["The cat sleeps."]],
    )


def test_each_hypothesis_is_restored_and_checked():
    def speak(text):
        return ["Ciao Z1!", "Salve 1!", "Z1, ciao!"]

    (settled,), _ = read_all(["Hello {x}!"], speak)
    assert settled.texts == ("Ciao {x}!", None, "{x}, ciao!")


def test_capitals_are_read_small_and_written_large_but_not_in_items():
    settled, asked = read("HELLO {name}, SEE www.a.it!", lambda text: text)
    assert (settled.text, asked) == ("HELLO {name}, SEE www.a.it!", ["Hello Z1, see Z2!"])
    assert read("Where Is The {x}?", lambda text: text)[0].text == "Where Is The {x}?"


def test_emphasis_that_the_model_drops_is_asked_for_in_small_letters():
    dropping = read("It is VERY good.", lambda text: text.replace("VERY ", "").replace("very", "molto"))
    assert (dropping[0].text, dropping[1]) == ("It is molto good.", ["It is VERY good.", "It is very good."])
    assert read("It is OPEN now.", lambda text: text)[1] == ["It is OPEN now."]


@pytest.mark.parametrize(
    ("word", "asked", "text"),
    [
        ("Dog", ["dog"], "Cane"),
        ("dog", ["dog"], "cane"),
        ("DOG!", ["dog"], "CANE!"),
        ("Dog...", ["dog"], "Cane..."),
        ("Help!", ["help", "Help"], "Aiuto!"),
        ("file", ["file", "File"], "file"),
        ("Tom", ["Tom"], "Tom"),
    ],
)
def test_a_single_word_is_asked_for_small_then_with_a_capital_then_copied(word, asked, text):
    words = {"dog": "cane.", "Help": "Aiuto"}
    settled, found = read(word, lambda ask: words.get(ask, ask))
    assert (found, settled.text) == (asked, text)


@pytest.mark.parametrize(
    ("sentence", "ask"),
    [
        ("- a small house", "a small house"),
        ("• 1. Open the door", "Open the door"),
        ("a) Open the door", "Open the door"),
        ("🙂 Open the door ❤️", "Open the door"),
        ("> # Open the door", "Open the door"),
        ("3 cats and a dog", "3 cats and a dog"),
        ("A cat sleeps", "A cat sleeps"),
    ],
)
def test_bullets_and_symbols_at_the_edges_stay_outside(sentence, ask):
    settled, asked = read(sentence, lambda text: text)
    assert (settled.text, asked) == (sentence, [ask])


def test_tags_are_placed_by_the_alignment():
    source, target = "the red car", "la macchina rossa"
    weights = np.zeros((3, 3))
    weights[0, 0] = weights[1, 2] = weights[2, 1] = 1.0
    pairs = []

    def align(*pair):
        pairs.append(pair)
        return Links(word_spans(pair[0]), word_spans(pair[1]), weights)

    settled, asked = read("the <b>red</b> car", lambda text: target, align=align)
    assert (settled.text, asked, pairs) == ("la macchina <b>rossa</b>", [source], [(source, target)])
    assert read(source, lambda text: target, align=align)[0].text == target
    assert len(pairs) == 1  # without tags nobody asks


def test_forms_that_do_not_fit_are_left_out():
    settled, asked = read("Hi {x}, my dear old friend!", lambda text: text, fits=lambda text: len(text) < 24)
    assert (settled.text, asked) == ("Hi {x}, my dear old friend!", ["hi", "my dear old friend!"])
    assert fits_in_disguise("See https://example.org/a/very/long/path", "en", lambda text: len(text) < 10)
    assert not fits_in_disguise("See the long and winding road", "en", lambda text: len(text) < 10)


def test_many_sentences_are_asked_for_together_and_each_text_once():
    settled, rounds = read_all(["At 7.", "A cat.", "- A cat.", "Now 7."], lambda text: text.replace("7", ""))
    assert rounds == [["At 7.", "A cat.", "Now 7."], ["At Z1.", "Now Z1."]]
    assert [item.texts[0] for item in settled] == ["At 7.", "A cat.", "- A cat.", "Now 7."]


PARTS = st.sampled_from(
    ["Hello ", "THE CAT ", "{name}", "%s", " 1,000.50 ", "10:30", "https://a.it/b?c", " 😀 ", "<b>", "</b>", ", ",
     ".", "a@b.it", " MP3 ", "Z1", "(1)", " and ", "<x>", "日本", "- ", " Tom's ", "`a b`"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=10).map("".join), st.integers(0, 5))
def test_whatever_the_model_does_no_item_is_changed_silently(text, seed):
    def speak(ask):
        return ["", ask, ask[::-1], ask.replace("1", ""), ask + " Z1 " + ask, ask.lower()][seed]

    sentence = "So " + text.strip()  # no bullet: its number is layout
    settled, _ = read(sentence, speak)
    if settled.text is not None:
        plain, written = strip_tags(sentence)[0], strip_tags(settled.text)[0]
        assert survived(plain, written, "it")
        assert settled.text.count("<b>") == sentence.count("<b>")


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("which is old,", "Che è vecchia.", "che è vecchia,"),
        ("which is old", "Che è vecchia.", "che è vecchia"),
        ("Which is old;", "Che è vecchia", "Che è vecchia;"),
        ("the end.", "La fine!", "la fine!"),
        ("and so", "E così.", "e così"),
        ("vidi", "I saw.", "I saw"),
        ("dice", "Dà retta.", "dà retta"),
        ("nato (in Brussels)", "NATO (a Bruxelles).", "NATO (a Bruxelles)"),
        ("so,", "...", "...,"),
    ],
)
def test_a_part_begins_and_ends_as_its_source_does(source, output, expected):
    assert like_its_source(source, output) == expected


def test_what_has_nothing_before_or_behind_it_begins_and_ends_as_it_will():
    assert like_its_source("which is old,", "Che è.", begins=False) == "Che è,"
    assert like_its_source("which is old,", "Che è.", ends=False) == "che è."


def test_the_model_reads_plain_spaces_and_no_invisible_characters():
    settled, asked = read("I\u00a0love un\u00adfair\u200bly {a\u00adb} \u200fyou.", str)
    assert asked == ["I love unfairly Z1 you."]
    assert settled.text == "I love unfairly {a\u00adb} you."


def test_tags_keep_their_places_where_invisible_characters_go():
    settled, _ = read("\ufeffA<b>\u00a0b\u00adig</b> cat.", str)
    assert settled.text == "\ufeffA <b>big</b> cat."


def test_half_a_character_is_no_translation():
    settled, asked = read("The cat sleeps.", lambda text: "Il \ufffd.")
    assert (settled.text, asked) == (None, ["The cat sleeps."])


def test_entries_that_only_tags_keep_apart_are_asked_one_by_one():
    text = "<a>Home</a><a>About us</a>"
    settled, asked = read(text, lambda ask: {"home": "casa", "About us": "Chi siamo"}.get(ask, ask))
    assert "HomeAbout us" not in asked
    assert settled.text == "<a>Casa</a><a>Chi siamo</a>"
    assert settled.flags == {"split"}


def test_where_a_pair_would_lose_its_words_the_stretches_are_asked_for():
    settled, asked = read("<b>one</b> and <i>two</i>.", lambda ask: "uno" if " " in ask else ask)
    assert (settled.text, settled.flags) == ("<b>one</b> and <i>two</i>.", {"split"})
    assert asked == ["one and two.", "one", "and", "two"]


@pytest.mark.parametrize(
    ("before", "sentence", "expected"),
    [
        (" ", "is the value.", True),
        ("  ", "where is it?", False),
        ("", "where is it?", False),
        ("", "...you are good.", True),
        ("I love\t", "you very much.", True),
        ("I love\t", "You very much.", False),
        ("It sleeps. ", "where is it?", False),
    ],
)
def test_the_rest_of_a_sentence_begins_small(before, sentence, expected):
    assert goes_on(before, sentence) is expected


def test_roman_numbers_are_layout():
    assert read("I. Introduction to it", str)[1] == ["Introduction to it"]
    assert read("E. coli is small.", str)[1] == ["E. coli is small."]

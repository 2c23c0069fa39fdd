"""Texts taken apart and put together: nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.text.layout import take_apart


def apart(text, longest=40):
    return take_apart(text, "en", lambda sentence: len(sentence) <= longest)


WORDS = st.sampled_from(["cat", "the", "red", "42", "Mr.", "U.S.", "no.", "Why?", "e.g.", "🙂", "a" * 50])
GAPS = st.sampled_from([" ", "  ", "\n", "\n\n  ", "\t", "\r\n", " \u00a0", "\u2028"])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(WORDS, GAPS)))
def test_with_every_original_kept_the_text_comes_back(pairs):
    text = "".join(word + gap for word, gap in pairs)
    document = apart(text)
    assert document.put_together([None] * len(document.sentences)).text == text
    assert document.put_together(document.sentences).text == text
    assert all(0 < len(sentence) <= 40 and sentence == sentence.strip() for sentence in document.sentences)


def test_translations_go_where_the_sentences_stood():
    document = apart("  The cat sleeps. Why?\n\n42\n\tA dog.  \n")
    assert document.sentences == ("The cat sleeps.", "Why?", "A dog.")
    restored = document.put_together(["Il gatto dorme.", "Perché?", "Un cane."])
    assert restored.text == "  Il gatto dorme. Perché?\n\n42\n\tUn cane.  \n"
    assert restored.flags == frozenset()
    source = "  The cat sleeps. Why?\n\n42\n\tA dog.  \n"
    assert [(source[a:b], restored.text[c:d]) for a, b, c, d, _ in restored.pairs] == [
        ("The cat sleeps.", "Il gatto dorme."),
        ("Why?", "Perché?"),
        ("A dog.", "Un cane."),
    ]


def test_the_rest_of_a_sentence_stays_small():
    for text, translations, expected in (
        ("I love\tyou very much.", ["Amo", "Tu molto."], "Amo\ttu molto."),
        (" is the value.", ["È il valore."], " è il valore."),
        ("a cat.\nwhere is it?", ["Un gatto.", "Dov'è?"], "Un gatto.\nDov'è?"),
    ):
        document = apart(text)
        assert len(document.sentences) == len(translations)
        assert document.put_together(translations).text == expected


def test_parts_of_a_long_sentence_are_no_sentences():
    document = apart("The old cat sleeps here, and the red dog that we saw does not sleep. Why?")
    assert document.sentences == (
        "The old cat sleeps here,",
        "and the red dog that",
        "we saw does not sleep.",
        "Why?",
    )
    assert document.cut == {0, 1}
    restored = document.put_together(["Il gatto.", "E il cane che.", "Vedemmo non dorme.", "Perché?"])
    assert restored.text == "Il gatto, e il cane che vedemmo non dorme. Perché?"
    assert document.text_so_far(["Il gatto.", "E il cane che."]) == "Il gatto, e il cane che "


def test_the_text_so_far_ends_with_the_layout_after_its_last_sentence():
    document = apart("  The cat sleeps. Why?\n\n42\n\tA dog.  \n")
    found = [document.text_so_far(part) for part in ([], ["Il gatto dorme."], ["Il gatto dorme.", None])]
    assert found == ["  ", "  Il gatto dorme. ", "  Il gatto dorme. Why?\n\n42\n\t"]


@pytest.mark.parametrize(
    ("text", "translations", "flags"),
    [
        ("42\n", [], {"copied"}),
        ("", [], {"copied"}),
        ("A cat.", [None], {"kept"}),
        ("the cat sleeps on the red table, and the dog does not sleep", ["a", None], {"split", "kept"}),
    ],
)
def test_flags(text, translations, flags):
    assert apart(text).put_together(translations).flags == flags


def test_as_many_translations_as_sentences_are_needed():
    message = (
        r"^`translations` must have one entry a sentence \(2\), got 1\. "
        r"Give None for a sentence that keeps its original\.$"
    )
    with pytest.raises(ValueError, match=message):
        apart("A cat. A dog.").put_together(["x"])


def test_fits_may_end_a_long_read_after_the_first_line():
    asked = []

    def fits(sentence):
        asked.append(sentence)
        if len(asked) == 2:
            raise TimeoutError
        return True

    with pytest.raises(TimeoutError):
        take_apart("A cat.\n" * 1000, "en", fits)
    assert len(asked) == 2

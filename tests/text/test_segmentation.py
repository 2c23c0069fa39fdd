import itertools
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_transformer.text import segmentation
from keras_transformer.text.segmentation import Piece, cut_long_line, is_copied, split_long, split_text

ANY_TEXT = st.text(st.characters(), max_size=200) | st.lists(
    st.sampled_from(
        [
            "Hello",
            "Dr.",
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "!",
            "?",
            '"',
            "(",
            ")",
            "…",
            "😀",
            "www.a.it",
            "x@y.org",
            "\u2028",
            "\ud800",
            "。",
            "1.",
            "e.g.",
            "é",
        ]
    ),
    max_size=60,
).map("".join)


def sentences(text, language="en"):
    return [piece.text for piece in split_text(text, language) if piece.is_sentence]


@settings(max_examples=500, deadline=None)
@given(ANY_TEXT, st.sampled_from(["en", "it", "de", "zh", "xx", ""]))
@example("\ud83d Hello. World.\n", "en")
@example("a\r\n\r\nb\x85c\u2028d", "en")
def test_the_pieces_joined_are_the_text_and_sentences_are_bare(text, language):
    pieces = split_text(text, language)
    assert "".join(piece.text for piece in pieces) == text
    for piece in pieces:
        assert piece.text
        if piece.is_sentence:
            assert piece.text == piece.text.strip()
            assert len(piece.text.splitlines()) == 1
            assert not is_copied(piece.text)
    kinds = [piece.is_sentence for piece in pieces]
    assert not any(not a and not b for a, b in itertools.pairwise(kinds))


def test_layout_and_sentences_of_a_small_letter():
    assert split_text("  Dear Dr. Smith,\n\nI am here. You?  \n--\n3.5\n", "en") == [
        Piece("  ", False),
        Piece("Dear Dr. Smith,", True),
        Piece("\n\n", False),
        Piece("I am here.", True),
        Piece(" ", False),
        Piece("You?", True),
        Piece("  \n--\n3.5\n", False),
    ]


def test_the_language_decides_about_abbreviations():
    text = "Il sig. Rossi arriva. Chi?"
    assert sentences(text, "it") == ["Il sig. Rossi arriva.", "Chi?"]
    assert sentences("Mr. Smith has 3.5 dogs. Why?", "en") == ["Mr. Smith has 3.5 dogs.", "Why?"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\n",
        "123",
        "3.14, 42 %",
        "?!…",
        "—",
        "https://keras.io/a?b=c#d",
        "www.keras.io",
        "user@example.org",
        "<user@example.org>,",
        "😀👩‍👩‍👧 ❤️",
        "ftp://x.y/z  me@a.it 12",
        "@home #now",
        "{name}: %s",
        "<b><i>42</i></b>",
    ],
)
def test_copied(text):
    assert is_copied(text)
    assert sentences(text) == []


@pytest.mark.parametrize(
    "text", ["a", "Ciao", "see https://keras.io", "3 cats", "日本", "<b>x</b>", "{a} b", "me@ you", "😀 ok"]
)
def test_not_copied(text):
    assert not is_copied(text)


def test_a_long_word_without_spaces_is_judged_in_linear_time():
    began = time.perf_counter()
    assert not is_copied("a" * 200_000)
    assert is_copied("1" * 200_000)
    assert not is_copied("a" * 100_000 + "@" + "b" * 100_000)
    assert time.perf_counter() - began < 2  # a quadratic search takes minutes


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT, st.integers(1, 20))
@example("A日本語", 1)
def test_long_sentences_lose_nothing(text, longest):
    parts = split_long(text, lambda part: len(part) <= longest)
    assert "".join(parts) == text
    assert all(len(part) <= longest or is_copied(part) for part in parts)
    assert all(parts) or text == ""


@pytest.mark.parametrize(
    "whole", ["https://example.org/" + "a,b;" * 20 + "c", "{{ user.name }}", "<b class='a b c'>", "10:30"]
)
def test_long_sentences_are_not_cut_inside_an_item_or_a_tag(whole):
    text = f"one two {whole} three four five"
    parts = split_long(text, lambda part: len(part) <= 6)
    assert "".join(parts) == text
    assert [part for part in parts if whole in part]
    assert all(len(part) <= 6 or whole in part for part in parts)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See {a.b. C}. Then go.", ["See {a.b. C}.", "Then go."]),
        ("Look at www.a.it? Or not.", ["Look at www.a.it?", "Or not."]),
        ("<b>One. Two.</b> Three.", ["<b>One.", "Two.</b>", "Three."]),
        ("One.<br>Two<br/>\tThree   Four", ["One.", "Two", "Three", "Four"]),
        ("<i>One.</i> <b>Two.</b>", ["<i>One.</i>", "<b>Two.</b>"]),
    ],
)
def test_tags_and_items_in_sentences(text, found):
    assert sentences(text) == found


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        ("en", "Mr. Smith and Mrs. Jones met Dr. Brown at 5 p.m. on Jan. 3.", 1),
        ("en", "Use a tool, e.g. a hammer, i.e. that one, etc. and go.", 1),
        ("en", "The U.S. economy grew by 3.5 percent. Why?", 2),
        ("en", "See Fig. 3 and vol. 2, no. 5.", 1),
        ("en", 'She said: "Stop it!" He did not.', 2),
        ("it", "Il Sig. Rossi e la Sig.ra Bianchi sono dal Dott. Verdi.", 1),
        ("it", "Pane, latte, ecc. sono nel frigo.", 1),
        ("it", "Vedi pag. 3 e art. 5 del libro. Poi torna.", 2),
    ],
)
def test_abbreviations_end_no_sentence(language, text, count):
    assert len(sentences(text, language)) == count, sentences(text, language)


def test_long_sentences_are_cut_at_clauses_then_at_spaces():
    text = "when the rain stopped, we went out into the garden"
    assert split_long(text, lambda part: len(part) <= 30) == [
        "when the rain stopped, ",
        "we went out into the garden",
    ]
    assert split_long("one two three four", lambda part: len(part) <= 10) == ["one two ", "three four"]
    assert split_long("abcdef", lambda part: len(part) <= 3) == ["abc", "def"]
    assert split_long(text, lambda part: True) == [text]


def test_a_long_line_is_cut_behind_sentences_else_at_spaces_else_anywhere(monkeypatch):
    monkeypatch.setattr(segmentation, "LONGEST_LINE", 20)
    assert cut_long_line("x" * 20) == ["x" * 20]
    assert cut_long_line("He came. She is. Why? And so on.") == ["He came. She is. ", "Why? And so on."]
    assert cut_long_line("no end in this one, or is there") == ["no end in this one, ", "or is there"]
    assert cut_long_line("x" * 45) == ["x" * 20, "x" * 20, "x" * 5]
    assert cut_long_line("a. " + "x" * 30) == ["a. " + "x" * 17, "x" * 13]  # a cut early in a part is none


@given(st.text("ab .!\t\u3002", max_size=300))
def test_a_cut_line_is_whole_and_cut_at_the_same_places_from_any_cut_on(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation, "LONGEST_LINE", 16)
        parts = cut_long_line(text)
        assert "".join(parts) == text
        assert all(len(part) <= 16 for part in parts)
        assert all(parts[:-1])
        for index in range(len(parts)):
            assert cut_long_line("".join(parts[index:])) == parts[index:]

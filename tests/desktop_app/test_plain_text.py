"""Text that Tk and the tokenizer can hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop_app.plain_text import clean_text, split_long_line


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("a\x00b", "ab"),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("è 😀 中", "è 😀 中"),
        ("", ""),
    ],
)
def test_clean_text(dirty, clean):
    assert clean_text(dirty) == clean


@given(st.text(st.characters(codec=None) | st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)))
def test_clean_text_can_be_encoded_and_cleaned_again(text):
    clean = clean_text(text)
    clean.encode("utf-8")
    assert clean_text(clean) == clean


@given(st.text("ab ", max_size=60), st.integers(1, 12))
def test_pieces_join_to_the_line_and_respect_the_limit(line, limit):
    pieces = split_long_line(line, limit)
    assert "".join(pieces) == line
    assert all(len(piece) <= limit for piece in pieces)
    assert all(pieces) or pieces == [""]


def test_a_line_is_cut_after_a_space_where_there_is_one():
    assert split_long_line("aaaa bbbb cccc", 11) == ["aaaa bbbb ", "cccc"]
    assert split_long_line("aaaabbbbcccc", 5) == ["aaaab", "bbbcc", "cc"]

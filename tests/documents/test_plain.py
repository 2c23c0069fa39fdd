"""Plain text: lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keras_transformer.documents.parts import segments, written
from keras_transformer.documents.plain import on_one_line, read

LINES = st.lists(
    st.sampled_from(["  one", "two ", "\t", "\n", "\r\n", "\r", "42", "\u2028", "", "{x}"]), max_size=20
)


@given(LINES.map("".join))
def test_what_is_not_translated_stays(text):
    assert written(read(text)) == text


def test_lines_are_segments_and_layout_stays():
    parts = read("  A cat.\n\n42\r\n\tTwo dogs. \rend")
    found = list(segments(parts))
    assert [segment.text for segment in found] == ["A cat.", "Two dogs.", "end"]
    for segment in found:
        segment.translation = "X\nY"
    assert written(parts) == "  X Y\n\n42\r\n\tX Y \rX Y"
    assert on_one_line("a\u2028b") == "a b"

"""Parts, codes and encodings. What codes do is tested with html and docx."""

from __future__ import annotations

import pytest

from keras_transformer.documents.parts import Segment, decode, segments, written
from keras_transformer.errors import UserError


def test_segments_may_hold_segments():
    inner = Segment("b", ["b"], str.upper)
    outer = Segment("a", ["a[", inner, "]"], lambda text: f"{text}[{written([inner])}]")
    parts = ["<", outer, ">"]
    assert list(segments(parts)) == [outer, inner]
    assert written(parts) == "<a[b]>"
    inner.translation = "x"
    assert written(parts) == "<a[X]>"
    outer.translation = "y"
    assert written(parts) == "<y[X]>"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        "è\r\n".encode(),
        "\ufeffè".encode(),
        b"\xff\xfe" + "è日".encode("utf-16-le"),
        b"\xfe\xff" + "è".encode("utf-16-be"),
        b"\xff\xfe\0\0" + "è日".encode("utf-32-le"),
        b"\0\0\xfe\xff" + "è".encode("utf-32-be"),
    ],
)
def test_encodings_come_back(data):
    text, encode = decode(data, "x.txt")
    assert not text.startswith("\ufeff")
    assert "\0" not in text
    assert encode(text) == data


def test_another_encoding_is_refused():
    message = (
        r"^x\.txt must be UTF-8, or UTF-16 or UTF-32 with a byte order mark; byte 3 is 0xe8\. Convert it first, "
        r"for example with iconv\.$"
    )
    with pytest.raises(UserError, match=message):
        decode(b"ab\xe8!", "x.txt")

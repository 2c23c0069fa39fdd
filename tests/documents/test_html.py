"""HTML: text and readable attributes change, every other byte stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.documents.html import decode, read
from keras_transformer.documents.parts import LostCode, left_in, segments, written

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>My house &amp; me</title>
<meta name="description" content="A 'small' page"><meta name="viewport" content="width=device-width">
<style>p { color: red }</style><script>var a = "<b>no</b>";</script></head>
<body><!-- a comment --><h1 class=x>Hello <em>World</em></h1>
<p>This is   <b>very</b>
  important, <a href="x?a=1&b=2" title="Click me">click <i>here</i></a>.<br>
Next&nbsp;line <img src=a.png alt="A house"> end.</p>
<p>Press <kbd>Ctrl+C</kbd> now. <span translate=no>Keep me</span></p><p class="notranslate">Keep this</p>
<ul><li>One<li>1 &lt; 2 apples</ul><pre>code  here</pre><p>42</p><P>last"""


def test_the_texts_of_a_page():
    assert [segment.text for segment in segments(read(PAGE))] == [
        "My house & me",
        "A 'small' page",
        "Hello <g1>World</g1>",
        "This is <g1>very</g1> important, <g2>click <g3>here</g3></g2>.",
        "Click me",
        "Next\xa0line <x1/> end.",
        "A house",
        "Press {k1} now. {k2}",
        "One",
        "1 < 2 apples",
        "last",
    ]


def test_a_translated_page():
    parts = read(PAGE)
    for segment in segments(parts):
        words = {"very": "molto", "here": "qui", "Click": 'Fai "clic" <', "World": "Mondo", "&": "& <"}
        text = segment.text
        for word, translation in words.items():
            text = text.replace(word, translation)
        segment.translation = text
    new = written(parts)
    changed = PAGE.replace("very</b>\n  important", "molto</b> important").replace("   <b>", " <b>")
    changed = changed.replace("<i>here", "<i>qui").replace("World", "Mondo").replace("&amp;", "&amp; &lt;")
    assert new == changed.replace('title="Click', 'title="Fai &quot;clic&quot; &lt;')


def test_what_is_left_is_told_as_a_reader_sees_it():
    assert list(left_in(read(PAGE))) == ["Ctrl+C", "Keep me", "Keep this", "code here"]
    assert list(left_in(read("<script>var a</script><style>b {}</style><pre>42</pre>"))) == []


@pytest.mark.parametrize(
    ("tag", "texts"),
    [
        ('<input type=submit value="Send it">', ["Send it"]),
        ('<input type=text value="Send it">', []),
        ("<img alt=House src=title=x>", ["House"]),
        ('<a href="?title=Foo bar" data-title="Not shown">', []),
        ('<meta property="og:title" content="My house">', ["My house"]),
        ("<option label='Old house'>", ["Old house"]),
    ],
)
def test_attributes_that_people_read(tag, texts):
    parts = read(f"<p>x {tag} y</p>" if tag.startswith("<a") else tag)
    found = [segment for segment in segments(parts) if not segment.text.startswith("x ")]
    assert [segment.text for segment in found] == texts
    for segment in found:
        segment.translation = 'Una "casa"'
    assert written(parts).count("&quot;casa") == (len(texts) if "'" not in tag else 0)


def test_a_bare_attribute_gets_quotes():
    parts = read("<img alt=House/>")
    next(segments(parts)).translation = "Una casa"
    assert written(parts) == '<img alt="Una casa"/>'


def test_tags_may_move():
    parts = read("<p>a <b>red</b> <i>car</i></p>")
    next(segments(parts)).translation = "una <g2>auto</g2> <g1>rossa</g1>"
    assert written(parts) == "<p>una <i>auto</i> <b>rossa</b></p>"


@pytest.mark.parametrize(
    "translation",
    [
        "a <g1>b",
        "a b",
        "<g1>a</g1> <g1>b</g1>",
        "</g1>a<g1>",
        "<g1><x2/>a</g1><x2/>",
        "<g1>a<x2/></g1> {k3} {k3}",
    ],
)
def test_a_lost_or_doubled_code_is_noticed(translation):
    (segment,) = segments(read("<p>a <b>red</b><img src=x> <code>y</code></p>"))
    assert segment.text == "a <g1>red</g1><x2/> {k3}"
    with pytest.raises(LostCode):
        segment.render(translation)


def test_codes_of_the_text_itself_are_text():
    parts = read("<p>See &lt;g1&gt; and {k7} in <b>this</b></p>")
    (segment,) = segments(parts)
    assert segment.text == "See <g1> and {k7} in <g8>this</g8>"
    segment.translation = "Vedi <g1> e {k7} in <g8>questo</g8>"
    assert written(parts) == "<p>Vedi &lt;g1&gt; e {k7} in <b>questo</b></p>"


PIECES = st.sampled_from(
    ["<p>", "</p>", "<b>", "</b>", "<i a='>'>", "</i>", "text ", "&amp;", "&", "<", ">", "<br>", "<img alt='a b'>",
     "\n", "<!--c-->", "<script>x<b></script>", "</", "<code>z</code>", "é", "<a title=\"t u\">", "</a>",
     "<![CDATA[x]]>", "<?p?>"]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=20).map("".join))
def test_what_is_not_translated_stays(page):
    parts = read(page)
    assert written(parts) == page
    for segment in segments(parts):
        segment.render(segment.text)  # each segment accepts its own text


@pytest.mark.parametrize(
    "data",
    [
        "<p>è €</p>".encode(),
        b"\xef\xbb\xbf<p>\xc3\xa8</p>",
        "<p>è</p>".encode("utf-16"),
        '<meta charset="iso-8859-1"><p>è</p>'.encode("latin-1"),
        b"<p>\xe8 \x80</p>",
        b"<p>\x81\xff</p>",
        b'<meta charset="nonsense"><p>x</p>',
        b"",
    ],
)
def test_encodings_come_back(data):
    text, encode = decode(data)
    assert encode(text) == data


def test_what_an_encoding_cannot_hold_becomes_a_reference():
    text, encode = decode('<meta charset="iso-8859-1"><p>è</p>'.encode("latin-1"))
    assert "è" in text
    assert encode("è 日") == "è &#26085;".encode("latin-1")

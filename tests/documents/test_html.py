"""HTML: text and readable attributes change, every other byte stays."""

from __future__ import annotations

import time

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
     "<![CDATA[x]]>", "<?p?>",
     "<![x]>", "<![ ]>", "&#", "<!--", "<i a=\"", "<li translate=no>", "<td>", "<table>", "</table>", "<div>",
     "</div>"]
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


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b'<meta charset="utf-8">', b'<meta charset="UTF8">'])
def test_one_bad_byte_does_not_change_the_encoding_that_a_page_says_it_has(start):
    data = start + "<p>perché</p>".encode() + b"<p>caf\xe9</p>"
    text, encode = decode(data)
    assert text.endswith("<p>perché</p><p>caf\udce9</p>")
    assert encode(text) == data
    assert encode("è 日 \udce9").endswith("è 日 ".encode() + b"\xe9")


def test_one_bad_byte_in_a_page_that_says_nothing_makes_it_windows_1252():
    data = "<p>perché</p>".encode() + b"<p>caf\xe9</p>"
    text, encode = decode(data)
    assert text == "<p>perchÃ©</p><p>café</p>"
    assert encode(text) == data


def read_texts(page):
    """The texts of a page and what is left; untranslated, every byte stays."""
    parts = read(page)
    assert written(parts) == page
    return [segment.text for segment in segments(parts)], list(left_in(parts))


@pytest.mark.parametrize("label", ["iso-8859-1", "latin1", "US-ASCII", "windows-1252", "ISO_8859-1:1987"])
def test_latin_1_means_windows_1252_as_in_browsers(label):
    data = f'<meta charset="{label}"><p>I don\x92t know \x81\x9d \x80.</p>'.encode("latin-1")
    text, encode = decode(data)
    assert "I don’t know \x81\x9d €." in text
    assert encode(text) == data
    assert encode("’ \x90 日") == b"\x92 \x90 &#26085;"


@pytest.mark.parametrize(
    "label", ["utf-16le", "utf-16", "undefined", "punycode", "idna", "utf-7", "hex", "cp037"]
)
def test_an_encoding_that_the_page_cannot_be_in_is_not_believed(label):
    page = f'<meta charset="{label}"><p>Two words è.</p>'
    for data in (page.encode(), page.encode() + b" "):
        text, encode = decode(data)
        assert text.strip() == page
        assert encode(text) == data
        assert encode("日") == "日".encode()


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("windows-1251", "cp1251"),
        ("koi8-r", "koi8-r"),
        ("Shift_JIS", "cp932"),
        ("gb2312", "gbk"),
        ("x-sjis", "cp932"),
    ],
)
def test_encodings_of_the_web_are_read(label, encoding):
    word = "слово" if encoding in ("cp1251", "koi8-r") else "日本"
    data = f'<meta charset="{label}"><p>{word}</p>'.encode(encoding)
    text, encode = decode(data)
    assert word in text
    assert encode(text) == data


@pytest.mark.parametrize(
    ("start", "rest"),
    [
        ("<p>One house</p>", "<!-- note <p>Two houses</p> and more text"),
        ("<p>One house ", '<a href="x>my world</a></p>'),
        ("<p>One house</p>", '<div class="a <p>Good morning</p>'),
        ("<p>One house</p>", "<style> p { color <p>Good morning</p>"),
        ("<p>One house</p>", "<!DOCTYPE html"),
    ],
)
def test_the_rest_behind_what_is_never_ended_stays_and_is_told(start, rest):
    texts, left = read_texts(start + rest)
    assert texts == ["One house"]
    assert left == [rest.removeprefix("<style>").strip()]
    parts = read(start + rest)
    next(segments(parts)).translation = "Una casa"
    assert written(parts) == start.replace("One house", "Una casa") + rest


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        ("a < b and &am", ["a < b and &am"]),
        ("one <", ["one <"]),
        ("<p>No &# mark</p><p>a <b>red</b> car</p>", ["No &# mark", "a <g1>red</g1> car"]),
        ("<p>one</p><![foo]>two<![ ]><p>three</p>", ["one", "two", "three"]),
    ],
)
def test_signs_that_only_look_like_marks(page, texts):
    assert read_texts(page) == (texts, [])


@pytest.mark.parametrize(
    ("page", "texts", "left"),
    [
        ("<ul><li class=notranslate>Big Apple<li>Red house</ul>", ["Red house"], ["Big Apple"]),
        (
            "<table><td translate=no>Big<table><td>in<td>it</table><td>Red<tr translate=no><th>a<td>b<tbody><td>end",
            ["Red", "end"],
            ["Biginit", "ab"],
        ),
        ("<p translate=no>One<b>Two<p>Three<div>Four</div>", ["Three", "Four"], ["OneTwo"]),
        ("<dl><dt class='a notranslate'>One<dd>Two<dt translate=No>Three</dl>", ["Two"], ["One", "Three"]),
        ("<select><option translate=no>One<option>Two</select>", ["Two"], ["One"]),
        ("<div translate=no><b><div>One</b></div>Two</div>Three", ["Three"], ["OneTwo"]),
        ("<p>Use <code>One</p><p>Two", ["Use {k1}", "Two"], ["One"]),
        ("<p data-translate=no class=notranslated>One</p>", ["One"], []),
        ("<div translate=no>One<p>Two", [], ["OneTwo"]),
    ],
)
def test_an_element_ends_where_browsers_end_it(page, texts, left):
    assert read_texts(page) == (texts, left)


def test_tags_in_a_field_for_text_end_nothing():
    assert read_texts("<div translate=no><textarea></div></textarea>One</div>Two")[0] == ["Two"]


@pytest.mark.parametrize(
    ("page", "texts"),
    [
        (
            "<a href=1>Home</a><a href=2>About us</a><a href=3>Contact</a>",
            ["<g1>Home</g1>", "<g1>About us</g1>", "<g1>Contact</g1>"],
        ),
        ("<a>one</a><a>two</a>", ["<g1>one</g1>", "<g1>two</g1>"]),
        ("<a><b>One</b></a><a><i>two</i></a>", ["<g1><g2>One</g2></g1>", "<g1><g2>two</g2></g1>"]),
        ("<span>Price</span><span>Size</span>", ["<g1>Price</g1>", "<g1>Size</g1>"]),
        (
            "<label>First name<input></label><label>Surname<input></label>",
            ["<g1>First name<x2/></g1>", "<g1>Surname<x2/></g1>"],
        ),
        ("<a>One</a> <a>two</a>", ["<g1>One</g1> <g2>two</g2>"]),
        ("<b>W</b>ord", ["<g1>W</g1>ord"]),
        ("<b>un</b>do", ["<g1>un</g1>do"]),
        ("a H<sub>2</sub>O", ["a H<g1>2</g1>O"]),
        ("<span>O</span><span>NCE</span>", ["<g1>O</g1><g2>NCE</g2>"]),
        ("<b>a wo</b><b>rd</b>", ["<g1>a wo</g1><g2>rd</g2>"]),
        ("<b>Un</b><i>Do</i>", ["<g1>Un</g1><g2>Do</g2>"]),
        ("round<a>1</a><a>2</a> earth", ["round<g1>1</g1><g2>2</g2> earth"]),
    ],
)
def test_what_only_its_elements_part_are_texts_of_their_own(page, texts):
    assert read_texts(page) == (texts, [])


@pytest.mark.parametrize(
    "page",
    [
        "<b>hi " * 8000 + "</b>" * 8000,
        "<code>hi " * 8000,
        "<span>hi</span> " * 8000,
        f"<img {'a' * 30000} alt='x'>",
    ],
)
def test_many_elements_are_read_in_a_time_that_grows_with_them(page):
    start = time.process_time()
    read(page)
    assert time.process_time() - start < 2.0  # quadratic: over 3 seconds

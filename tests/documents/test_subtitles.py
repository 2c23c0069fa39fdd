"""Subtitles: only the words of cues change."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_transformer.documents.parts import left_in, segments, written
from keras_transformer.documents.subtitles import read

SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>I have lived in Rome\r\nfor ten years.</i>\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,000 X1:0\r\n- Who is it?\r\n- It is me.\r\n\r\n"
    "3\r\n00:00:05,000 --> 00:00:06,000\r\n42\r\n\r\n4\r\n00:00:07,000 --> 00:00:08,000\r\nOne.\r\nTwo"
)
VTT = (
    "WEBVTT Kind: captions\nLanguage: en\n\nSTYLE\n::cue { color: red }\n\nNOTE no words\nof this\n\nintro\n"
    "00:01.000 --> 00:02.000 align:start\n<v Roger>Hello my\n<c.loud>old</c> friend\n\n"
    "00:03.000 --> 00:04.000\n{\\an8}Go\n"
)


def texts(source):
    return [segment.text for segment in segments(read(source))]


def test_cues_of_a_subrip_file():
    assert texts(SRT) == [
        "<i>I have lived in Rome for ten years.</i>", "- Who is it?", "- It is me.", "One.", "Two"
    ]  # fmt: skip


def test_cues_of_a_webvtt_file():
    assert texts(VTT) == ["Hello my <c.loud>old</c> friend", "Go"]


@pytest.mark.parametrize("source", [SRT, VTT, "", "\n\n", "no cues here", "00:01.000 --> 00:02.000"])
def test_what_is_not_translated_stays(source):
    assert written(read(source)) == source


@pytest.mark.parametrize("source", [SRT, VTT])
def test_all_but_the_words_stays(source):
    parts = read(source)
    for segment in segments(parts):
        segment.translation = (
            re.sub(r"\w+", "parola", segment.text) if "<" not in segment.text else segment.text.upper()
        )
    new = written(parts)
    assert new != source
    kept = [
        line
        for line in source.splitlines(keepends=True)
        if "-->" in line or not line.strip() or line[:1].isdigit()
    ]
    assert [line for line in new.splitlines(keepends=True) if line in kept] == kept
    assert new.count("\n") == source.count("\n")
    assert new.count("\r") == source.count("\r")


def test_a_sentence_over_two_lines_is_broken_near_its_middle_and_not_in_a_tag():
    parts = read(SRT)
    next(iter(segments(parts))).translation = '<font color="red">Ho vissuto a Roma</font> per anni.'
    assert '\r\n<font color="red">Ho vissuto\r\na Roma</font> per anni.\r\n' in written(parts)
    next(iter(segments(parts))).translation = "Unaparola"
    assert "\r\nUnaparola\r\n\r\n2\r\n" in written(parts)


@given(
    st.lists(
        st.sampled_from(["1", "00:01.000 --> 00:02.000", "Hi.", "there", "- you", "", "\n", "\r\n", "\n\n"]),
        max_size=25,
    )
)
def test_any_lines_come_back(lines):
    source = "".join(lines)
    assert written(read(source)) == source


def test_what_a_damaged_timing_leaves_behind_is_told():
    text = "1\n00:00:01,000 --> 00:00:02,000\nA cat.\n\n2\n00:00:03,000 -> 00:00:04,000\nA dog.\n\n42\n"
    parts = read(text)
    assert [segment.text for segment in segments(parts)] == ["A cat."]
    assert list(left_in(parts)) == ["A dog."]
    assert written(parts) == text


def test_names_notes_and_styles_are_no_text_that_is_shown():
    text = (
        "WEBVTT - My film\nKind: captions\n\nNOTE\nTwo lines\nof a note\n\nSTYLE\n::cue { color: red }\n\n"
        "the first cue\n00:01.000 --> 00:02.000\nA cat.\n\nNOTE and\nanother\n"
    )
    parts = read(text)
    assert [segment.text for segment in segments(parts)] == ["A cat."]
    assert list(left_in(parts)) == []


@pytest.mark.parametrize("number", ["2", " 23 "])
def test_a_number_right_behind_a_cue_is_that_of_the_next(number):
    text = (
        f"1\n00:00:01,000 --> 00:00:02,000\nI have\n3\n{number}\n00:00:03,000 --> 00:00:04,000\nHow are you\n"
    )
    parts = read(text)
    first, second = segments(parts)
    assert (first.text, second.text) == ("I have 3", "How are you")
    first.translation = "Ne ho 3"
    assert written(parts) == text.replace("I have\n3", "Ne\nho 3")


def test_references_of_webvtt_are_read_and_written():
    cue = "00:01.000 --> 00:02.000\n<b>Tom &amp; Jerry</b>&nbsp;at &lt;home&#62; &amp;lt; &#38; don&#39;t&lrm;\n"
    parts = read("WEBVTT\n\n" + cue)
    (segment,) = segments(parts)
    assert segment.text == "<b>Tom & Jerry</b>\xa0at &lt;home&#62; &amp;lt; & don't\u200e"
    segment.translation = segment.text
    assert written(parts) == "WEBVTT\n\n" + cue.replace("&#38;", "&amp;").replace("&#39;", "'")
    assert texts("1\n" + cue) == [cue.split("\n")[1]]  # SubRip has none


@pytest.mark.parametrize(
    ("cue", "text", "translation", "expected"),
    [
        (
            "This is {\\i1}very{\\i0} big.",
            "This is <g1>very</g1> big.",
            "È <g1>molto</g1> grande.",
            "È {\\i1}molto{\\i0} grande.",
        ),
        (
            "{\\an8}{\\b1}Hello{\\b0} you",
            "<g1>Hello</g1> you",
            "<g1>Ciao</g1> tu",
            "{\\an8}{\\b1}Ciao{\\b0} tu",
        ),
        ("One {\\c&HFF&}two{\\c}", "One <x1/>two<x2/>", "Uno <x1/>due<x2/>", "Uno {\\c&HFF&}due{\\c}"),
        (
            "{\\i1}a {\\b1}b {\\i0}c{\\b0} <g7>",
            "<x8/>a <g9>b <x10/>c</g9> <g7>",
            "<x8/>d <g9>e <x10/>f</g9> <g7>",
            "{\\i1}d {\\b1}e {\\i0}f{\\b0} <g7>",
        ),
        (
            "{\\i1}I have\nlived.{\\i0}",
            "<g1>I have lived.</g1>",
            "<g1>Ho vissuto.</g1>",
            "{\\i1}Ho\nvissuto.{\\i0}",
        ),
    ],
)
def test_overrides_in_braces_move_with_their_words(cue, text, translation, expected):
    start = "1\n00:00:01,000 --> 00:00:02,000\n"
    parts = read(start + cue)
    assert written(parts) == start + cue
    (segment,) = segments(parts)
    assert segment.text == text
    segment.translation = translation
    assert written(parts) == start + expected


def test_overrides_hide_neither_turns_nor_the_ends_of_sentences():
    start = "1\n00:00:01,000 --> 00:00:02,000\n"
    assert texts(start + "{\\i1}Stop.{\\i0}\nGo on") == ["<g1>Stop.</g1>", "Go on"]
    assert texts(start + "- Who\n{\\i1}- Me{\\i0}") == ["- Who", "<g1>- Me</g1>"]
    assert texts(start + "{\\i1}42{\\i0}") == []

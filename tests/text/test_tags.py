"""Inline tags out of a sentence and into its translation."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.text.tags import Links, Tag, close_gaps, place_tags, strip_tags, tag_spans, word_spans


def moved(source, translation, links=None):
    plain, tags = close_gaps(*strip_tags(source))
    return place_tags(plain, tags, translation, links)


def test_tags_are_taken_out_with_their_places():
    assert strip_tags('A <b>cat</b><x1/> <name> <a href="x y">z</a><BR>') == (
        "A cat <name> z<BR>",
        [
            Tag(2, "<b>", "b", "open"),
            Tag(5, "</b>", "b", "close"),
            Tag(5, "<x1/>", "x1", "empty"),
            Tag(13, '<a href="x y">', "a", "open"),
            Tag(14, "</a>", "a", "close"),
        ],
    )
    assert tag_spans("a<b>c</b>") == [(1, 4), (5, 9)]
    assert strip_tags("1 < 2 and 3 > 2") == ("1 < 2 and 3 > 2", [])


@pytest.mark.parametrize(
    ("source", "translation", "expected"),
    [
        ("This is <b>very</b> important.", "Questo è molto importante.", "Questo è <b>molto</b> importante."),
        ("<b>This is it.</b>", "È questo qui.", "<b>È questo qui.</b>"),
        ("<b>One.", "Uno.", "<b>Uno."),
        ("Two.</b>", "Due.", "Due.</b>"),
        ("He is <i>Tom</i>.", "Tom lui è.", "<i>Tom</i> lui è."),
        ("Water is H<sub>2</sub>O.", "L'acqua è H2O.", "L'acqua è H<sub>2</sub>O."),
        ("<b><i>Red</i> wine</b>", "Rosso vino", "<b><i>Rosso</i> vino</b>"),
        ("I <b>know it</b>.", "Io lo so.", "Io <b>lo so</b>."),
        ("a<x1/>", "b", "b<x1/>"),
        ("<x1/>a", "b", "<x1/>b"),
        ("<b></b>a", "b", "<b></b>b"),
        ("<b>a</b>", "", None),
        ("<b>one</b> <i>two</i>", "due", None),
        ("<b>!</b> a", "b", "<b>b</b>"),
        ("Hello <00:01.500>my friend", "Ciao amico mio", "Ciao <00:01.500>amico mio"),
        ("Hello <c.yellow.bg>you</c>", "Ciao tu", "Ciao <c.yellow.bg>tu</c>"),
        ("<v Anna Bell>Hello", "Ciao", "<v Anna Bell>Ciao"),
        ("See <x1/> here", "Vedi qui", "Vedi <x1/> qui"),
        ("A <b> tag", "Un segno", "Un <b> segno"),
        ("a <b> cat </b> here", "un gatto qui", "un <b> gatto </b> qui"),
        (
            "Go to <b>https://a.it/x.y</b> now",
            "Vai a https://a.it/x.y ora",
            "Vai a <b>https://a.it/x.y</b> ora",
        ),
        ("a</i> <b>c <i>d</b> e", "uno due tre", "uno</i> <b>due <i>tre</b>"),
    ],
)
def test_tags_find_their_words_without_an_alignment(source, translation, expected):
    assert moved(source, translation) == expected


def test_an_alignment_decides():
    source, target = "the red car", "la macchina rossa"
    weights = np.zeros((3, 3))
    weights[0, 0] = weights[1, 2] = weights[2, 1] = 1.0
    links = Links(word_spans(source), word_spans(target), weights)
    assert moved("the <b>red</b> <i>car</i>", target, links) == "la <i>macchina</i> <b>rossa</b>"
    assert moved("the <b>red</b> car", target, links) == "la macchina <b>rossa</b>"
    assert moved("<b>the red</b> car", target, links) in {
        "<b>la</b> macchina rossa",
        "la macchina <b>rossa</b>",
    }


def test_parts_of_words_are_summed_to_words():
    target = "gatti infelici"
    spans = [(0, 2), (2, 7), (7, 12)]
    weights = np.array([[0.1, 0.1, 0.8], [0.5, 0.4, 0.1], [0.4, 0.5, 0.1]])
    links = Links(spans, [(0, 5), (5, 10), (10, 14)], weights)
    assert moved("<b>unhappy</b> cats", target, links) == "gatti <b>infelici</b>"


TAGS = st.sampled_from(["<b>", "</b>", "<i>", "</i>", "<x1/>", '<a href="a b">', "</a>", "<g7>", "</g7>"])
WORDS = st.sampled_from(["one ", "two ", "three", " four ", "{x}", ". ", "é", ""])
TARGET = st.lists(st.sampled_from(["uno ", "due", " tre ", "{x}", "!", " "]), max_size=8).map("".join)


def is_nested(tags):
    """True where every closing tag closes the last one opened."""
    stack = []
    for tag in tags:
        if tag.kind == "open":
            stack.append(tag.name)
        elif tag.kind == "close" and (not stack or stack.pop() != tag.name):
            return False
    return not stack


@settings(deadline=None, max_examples=500)
@given(st.lists(TAGS | WORDS, max_size=14).map("".join), TARGET)
def test_no_tag_is_lost_or_doubled_and_nesting_stays(source, target):
    plain, tags = strip_tags(source)
    written = place_tags(plain, tags, target)
    if written is None:  # a pair would have lost its words
        return
    text, found = strip_tags(written)
    assert text == target
    assert sorted(tag.text for tag in found) == sorted(tag.text for tag in tags)
    if is_nested(tags):
        assert is_nested(found)


def test_without_tags_the_translation_stays():
    assert place_tags("a b", [], "c d") == "c d"


def test_many_tags_are_placed_in_time():
    source = "".join(f"<b>word{index}</b> " for index in range(100))
    written = moved(source, " ".join(f"parola{index}" for index in range(100)))
    assert len(re.findall("<b>", written)) == 100

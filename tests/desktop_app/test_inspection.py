"""Words and links, by hand."""

import pytest

from desktop_app.inspection import Attention, linked_words, word_at, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dov'è la stazione?", ["Dov'è", "la", "stazione"]),
        ("an off-line e-mail — no", ["an", "off-line", "e-mail", "no"]),
        ("un po' d’acqua", ["un", "po'", "d’acqua"]),
        ("3,5 €", ["3", "5"]),
        ("…", []),
    ],
)
def test_words(text, found):
    assert [text[begin:end] for begin, end in words(text)] == found


def test_the_word_at_a_place():
    assert word_at("ab cd", 0) == (0, 2)
    assert word_at("ab cd", 2) is None
    assert word_at("ab cd", 4) == (3, 5)


SOURCE, TARGET = "good morning", "buon giorno"
ATTENTION = Attention(
    source_spans=((0, 4), (4, 8), (8, 12), (12, 12)),  # good | ·mor | ning | end
    target_spans=((0, 4), (4, 8), (8, 11), (11, 11)),  # buon | ·gio | rno | end
    weights=(
        ((0.9, 0.1, 0.0, 0.0), (0.1, 0.5, 0.3, 0.1), (0.1, 0.3, 0.5, 0.1), (0.0, 0.0, 0.1, 0.9)),
        ((0.7, 0.1, 0.0, 0.2), (0.1, 0.3, 0.5, 0.1), (0.1, 0.5, 0.3, 0.1), (0.0, 0.0, 0.1, 0.9)),
    ),
)


def test_the_average_of_the_heads():
    assert ATTENTION.average()[0] == pytest.approx((0.8, 0.1, 0.0, 0.1))


def test_a_target_word_adds_up_over_the_source_and_averages_over_its_own_tokens():
    # giorno: ((0.4 + 0.4) + (0.4 + 0.4)) / 2 on "morning", 0.1 on "good", which is too weak beside it.
    links = linked_words(ATTENTION, SOURCE, TARGET, (5, 11), from_target=True)
    assert [(SOURCE[b:e], pytest.approx(weight)) for (b, e), weight in links] == [("morning", 0.8)]


def test_a_source_word_lights_what_looked_at_it():
    links = linked_words(ATTENTION, SOURCE, TARGET, (0, 4), from_target=False)
    assert [(TARGET[b:e], pytest.approx(weight)) for (b, e), weight in links] == [("buon", 0.8)]


def test_a_word_without_tokens_has_no_links():
    assert linked_words(ATTENTION, SOURCE, TARGET, (20, 24), from_target=True) == []

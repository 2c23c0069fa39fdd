import numpy as np
import pytest
from datasets import Dataset

from keras_transformer.text.cleaning import clean, sentence_key


def corpus(*pairs):
    return Dataset.from_dict({"source": [s for s, _ in pairs], "target": [t for _, t in pairs]})


def kept(dataset):
    return [(row["source"], row["target"]) for row in dataset]


def test_each_rule_drops_and_counts_its_pairs():
    dataset, report = clean(
        corpus(
            ("One.", "Uno."),
            ("", "Vuoto."),
            ("Space.", "  "),
            ("x" * 61, "y"),
            ("one", "uno due tre quattro cinque sei sette otto nove dieci"),
            ("this line was never translated", "this line was never translated"),
            ("One.", "Uno."),
            (" One. ", "Uno."),
            ("One.", "Un'altra."),
            ("Hold me!", "Altro."),
        ),
        max_characters=60,
        held_out=corpus(("Hold, me", "Tienimi")),
    )
    assert kept(dataset) == [("One.", "Uno."), ("One.", "Un'altra.")]
    assert report.to_dict() == {
        "read": 10,
        "kept": 2,
        "dropped": {"empty": 2, "overlong": 1, "ratio": 1, "copy": 1, "duplicate": 2, "held_out": 1},
        "examples": {
            "empty": [2, 3],
            "overlong": [4],
            "ratio": [5],
            "copy": [6],
            "duplicate": [7, 8],
            "held_out": [10],
        },
    }
    assert str(report).startswith("2 of 10 pairs kept; dropped: 2 empty (row 2, 3); 1 overlong (row 4);")


def test_rows_left_out_are_neither_looked_at_nor_counted_and_the_others_keep_their_numbers():
    pairs = corpus(("A", "B"), ("", "left out"), ("A", "B"), ("C ", "D"), ("", "E"), ("A", "B"))
    dataset, report = clean(pairs, left_out=[0, 1])
    assert kept(dataset) == [("A", "B"), ("C", "D")]
    assert (report.read, report.kept) == (4, 2)
    assert {rule: rows for rule, rows in report.examples.items() if rows} == {"empty": [5], "duplicate": [6]}
    assert kept(clean(pairs)[0]) == [("A", "B"), ("C", "D")]  # not the same text to the cache


def test_the_first_of_many_equals_stays_in_order():
    chosen = np.random.default_rng(0).integers(0, 700, 2000)
    pairs = [(f"source {number}", f"target {number}") for number in chosen]
    dataset, report = clean(corpus(*pairs))
    assert kept(dataset) == list(dict.fromkeys(pairs))
    assert report.dropped["duplicate"] == 2000 - len(set(pairs))


def test_the_report_of_a_selection_tells_the_rows_of_the_whole():
    report = clean(corpus(("A", "B"), ("", "B"), ("A", "B")))[1].numbered([10, 20, 30])
    assert {rule: rows for rule, rows in report.examples.items() if rows} == {
        "empty": [21],
        "duplicate": [31],
    }


def test_held_out_matches_either_side():
    dataset, _ = clean(corpus(("A", "TIENIMI!"), ("B", "C")), held_out=corpus(("Hold me", "Tienimi.")))
    assert kept(dataset) == [("B", "C")]


@pytest.mark.parametrize(("ratio", "count"), [(4.0, 0), (5.0, 1)])
def test_the_ratio_is_an_argument(ratio, count):
    dataset, _ = clean(corpus(("one", "a b c d e f g h i j")), max_word_ratio=ratio)
    assert len(dataset) == count


def test_a_copy_behind_a_tag_is_a_copy():
    text = "questa frase non è stata tradotta"
    dataset, report = clean(corpus((f"¤ {text}", text), (text, f"¤ {text}")))
    assert report.dropped["copy"] == 1
    assert kept(dataset) == [(text, f"¤ {text}")]


def test_names_may_stay_untranslated():
    assert len(clean(corpus(("Galileo Galilei", "Galileo Galilei")))[0]) == 1


def test_sentence_key_forgets_case_and_punctuation():
    assert sentence_key("È l'ora, ORA!") == sentence_key("è l ora... ora") != sentence_key("e l ora ora")


def test_nulls_are_empty_and_marks_alone_are_never_held_out():
    dataset, report = clean(corpus((None, "Uno."), ("?!", "…")), held_out=corpus(("...", "!")))
    assert kept(dataset) == [("?!", "…")]
    assert report.dropped["empty"] == 1


def test_nothing_may_be_left():
    dataset, report = clean(corpus(("", "")))
    assert len(dataset) == report.kept == 0
    assert str(report) == "0 of 1 pairs kept; dropped: 1 empty (row 1)"


def test_examples_are_the_first_rows_and_the_rest_is_counted():
    report = clean(corpus(("a", "b"), *[("", "x")] * 5))[1]
    assert report.examples["empty"] == [2, 3, 4]
    assert str(report) == "1 of 6 pairs kept; dropped: 5 empty (row 2, 3, 4, …)"

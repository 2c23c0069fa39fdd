"""The shipped model as the window sees it: places, links, probabilities, other words, documents."""

import threading
import time

import pytest

from desktop_app import adapter
from desktop_app.inspection import linked_words, words
from desktop_app.service import FileAnswer
from keras_transformer.decoding.cancellation import Cancellation, Cancelled
from keras_transformer.text import segmentation
from tests.desktop_app.test_app import needs_bundle

pytestmark = needs_bundle

TEXT = "I love you very much. Where is the station?\n\n    Thank you.\n12 €\n"


@pytest.fixture(scope="module")
def model():
    return adapter.load_bundle(None, "cpu")


def translate(model, text):
    return model.translate(text, Cancellation(), lambda share, text: None)


def test_each_sentence_has_its_place_on_both_sides(model):
    answer = translate(model, TEXT)
    pairs = [
        (TEXT[p.source_begin : p.source_end], answer.text[p.target_begin : p.target_end])
        for p in answer.places
    ]
    assert pairs == [
        ("I love you very much.", "Ti amo molto."),
        ("Where is the station?", "Dov'è la stazione?"),
        ("Thank you.", "Grazie."),
    ]
    assert answer.text == "Ti amo molto. Dov'è la stazione?\n\n    Grazie.\n12 €\n"


def test_progress_ends_with_the_whole(model):
    told = []
    text = "".join(f"The book number {n} is on the table.\n" for n in range(60))
    answer = model.translate(text, Cancellation(), lambda *step: told.append(step))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert told[-1] == (1.0, answer.text)
    assert all(answer.text.startswith(so_far) for _, so_far in told)


def test_a_long_text_in_pieces_gives_the_same(model, monkeypatch):
    text = (
        "12 €\n\r\n"
        + "".join(f"The book {n} is on {{x}} the table.\r\n  Thank you.\n" for n in range(9))
        + "End"
    )
    whole = translate(model, text)
    monkeypatch.setattr(adapter, "_PIECE_CHARACTERS", 100)
    assert len(list(adapter._pieces(text))) > 3
    assert "".join(adapter._pieces(text)) == text
    told = []
    answer = model.translate(text, Cancellation(), lambda *step: told.append(step))
    assert answer == whole
    assert "copied" not in answer.flags
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert told[-1] == (1.0, answer.text)
    assert all(answer.text.startswith(so_far) for _, so_far in told)


def test_a_long_line_in_pieces_gives_the_same(model, monkeypatch):
    monkeypatch.setattr(segmentation, "LONGEST_LINE", 60)
    text = "Thank you. " + "The book is on the table. " * 9 + "and so on without an end " * 5
    whole = translate(model, text)
    monkeypatch.setattr(adapter, "_PIECE_CHARACTERS", 100)
    assert len(list(adapter._pieces(text))) > 2
    assert translate(model, text) == whole


@pytest.mark.parametrize("text", ["", "\n", "a", "abc\nde", "abcd\n", "no line end at all"])
def test_pieces_are_cut_behind_line_ends(monkeypatch, text):
    monkeypatch.setattr(adapter, "_PIECE_CHARACTERS", 2)
    pieces = list(adapter._pieces(text))
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") for piece in pieces[:-1])


def test_a_cancelled_translation_ends_within_200_ms(model):
    cancellation = Cancellation()
    text = "".join(f"The book number {n} is on the table, and it is red.\n" for n in range(20_000))
    cancelled = []
    threading.Timer(0.5, lambda: (cancelled.append(time.perf_counter()), cancellation.cancel())).start()
    with pytest.raises(Cancelled):
        model.translate(text, cancellation, lambda *_: None)
    assert time.perf_counter() - cancelled[0] < 0.2


def test_attention_rows_add_up_and_link_the_station(model):
    source, target = "Where is the station?", "Dov'è la stazione?"
    attention = model.inspector.attention(source, target)
    for head in attention.weights:
        for row in head:
            assert sum(row) == pytest.approx(1.0, abs=1e-4)  # a float32 softmax
            assert len(row) == len(attention.source_spans)
    span = words(target)[-1]
    (strongest, _), *_ = linked_words(attention, source, target, span, from_target=True)
    assert source[strongest[0] : strongest[1]] == "station"
    assert model.inspector.attention(source, target) is attention  # asked once


def test_confidence_is_a_probability_for_each_word(model):
    target = "Dov'è la stazione?"
    found = model.inspector.confidence("Where is the station?", target)
    assert [target[b:e] for (b, e), _ in found] == ["Dov'è", "la", "stazione"]
    assert all(0 < probability <= 1 for _, probability in found)
    wrong = model.inspector.confidence("Where is the station?", "Dov'è la banana?")
    assert wrong[-1][1] < 0.01 < found[-1][1]


def test_what_is_carried_over_by_rule_is_nobodys_guess(model):
    source, target = (
        "Write to {name}, Nguyễn, at ann@example.org.",
        "Scrivi a {name}, Nguyễn, al ann@example.org.",
    )
    found = model.inspector.confidence(source, target)
    assert [target[begin:end] for (begin, end), _ in found] == ["Scrivi", "a", "al"]


def test_a_chosen_word_changes_the_sentence_and_stays_until_it_is_forgotten(model):
    source, target = "I love you very much.", "Ti amo molto."
    others = model.inspector.alternatives(source, target, 0)
    assert 1 <= len(others) <= 5
    assert others[0].text == "Ti"
    assert [other.probability for other in others] == sorted((o.probability for o in others), reverse=True)
    chosen = model.inspector.choose(source, target, 0, others[1].text)
    assert chosen.startswith(others[1].text.strip())
    assert chosen != target
    answer = translate(model, TEXT)
    assert answer.text == f"{chosen} Dov'è la stazione?\n\n    Grazie.\n12 €\n"
    for place in answer.places:
        sentence = answer.text[place.target_begin : place.target_end]
        assert sentence in (chosen, "Dov'è la stazione?", "Grazie.")
    model.inspector.forget()
    assert target in translate(model, TEXT).text


def test_what_a_document_leaves_as_it_was_is_answered(model, tmp_path):
    source, target = tmp_path / "in.html", tmp_path / "out.html"
    source.write_text("<p>Thank you.</p><pre>make test</pre>", encoding="utf-8")
    answer = model.translate_file(source, target, Cancellation(), lambda share: None)
    assert answer == FileAnswer(left=("make test",))
    assert target.read_text(encoding="utf-8") == "<p>Grazie.</p><pre>make test</pre>"


def test_a_subtitle_file_keeps_its_times(model, tmp_path):
    source, target = tmp_path / "in.srt", tmp_path / "out.srt"
    source.write_text("1\n00:00:01,000 --> 00:00:02,000\nThank you.\n", encoding="utf-8")
    shares = []
    assert model.translate_file(source, target, Cancellation(), shares.append) == FileAnswer()
    assert target.read_text(encoding="utf-8") == "1\n00:00:01,000 --> 00:00:02,000\nGrazie.\n"
    assert shares[-1] == 1.0
    assert ".srt" in model.file_types

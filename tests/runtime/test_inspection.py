"""Scores, alignments, alternatives and forced beginnings, over a small real bundle of random weights."""

from __future__ import annotations

import numpy as np
import pytest

from keras_transformer.runtime.decode_state import DecodeState
from keras_transformer.runtime.translator import SHIPPED_BUNDLE, Translator
from keras_transformer.text import reading
from tests.onnx_export import runs
from tests.reference import transformer as oracle

SENTENCES = ["the cat sleeps on the table", "a small red house", "cat", "the red cat sleeps"]
CONFIG = runs.config(max_length=40, dropout_rate=0.0)
WEIGHTS = runs.weights_of(CONFIG)


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    runs.write_bundle(folder, CONFIG, WEIGHTS)
    return Translator.from_pretrained(folder, "cpu", 1)


def ids(text):
    return runs.tokenizer().encode(text)


def oracle_log_probs(source, target):
    """float64 (T, V) from the paper's formulas."""
    logits = oracle.logits(
        WEIGHTS, CONFIG, np.array([[*ids(source), CONFIG.eos_id]]), np.array([[CONFIG.bos_id, *ids(target)]])
    )[0]
    return (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - logits.max(-1, keepdims=True)
    )


@pytest.mark.parametrize("source", SENTENCES)
@pytest.mark.parametrize("target", ["", "una casa rossa", "il gatto"])
def test_scores_are_the_oracles(translator, source, target):
    found = translator.score(source, target)
    tokens = [*ids(target), CONFIG.eos_id]
    expected = oracle_log_probs(source, target)[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(found.log_probs, expected, atol=2e-4)  # float32, sharp attention
    assert found.tokens == tuple(map(runs.tokenizer().token, tokens))


def test_alignment_weights_are_a_row_a_token_and_a_column_a_source_token(translator):
    source, target = "the cat sleeps", " una casa"
    found = translator.align(source, target)
    assert found.weights.shape == (CONFIG.num_heads, len(ids(target)) + 1, len(ids(source)) + 1)
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1.0, rtol=1e-5)
    assert (len(found.target_spans), len(found.source_spans)) == found.weights.shape[1:]
    assert found.source_spans[-1] == (len(source), len(source))
    covered = {source[i] for start, end in found.source_spans for i in range(start, end)}
    assert covered == set("thecatsleeps")


@pytest.mark.parametrize("prefix", ["", "una", "una ", "una casa rossa "])
def test_alternatives_are_likely_words_in_falling_order(translator, prefix):
    found = translator.alternatives("the cat sleeps", prefix, 6)
    assert 1 <= len(found) <= 6
    probabilities = [one.probability for one in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1 + 1e-6
    assert len({one.text for one in found}) == len(found)
    for one in found:
        assert one.text.strip()
        assert " " not in one.text.strip()
        if prefix != prefix.rstrip() or not prefix:
            assert not one.text.startswith(" ")


class Alphabet:
    """An engine whose next token depends on the last one alone: probabilities by written form."""

    def __init__(self, rows):
        self.tokenizer = runs.tokenizer()
        self._rows = rows
        self._ids = {self.tokenizer.token(i): i for i in range(self.tokenizer.vocabulary_size)}

    def start(self, source_ids, max_length=None, beam_size=1, cancellation=None):
        engine = self

        class State:
            def __call__(self, token_ids, positions):
                return np.stack([engine.logits(token) for token in token_ids.tolist()])

            def fill(self, token_ids):
                pass

            def copy_rows(self, sources, destinations, starts):
                pass

        return State()

    def logits(self, token):
        values = np.full(self.tokenizer.vocabulary_size, 1e-12)
        for written, probability in self._rows.get(self.tokenizer.token(token), {"</s>": 1.0}).items():
            values[self._ids[written]] += probability
        return np.log(values).astype(np.float32)


def alphabet(rows):
    engine = Alphabet(rows)
    tokenizer = engine.tokenizer
    manifest = type(
        "Manifest", (), {
            "max_length": 40, "longest_source": None, "pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id,
            "eos_id": tokenizer.eos_id, "unk_id": tokenizer.unk_id, "source_language": "en",
        },
    )  # fmt: skip
    return Translator(engine, tokenizer, manifest)


def rounded(alternatives):
    return [(one.text, round(one.probability, 4)) for one in alternatives]


@pytest.mark.parametrize("ask", ["alternatives", "translate_from"])
def test_of_a_beginning_the_last_logits_alone_are_computed(translator, monkeypatch, ask):
    def feed(state, token_ids, position=0):
        return pytest.fail("every logit of the beginning was asked for")

    monkeypatch.setattr(DecodeState, "feed", feed)
    assert getattr(translator, ask)("the cat sleeps", "una casa ")


def test_what_follows_a_beginning_is_what_follows_its_tokens_one_by_one(translator, monkeypatch):
    def step_by_step(state, token_ids):
        for position, tokens in enumerate(token_ids.T):
            state(tokens, position)

    def ask():
        words = translator.alternatives("the cat sleeps", "una casa ", 3)
        return words, translator.translate_from("the cat sleeps", "una casa ")

    words, text = ask()
    monkeypatch.setattr(DecodeState, "fill", step_by_step)
    expected, same_text = ask()
    assert text == same_text
    assert [one.text for one in words] == [one.text for one in expected]
    np.testing.assert_allclose(
        [one.probability for one in words], [one.probability for one in expected], atol=1e-4
    )  # float32, summed in another order


def test_alternatives_by_hand():
    """A whole word has the product of its tokens and of "no more"; two spellings of one word are added up."""
    found = alphabet(
        {
            "<s>": {"▁": 0.5, "▁il": 0.3, "</s>": 0.2},
            "▁": {"il": 0.1, "b": 0.7, "x": 0.2},
            "il": {"</s>": 1.0},
            "b": {"y": 0.6, "</s>": 0.4},
            "y": {"</s>": 0.5, "▁il": 0.5},
            "x": {".": 1.0},
            "▁il": {"▁il": 1.0},
        }
    ).alternatives("cat", "", 4)
    assert rounded(found) == [("il", 0.35), ("by", 0.21), ("b", 0.14), ("x", 0.1)]


def test_after_a_word_a_mark_or_its_rest_may_follow_and_after_a_space_a_word_alone():
    engine = alphabet(
        {
            "▁il": {"y": 0.4, ".": 0.3, "▁una": 0.2, "</s>": 0.1},
            "▁una": {"y": 0.4, "</s>": 0.6},
            ".": {"b": 1.0},
            "y": {"</s>": 1.0},
        }
    )
    assert rounded(engine.alternatives("cat", "il", 4)) == [
        ("y", 0.4),
        (".", 0.3),
        (" una", 0.12),
        (" unay", 0.08),
    ]
    assert rounded(engine.alternatives("cat", "il ", 2)) == [("una", 0.12), ("unay", 0.08)]


@pytest.mark.parametrize("source", SENTENCES)
def test_from_no_prefix_the_translation_is_the_usual_one(translator, source, monkeypatch):
    monkeypatch.setattr(reading, "survived", lambda *arguments: True)  # nonsense holds parts of characters
    assert translator.translate_from(source, "").text == translator.translate(source).text


def test_spaces_and_invisible_characters_of_the_text_are_no_tokens(translator):
    plain, rich = "the cat sleeps", "the\u00a0c\u00adat\u200b sleeps"
    assert translator.score(rich, "il gatto") == translator.score(plain, "il gatto")
    expected, found = translator.align(plain, "il gatto"), translator.align(rich, "il\u202fgatto")
    np.testing.assert_array_equal(found.weights, expected.weights)
    without = [
        rich[start:end].replace("\u00ad", "").replace("\u200b", "") for start, end in found.source_spans
    ]
    assert without == [plain[start:end] for start, end in expected.source_spans]
    assert found.target_spans == expected.target_spans


@pytest.mark.parametrize("prefix", ["una casa", "il", "the cat.", "  una", "una\n", "una "])
def test_a_forced_beginning_stands_and_the_rest_is_the_greedy_one(translator, prefix):
    source = SENTENCES[0]
    found = translator.translate_from(source, prefix)
    expected = ids(prefix)
    for _ in range(12):
        logits = oracle.logits(
            WEIGHTS, CONFIG, np.array([[*ids(source), CONFIG.eos_id]]), np.array([[CONFIG.bos_id, *expected]])
        )[0, -1]
        if int(logits.argmax()) == CONFIG.eos_id:
            break
        expected.append(int(logits.argmax()))
    assert found.source == source
    assert found.text.startswith(prefix)
    assert len(found.text) > len(prefix)
    assert found.text.startswith(runs.tokenizer().decode(expected).rstrip("\ufffd ")) or found.flags


def test_behind_a_prefix_that_ends_with_a_space_there_is_no_second_one(translator):
    with_space, without = (translator.translate_from(SENTENCES[0], prefix).text for prefix in ("il ", "il"))
    assert with_space.startswith("il ")
    assert with_space.replace(" ", "") == without.replace(" ", "")


@pytest.mark.parametrize("ask", ["score", "align", "alternatives", "translate_from"])
def test_what_does_not_fit_the_model_is_refused(translator, ask):
    sides = {"alternatives": "prefix", "translate_from": "prefix"}
    long = "x" * 60
    with pytest.raises(
        ValueError,
        match=r"^`source` must be one sentence of at most 40 tokens, got \d+\. Give a part of it\.$",
    ):
        getattr(translator, ask)(long, "a")
    side = sides.get(ask, "target")
    with pytest.raises(
        ValueError,
        match=rf"^`{side}` must be one sentence of at most 39 tokens, got \d+\. Give a part of it\.$",
    ):
        getattr(translator, ask)("a", long)


def test_there_must_be_a_count(translator):
    with pytest.raises(ValueError, match=r"^`count` must be at least 1, got 0\. Ask for one word or more\.$"):
        translator.alternatives("cat", "", 0)


@pytest.fixture(scope="module")
def shipped():
    if not SHIPPED_BUNDLE.is_dir():
        pytest.skip(f"no bundle is shipped yet at {SHIPPED_BUNDLE}")
    return Translator.from_pretrained(device="cpu", num_threads=1)


def test_the_shipped_model_looks_at_the_number_it_writes(shipped):
    source, target = "There are 7 houses.", "Ci sono 7 case."
    found = shipped.align(source, target)
    row = [target[a:b] for a, b in found.target_spans].index("7")
    column = int(found.weights.mean(axis=0)[row].argmax())
    assert source[slice(*found.source_spans[column])] == "7"


def test_the_shipped_model_finds_its_own_words_likely(shipped):
    source = "I love you very much."
    own = shipped.translate(source).text
    assert np.mean(shipped.score(source, own).log_probs) > np.mean(
        shipped.score(source, "La casa.").log_probs
    )
    first = own.split()[0]
    assert first in [one.text for one in shipped.alternatives(source, "", 3)]
    assert shipped.translate_from(source, first).text == own


def test_a_beginning_of_the_likeliest_word_is_no_other_word(shipped):
    prefix = "Dov'è la "
    likeliest, *others = shipped.alternatives("Where is the station?", prefix, 5)
    assert likeliest.text == "stazione"
    assert others
    assert not [other.text for other in others if "stazione".startswith(other.text)]

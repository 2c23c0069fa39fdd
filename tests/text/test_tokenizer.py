import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transformer.errors import UserError
from keras_transformer.text.tokenizer import Tokenizer, normalise, train_tokenizer

SENTENCES = [
    "The cat sits on the mat.",
    "Il gatto è sul tappeto.",
    "I love you very much.",
    "Ti amo molto.",
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 600)


@given(text=st.text())
def test_decode_of_encode_is_the_normal_form(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == normalise(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "  a  b ",
        "\t\n",
        "<pad>",
        "<s>x</s>",
        "<0x41>",
        "▁▁",
        "e\u0301",
        "👩‍👩‍👧",
        "漢字",
        "\ud83d\ude00",
        "\ud800",
    ],
)
def test_awkward_texts_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == normalise(text)


def test_normal_form_is_stated():
    assert normalise("e\u0301") == "\u00e9"
    assert normalise("a\u2581b") == "a b"
    assert normalise("\ud83d\ude00 \ud800") == "😀 \ufffd"
    assert normalise("  tab\tand\nline ") == "  tab\tand\nline "


@given(st.text())
def test_normalise_is_idempotent(text):
    assert normalise(normalise(text)) == normalise(text)
    assert unicodedata.is_normalized("NFC", normalise(text))


def test_literal_special_tokens_are_ordinary_text(tokenizer):
    special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id}
    ids = tokenizer.encode("<pad> <s> </s> <unk> <0x41>")
    assert not special & set(ids)
    assert tokenizer.token(tokenizer.pad_id) == "<pad>"


def test_special_ids_leave_no_trace_in_text(tokenizer):
    ids = tokenizer.encode("Ti amo")
    assert tokenizer.decode([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]) == "Ti amo"


def test_batch_is_encode_of_each(tokenizer):
    texts = ["Il gatto", "", "漢字 <s>", "molto  molto"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_training_is_deterministic_and_saves_one_file(tokenizer, tmp_path):
    again = train_tokenizer(SENTENCES, 600)
    assert again.to_json() == tokenizer.to_json()
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert loaded.encode("Ti amo molto.") == tokenizer.encode("Ti amo molto.")
    assert loaded.vocabulary_size == tokenizer.vocabulary_size <= 600


def test_frequent_words_become_one_token(tokenizer):
    assert [tokenizer.token(i) for i in tokenizer.encode("gatto")] == ["▁gatto"]


def test_errors_name_the_file_and_the_way_out(tmp_path):
    missing = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match=r"no tokenizer at .*tokenizer\.json\. Train one with"):
        Tokenizer.from_file(missing)
    missing.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer\.json"):
        Tokenizer.from_file(missing)
    missing.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"cannot read the tokenizer .*tokenizer\.json: 'utf-8' codec"):
        Tokenizer.from_file(missing)
    with pytest.raises(UserError, match="`vocabulary_size` must be at least"):
        train_tokenizer(["a"], 100)
    with pytest.raises(UserError, match="needs text to learn from, got none"):
        train_tokenizer([], 1000)


def test_added_or_missing_tokens_are_refused(tokenizer):
    state = json.loads(tokenizer.to_json())
    state["added_tokens"] = [
        {
            "id": 0,
            "content": "<pad>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ]
    with pytest.raises(UserError, match="must have no added tokens"):
        Tokenizer.from_json(json.dumps(state))
    with pytest.raises(UserError, match="must hold the token"):
        Tokenizer.from_json(
            '{"version":"1.0","added_tokens":[],"model":{"type":"BPE","vocab":{},"merges":[]}}'
        )


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_ids_outside_the_vocabulary_are_refused(tokenizer, token_id):
    with pytest.raises(ValueError, match=r"`token_ids` must be in \[0, "):
        tokenizer.decode([token_id])
    with pytest.raises(ValueError, match=r"`token_id` must be in \[0, "):
        tokenizer.token(token_id)


def test_words_spaces_marks_and_digits_are_apart(tokenizer):
    tokens = [tokenizer.token(i) for i in tokenizer.encode("the  cat12, l'amo")]
    assert "".join(tokens) == "▁the▁▁cat12,▁l'amo"
    assert [token for token in tokens if not token.isalpha()] == [
        "▁the",
        "▁",
        "▁cat",
        "1",
        "2",
        ",",
        "▁",
        "'",
    ]


def test_a_rare_character_is_spelled_in_bytes():
    tokenizer = train_tokenizer(["abc abc abc " * 50_000, "漢"], 500)
    assert [tokenizer.token(i) for i in tokenizer.encode("漢")] == ["▁", "<0xE6>", "<0xBC>", "<0xA2>"]


@given(st.lists(st.integers(0, 263)))
def test_any_ids_decode_to_text(tokenizer, ids):
    tokenizer.decode(ids).encode()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("casa", ["casa"]),
        (" casa  casa", ["casa", "", "casa"]),
        ("e\u0301 casa", ["e\u0301", "casa"]),
        ("casa casae\u0301\u0323", ["casa", "casae\u0301\u0323"]),
        ("\u1112\u1161\u11ab casa", ["\u1112\u1161\u11ab", "casa"]),
        ("\ud83d\ude42 casa", ["\ud83d\ude42", "casa"]),
        ("\ud800x", ["\ud800", "x"]),
    ],
)
def test_spans_by_hand_words_put_together(tokenizer, text, parts):
    """Tokens of one word touch; here they are joined again: it does not matter how a word was cut."""
    ids, spans = tokenizer.encode_with_spans(text)
    assert ids == tokenizer.encode(text)
    found = set()
    for start, end in spans:
        found.add(text[start:end])
    assert all(any(part in whole for whole in parts) for part in found)
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered == {place for place, character in enumerate(text) if character != " "}


@settings(deadline=None)
@given(st.text(max_size=40))
def test_spans_go_forward_and_leave_out_nothing_but_spaces(tokenizer, text):
    ids, spans = tokenizer.encode_with_spans(text)
    assert ids == tokenizer.encode(text)
    assert len(spans) == len(ids)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered >= {place for place, character in enumerate(text) if character not in " \u2581"}

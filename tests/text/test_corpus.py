import errno
import gzip
import json
import re
from pathlib import Path

import pytest

from keras_transformer.errors import UserError
from keras_transformer.text import corpus
from keras_transformer.text.cleaning import sentence_key
from keras_transformer.text.corpus import read_dataset, read_embedded, read_parallel

PAIRS = [("One.", "Uno."), ("Two\u2028lines.", "Due."), ("", "Tre.")]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pairs_of(dataset):
    return [(row["source"], row["target"]) for row in dataset]


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_two_files(tmp_path, suffix, line_end):
    sides = [
        write(tmp_path / f"a.{name}{suffix}", line_end.join(texts) + line_end)
        for name, texts in zip(("en", "it"), zip(*PAIRS, strict=True), strict=True)
    ]
    assert pairs_of(read_parallel(*sides)) == PAIRS


def test_a_changed_file_is_read_again(tmp_path):
    sides = write(tmp_path / "a.en", "One.\n"), write(tmp_path / "a.it", "Uno.\n")
    assert pairs_of(read_parallel(*sides)) == [("One.", "Uno.")]
    write(sides[1], "Due due.\n")
    assert pairs_of(read_parallel(*sides)) == [("One.", "Due due.")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "One.\tUno.\nTwo.\tDue.\n"),
        ("a.tsv", "id\tit\ten\n1\tUno.\tOne.\n2\tDue.\tTwo.\n"),
        ("a.tsv.gz", "en\tit\nOne.\tUno.\nTwo.\tDue.\n"),
        ("a.csv", 'it,en\n"Uno.",One.\nDue.,"Two."\n'),
        ("a.jsonl", '{"en": "One.", "it": "Uno."}\n\n{"it": "Due.", "en": "Two."}\n'),
        (
            "a.jsonl",
            '{"translation": {"en": "One.", "it": "Uno."}}\n{"translation": {"en": "Two.", "it": "Due."}}',
        ),
    ],
)
def test_one_file_layouts(tmp_path, name, text):
    assert pairs_of(read_dataset(str(write(tmp_path / name, text)))) == [("One.", "Uno."), ("Two.", "Due.")]


@pytest.mark.parametrize("nested", [False, True])
def test_parquet(tmp_path, nested):
    from datasets import Dataset

    rows = [{"en": "One.", "it": "Uno."}, {"en": "Two.", "it": "Due."}]
    table = {"translation": rows} if nested else {k: [row[k] for row in rows] for k in ("en", "it")}
    Dataset.from_dict(table).to_parquet(tmp_path / "a.parquet")
    assert pairs_of(read_dataset(str(tmp_path / "a.parquet"))) == [("One.", "Uno."), ("Two.", "Due.")]
    with pytest.raises(UserError, match=r"a\.parquet: must have a column 'de', has en, it\."):
        read_dataset(str(tmp_path / "a.parquet"), target_language="de")


def test_csv_fields_may_hold_line_ends(tmp_path):
    path = write(tmp_path / "a.csv", 'en,it\n"One\ntwo","Uno\ndue"\n')
    assert pairs_of(read_dataset(str(path))) == [("One\ntwo", "Uno\ndue")]


def test_the_languages_are_arguments(tmp_path):
    path = write(tmp_path / "a.jsonl", json.dumps({"en": "One.", "de": "Eins."}))
    dataset = read_dataset(path, source_language="de", target_language="en")
    assert pairs_of(dataset) == [("Eins.", "One.")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "One.\tUno.\nTwo.\n", r"a\.tsv, line 2: must have 2 fields between tabs, got 1\."),
        (
            "a.tsv",
            "One.\tUno.\n\nTwo.\tDue.\t2\n",
            r"a\.tsv, line 3: must have 2 fields between tabs, got 3\.",
        ),
        ("a.tsv", "One.\n", r"a\.tsv, line 1: must have 2 fields between tabs, got 1\."),
        ("a.tsv", "en\tde\nOne.\tEins.\n", r"a\.tsv, line 1: must have a column 'it', has en, de\."),
        ("a.tsv", b"One.\tUno.\nTw\xff.\tDue.\n", r"a\.tsv, line 2: must be UTF-8, byte 3 is not"),
        ("a.tsv", "en\tit\n", r"must hold at least one pair, .*a\.tsv is empty"),
        ("a.tsv", "", r"must hold at least one pair, .*a\.tsv is empty\."),
        ("a.csv", "en,de\nOne.,Eins.\n", r"a\.csv, line 1: must have a column 'it', has en, de\."),
        ("a.csv", "en,it\nOne.,Uno.\nTwo.\n", r"a\.csv, line 3: must have 2 fields, got 1\."),
        ("a.csv", 'en,it\nOne.,"Uno.\nTwo.,Due.\n', r"a\.csv, line 2: must be CSV, unexpected end of data\."),
        ("a.jsonl", '{"en": "1", "it": "1"}\n{"en"\n', r"a\.jsonl, line 2: must be a JSON object, Expecting"),
        (
            "a.jsonl",
            '{"en": ' + "1" * 5000 + ', "it": "x"}',
            r"a\.jsonl, line 1: must be a flat JSON object\.",
        ),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1: must be a flat JSON object\."),
        ("a.jsonl", '{"en": "1", "de": "1"}', r"a\.jsonl, line 1: must have a column 'it', has en, de\."),
        ("a.jsonl", '{"en": "1", "it": 1}', r"a\.jsonl, line 1: 'it' must be a text, got int\."),
        ("a.jsonl", "[1]\n", r"a\.jsonl, line 1: must be a JSON object, got list\."),
        ("a.jsonl", '{"translation": "x"}', r"a\.jsonl, line 1: must be a JSON object, got str\."),
        ("a.xml", "x", r"must end in \.tsv, \.csv, \.jsonl or \.parquet, got .*a\.xml\."),
        ("a.parquet", "x", r"a\.parquet: must be a Parquet file of texts, "),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    for _ in range(2):  # a failed reading leaves nothing behind
        with pytest.raises(UserError, match=message):
            read_dataset(str(path))
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_a_language_is_one_column(tmp_path):
    import pyarrow
    import pyarrow.parquet

    columns = [pyarrow.array([text]) for text in ("One.", "Uno.", "Due.")]
    pyarrow.parquet.write_table(pyarrow.table(columns, names=["en", "it", "it"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: must have one column 'it', got several\."):
        read_dataset(str(tmp_path / "a.parquet"))


def test_parquet_columns_must_hold_texts_and_a_null_is_empty(tmp_path):
    from datasets import Dataset

    Dataset.from_dict({"en": ["One.", None], "it": [None, "Due."]}).to_parquet(tmp_path / "a.parquet")
    assert pairs_of(read_dataset(tmp_path / "a.parquet")) == [("One.", ""), ("", "Due.")]
    Dataset.from_dict({"en": [["One."]], "it": ["Uno."]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: must be a Parquet file of texts, "):
        read_dataset(tmp_path / "b.parquet")


def test_jsonl_nulls_and_lone_surrogates(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"en": null, "it": "\\ud800 \\ud83d\\ude00"}')
    assert pairs_of(read_dataset(path)) == [("", "\ufffd 😀")]


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeffen\tit\nOne.\tUno.\n")
    assert pairs_of(read_dataset(path)) == [("One.", "Uno.")]
    utf16 = write(tmp_path / "b.tsv", "One.\tUno.\n".encode("utf-16"))
    with pytest.raises(UserError, match=r"b\.tsv, line 1: must be UTF-8, byte 1 is not"):
        read_dataset(utf16)


def test_the_arrow_file_is_mapped_written_once_and_lies_in_the_cache_asked_for(tmp_path):
    path = write(tmp_path / "a.tsv", "One.\tUno.\n" * 25_000)
    dataset = read_dataset(path, cache_dir=tmp_path / "here")
    arrow = Path(dataset.cache_files[0]["filename"])
    assert len(dataset) == 25_000
    assert arrow.parent == tmp_path / "here" / "keras_transformer"
    written = arrow.stat().st_mtime_ns
    assert read_dataset(path, cache_dir=tmp_path / "here").cache_files == dataset.cache_files
    assert arrow.stat().st_mtime_ns == written
    assert [file.name for file in arrow.parent.iterdir()] == [arrow.name]


def test_unequal_counts_name_the_short_file(tmp_path):
    source, target = write(tmp_path / "a.en", "1\n2\n3\n4\n"), write(tmp_path / "a.it", "1\n2\n")
    message = re.escape(f"{target}, line 3: must have as many lines as {source}, has 2 against 4.")
    with pytest.raises(UserError, match=message):
        read_parallel(source, target)
    message = re.escape(f"{target}, line 3: must have as many lines as {source}, has 2 against 4.")
    with pytest.raises(UserError, match=message):
        read_parallel(target, source)


def test_missing_and_broken_files(tmp_path):
    source = write(tmp_path / "a.en", "1\n")
    with pytest.raises(UserError, match=r"must exist, found none at .*nowhere\.it"):
        read_parallel(source, tmp_path / "nowhere.it")
    broken = tmp_path / "a.it.gz"
    broken.write_bytes(b"no gzip")
    with pytest.raises(UserError, match=r"a\.it\.gz, after line 0: cannot be read"):
        read_parallel(source, broken)


def test_a_hub_name_out_of_reach_is_a_users_mistake(monkeypatch):
    def unreachable(*arguments, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    with pytest.raises(UserError, match="'no/such' is neither a file nor a data set of the hub within reach"):
        read_dataset("no/such", "en-it")


def test_a_disk_that_a_hub_data_set_fills_is_no_wrong_name(monkeypatch):
    def full(*arguments, **options):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the data set could not be made") from error  # as `datasets` does

    monkeypatch.setattr("datasets.load_dataset", full)
    with pytest.raises(OSError, match="No space left") as caught:
        read_dataset("someone/something", "en-it")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("nested", [False, True])
def test_a_hub_data_set_gives_the_two_columns(monkeypatch, nested):
    import datasets

    rows = [{"en": "One.", "it": "Uno."}]
    table = {"id": [7], **({"translation": rows} if nested else {"en": ["One."], "it": ["Uno."]})}
    asked = []

    def load(name, subset, split, cache_dir):
        asked.append((name, subset, split, cache_dir))
        return datasets.Dataset.from_dict(table)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert pairs_of(read_dataset("Helsinki-NLP/opus_books", "en-it")) == [("One.", "Uno.")]
    assert asked == [("Helsinki-NLP/opus_books", "en-it", "train", None)]
    with pytest.raises(UserError, match=r"a/b: must have a column 'de', has .*en, it\."):
        read_dataset("a/b", target_language="de", split="test")


def test_embedded_splits_share_no_sentence():
    splits = {name: pairs_of(read_embedded(name)) for name in ("train", "valid", "test")}
    assert len(splits["train"]) > 30_000
    assert len(splits["valid"]) == len(splits["test"]) == 500
    keys = {name: {sentence_key(text) for pair in pairs for text in pair} for name, pairs in splits.items()}
    assert not keys["train"] & (keys["valid"] | keys["test"])
    assert not keys["valid"] & keys["test"]


def test_the_embedded_sentences_are_small_and_say_where_they_come_from():
    folder = Path(corpus.__file__).parents[1] / "data"
    assert sum(file.stat().st_size for file in folder.glob("*.gz")) <= 2_000_000
    stamps = {file.read_bytes()[4:8] for file in folder.glob("*.gz")}
    assert stamps == {bytes(4)}  # no time inside: built again, the same bytes
    notice = (folder / "ATTRIBUTION.md").read_text("utf-8")
    assert "CC BY 2.0 FR" in notice
    assert "tatoeba.org" in notice
    assert "large language model" in notice


def test_the_embedded_sentences_go_both_ways():
    there, back = pairs_of(read_embedded("test")), pairs_of(read_embedded("test", "it", "en"))
    assert back == [(target, source) for source, target in there]


def test_an_unknown_split_or_language_is_refused():
    with pytest.raises(UserError, match="`split` must be one of train, valid, test, got 'dev'"):
        read_embedded("dev")
    with pytest.raises(UserError, match="the embedded corpus has the languages en and it, got 'en' and 'de'"):
        read_embedded("train", "en", "de")

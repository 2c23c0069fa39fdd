"""Preparing a corpus: what is added to it, what a second run finds again, and what it makes anew."""

import errno
import json
import os
import shutil
import tracemalloc

import datasets
import numpy as np
import pyarrow
import pytest
from rich.console import Console

from keras_transformer.config import config_from_dict, load_config
from keras_transformer.text import cleaning
from keras_transformer.text.tokenizer import Tokenizer, train_tokenizer
from keras_transformer.training import data
from keras_transformer.training.stopping import RunFailedError
from tests.training.runs import write_corpus


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Counts of sentences that were looked at, tokenised and learnt from; a cache of its own."""
    counts = {"examined": 0, "tokenised": 0, "learnt": 0}
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    encode, examine, learn = Tokenizer.encode_batch, cleaning._broken_rule, data.train_tokenizer

    def encode_batch(self, texts):
        counts["tokenised"] += len(texts)
        return encode(self, texts)

    def broken_rule(*arguments):
        counts["examined"] += 1
        return examine(*arguments)

    def train_tokenizer(*arguments):
        counts["learnt"] += 1
        return learn(*arguments)

    monkeypatch.setattr(Tokenizer, "encode_batch", encode_batch)
    monkeypatch.setattr(cleaning, "_broken_rule", broken_rule)
    monkeypatch.setattr(data, "train_tokenizer", train_tokenizer)
    return counts


def prepared(paths, run):
    run.mkdir()
    sections = {
        "model": {"vocabulary_size": 600, "max_length": 12},
        "data": {"train": paths, "max_pieces": 11, "valid_pairs": 8},
    }
    found = data.prepare(config_from_dict(sections), run, Console(quiet=True))
    return found, [[found.train.sources[i].tolist() for i in range(len(found.train.sources))], found.report]


def test_the_same_text_is_prepared_once_wherever_it_lies(tmp_path, work):
    paths = write_corpus(tmp_path, pairs=90)
    _, first = prepared(paths, tmp_path / "first")
    done = dict(work)
    assert all(done.values())
    moved = [str(shutil.copy(path, tmp_path / f"moved{i}")) for i, path in enumerate(paths)]
    found, again = prepared(moved, tmp_path / "second")
    assert work == done
    assert again[0] == first[0]
    assert {**again[1], "source": ""} == {**first[1], "source": ""}
    names = ["first/tokenizer.json", "second/tokenizer.json"]
    assert len({(tmp_path / name).read_text() for name in names}) == 1
    assert len(found.valid_texts) == 8


def test_changed_text_is_prepared_anew(tmp_path, work):
    paths = write_corpus(tmp_path, pairs=90)
    prepared(paths, tmp_path / "first")
    done = dict(work)
    with open(paths[0], "a") as source, open(paths[1], "a") as target:
        source.write("one two one\n")
        target.write("uno due uno\n")
    prepared(paths, tmp_path / "second")
    assert all(work[name] > done[name] for name in work)


@pytest.mark.parametrize("part", ["read_parallel", "made_once", "_tokenizer"])
def test_a_full_disk_of_the_cache_is_named(tmp_path, work, monkeypatch, part):
    paths = write_corpus(tmp_path, pairs=90)
    for number in (errno.ENOSPC, errno.EACCES):

        def refuse(*arguments, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(data, part, refuse)
        error = RunFailedError if number == errno.ENOSPC else PermissionError
        with pytest.raises(error) as caught:
            prepared(paths, tmp_path / f"run{number}")
        if error is RunFailedError:
            assert str(caught.value) == (
                f"Writing to {tmp_path / 'cache'}, the cache of prepared text, failed: No space left on device. "
                "Make room there or name another folder in HF_DATASETS_CACHE, then start again."
            )


def test_all_batches_are_tokenised_by_one_tokenizer(monkeypatch):
    """A tokenizer for each batch left ten megabytes behind each time."""
    learnt = train_tokenizer(["uno due tre", "one two three"], 600)
    opened = []
    from_json = Tokenizer.from_json

    def counted(text):
        opened.append(text)
        return from_json(text)

    monkeypatch.setattr(Tokenizer, "from_json", counted)
    pairs = [("one two", "uno due"), ("", "due"), ("three three three", "tre tre tre")]
    long = [max(len(learnt.encode(text)) for text in pair) for pair in pairs]
    assert long[0] < long[2]
    rows = pyarrow.table(dict(zip(("source", "target"), zip(*pairs, strict=True), strict=True)))
    tables = [data._encode(rows, learnt.to_json(), longest, 3.0) for longest in (long[2], long[2], long[0])]
    assert len(opened) == 1
    assert [table.num_rows for table in tables] == [2, 2, 1]
    assert tables[0].column("target_ids").to_pylist()[1] == learnt.encode("tre tre tre")


def test_shuffling_moves_every_pair_and_keeps_no_list_of_numbers():
    """`Dataset.select` and `Dataset.shuffle` hold 48 bytes a row."""
    count = 200_000
    text = datasets.Dataset(pyarrow.table({"source": np.arange(count), "target": -np.arange(count)}))
    tracemalloc.start()
    shuffled = data._shuffled(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * count  # the order itself has 8, a batch of 10,000 rows the rest
    sources = np.asarray(shuffled.data.table.column("source"))
    np.testing.assert_array_equal(np.sort(sources), np.arange(count))
    assert np.count_nonzero(sources == np.arange(count)) < 10
    np.testing.assert_array_equal(shuffled.data.table.column("target"), -sources)
    assert shuffled[0] == {"source": sources[0], "target": -sources[0]}
    assert data._shuffled(text)[:100] == shuffled[:100]


@pytest.fixture
def files(tmp_path):
    sides = {"a.en": "{} dogs of {}.", "a.it": "{} cani di {}.", "b.en": "{} cats.", "b.it": "{} gatti."}
    for number, (name, form) in enumerate(sides.items()):
        lines = range(40) if number < 2 else range(5)
        (tmp_path / name).write_text("".join(f"{form.format(i, 100 + i)}\n" for i in lines))
    return [str(tmp_path / name) for name in sides]


def augmented(files, folder, **rates):
    folder.mkdir()
    overrides = [f"data.augment_{kind}_rate={rate}" for kind, rate in rates.items()]
    config = load_config(
        preset="tiny", overrides=[f"data.train={files[:2]}", f"data.valid={files[2:]}", *overrides]
    )
    with (folder / "words").open("w") as words:
        found = data.prepare(config, folder, Console(file=words, width=200))
    return found, json.loads((folder / "data_report.json").read_text())


def test_augmentation_touches_the_training_side_alone_and_is_counted(files, tmp_path):
    plain, report = augmented(files, tmp_path / "plain")
    assert report["train"]["augmented"] == {"capitals": 0, "title_case": 0, "no_full_stop": 0}
    more, report = augmented(files, tmp_path / "more", capitals=0.1, title_case=0.05, no_full_stop=1)
    assert report["train"]["augmented"] == {"capitals": 4, "title_case": 2, "no_full_stop": 40}
    assert (report["train"]["kept"], report["pairs"]) == (40, {"train": 86, "valid": 5})
    assert sorted(more.valid_texts) == sorted(plain.valid_texts)
    decoded = [more.tokenizer.decode(more.train.sources[i].tolist()) for i in range(86)]
    assert sum(text.isupper() for text in decoded) == 4
    assert sum(not text.endswith(".") for text in decoded) == 40
    assert (
        "train: once more 4 capitals, 2 title case, 40 no full stop" in (tmp_path / "more/words").read_text()
    )
    assert len({text.casefold().rstrip(".") for text in decoded}) == 40

"""From a corpus to token tables: read, clean, hold out, augment, learn the vocabulary, tokenise once."""

import contextlib
import functools
import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pyarrow
import tokenizers
from datasets import concatenate_datasets
from datasets.fingerprint import Hasher

from keras_transformer.config import ModelConfig
from keras_transformer.errors import DISK_FAILURES, UserError
from keras_transformer.text.augmentation import KINDS, augment
from keras_transformer.text.cleaning import clean
from keras_transformer.text.content_cache import made_once
from keras_transformer.text.corpus import read_dataset, read_embedded, read_parallel
from keras_transformer.text.tokenizer import Tokenizer, train_tokenizer
from keras_transformer.training.batches import TokenTable
from keras_transformer.training.durable import write_file
from keras_transformer.training.stopping import RunFailedError

# Of a user's own text only the user knows: export/to_onnx.py --licence.
EMBEDDED_LICENCES = (
    "CC BY 2.0 FR: sentences from Tatoeba (tatoeba.org); part of the Italian written by a large language model",
)


class TokenPairs(NamedTuple):
    """A tokenised corpus side by side, on disk; no special ids."""

    sources: TokenTable
    targets: TokenTable

    def first(self, count):
        """The first `count` pairs as two lists of int arrays."""
        rows = range(min(count, len(self.sources)))
        return [self.sources[i] for i in rows], [self.targets[i] for i in rows]


class Prepared(NamedTuple):
    """What training needs to know of its text."""

    tokenizer: Tokenizer
    model_config: ModelConfig  # with the vocabulary's true size and special ids
    train: TokenPairs
    valid: TokenPairs
    valid_texts: list  # (source, target) strings, in a fixed shuffled order
    report: dict[str, Any]


def prepare(config, folder, console, keep_vocabulary=False):
    """Read and tokenise the corpus of `config`; write tokenizer.json and data_report.json into `folder`.

    Args:
        config: Config.
        folder: The run's folder.
        console: rich Console for people.
        keep_vocabulary: Use the folder's tokenizer.json if there is one: a run that goes on must not change it.

    Raises:
        UserError: nothing is left to train or validate on, or a file cannot be used.
        RunFailedError: the disk of the cache of `datasets` is full.
    """
    datasets.disable_progress_bars()
    train, valid, report, cleaning = _read(config)
    for name, cleaned in zip(("train", "valid"), cleaning, strict=True):
        console.print(f"{name}: {cleaned}")
    if added := {kind: count for kind, count in report["train"]["augmented"].items() if count}:
        words = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in added.items())
        console.print(f"train: once more {words}")
    _refuse_nothing(folder, report, train=len(train), valid=len(valid))
    tokenizer_path = folder / "tokenizer.json"
    if keep_vocabulary and tokenizer_path.is_file():
        tokenizer = Tokenizer.from_file(tokenizer_path)
    else:
        limit = config.data.vocabulary_pairs or len(train)
        shown = train.select(range(min(limit, len(train))))
        console.print(f"learning a joint vocabulary from {len(shown):,} pairs …")
        tokenizer = _learned(shown, config.model.vocabulary_size)
        tokenizer.save(tokenizer_path)
    model_config = replace(
        config.model,
        vocabulary_size=tokenizer.vocabulary_size,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        unk_id=tokenizer.unk_id,
    )
    train_tokens, dropped = _tokenise(train, tokenizer, config.data)
    valid_tokens, _ = _tokenise(valid, tokenizer, config.data)
    report["dropped_by_tokens"] = dropped
    report["pairs"] = {"train": len(train_tokens.sources), "valid": len(valid_tokens.sources)}
    _refuse_nothing(folder, report, **report["pairs"])
    valid_texts = [(row["source"], row["target"]) for row in valid.select(_order(len(valid)))]
    return Prepared(tokenizer, model_config, train_tokens, valid_tokens, valid_texts, report)


def _refuse_nothing(folder, report, **counts):
    """Write the report, which tells why there is no pair where there is none."""
    path = folder / "data_report.json"
    write_file(path, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    for name, count in counts.items():
        if not count:
            raise UserError(
                f"The {name} corpus must hold at least one usable pair, cleaning left none: see {path}. "
                "Check the files, data.max_pieces and data.max_length_ratio."
            )


@contextlib.contextmanager
def _in_the_cache():
    """What prepares text writes to the cache of `datasets`, which seldom lies on the disk of the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAILURES:
            raise
        raise RunFailedError(
            f"Writing to {datasets.config.HF_DATASETS_CACHE}, the cache of prepared text, failed: "
            f"{os.strerror(error.errno)}. Make room there or name another folder in HF_DATASETS_CACHE, "
            "then start again."
        ) from error


@_in_the_cache()
def _learned(dataset, vocabulary_size):
    """The tokenizer that this text gives; learnt once for the same text."""
    key = ["tokenizer", tokenizers.__version__, vocabulary_size, dataset._fingerprint]
    return Tokenizer.from_file(
        made_once(key, ".json", lambda path: train_tokenizer(_Sentences(dataset), vocabulary_size).save(path))
    )


class _Sentences:
    """Both sides of a data set, as often as asked, without holding them in memory."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        for batch in self.dataset.iter(batch_size=10_000):
            yield from batch["source"]
            yield from batch["target"]


@_in_the_cache()
def _read(config):
    """Cleaned training and validation text, and the report of what was dropped."""
    data = config.data
    languages = (data.source_language, data.target_language)
    left_out = ()
    if data.train:
        train, source = read_parallel(*data.train), " ".join(data.train)
    elif data.dataset:
        train, source = read_dataset(data.dataset, data.subset, *languages), data.dataset
    else:
        train, source = read_embedded("train", *languages), "embedded (Tatoeba)"
    if data.valid:
        valid = read_parallel(*data.valid)
    elif not (data.train or data.dataset):
        valid = read_embedded("valid", *languages)
    else:
        left_out = _to_hold_out(len(train), data.valid_pairs)
        valid = train.select(left_out)
    valid, valid_report = clean(valid)
    if len(left_out):
        valid_report = valid_report.numbered(left_out)
    held_out = concatenate_datasets([valid, read_embedded("test")]) if data.exclude_held_out else valid
    train, train_report = clean(train, held_out=held_out, left_out=left_out)
    rates = {kind: getattr(data, f"augment_{kind}_rate") for kind in KINDS}
    train, added = augment(train, rates, config.train.seed)
    # One fixed shuffle: the first pairs, which calibrate and teach the vocabulary, are a fair sample.
    train = _shuffled(train)
    report = {
        "source": source,
        "hub_datasets": [data.dataset] if data.dataset and not Path(data.dataset).exists() else [],
        "licences": [] if data.train or data.dataset else list(EMBEDDED_LICENCES),
        "train": {**train_report.to_dict(), "augmented": added},
        "valid": valid_report.to_dict(),
    }
    return train, valid, report, (train_report, valid_report)


def _to_hold_out(count, pairs):
    """The rows of `pairs` of a corpus of `count`, at most a tenth of it, drawn at random, ascending."""
    pairs = min(pairs, count // 10)
    if not pairs:
        raise UserError(
            f"A corpus must have at least 10 pairs to hold some out, got {count}. Give --valid SRC TGT."
        )
    return np.sort(_order(count)[:pairs])


def _order(count):
    """A fixed permutation."""
    return np.random.default_rng(0).permutation(count)


def _shuffled(dataset):
    """All rows in a fixed, drawn order, on disk. `Dataset.shuffle` takes 48 bytes a row for a list of numbers."""
    text = dataset.with_format("arrow")
    return text.map(
        _rows_in_order,
        with_indices=True,
        batched=True,
        batch_size=10_000,
        fn_kwargs={"text": text, "order": _order(len(text))},
        new_fingerprint=Hasher.hash(["shuffled", dataset._fingerprint]),  # or the order would be hashed
        desc="shuffling",
    ).with_format(None)


def _rows_in_order(_, indices, text, order):
    return text[order[indices]]


@_in_the_cache()
def _tokenise(dataset, tokenizer, data_config):
    """Token tables of the pairs within the limits, and how many fell out."""
    kept = dataset.with_format("arrow").map(
        _encode,
        batched=True,
        batch_size=10_000,
        remove_columns=dataset.column_names,
        fn_kwargs={
            # The tokenizer travels as text: that is what the data set's cache is keyed by.
            "tokenizer_json": tokenizer.to_json(),
            "longest": data_config.max_pieces,
            "ratio": data_config.max_length_ratio,
        },
        desc="tokenising",
    )
    table = kept.data.table
    pairs = TokenPairs(*(TokenTable(table.column(name)) for name in ("source_ids", "target_ids")))
    return pairs, len(dataset) - len(kept)


@functools.lru_cache(maxsize=1)
def _tokenizer(tokenizer_json):
    # One for all batches: each that is dropped leaves ten megabytes with the allocator.
    return Tokenizer.from_json(tokenizer_json)


def _encode(rows, tokenizer_json, longest, ratio):
    """An Arrow table of the token ids of those pairs of a table that are within the limits."""
    tokenizer = _tokenizer(tokenizer_json)
    sides = [tokenizer.encode_batch(rows.column(name).to_pylist()) for name in ("source", "target")]
    lengths = np.array([[len(ids) for ids in side] for side in sides])  # (2, pairs)
    short, long = lengths.min(axis=0), lengths.max(axis=0)
    # Ten tokens of grace: "Ciao." for "Hello there, my friend." is no mistake.
    fits = (short > 0) & (long <= longest) & (long <= ratio * short + 10)
    columns = {}
    for name, side, counts in zip(("source_ids", "target_ids"), sides, lengths, strict=True):
        ids = itertools.chain.from_iterable(itertools.compress(side, fits))
        ends = np.cumsum(counts[fits], dtype=np.int32)
        columns[name] = pyarrow.ListArray.from_arrays(
            np.concatenate([np.zeros(1, np.int32), ends]), np.fromiter(ids, np.int32)
        )
    return pyarrow.table(columns)

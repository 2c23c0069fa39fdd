"""The text of a cell as token ids, for everyone the same: cut by our tokenizer, once, and kept.

JoeyNMT reads text: each id is written as a word ("t17"), and its vocabulary lists
these words behind its own special ones.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.training_peers.cells import BATCH_TOKENS, ROUND, Cell
from keras_transformer.config import ModelConfig
from keras_transformer.evaluate import read_file
from keras_transformer.training.batches import Batch, Batches

LONGEST = 128  # tokens of a side
SIDES = ("source", "target")


class Corpus(NamedTuple):
    """Token lists without special ids, and the model with the vocabulary's true size."""

    sources: list[np.ndarray]
    targets: list[np.ndarray]
    model: ModelConfig

    def batches(self) -> Batches:
        """As `fit` makes them."""
        model = self.model
        ids = {"pad_id": model.pad_id, "bos_id": model.bos_id, "eos_id": model.eos_id}
        return Batches(self.sources, self.targets, batch_tokens=BATCH_TOKENS, seed=1, **ids)


def sampled(batches: Batches) -> Iterator[Batch]:
    """Endless rounds of `ROUND` batches, each round over the same shapes, evenly drawn from all of them."""
    step = len(batches.buckets) / ROUND
    buckets = [batches.buckets[int((i + 0.5) * step)] for i in range(ROUND)]
    order = np.random.default_rng(1)
    while True:
        for bucket in buckets:
            yield batches.batch(bucket, order.permutation(bucket.members)[: bucket.rows])


def prepare(cell: Cell, data: Path, work: Path) -> Path:
    """The cell's folder below `work`, made if it is not there."""
    folder = work / cell.name
    if (folder / "model.json").is_file():
        return folder
    from keras_transformer.text.tokenizer import train_tokenizer  # JoeyNMT's environment has no `tokenizers`

    folder.mkdir(parents=True, exist_ok=True)
    sides = [read_file(data / name)[: cell.pairs or None] for name in cell.train]
    tokenizer = train_tokenizer([*sides[0], *sides[1]], cell.model.vocabulary_size)
    encoded = [tokenizer.encode_batch(side) for side in sides]
    pairs = [pair for pair in zip(*encoded, strict=True) if all(0 < len(ids) < LONGEST for ids in pair)]
    arrays = {}
    for name, side in zip(SIDES, zip(*pairs, strict=True), strict=True):
        arrays[f"{name}_ids"] = np.fromiter(itertools.chain(*side), np.int32)
        arrays[f"{name}_lengths"] = np.array([len(ids) for ids in side])
        write_words(folder / f"train.{name}", side)
        write_words(folder / f"dev.{name}", side[:8])
    for name, file in zip(SIDES, cell.valid, strict=True):
        write_words(folder / f"val.{name}", tokenizer.encode_batch(read_file(data / file)))
    np.savez(folder / "corpus.npz", **arrays)
    tokenizer.save(folder / "tokenizer.json")
    ids = {f"{name}_id": getattr(tokenizer, f"{name}_id") for name in ("pad", "bos", "eos", "unk")}
    model = replace(cell.model, vocabulary_size=tokenizer.vocabulary_size, **ids)
    words = (f"t{token}" for token in range(model.vocabulary_size) if token not in ids.values())
    (folder / "vocabulary.txt").write_text("".join(f"{word}\n" for word in words))
    (folder / "model.json").write_text(json.dumps(model.to_dict()))
    return folder


def write_words(path: Path, rows: Iterable[Sequence[int]]) -> None:
    """A line of words for each list of ids."""
    lines = (" ".join(f"t{token}" for token in ids) for ids in rows)
    path.write_text("".join(f"{line}\n" for line in lines))


def load(folder: Path) -> Corpus:
    """What `prepare` wrote."""
    model = ModelConfig.from_dict(json.loads((folder / "model.json").read_text()))
    arrays = np.load(folder / "corpus.npz")
    sides = [np.split(arrays[f"{name}_ids"], np.cumsum(arrays[f"{name}_lengths"])[:-1]) for name in SIDES]
    return Corpus(sides[0], sides[1], model)

"""The training benchmark's own arithmetic: its limit, its gate, its sample and its ratios."""

import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.training_peers.cells import CELLS, ROUND
from benchmarks.training_peers.corpus import load, prepare, sampled
from benchmarks.training_peers.gate import Gate, GateClosedError
from benchmarks.training_peers.limit import operations_per_target_token
from benchmarks.training_peers.report import print_table, ratios, row_of
from keras_transformer.config import ModelConfig
from keras_transformer.training.batches import Batches


def test_operations_are_six_a_weight_and_token():
    config = ModelConfig(
        vocabulary_size=100,
        model_dim=10,
        feed_forward_dim=30,
        num_heads=5,
        num_encoder_layers=3,
        num_decoder_layers=2,
    )
    block = 4 * 100 + 2 * 300
    source, target = 3 * block + 2 * 200, 2 * (block + 200) + 1000
    assert operations_per_target_token(config, 70, 35) == 6 * (2 * source + target)


def test_a_gate_answers_after_the_last_update_of_each_request():
    answers, times = io.StringIO(), iter([7.0, 10.0, 14.0, 20.0, 23.0])
    gate = Gate(
        io.StringIO('{"updates": 2}\n{"updates": 1}\n'),
        answers,
        5.0,
        {"weights": 3},
        clock=lambda: next(times),
        processor_clock=iter([1.0, 2.5, 3.0, 3.25]).__next__,
    )
    gate.update(11)
    gate.update(13)
    with pytest.raises(GateClosedError):
        gate.update(17)
    hello, first, second = map(json.loads, answers.getvalue().splitlines())
    assert hello == {"weights": 3, "ready_seconds": 2.0}
    assert (first["updates"], first["tokens"], first["seconds"], first["processor_seconds"]) == (
        2,
        24,
        4.0,
        1.5,
    )
    assert (second["updates"], second["tokens"], second["seconds"]) == (1, 17, 3.0)


def test_a_round_meets_the_same_shapes_each_time():
    rng = np.random.default_rng(0)
    sides = [[rng.integers(4, 30, n) for n in rng.integers(2, 40, 900)] for _ in range(2)]
    stream = sampled(Batches(*sides, batch_tokens=200, pad_id=0, bos_id=1, eos_id=2, seed=1))
    rounds = [[next(stream) for _ in range(ROUND)] for _ in range(2)]
    shapes = [[(b.source_ids.shape, b.target_input_ids.shape) for b in batches] for batches in rounds]
    assert shapes[0] == shapes[1]
    assert len(set(shapes[0])) == ROUND
    assert not np.array_equal(rounds[0][0].source_ids, rounds[1][0].source_ids)


def test_a_corpus_is_prepared_once_and_read_back(tmp_path):
    lines = {"en": ["one two", "two one one", "one"], "it": ["uno due", "due uno uno", "uno"]}
    names = {}
    for split in ("train", "valid"):
        for language, text in lines.items():
            names[split, language] = f"{split}.{language}.gz"
            content = "".join(f"{line}\n" for line in text)
            (tmp_path / names[split, language]).write_bytes(gzip.compress(content.encode()))
    files = {split: (names[split, "en"], names[split, "it"]) for split in ("train", "valid")}
    cell = replace(CELLS[0], **files, pairs=2, model=replace(CELLS[0].model, vocabulary_size=600))
    folder = prepare(cell, tmp_path, tmp_path / "work")
    before = (folder / "corpus.npz").stat().st_mtime_ns
    assert prepare(cell, tmp_path, tmp_path / "work") == folder
    assert (folder / "corpus.npz").stat().st_mtime_ns == before
    corpus = load(folder)
    assert len(corpus.sources) == len(corpus.targets) == 2
    assert corpus.model.vocabulary_size < 600
    words = (folder / "train.target").read_text().splitlines()
    assert words[1] == " ".join(f"t{token}" for token in corpus.targets[1])
    assert len((folder / "val.source").read_text().splitlines()) == 3
    vocabulary = (folder / "vocabulary.txt").read_text().splitlines()
    assert len(vocabulary) == corpus.model.vocabulary_size - 4  # JoeyNMT puts its special words before them


def test_rows_are_medians_and_ratios_are_within_a_cell(capsys):
    def row(system, cell, *rates):  # at most three
        answers = [
            {
                "tokens": rate,
                "updates": 2,
                "seconds": 2.0,
                "processor_seconds": 1.0,
                "peak_bytes": 3 << 20,
                "limit": limit,
            }
            for rate, limit in zip(rates, (1000.0, 1000.0, 800.0), strict=False)
        ]
        return row_of(cell, system, {"padding": 0.05}, answers, 1)

    rows = [row("jax", "tiny", 300, 500, 400), row("plain-torch", "tiny", 100), row("joeynmt", "small", 50)]
    assert rows[0]["tokens_per_processor_second"] == 400
    assert rows[0]["tokens_per_second"] == 200
    assert rows[0]["of_limit"] == 0.5  # of 0.3, 0.5 and 400 / 800: each round beside its own limit
    assert rows[0]["tokens_per_update"] == 200
    (found,) = ratios(rows, "tokens_per_processor_second")
    assert found["to plain-torch"] == 4.0
    assert "to joeynmt" not in found
    print_table(rows, "tokens_per_processor_second")
    assert "plain-torch" in capsys.readouterr().out

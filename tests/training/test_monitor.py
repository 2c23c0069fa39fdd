import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from keras_transformer.training import monitor


class EchoModel:
    """Translates each source into its own ids, backwards."""

    config = SimpleNamespace(max_length=6, pad_id=0, eos_id=2)

    def __init__(self):
        self.batches = []

    def generate(self, source_ids, max_length):
        self.batches.append((source_ids.shape, max_length))
        return [[token for token in row[::-1] if token not in (0, 2)] for row in source_ids]


class Letters:
    """Ids are letters' places; 10 is "a"."""

    def encode_batch(self, texts):
        return [[ord(letter) - ord("a") + 10 for letter in text] for text in texts]

    def decode(self, ids):
        return "".join(chr(token - 10 + ord("a")) for token in ids)


def test_translations_keep_their_order_whatever_the_batches():
    model = EchoModel()
    texts = ["abc", "d", "ef", "ghij", "k"]
    found = monitor.translate_texts(model, Letters(), texts, lambda length: 2 * length, batch_size=2)
    assert found == ["cba", "d", "fe", "jihg", "k"]
    # Sorted by length: "d" and "k", then "ef" and "abc", then "ghij"; EOS counted.
    assert model.batches == [((2, 2), 4), ((2, 4), 8), ((1, 5), 10)]


def test_a_batch_mate_lengthens_no_translation():
    found = monitor.translate_texts(EchoModel(), Letters(), ["abc", "abcd"], lambda length: length - 2)
    assert found == ["cb", "dcb"]


def test_a_long_source_is_cut_to_the_models_length():
    assert monitor.translate_texts(EchoModel(), Letters(), ["abcdefgh"], lambda length: length) == ["edcba"]


@pytest.mark.parametrize("answers", [[True], [False, True], [False, False, True]])
def test_a_cancelled_translation_is_none(answers):
    asked = iter(answers)
    model = EchoModel()
    texts = ["a", "b", "c", "d"]
    cancelled = lambda: next(asked)  # noqa: E731
    assert monitor.translate_texts(model, Letters(), texts, int, batch_size=2, cancelled=cancelled) is None
    assert len(model.batches) == len(answers) - 1


def test_scores_of_a_perfect_and_an_empty_translation():
    text = ["The cat sleeps on the mat.", "It is a red house."]
    assert monitor.scores(text, text)["bleu"] == monitor.scores(text, text)["chrf"] == 100.0
    worst = monitor.scores(["", ""], text)
    assert (worst["bleu"], worst["chrf"]) == (0.0, 0.0)
    assert worst["bleu_signature"].startswith("nrefs:1|case:mixed|")


def test_progress_counts_updates_and_tells_the_mean_rate(monkeypatch):
    times = iter([100.0, 102.0, 110.0, 110.0, 115.0])
    monkeypatch.setattr(monitor.time, "perf_counter", lambda: next(times))
    seeds, written = [], []
    monkeypatch.setattr(monitor, "seed_update", lambda seed, step, rank: seeds.append((seed, step, rank)))
    board = SimpleNamespace(numbers=lambda step, values: written.append((step, values)))
    output = io.StringIO()
    progress = monitor.Progress(
        Console(file=output, width=200), board, lambda step: step / 10, 50.0, 7, 100, seed=3
    )
    progress.on_train_begin()
    for loss in (3.0, 2.5):
        progress.on_train_batch_begin(0)
        progress.on_train_batch_end(0, {"token_loss": loss})
    assert (progress.step, seeds) == (9, [(3, 8, 0), (3, 9, 0)])
    # Two updates of 50 tokens in 10 seconds; 91 updates are left, 455 seconds.
    assert output.getvalue() == "update 9/100  loss 2.500  10 target tokens/s  0:07:35 left\n"
    expected = {"train/loss": 2.5, "train/learning_rate": 0.9, "train/target_tokens_per_second": 10.0}
    assert written == [(9, expected)]
    progress.on_train_batch_end(0, {"token_loss": 2.0})
    assert progress.tokens_per_second == 10.0  # one update in 5 seconds since the line
    assert len(written) == 1


def test_samples_come_from_all_over_the_text():
    texts = [(f"s{i}", f"r{i}") for i in range(9)]
    evaluator = monitor.Evaluator(None, None, 0, None, texts, None, None)
    lines = list(evaluator.samples([f"h{i}" for i in range(9)]))
    assert [line.split() for line in lines[:3]] == [["source", "s0"], ["model", "h0"], ["reference", "r0"]]
    assert [line.split()[1] for line in lines[::3]] == ["s0", "s2", "s4", "s6"]
    assert np.all([len(line.split()) == 2 for line in lines])

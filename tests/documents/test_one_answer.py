"""API, command, window and files give one answer for the same sentence: 500 sentences of the embedded test set."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from desktop_app.adapter import load_bundle
from keras_transformer.documents.files import translate_file
from keras_transformer.runtime.translator import Translator

ROOT = Path(__file__).resolve().parents[2]
HARD = [
    "HELLO {name}!",
    "In 1987 it was 1,000.50 at https://example.org/a?b=1.",
    "dog",
    "This is <b>very</b> good.",
]


@pytest.fixture(scope="module")
def sentences():
    with gzip.open(ROOT / "keras_transformer" / "data" / "test.tsv.gz", "rt", encoding="utf-8") as stream:
        found = [line.split("\t")[0] for line in stream]
    return [*found[: 500 - len(HARD)], *HARD]


@pytest.fixture(scope="module")
def answers(sentences):
    return [one.text for one in Translator.from_pretrained(num_threads=1).translate(sentences)]


def test_there_are_five_hundred(sentences, answers):
    assert len(sentences) == len(answers) == 500
    assert sum(a != b for a, b in zip(sentences, answers, strict=True)) > 450


def test_one_at_a_time(sentences, answers):
    translator = Translator.from_pretrained(num_threads=1)
    assert [translator.translate(sentence).text for sentence in sentences[-100:]] == answers[-100:]


def test_the_command(sentences, answers):
    done = subprocess.run(
        [sys.executable, "-m", "keras_transformer.translate", "--threads", "1"],
        input="".join(sentence + "\n" for sentence in sentences),
        capture_output=True, text=True, encoding="utf-8", cwd=ROOT, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == answers


def test_the_window(sentences, answers):
    model = load_bundle(None, "cpu")
    answer = model.translate("\n".join(sentences), model.new_cancellation(), lambda *_: None)
    assert answer.text.split("\n") == answers


def test_a_file(tmp_path, sentences, answers):
    (tmp_path / "a.txt").write_text("\n".join(sentences), encoding="utf-8")
    translate_file(Translator.from_pretrained(num_threads=1), tmp_path / "a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text("utf-8").split("\n") == answers

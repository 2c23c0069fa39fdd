"""int8 is published with the fewest parts in floats that keep its translations."""

import re

import numpy as np
import onnx
import pytest

from keras_transformer.errors import UserError
from keras_transformer.onnx_export import export, quality
from keras_transformer.onnx_export.checkpoint import find_checkpoint, load_checkpoint
from keras_transformer.onnx_export.export import export_bundle
from keras_transformer.onnx_export.quality import KINDS, MOST_LOST, Score, choose_float_kinds, read_pairs
from keras_transformer.onnx_export.verify import GateFailure
from keras_transformer.runtime.bundle import Bundle
from keras_transformer.runtime.sessions import Engine
from tests.onnx_export import runs

REFERENCE = Score(30.0, 50.0)
PAIRS = [
    ("the cat sleeps on the table", "il gatto dorme sul tavolo"),
    ("a small red house", "una casa rossa"),
]


def choose(losses):
    """`losses`: kinds in floats, as a set -> points lost; what is not in it loses nothing."""
    tried = []

    def score_with(kinds):
        tried.append(kinds)
        return Score(30.0 - losses.get(frozenset(kinds), 0.0), 50.5)

    return choose_float_kinds(REFERENCE, score_with, lambda line: None), tried


def test_int8_that_loses_little_stays_whole():
    chosen, tried = choose({frozenset(): MOST_LOST})
    assert chosen.float_kinds == ()
    assert tried == [()]


def test_the_kind_that_costs_most_comes_first():
    one = {frozenset({kind}): 0.8 for kind in KINDS} | {frozenset({"cross_attention"}): 0.5}
    two = {frozenset({"cross_attention", kind}): 0.45 for kind in KINDS if kind != "cross_attention"}
    losses = {frozenset(): 1.0} | one | two | {frozenset({"cross_attention", "projection"}): 0.1}
    assert choose(losses)[0].float_kinds == ("cross_attention", "projection")


def test_the_worse_of_both_scores_counts():
    assert Score(29.9, 49.0).lost_from(REFERENCE) == 1.0
    assert Score(29.0, 49.9).lost_from(REFERENCE) == 1.0
    assert Score(31.0, 51.0).lost_from(REFERENCE) == -1.0


PRODUCTS = {  # integer products of each kind: in the encoder, in the decoder
    "self_attention": (2 * 2, 3 * 2),
    "cross_attention": (1, 3 * 2),
    "feed_forward": (2 * 2, 3 * 2),
    "projection": (0, 1),
}


@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in KINDS), KINDS])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_kinds_in_floats_are_no_integer_products(tmp_path, kinds, activation):
    config = runs.config(activation=activation)
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run", config)))
    source, target = runs.rows_of(config, (7, 7), 1), runs.rows_of(config, (6, 6), 2)
    logits = {}
    for precision in ("fp32", "int8"):
        folder = tmp_path / precision
        folder.mkdir()
        export._write_bundle(checkpoint, folder, [precision], float_kinds=kinds)
        engine = Engine.load(Bundle.open(folder), "cpu", 1)
        logits[precision] = engine.start(list(source)).feed(target)
        tokens = engine.start(list(source)).likeliest(target[:, 0], 0)
        np.testing.assert_array_equal(tokens, logits[precision][:, 0].argmax(axis=1))
    for side, name in enumerate(("encoder", "decoder")):
        nodes = onnx.load(tmp_path / "int8" / f"{name}.int8.onnx").graph.node
        products = sum(node.op_type == "MatMulIntegerToFloat" for node in nodes)
        assert products == sum(PRODUCTS[kind][side] for kind in KINDS if kind not in kinds)
    error = np.abs(logits["int8"] - logits["fp32"]).max()
    assert (error < 1e-4) == (kinds == KINDS)  # with nothing left in integers it is float32


def test_what_was_measured_stands_in_the_manifest(tmp_path, monkeypatch):
    scores = {"fp32": Score(30.0, 50.0), "int8": Score(29.8, 50.1)}
    monkeypatch.setattr(export, "score", lambda folder, precision, pairs: scores[precision])
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run")))
    bundle = export_bundle(checkpoint, tmp_path / "b", ["int8"], pairs=PAIRS)
    gate = bundle.manifest.precisions["int8"].gate
    assert (gate["valid_pairs"], gate["bleu"], gate["bleu_in_floats"]) == (2, 29.8, 30.0)
    assert gate["float_kinds"] == []
    assert gate["positions"] > 0  # beside what is measured on logits


def test_too_much_lost_with_everything_in_floats_is_no_bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(
        export, "score", lambda folder, precision, pairs: Score(30.0 if precision == "fp32" else 29.0, 50.0)
    )
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run")))
    message = "int8: 1.00 BLEU or chrF are lost; at most 0.3 is allowed"
    with pytest.raises(GateFailure, match=rf"\A{re.escape(message)}\Z"):
        export_bundle(checkpoint, tmp_path / "b", ["int8"], pairs=PAIRS)
    assert not (tmp_path / "b").exists()


def test_real_text_is_translated_and_scored(tmp_path):
    checkpoint = load_checkpoint(find_checkpoint(runs.write_run(tmp_path / "run")))
    bundle = export_bundle(checkpoint, tmp_path / "b", ["fp32"])
    found = quality.score(bundle.folder, "fp32", PAIRS)
    assert 0 <= found.bleu < 5  # random weights say nothing
    assert 0 <= found.chrf < 40


def test_pairs_come_from_two_files_or_from_the_run(tmp_path):
    (tmp_path / "a").write_text("one\ntwo\n", "utf-8")
    (tmp_path / "b").write_text("uno\ndue\n", "utf-8")
    expected = [("one", "uno"), ("two", "due")]
    assert read_pairs(tmp_path, None) is None
    assert read_pairs(tmp_path, (tmp_path / "a", tmp_path / "b")) == expected
    (tmp_path / "valid.tsv").write_text("one\tuno\ntwo\tdue\n", "utf-8")
    assert read_pairs(tmp_path, None) == expected


def test_text_that_breaks_a_rule(tmp_path):
    (tmp_path / "a").write_text("one\ntwo\n", "utf-8")
    (tmp_path / "b").write_text("uno\n", "utf-8")
    message = f"--valid must name two files of as many lines, got 2 in {tmp_path}/a and 1 in {tmp_path}/b."
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        read_pairs(tmp_path, (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(UserError, match=r"\A--valid: cannot read .*/none: no such file or directory\."):
        read_pairs(tmp_path, (tmp_path / "none", tmp_path / "b"))
    (tmp_path / "valid.tsv").write_text("one uno\n", "utf-8")
    message = f"{tmp_path}/valid.tsv must hold a source, a tab and its translation a line. Write it again."
    with pytest.raises(UserError, match=rf"\A{re.escape(message)}\Z"):
        read_pairs(tmp_path, None)

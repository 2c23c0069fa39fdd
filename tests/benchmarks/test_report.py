"""Means and tables."""

import pytest

from benchmarks.engine_peers.report import geometric_means, print_tables


def row(ratio, **changes):
    fields = {
        "peer": "ctranslate2", "model": "small", "precision": "int8", "batch": "b8", "threads": "t1",
        "search": "greedy", "sentences": 8, "ratio": ratio, "same_outputs": 7, "floor_ms": 2.0,
    }  # fmt: skip
    for engine in ("ours", "ctranslate2"):
        fields |= {f"{engine}_ms": 5.0, f"{engine}_tokens_per_second": 11, f"{engine}_peak_mb": 13}
    return {**fields, **changes}


def test_means_are_geometric_and_by_precision_and_search():
    means = geometric_means([row(4.0), row(1.0), row(0.5, precision="fp32"), row(3.0, search="beam 4")])
    found = {(mean["mean_of"], mean["search"]): mean for mean in means}
    assert found["int8", "greedy"]["ratio"] == pytest.approx(2.0)
    assert found["int8", "greedy"]["below_1"] == 0
    assert found["int8", "beam 4"]["cells"] == 1
    assert found["fp32", "greedy"] == {
        "mean_of": "fp32", "search": "greedy", "peer": "ctranslate2", "cells": 1, "ratio": 0.5, "least": 0.5,
        "below_1": 1,
    }  # fmt: skip


def test_tables_show_every_cell(capsys):
    rows = [row(1.25), row(0.75, search="beam 4")]
    print_tables(rows, [], geometric_means(rows), "Title of the table")
    shown = capsys.readouterr().out
    for text in ("Title of the table", "1.25", "0.75", "7/8", "2.5", "beam 4"):
        assert text in shown

"""The whole way with a tiny model: both engines in their processes, the proof, a cell, a start."""

import pytest

pytest.importorskip("ctranslate2", reason="pip install -r benchmarks/requirements.txt")

from benchmarks.engine_peers import measure, models
from benchmarks.engine_peers.cells import Cell
from benchmarks.engine_peers.process import Worker, WorkerError
from keras_transformer.config import ModelConfig
from keras_transformer.text.tokenizer import Tokenizer

TINY = ModelConfig(
    vocabulary_size=8000,
    model_dim=128,
    feed_forward_dim=64,
    num_heads=8,
    num_encoder_layers=2,
    num_decoder_layers=1,
    max_length=64,
    norm_placement="pre",
)
SENTENCES = ["I love you.", "Where is the station?", "The cat sleeps on the red table.", "No."]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.COPIERS, "small", TINY)
        patch.delenv("KERAS_TRANSFORMER_DATA", raising=False)
        lines = []
        prepared = models.prepare("small", folder, None, lines.append)
        models.prepare("small", folder, None, lines.append)
    assert len(lines) == 1  # the second time it was there
    return prepared


@pytest.fixture(scope="module")
def rows():
    tokenizer = Tokenizer.from_file(models.tokenizer_path())
    return [[*tokenizer.encode(text), TINY.eos_id] for text in SENTENCES]


@pytest.fixture(scope="module")
def workers(tiny):
    cell = Cell("small", "fp32", 2, 1, 1)
    with measure.open_ours(tiny, cell) as ours, measure.open_peer(tiny, cell) as peer:
        yield {"ours": ours, "ctranslate2": peer}


def test_both_engines_are_proved_to_write_the_same_tokens(tiny, workers, rows):
    proof = measure.prove(tiny, *workers.values(), rows)
    assert proof["equal_sentences"] == proof["sentences"] == 4
    assert proof["tokens"] == sum(map(len, rows))


def test_the_proof_sees_another_token(workers, rows):
    theirs = workers["ctranslate2"].ask({"rows": rows, "outputs": []})["choices"]
    changed = [[*row[:-2], 777, row[-1]] for row in theirs]
    chosen = workers["ours"].ask({"rows": rows, "outputs": changed})["choices"]
    assert [row[-2] for row in chosen] == [row[-2] for row in theirs]


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("batch", [1, 2, 0])
def test_a_cell_holds_both_engines(workers, rows, batch, beam_size):
    row = measure.measure_cell(Cell("small", "fp32", batch, 1, beam_size), workers, rows, rounds=2)
    assert row["same_outputs"] == len(rows)
    assert row["tokens"] == sum(map(len, rows))
    assert row["ratio_range"][0] <= row["ratio"] <= row["ratio_range"][1]
    for engine in workers:
        assert row[f"{engine}_ms"] > 0
        assert 10 < row[f"{engine}_peak_mb"] < 2000


def test_the_outputs_are_the_sources(workers, rows):
    for worker in workers.values():
        found = worker.ask({"rows": rows, "batch": 2, "beam_size": 1, "max_batch_tokens": 0})["outputs"]
        assert found == [row[:-1] for row in rows]


def test_a_start_has_its_times(tiny):
    row = measure.measure_start(tiny, Cell("small", "int8", 1, 1, 1), rounds=1)
    for engine in ("ours", "ctranslate2"):
        assert 0 < row[f"{engine}_load_seconds"] < row[f"{engine}_first_seconds"]


def test_a_worker_that_ends_is_told():
    with pytest.raises(WorkerError, match="worker ours nowhere fp32 1 ended with 1"):
        Worker(["ours", "nowhere", "fp32", "1"], 1)


def test_sweeps_are_pooled_by_cell():
    tags = {"peer": "ctranslate2", "model": "small", "precision": "int8", "batch": "b8", "threads": "t1"}
    one = {**tags, "search": "greedy", "rounds": 2, "ours_ms": 10.0, "ours_peak_mb": 90, "ratios": [1.0, 1.2]}
    other = {**one, "ours_ms": 30.0, "ours_peak_mb": 80, "ratios": [0.5, 3.0, 2.0], "rounds": 3}
    alone = {**one, "search": "beam 4"}
    pooled = measure.pooled([one, alone, other])
    assert [row["search"] for row in pooled] == ["greedy", "beam 4"]
    both = pooled[0]
    assert (both["ours_ms"], both["ours_peak_mb"], both["rounds"]) == (20.0, 90, 5)
    assert (both["ratio"], both["ratio_range"]) == (1.2, [0.5, 3.0])
    assert pooled[1]["ratio"] == 1.1

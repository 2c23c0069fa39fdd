"""The GPU's benchmark on the CPU, with a tiny model: every line but the provider's own."""

import json
import sys

import pytest

pytest.importorskip("ctranslate2", reason="pip install -r benchmarks/requirements.txt")

from benchmarks import gpu
from benchmarks.engine_peers import models
from tests.benchmarks.test_measure import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.COPIERS, "small", TINY)
        patch.delenv("KERAS_TRANSFORMER_DATA", raising=False)
        patch.setattr(sys, "argv", ["gpu.py", "--make", "small", "--work", str(folder)])
        assert gpu.main() == 0
    return folder


def run(folder, monkeypatch, capsys, *options):
    arguments = ["--bundle", str(folder / "bundle"), "--device", "cpu", "--count", "6", "--rounds", "1"]
    monkeypatch.delenv("KERAS_TRANSFORMER_DATA", raising=False)
    monkeypatch.setattr(gpu, "COPY_BYTES", 2**20)
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments, "--batches", "1,4", *options])
    code = gpu.main()
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_both_engines_at_each_batch_size(folder, monkeypatch, capsys):
    code, rows = run(folder, monkeypatch, capsys, "--peer", str(folder / "ctranslate2-fp16"))
    assert code == 0
    cells = [(row["engine"], row["batch"]) for row in rows if "engine" in row]
    assert sorted(cells) == [("ctranslate2", 1), ("ctranslate2", 4), ("ours", 1), ("ours", 4)]
    assert all(row["equal_to_the_cpu"] == 6 for row in rows if row.get("engine") == "ours")
    (placed,) = [row for row in rows if "decoder" in row]
    for side in ("encoder", "decoder"):
        assert list(placed[side]["nodes"]) == ["CPUExecutionProvider"]
        assert placed[side]["elsewhere"] == {}


def test_too_few_equal_outputs_fail(folder, monkeypatch, capsys):
    code, rows = run(folder, monkeypatch, capsys, "--least-equal", "1.1")
    assert code == 1
    assert {row["engine"] for row in rows if "engine" in row} == {"ours"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--bundle must be given: a bundle that holds fp16, see --make"),
        (["--make", "small"], "--make must come with --work, the folder to write to"),
    ],
)
def test_what_is_missing_is_named(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert message in capsys.readouterr().err
